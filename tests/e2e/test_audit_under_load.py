"""The audit when the machine fails it: killed in the middle of its work, or with no room left on the disk."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from mfn_client.raw import RawClient
from mfn_core.testing.process import wait_gone
from mfn_e2e.audit import verified
from mfn_e2e.calls import Caller, Ended, exchange, new_id
from mfn_e2e.deployment import AUDIT, Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_e2e.operations import EXAMPLES
from mfn_e2e.processes import descendants

CALLERS = 4
"""Of each shape, on each transport."""

ENOUGH = 200
"""Calls that are answered before anything happens to the server."""

Start = Callable[..., Deployment]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server whose replies wait until their records are on the disk; a second one goes on after the first."""
    with ExitStack() as stack:

        def make(**audit: object) -> Deployment:
            (tmp_path / "keys.toml").unlink(missing_ok=True)
            configuration = tables(audit={"jsonl": {"path": AUDIT, "fsync": "always", **audit}})
            return stack.enter_context(Deployment(configuration, tmp_path))

        yield make


async def call(client: RawClient, caller: Caller, number: int, request_id: str) -> Ended:
    """A call of any of the shapes."""
    example = EXAMPLES[number % len(EXAMPLES)]
    metadata = [*example.sign(caller), ("x-request-id", request_id)]
    return await exchange(client, example.path, example.raw(), metadata)


# SIGKILL.


async def answered_until_killed(server: Deployment, kill: Callable[[], object]) -> list[str]:
    """Ids of the calls that were answered before the server was killed in the middle of many."""
    caller, answered = server.caller(), list[str]()
    enough, killed = asyncio.Event(), asyncio.Event()

    async def load(client: RawClient, number: int) -> None:
        while not killed.is_set():
            request_id = new_id()
            ended = await call(client, caller, number, request_id)
            if ended.status.ok:
                answered.append(request_id)
            else:
                # A connection that breaks is told in one of these ways.
                assert ended.code in ("UNAVAILABLE", "CANCELLED", "UNKNOWN", "INTERNAL"), ended.status
                assert killed.is_set(), ended.status
            if len(answered) >= ENOUGH:
                enough.set()

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient(server.address(name))) for name in TRANSPORTS]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                for number in range(CALLERS * len(EXAMPLES)):
                    group.create_task(load(client, number))
            await enough.wait()
            killed.set()
            kill()
    return answered


def on_record(server: Deployment) -> Counter[str]:
    """How often each call stands in the trail, in lines that are whole."""
    lines = server.trail.path.read_bytes().split(b"\n")[:-1]
    return Counter(record["request_id"] for record in map(json.loads, lines) if "request_id" in record)


async def goes_on(server: Deployment, head: str | None = None) -> None:
    """Calls are answered and recorded behind what was there, with `head` in it."""
    caller, request_id = server.caller(), new_id()
    for number, transport in enumerate(TRANSPORTS):
        async with RawClient(server.address(transport)) as client, asyncio.timeout(60.0):
            while not (await call(client, caller, number, request_id)).status.ok:
                await asyncio.sleep(0.05)  # until a worker that ended is started again
    assert len(await server.trail.of(request_id, count=len(TRANSPORTS))) == len(TRANSPORTS)
    status, report = verified(server.trail.path, *(() if head is None else ("--checkpoint", head)))
    assert (status, report["ok"]) == (0, True), report


@pytest.mark.slow
async def test_every_call_that_was_answered_is_on_record_after_sigkill(start: Start) -> None:
    server = start()
    processes = [*descendants(server.process.pid), server.process.pid]

    def kill() -> None:
        # Workers first: what they have not written is lost at this instant, with their supervisor or without.
        for pid in processes:
            os.kill(pid, signal.SIGKILL)

    answered = await answered_until_killed(server, kill)
    assert server.wait(5.0) == -signal.SIGKILL
    assert await asyncio.to_thread(wait_gone, processes, 5.0) == []

    status, report = verified(server.trail.path)
    assert report["tampered"] is False
    assert status == 0 or report["problem"]["kind"] == "torn"
    kept = on_record(server)
    assert len(answered) >= ENOUGH
    assert [each for each in answered if kept[each] != 1] == []
    await goes_on(start(), report["head"])


@pytest.mark.slow
async def test_a_worker_that_is_killed_and_started_again_has_every_answered_call_on_record(start: Start) -> None:
    server = start()
    worker = server.worker
    answered = await answered_until_killed(server, lambda: os.kill(worker, signal.SIGKILL))
    await goes_on(server)
    assert server.worker != worker
    kept = on_record(server)
    assert [each for each in answered if kept[each] != 1] == []


# A full disk.


def room(server: Deployment, bytes_more: int | None) -> None:
    """Let the trail grow by so much and no further, as a disk does that is full."""
    limit = resource.RLIM_INFINITY if bytes_more is None else server.trail.path.stat().st_size + bytes_more
    _, hard = resource.prlimit(server.worker, resource.RLIMIT_FSIZE)
    resource.prlimit(server.worker, resource.RLIMIT_FSIZE, (limit, hard))


async def test_a_full_disk_refuses_calls_until_there_is_room(start: Start, transport: str) -> None:
    server = start(on_error="refuse")
    caller, before, after = server.caller(), new_id(), new_id()
    refused: list[str] = []
    async with RawClient(server.address(transport)) as client:
        assert (await call(client, caller, 0, before)).status.ok
        room(server, 100)  # less than a record
        for number in range(8):
            refused.append(new_id())
            ended = await call(client, caller, number, refused[-1])
            assert ended.code == "UNAVAILABLE", ended.status
            assert ended.status.message == "the server cannot record calls now"
        room(server, None)
        async with asyncio.timeout(20.0):
            while not (await call(client, caller, 0, after)).status.ok:
                pass
    assert len(await server.trail.of(after)) >= 1
    status, report = verified(server.trail.path)
    assert (status, report["ok"]) == (0, True), report
    on_record = {record["request_id"] for record in server.trail.records}
    assert before in on_record
    assert on_record.isdisjoint(refused)
    assert AUDIT in server.stderr_text()


@pytest.mark.slow
async def test_calls_wait_for_a_full_disk_where_that_is_asked_for(start: Start, transport: str) -> None:
    server = start(on_error="wait")
    caller, waiting = server.caller(), [new_id() for _ in range(2 * len(EXAMPLES))]
    async with RawClient(server.address(transport)) as client:
        assert (await call(client, caller, 0, new_id())).status.ok
        room(server, 100)  # less than a record
        calls = [asyncio.create_task(call(client, caller, *each)) for each in enumerate(waiting)]
        impatient = EXAMPLES[0]
        ended = await exchange(client, impatient.path, impatient.raw(), impatient.sign(caller), timeout=0.5)
        assert ended.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE"), ended.status
        assert [each.done() for each in calls] == [False] * len(calls)
        room(server, None)
        async with asyncio.timeout(20.0):
            assert {each.code for each in await asyncio.gather(*calls)} == {"OK"}
    for request_id in waiting:
        assert len(await server.trail.of(request_id)) == 1
    status, report = verified(server.trail.path)
    assert (status, report["ok"]) == (0, True), report
