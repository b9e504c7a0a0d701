"""The supervisor: checks the configuration, starts the workers, restarts one that crashes, drains them all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve

from mfn_core.assembly import Plan, plan
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, Document, Problem
from mfn_core.host.contract import Launched, PythonHost, WorkerHost
from mfn_core.host.control import CONTROL_FD, encode
from mfn_core.logs import configure_logging
from mfn_core.server import Server

__all__ = ["serve"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

AFTER_DRAIN = 4.0
"""Seconds that a worker has to end after its drain time is over, before it is killed."""
START_TIMEOUT = 60.0
"""Seconds that a worker has to become ready."""
RESTART_BACKOFF = (0.1, 5.0)
"""Seconds before a crashed worker is started again: the first time, and at most; doubled each time."""
SETTLED = 30.0
"""Seconds of life after which a worker's crash counts as the first again."""


def serve(document: Document) -> int:
    """Serve a configuration until SIGTERM or SIGINT; returns the exit status.

    0 after a drain in which every call was answered, 1 when a worker could not be kept alive or had to be killed.

    Raises:
        ConfigError: before any port is opened, with every problem found.
    """
    planned = plan(document)
    configure_logging(planned.server)
    host = _host(planned)
    found = [Problem(path="transports", message=message) for message in host.problems()]
    if found:
        raise ConfigError(found)
    Server(planned).preflight()
    if planned.server.scheduling == "batch":
        _schedule_in_turn()
    try:
        return asyncio.run(_Supervisor(planned, host).run())
    except OSError as failed:
        _log.error("the server could not start: %s", failed)
        return 1


def _schedule_in_turn() -> None:
    """Take the batch policy of the system's scheduler, for this process and all that it starts.

    A call passes through several threads, and by default each that wakes interrupts the one that woke it: two switches
    for every step of every call, and never two calls in one turn. A policy that somebody has chosen stays.
    """
    if not hasattr(os, "sched_setscheduler"):
        return
    with contextlib.suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _host(planned: Plan) -> WorkerHost:
    hosted = [t for t in planned.of(ComponentKind.TRANSPORT) if t.spec.host is not None]
    for transport in hosted:
        if transport.spec.host is not None:
            return transport.spec.host({t.name: t.config for t in hosted})
    return PythonHost(planned.server.event_loop)


