"""The client under load, through restarts of the server itself on the same port.

No call fails for its caller. Every attempt has an audit record of its own, so that the records of one request id tell
how often it was attempted, and how often it was answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from mfn_client import Code, Credentials, MFNClient, MfnRpcError, SessionEnded
from mfn_signing import generate_key, write_keys_file

PLUGINS = ("engine_numpy", "service_mfn", "transport_grpc", "auth_hmac", "audit_jsonl")
MISSING = [name for name in PLUGINS if name not in {point.name for point in entry_points(group="mfn.plugins.v1")}]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"a server needs these plugins as well: {', '.join(MISSING)}")

STEER = "/mfn.v1.FieldService/SteerSimulation"
BETWEEN = 40
"""Calls that succeed between two restarts."""


def free_port() -> int:
    """A port that nobody has, and that no outgoing connection takes while the server is away."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Restarting:
    """The server's process, ended and started again."""

    def __init__(self, directory: Path) -> None:
        self._process: Any = pytest.importorskip(
            "mfn_core.testing.process", reason="a server needs the kernel, mfn-core"
        )
        self.directory = directory
        self.port = free_port()
        self._running: Any = None
        write_keys_file(directory / "keys.toml", [generate_key(principal="lab", roles={"write"}, key_id="lab-1")])

    async def start(self) -> None:
        tables = {
            "server": {"plugins": list(PLUGINS), "drain_seconds": 5},
            "transports": {"grpc": {"listen": f"127.0.0.1:{self.port}"}},
            "auth": {"hmac": {"keys_file": "keys.toml"}},
            # Every reply is recorded before it leaves, so that a kill loses no record of one that has arrived.
            "audit": {"jsonl": {"path": "audit.jsonl", "fsync": "always"}},
            "cache": {"max_bytes": 0},
        }
        running = self._process.ServerProcess(tables, self.directory)
        await asyncio.to_thread(running.__enter__)
        self._running = running

    async def end(self, how: signal.Signals) -> None:
        """End every process of the server; by SIGTERM it drains and reports success."""
        running, self._running = self._running, None
        workers = running.worker_pids()
        if how is signal.SIGKILL:
            for pid in (running.process.pid, *workers):
                os.kill(pid, signal.SIGKILL)
        else:
            running.terminate()
        status = await asyncio.to_thread(running.wait, 30.0)
        assert await asyncio.to_thread(self._process.wait_gone, workers, 30.0) == []
        await asyncio.to_thread(running.__exit__, None, None, None)
        assert status == (-signal.SIGKILL if how is signal.SIGKILL else 0), running.stderr_text()

    async def close(self) -> None:
        if self._running is not None:
            await asyncio.to_thread(self._running.__exit__, None, None, None)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "audit.jsonl").read_text().splitlines()]


