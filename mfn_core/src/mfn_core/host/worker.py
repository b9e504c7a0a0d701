"""One worker: assembles the server in its event loop, says when it is ready, drains when told to.

`python -m mfn_core.host.worker` is the plain one; a transport that brings its own process runs `Worker` in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from mfn_core.config import ConfigError, Document
from mfn_core.host.control import WorkerEnd
from mfn_core.logs import configure_logging
from mfn_core.server import Server, assemble

__all__ = ["Worker", "main"]

_log = logging.getLogger(__name__)

COLLECTED_AFTER = 10_000
"""New containers that are still there, after which the youngest are looked through for cycles; Python's own: 700."""


class Worker:
    """The life of one worker on one event loop: `start`, then `finished` once the supervisor has drained it."""

    def __init__(self, control: WorkerEnd) -> None:
        self._control = control
        self._drain = asyncio.Event()
        self.server: Server | None = None
        """What it serves; set by `start`."""

    async def start(self) -> Server:
        """Take the configuration, assemble and start the server.

        Raises:
            ConfigError, OSError: it could not; the supervisor has been told why.
        """
        loop = asyncio.get_running_loop()
        message = await loop.run_in_executor(None, self._control.receive)
        document = Document.from_json(message["document"])
        try:
            server = assemble(document, worker=message["worker"])
            configure_logging(server.plan.server)
            self._control.watch(loop, self._on_message)
            await server.start()
        except ConfigError as failed:
            problems = [[p.path, p.message, p.remedy] for p in failed.problems]
            self._control.send({"type": "failed", "problems": problems})
            raise
        except Exception as failed:
            self._control.send({"type": "failed", "problems": [["", f"{type(failed).__name__}: {failed}", ""]]})
            raise
        self.server = server
        return server

    def ready(self) -> None:
        """Tell the supervisor that calls can be taken."""
        if self.server is None:
            raise RuntimeError("start the worker before it is ready")
        _settle_garbage()
        addresses = {name: list(found) for name, found in self.server.addresses.items()}
        self._control.send({"type": "ready", "addresses": addresses})

    async def finished(self) -> None:
        """Wait for the supervisor's word, then drain and stop the server; the process may end after it."""
        await self._drain.wait()
        if self.server is not None:
            await self.server.stop()
        self._control.finish()
        self._control.send({"type": "drained"})

    def _on_message(self, message: dict[str, Any]) -> None:
        if message.get("type") == "drain":
            self._drain.set()


def _settle_garbage() -> None:
    """What a server is made of stays for its life: the collector need not go through it again and again.

    Calls make hardly any cycles, so that they are looked for less often than Python does by itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, *gc.get_threshold()[1:])


async def _run() -> int:
    worker = Worker(WorkerEnd.inherited())
    try:
        await worker.start()
    except (ConfigError, OSError) as failed:
        _log.debug("worker could not start: %s", failed)
        return 1
    worker.ready()
    await worker.finished()
    return 0


def main(loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> int:
    """Run a plain worker to its end; `loop_factory`: makes its event loop, where that is not asyncio's own."""
    # The supervisor drains its workers: a Ctrl-C or a SIGTERM to the whole group is for it alone.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_run())
    return 1


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name != "uvloop":
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    raise SystemExit(main(_loop_factory(sys.argv[1] if len(sys.argv) > 1 else "asyncio")))
