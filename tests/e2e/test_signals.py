"""SIGTERM answers what runs; SIGKILL leaves no process and no trail that cannot be trusted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from mfn_client.raw import RawClient
from mfn_core.testing.process import wait_gone
from mfn_e2e.audit import verified
from mfn_e2e.calls import exchange, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_e2e.processes import descendants
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

RUN, STREAM = "/mfn.MFNSimulationService/RunSimulation", "/mfn.v1.FieldService/Simulate"

IN_FLIGHT = 50
"""Calls that each transport must have in flight when the signal comes."""

UNARY, STREAMED = 30, 50
"""Calls that are made on each. The first unary ones may be over before the last have arrived, on a busy machine most;
streams alone are as many as must be in flight."""

SEEDS = range(5)
GRID, STEPS = 128, 300
"""Of a unary run: a twentieth of a second on one of two compute threads, which leave the others in the queue."""

FRAMES, FRAMES_PER_SECOND = 60, 20.0
"""Of a stream: three seconds."""

Start = Callable[..., Deployment]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(Deployment(tables(**changes), tmp_path))


def run_request(seed: int, request_id: str) -> w1.SimulationRequest:
    return w1.SimulationRequest(
        request_id=request_id, seed=seed, grid_size=GRID, steps=STEPS, alpha=0.18, spike_probability=0.25
    )


def stream_request(seed: int, request_id: str) -> v1.SimulateRequest:
    return v1.SimulateRequest(
        request_id=request_id,
        simulation=v1.SimulationSpec(grid_size=16, seed=seed),
        steps=2 * FRAMES,
        frames=v1.FrameOptions(every_n_steps=2, max_frames_per_second=FRAMES_PER_SECOND),
    )


async def alone(server: Deployment) -> tuple[dict[int, w1.SimulationResult], dict[int, v1.Frame]]:
    """What each run gives when nothing else runs."""
    caller = server.caller()
    results: dict[int, w1.SimulationResult] = {}
    frames: dict[int, v1.Frame] = {}
    async with RawClient(server.address(TRANSPORTS[0])) as client:
        for seed in SEEDS:
            run = run_request(seed, "")
            reply = await client.unary(RUN, run.SerializeToString(), metadata=caller.headers(RUN, run))
            results[seed] = w1.SimulationResult.FromString(reply.message)
            stream = stream_request(seed, "")
            stream.frames.ClearField("max_frames_per_second")
            ended = await exchange(client, STREAM, [stream.SerializeToString()], caller.headers(STREAM, stream))
            frames[seed] = v1.SimulateResponse.FromString(ended.replies[-1]).frame
    return results, frames


async def test_sigterm_answers_fifty_calls_on_every_transport(start: Start) -> None:
    server = start(cache={"max_bytes": 0, "coalesce": False})  # every call computes for itself
    caller = server.caller()
    results, last_frames = await alone(server)
    begun = [asyncio.Event() for _ in range(STREAMED * len(TRANSPORTS))]

    async def run(client: RawClient, seed: int) -> None:
        request = run_request(seed, new_id())
        metadata = caller.headers(RUN, request)
        reply = await client.unary(RUN, request.SerializeToString(), metadata=metadata, timeout=60.0)
        found = w1.SimulationResult.FromString(reply.message)
        assert found.request_id == request.request_id
        found.ClearField("request_id")
        assert found == results[seed]

    async def stream(client: RawClient, seed: int, first: asyncio.Event) -> None:
        request = stream_request(seed, new_id())
        metadata = caller.headers(STREAM, request)
        async with client.open(STREAM, metadata=metadata, timeout=60.0) as call:
            await call.send(request.SerializeToString())
            await call.half_close()
            frames = []
            async for raw in call:
                frames.append(v1.SimulateResponse.FromString(raw).frame)
                first.set()
        assert [frame.step for frame in frames] == list(range(2, 2 * FRAMES + 1, 2))
        assert frames[-1].request_id == request.request_id
        frames[-1].ClearField("request_id")
        assert frames[-1] == last_frames[seed]

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient(server.address(name))) for name in TRANSPORTS]
        events = iter(begun)
        groups = {
            client: [asyncio.create_task(stream(client, SEEDS[i % 5], next(events))) for i in range(STREAMED)]
            for client in clients
        }
        await asyncio.gather(*(event.wait() for event in begun))
        for client in clients:
            groups[client] += [asyncio.create_task(run(client, SEEDS[i % 5])) for i in range(UNARY)]
        calls = [call for group in groups.values() for call in group]
        await asyncio.sleep(0)  # every task has sent its call
        for client in clients:
            # Sent behind them on the same connection: once it is answered, they have arrived.
            probe = await exchange(client, RUN, [b"\xff"], caller.sign(RUN, b"\xff"))
            assert probe.code == "INVALID_ARGUMENT"
        in_flight = [sum(not call.done() for call in group) for group in groups.values()]
        told = time.monotonic()
        server.terminate()
        await asyncio.gather(*calls)
    assert min(in_flight) >= IN_FLIGHT
    assert await asyncio.to_thread(server.wait, 15.0) == 0
    assert time.monotonic() - told < 15.0
    status, report = verified(server.trail.path)
    assert (status, report["ok"]) == (0, True)
    assert report["records"] == len(calls) + 2 * len(SEEDS) + len(TRANSPORTS)
    server.trail.refresh()
    answered = [record["transport"] for record in server.trail.records if record["status"] == "OK"]
    assert len(answered) == len(calls) + 2 * len(SEEDS)
    assert all(answered.count(name) >= UNARY + STREAMED for name in TRANSPORTS)


async def test_a_call_after_sigterm_is_refused_and_those_before_it_are_answered(start: Start, transport: str) -> None:
    server = start()
    caller = server.caller()
    async with RawClient(server.address(transport)) as client:
        request = stream_request(1, "")
        async with client.open(STREAM, metadata=caller.headers(STREAM, request)) as call:
            await call.send(request.SerializeToString())
            await call.half_close()
            assert await call.receive() is not None
            server.terminate()
            # Whether the listener is closed already cannot be seen from here: try until it is.
            while True:
                async with RawClient(server.address(transport)) as late:
                    ended = await exchange(late, RUN, [b""], caller.sign(RUN, b""), timeout=10.0)
                if not ended.status.ok:
                    break
            # CANCELLED: gRPC's own server ends so what arrives in the very moment in which it closes.
            assert ended.code in ("UNAVAILABLE", "CANCELLED")
            frames = 1
            async for _ in call:
                frames += 1
            assert frames == FRAMES
    assert await asyncio.to_thread(server.wait, 15.0) == 0


@pytest.mark.slow
async def test_sigkill_of_the_supervisor_ends_every_process_and_leaves_a_trail_that_verifies(
    start: Start, transport: str
) -> None:
    server = start(server={"max_steps": 1_000_000, "max_cell_steps": 10**12})
    caller = server.caller()
    finished = 0
    async with RawClient(server.address(transport)) as client:
        quick = w1.SimulationRequest(grid_size=8, steps=1)
        while finished < 50:
            await client.unary(RUN, quick.SerializeToString(), metadata=caller.headers(RUN, quick))
            finished += 1
        # In the middle of long work, and of records being written.
        long = w1.SimulationRequest(grid_size=256, steps=1_000_000)
        running: list[asyncio.Task[Any]] = [
            asyncio.create_task(
                client.unary(RUN, long.SerializeToString(), metadata=caller.headers(RUN, long), timeout=30.0)
            )
            for _ in range(2)
        ]

        async def hammer() -> None:
            while True:
                await client.unary(RUN, quick.SerializeToString(), metadata=caller.headers(RUN, quick), timeout=30.0)

        running += [asyncio.create_task(hammer()) for _ in range(4)]
        await server.trail.of("", count=0)
        await _more_records(server, finished + 50)
        processes = descendants(server.process.pid)
        assert processes
        server.kill()
        server.wait(5.0)
        left = await asyncio.to_thread(wait_gone, processes, 5.0)
        assert left == []
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(each, Exception) for each in ended)
    status, report = verified(server.trail.path)
    assert report["records"] >= finished + 50
    assert report["tampered"] is False
    if report["problem"] is None:
        assert (status, report["ok"]) == (0, True)
    else:
        assert (status, report["problem"]["kind"]) == (1, "torn")
        assert report["problem"]["line"] == report["records"] + 1


async def _more_records(server: Deployment, count: int) -> None:
    deadline = time.monotonic() + 20.0
    while len(server.trail.records) < count:
        assert time.monotonic() < deadline
        server.trail.refresh()
        await asyncio.sleep(0.01)  # another process writes the file: it can only be looked at


@pytest.mark.slow
async def test_a_torn_last_record_is_named_and_the_next_server_goes_on_behind_it(tmp_path: Path) -> None:
    with Deployment(tables(), tmp_path) as server:
        caller = server.caller()
        quick = w1.SimulationRequest(grid_size=8, steps=1)
        async with RawClient(server.address(TRANSPORTS[0])) as client:
            for _ in range(3):
                await client.unary(RUN, quick.SerializeToString(), metadata=caller.headers(RUN, quick))
    trail = server.trail.path
    whole = trail.read_bytes()
    trail.write_bytes(whole[:-40])
    status, report = verified(trail)
    assert (status, report["tampered"], report["records"]) == (1, False, 2)
    assert (report["problem"]["kind"], report["problem"]["line"]) == ("torn", 3)
    (tmp_path / "keys.toml").unlink()
    with Deployment(tables(), tmp_path) as again:
        caller = again.caller()
        async with RawClient(again.address(TRANSPORTS[-1])) as client:
            await client.unary(RUN, quick.SerializeToString(), metadata=caller.headers(RUN, quick))
    status, report = verified(trail, "--checkpoint", report["head"])
    assert (status, report["ok"]) == (0, True), report
    again.trail.refresh()
    assert any(record.get("event") == "torn" for record in again.trail.records)