class Load:
    """Tasks that call without a pause, and note the request ids of what succeeded."""

    def __init__(self, client: MFNClient) -> None:
        self._client = client
        self.succeeded: list[str] = []
        self.steered: Counter[Code] = Counter()
        self.cut: set[str] = set()
        """Streams that ended behind their first frame, which nobody but their reader can begin again."""
        self._enough = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._enough = False
        calls = (self._unary, self._unary, self._unary, self._stream, self._upload, self._steer)
        self._tasks = [asyncio.ensure_future(self._repeat(call)) for call in calls]

    async def more(self, count: int) -> None:
        """Until so many further calls have succeeded."""
        target = len(self.succeeded) + count
        async with asyncio.timeout(60.0):
            while len(self.succeeded) < target:
                for task in self._tasks:
                    if task.done():
                        task.result()  # raises what the call has raised
                await asyncio.sleep(0.005)

    async def finish(self) -> None:
        """Let every task end its call; raises what any of them has raised."""
        self._enough = True
        await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _repeat(self, call: Callable[[], Awaitable[str | None]]) -> None:
        while not self._enough:
            request_id = await call()
            if request_id is not None:
                self.succeeded.append(request_id)

    async def _unary(self) -> str:
        return (await self._client.extract_features(grid_size=16, steps=50)).request_id

    async def _stream(self) -> str | None:
        stream = self._client.stream_features(grid_size=16, total_steps=30)
        steps: list[int] = []
        try:
            async for frame in stream:
                steps.append(frame.step)
        except MfnRpcError as failed:
            if failed.code is not Code.UNAVAILABLE or not steps:
                raise
            self.cut.add(stream.request_id)
            return None
        assert steps == [10, 20, 30]
        return stream.request_id

    async def _upload(self) -> str:
        return (await self._client.analyze_field([[-0.07, 0.0], [0.01, -0.07]])).request_id

    async def _steer(self) -> None:
        """Not idempotent: what became of a start that was cut off is not known, and its caller is told."""
        try:
            async with self._client.steer(grid_size=8, total_steps=20) as session:
                async for event in session:
                    if isinstance(event, SessionEnded):
                        self.steered[Code.OK] += 1
        except MfnRpcError as failed:
            # A session that was cut off is gone with the memory of its server.
            if failed.code not in (Code.UNAVAILABLE, Code.CANCELLED, Code.NOT_FOUND):
                raise
            self.steered[failed.code] += 1


async def restarts(directory: Path, ends: list[signal.Signals]) -> None:
    server = Restarting(directory)
    credentials = Credentials.from_keys_file(directory / "keys.toml", "lab-1")
    async with MFNClient(f"127.0.0.1:{server.port}", credentials=credentials, wait_for_ready=True) as client:
        load = Load(client)
        load.begin()
        try:
            await server.start()
            for how in ends:
                await load.more(BETWEEN)
                await server.end(how)
                await server.start()
            await load.more(BETWEEN)
            await load.finish()
            await server.end(signal.SIGTERM)
        finally:
            load.cancel()
            await server.close()
    check(server.records(), load, exact=signal.SIGKILL not in ends)


def check(records: list[dict[str, Any]], load: Load, *, exact: bool) -> None:
    assert len(set(load.succeeded)) == len(load.succeeded) > BETWEEN
    assert load.steered[Code.OK] > 0
    answered = Counter(r["request_id"] for r in records if r["status"] == "OK" and r["method"] != STEER)
    if exact:
        # After a drain every reply that was recorded has arrived: nothing was answered twice, and nothing was lost.
        assert answered == Counter(load.succeeded)
        assert not load.cut
    else:
        # Killed, a server takes replies with it that it had recorded: those calls were answered again by the next one.
        assert set(load.succeeded) <= set(answered) <= set(load.succeeded) | load.cut
        assert set(answered.values()) <= {1, 2}
    # Attempts that were refused have records of their own, and none was refused for its signature.
    statuses = {r["status"] for r in records if r["method"] != STEER}
    assert statuses <= {"OK", "UNAVAILABLE", "CANCELLED"}
    # A session was opened once for each start, whatever happened to the connection.
    opened = Counter(r["request_id"] for r in records if r["method"] == STEER and r["messages_out"] > 0)
    assert set(opened.values()) <= {1}


@pytest.mark.slow
async def test_a_drain_and_restart_under_load_is_not_noticed_by_callers(tmp_path: Path) -> None:
    await restarts(tmp_path, [signal.SIGTERM])


@pytest.mark.slow
async def test_a_killed_server_under_load_is_not_noticed_by_callers(tmp_path: Path) -> None:
    await restarts(tmp_path, [signal.SIGKILL])


@pytest.mark.slow
async def test_five_drains_and_restarts_under_load_are_not_noticed_by_callers(tmp_path: Path) -> None:
    await restarts(tmp_path, [signal.SIGTERM] * 5)


@pytest.mark.slow
async def test_a_kill_among_drains_is_not_noticed_by_callers(tmp_path: Path) -> None:
    await restarts(tmp_path, [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM])