class _Worker:
    """The supervisor's view of one worker process."""

    def __init__(self, index: int, process: asyncio.subprocess.Process, sock: socket.socket, directory: Path) -> None:
        self.launched = Launched(pid=process.pid, worker=index, directory=directory)
        self.process = process
        self.started = time.monotonic()
        self.ready: asyncio.Future[Mapping[str, Sequence[str]] | None] = asyncio.get_running_loop().create_future()
        """Addresses; None when it has closed its end of the control socket before that."""
        self.drained = asyncio.Event()
        self._sock = sock
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def configure(self, document: Document) -> None:
        """Hand over the configuration and listen to what the worker says."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._sock, limit=1 << 20)
        self._reading = asyncio.create_task(self._read(reader))
        await self.tell({"type": "configure", "document": document.to_json(), "worker": self.launched.worker})

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send one message; a worker that is gone is noticed by its end."""
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):
                self._writer.write(encode(message))
                await self._writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._take(json.loads(line))
        if not self.ready.done():
            self.ready.set_result(None)

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready" and not self.ready.done():
            self.ready.set_result(message["addresses"])
        elif kind == "failed" and not self.ready.done():
            problems = [Problem(path=p, message=m, remedy=r) for p, m, r in message["problems"]]
            self.ready.set_exception(ConfigError(problems))
        elif kind == "drained":
            self.drained.set()

    async def end(self, patience: float) -> bool:
        """Wait for the process to end, then kill it; whether it ended by itself."""
        ended = True
        try:
            await asyncio.wait_for(self.process.wait(), patience)
        except TimeoutError:
            ended = False
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        await self.close()
        return ended

    async def close(self) -> None:
        """Forget a process that has ended."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
        if self.ready.done() and not self.ready.cancelled():
            self.ready.exception()  # retrieved: who waited for it has seen it
        shutil.rmtree(self.launched.directory, ignore_errors=True)


class _Supervisor:
    def __init__(self, planned: Plan, host: WorkerHost) -> None:
        self._plan = planned
        self._document = planned.document
        self._host = host
        self._stopping = asyncio.Event()
        self._failed = False
        self._announced = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        keepers = [asyncio.create_task(self._keep(i)) for i in range(self._plan.server.workers)]
        try:
            await asyncio.gather(*keepers)
        except BaseException:
            self._stopping.set()
            await asyncio.gather(*keepers, return_exceptions=True)
            raise
        return 1 if self._failed else 0

    async def _keep(self, index: int) -> None:
        """Keep one worker alive until it is time to drain."""
        backoff = RESTART_BACKOFF[0]
        first = True
        while not self._stopping.is_set():
            worker: _Worker | None = None
            try:
                worker = await self._launch(index)
                addresses = await self._unless_stopping(self._ready(worker))
            except (OSError, ConfigError):
                if worker is not None:
                    await worker.end(0.0)
                if self._stopping.is_set():
                    return
                if first:
                    raise
                _log.exception("worker %d could not be restarted; trying again in %.1f s", index, backoff)
            else:
                if addresses is None:
                    # It has taken no call yet: there is nothing to drain.
                    await worker.end(0.0)
                    return
                self._announce(addresses)
                self._settle(addresses)
                first = False
                ended = await self._live(worker)
                if ended is None:
                    return
                if time.monotonic() - worker.started > SETTLED:
                    backoff = RESTART_BACKOFF[0]
                _log.error("%s; starting it again in %.1f s", ended, backoff)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)
            backoff = min(2 * backoff, RESTART_BACKOFF[1])

    async def _launch(self, index: int) -> _Worker:
        directory = Path(tempfile.mkdtemp(prefix="mfn-worker-"))
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                command = self._host.command(directory, worker=index, workers=self._plan.server.workers)
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    env={**os.environ, **command.env, CONTROL_FD: str(theirs.fileno())},
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    # A terminal's Ctrl-C is for the supervisor alone, which drains.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                shutil.rmtree(directory, ignore_errors=True)
                raise
        worker = _Worker(index, process, ours, directory)
        await worker.configure(self._document)
        return worker

    async def _ready(self, worker: _Worker) -> Mapping[str, Sequence[str]]:
        """Wait until the worker takes calls; where each transport listens."""
        try:
            addresses = await asyncio.wait_for(worker.ready, START_TIMEOUT)
        except TimeoutError:
            raise OSError(f"worker {worker.launched.worker} was not ready within {START_TIMEOUT:.0f} s") from None
        if addresses is None:
            await asyncio.wait([asyncio.ensure_future(worker.process.wait())], timeout=1.0)
            raise OSError(f"{self._ended(worker)} before it was ready")
        addresses = dict(addresses)
        addresses.update(await self._host.listening(worker.launched))
        return addresses

    async def _unless_stopping(self, starting: Coroutine[Any, Any, T]) -> T | None:
        """What `starting` gives; None when the server is told to stop before that."""
        started = asyncio.create_task(starting)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([started, stopping], return_when=asyncio.FIRST_COMPLETED)
            return started.result() if started.done() else None
        finally:
            stopping.cancel()
            if not started.done():
                started.cancel()
                await asyncio.gather(started, return_exceptions=True)

    def _announce(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """What the components tell the person who started the server, then one line on standard output, which a script
        may wait for."""
        if not self._announced:
            self._announced = True
            for component in self._plan.components:
                announce = component.spec.announce
                for line in () if announce is None else announce(component.config, self._plan, addresses):
                    print(line, file=sys.stderr, flush=True)  # noqa: T201 - for a person, and in no log
            listening = " ".join(f"{name}={address}" for name, found in addresses.items() for address in found)
            print(f"mfn ready {listening}", file=sys.stdout, flush=True)  # noqa: T201 - it is this command's output

    def _settle(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Let a worker that is started again listen where callers know it to, where port 0 asked for any port."""
        if self._plan.server.workers > 1:
            return  # none of them could have the port of another
        tables = dict(self._document.tables)
        transports = tables["transports"] = dict(tables.get("transports", {}))
        for transport in self._plan.of(ComponentKind.TRANSPORT):
            listen, found = getattr(transport.config, "listen", None), addresses.get(transport.name, ())
            # A host of its own keeps the addresses that it has found.
            if transport.spec.host is not None or not isinstance(listen, str) or len(found) != 1:
                continue
            host, _, port = listen.rpartition(":")
            if port == "0":
                settled = f"{host}:{found[0].rpartition(':')[2]}"
                transports[transport.name] = {**transports.get(transport.name, {}), "listen": settled}
        self._document = evolve(self._document, tables=tables)

    def _ended(self, worker: _Worker) -> str:
        """How a worker ended that was not told to."""
        words = self._host.last_words(worker.launched)
        where = f"worker {worker.launched.worker} (pid {worker.launched.pid})"
        return f"{where} ended with status {worker.process.returncode}" + (f" ({words})" if words else "")

    async def _live(self, worker: _Worker) -> str | None:
        """Watch a ready worker; None when it was drained, else how it ended by itself."""
        ended = asyncio.create_task(worker.process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if ended.done() and not self._stopping.is_set():
            how = self._ended(worker)
            await worker.close()
            return how
        ended.cancel()
        await self._drain(worker)
        return None

    async def _drain(self, worker: _Worker) -> None:
        await self._host.drain(worker.launched)
        await worker.tell({"type": "drain"})
        patience = self._plan.server.drain_seconds + AFTER_DRAIN
        ended = asyncio.create_task(worker.process.wait())
        drained = asyncio.create_task(worker.drained.wait())
        await asyncio.wait([ended, drained], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        ended.cancel()
        if not worker.drained.is_set():
            self._failed = True
            _log.error("worker %d did not drain within %.1f s and is killed", worker.launched.worker, patience)
            await worker.end(0.0)
            return
        # Drained: a process that a transport brought with it is told to end, a plain one is ending already.
        if worker.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Not by `terminate`, which takes the status of one that has just ended from asyncio, which then warns.
                os.kill(worker.launched.pid, signal.SIGTERM)
        await worker.end(1.0)
