"""A call that nobody waits for any more stops computing, leaves one record and nothing else behind."""

from __future__ import annotations

import asyncio
import time

import pytest
from attrs import frozen
from google.protobuf.message import Message

from mfn_client.raw import RawClient, RpcFailed
from mfn_e2e.calls import new_id
from mfn_e2e.deployment import Deployment
from mfn_e2e.processes import cpu_seconds, open_files, resident_bytes, threads
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

QUIET_SECONDS = 0.25
"""For which the worker is watched."""

QUIET_CPU = 0.08
"""CPU seconds that it may use meanwhile: one run uses as many as go by."""

PROMPT = 2.0
"""Seconds within which an aborted call is over, on a machine that is busy with other tests; a slice takes a few
milliseconds."""


@frozen(kw_only=True)
class Endless:
    """A call that would run for minutes."""

    name: str
    path: str
    message: Message
    streams: bool = True
    """Whether replies come while it runs."""
    bidi: bool = False


SPEC = v1.SimulationSpec(grid_size=64, seed=1, mycelium=v1.MyceliumParameters(turing_enabled=True))

CALLS = (
    Endless(
        name="RunSimulation",
        path="/mfn.MFNSimulationService/RunSimulation",
        message=w1.SimulationRequest(grid_size=256, steps=1_000_000, alpha=0.18, turing_enabled=True),
        streams=False,
    ),
    Endless(
        name="ExtractFeatures",
        path="/mfn.MFNFeaturesService/ExtractFeatures",
        message=w1.FeatureRequest(grid_size=512, steps=900_000, alpha=0.18, turing_enabled=True),
        streams=False,
    ),
    Endless(
        name="StreamSimulation",
        path="/mfn.MFNSimulationService/StreamSimulation",
        message=w1.SimulationStreamRequest(
            grid_size=64, total_steps=1_000_000, steps_per_frame=400, turing_enabled=True
        ),
    ),
    Endless(
        name="StreamFeatures",
        path="/mfn.MFNFeaturesService/StreamFeatures",
        message=w1.FeatureStreamRequest(grid_size=64, total_steps=1_000_000, steps_per_frame=400, turing_enabled=True),
    ),
    Endless(
        name="Simulate",
        path="/mfn.v1.FieldService/Simulate",
        message=v1.SimulateRequest(simulation=SPEC, steps=1_000_000, frames=v1.FrameOptions(every_n_steps=400)),
    ),
    Endless(
        name="SteerSimulation",
        path="/mfn.v1.FieldService/SteerSimulation",
        message=v1.SteerSimulationRequest(
            start=v1.StartCommand(simulation=SPEC, unlimited=True, frames=v1.FrameOptions(every_n_steps=400))
        ),
        bidi=True,
    ),
)


SHAPES = [call for call in CALLS if call.name in ("RunSimulation", "StreamSimulation", "SteerSimulation")]
"""One of each shape that computes while its client waits."""


def name_of(call: Endless) -> str:
    return call.name


def headers(server: Deployment, endless: Endless, request_id: str) -> list[tuple[str, str]]:
    return server.caller().headers(endless.path, None if endless.bidi else endless.message, request_id=request_id)


async def at_work(pid: int) -> None:
    """Return once the worker has computed for a while."""
    began, deadline = cpu_seconds(pid), time.monotonic() + 30.0
    while cpu_seconds(pid) < began + 0.2:
        assert time.monotonic() < deadline, "the worker does not compute"
        await asyncio.sleep(0.01)  # the system tells nobody when a process has used CPU time


async def assert_idle(pid: int) -> None:
    before = cpu_seconds(pid)
    await asyncio.sleep(QUIET_SECONDS)  # the time over which it is measured
    used = cpu_seconds(pid) - before
    assert used <= QUIET_CPU, f"the worker used {used:.2f} s of CPU in {QUIET_SECONDS} s after the call was over"


async def assert_over(server: Deployment, request_id: str, stopped_at: float, statuses: set[str]) -> None:
    """One record, which says how the call ended and that it ended soon after `stopped_at`; and no more computing."""
    record = await server.trail.one(request_id)
    seen_after = time.time() - stopped_at
    assert record["status"] in statuses
    assert record["reason"]
    assert seen_after < PROMPT, f"its record came {seen_after:.2f} s after it"
    await assert_idle(server.worker)
    assert len(await server.trail.of(request_id)) == 1


@pytest.mark.parametrize("endless", CALLS, ids=name_of)
async def test_a_cancelled_call_stops_computing(server: Deployment, client: RawClient, endless: Endless) -> None:
    request_id = new_id()
    async with client.open(endless.path, metadata=headers(server, endless, request_id)) as call:
        await call.send(endless.message.SerializeToString())
        if not endless.bidi:
            await call.half_close()
        if endless.streams:
            for _ in range(3 if endless.bidi else 2):  # a steered one says first that it has started
                assert await call.receive() is not None
        else:
            await at_work(server.worker)
        stopped_at = time.time()
        call.cancel()
        assert (await call.status()).code == "CANCELLED"
    await assert_over(server, request_id, stopped_at, {"CANCELLED"})


@pytest.mark.parametrize("endless", SHAPES, ids=name_of)
async def test_a_client_that_vanishes_stops_its_calls(server: Deployment, transport: str, endless: Endless) -> None:
    request_id = new_id()
    client = RawClient(server.address(transport))
    async with client:
        call = client.open(endless.path, metadata=headers(server, endless, request_id))
        await call.send(endless.message.SerializeToString())
        if not endless.bidi:
            await call.half_close()
        if endless.streams:
            assert await call.receive() is not None
        else:
            await at_work(server.worker)
        stopped_at = time.time()
        await client.close()
    await assert_over(server, request_id, stopped_at, {"CANCELLED"})


@pytest.mark.parametrize("endless", SHAPES, ids=name_of)
async def test_a_missed_deadline_stops_computing(server: Deployment, client: RawClient, endless: Endless) -> None:
    request_id, seconds = new_id(), 0.6
    stopped_at = time.time() + seconds
    async with client.open(endless.path, metadata=headers(server, endless, request_id), timeout=seconds) as call:
        await call.send(endless.message.SerializeToString())
        if not endless.bidi:
            await call.half_close()
        while await call.receive() is not None:
            pass
        assert (await call.status()).code == "DEADLINE_EXCEEDED"
    await assert_over(server, request_id, stopped_at, {"DEADLINE_EXCEEDED", "CANCELLED"})
    record = await server.trail.one(request_id)
    assert record["duration_ms"] < (seconds + PROMPT) * 1000.0
    # The client hangs up at its deadline, which may reach the server a moment before the server's own timer.
    assert record["status"] == "DEADLINE_EXCEEDED" or record["duration_ms"] < seconds * 1000.0


async def test_an_upload_that_breaks_off_is_on_record_as_cancelled(server: Deployment, client: RawClient) -> None:
    request_id, path = new_id(), "/mfn.v1.FieldService/AnalyzeField"
    header = v1.AnalyzeFieldHeader(shape=[64, 64], encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)
    signed = server.caller().headers(path, None, request_id=request_id)
    async with client.open(path, metadata=signed) as call:
        await call.send(v1.AnalyzeFieldRequest(header=header).SerializeToString())
        await call.send(v1.AnalyzeFieldRequest(chunk=bytes(1000)).SerializeToString())
        # Nothing comes back that would tell that the upload has arrived; an answered call on the same connection does.
        run = "/mfn.MFNSimulationService/RunSimulation"
        with pytest.raises(RpcFailed, match="INVALID_ARGUMENT"):
            await client.unary(run, b"\xff", metadata=server.caller().sign(run, b"\xff"))
        call.cancel()
    record = await server.trail.one(request_id)
    assert (record["status"], record["messages_out"]) == ("CANCELLED", 0)


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
async def test_cancelled_streams_leave_nothing_behind(server: Deployment, transport: str, count: int) -> None:
    """Memory, threads and open files of the worker are after many cancelled streams what they were after a few."""
    path = "/mfn.MFNSimulationService/StreamSimulation"
    request = w1.SimulationStreamRequest(grid_size=64, total_steps=1_000_000, steps_per_frame=25, turing_enabled=True)
    caller, message = server.caller(), request.SerializeToString()

    async def cancelled(client: RawClient, request_id: str, limit: asyncio.Semaphore) -> None:
        signed = caller.headers(path, request, request_id=request_id)
        async with limit, client.open(path, metadata=signed) as call:
            await call.send(message)
            await call.half_close()
            for _ in range(2):
                assert await call.receive() is not None
            call.cancel()

    async def burst(number: int) -> None:
        request_id, limit = new_id(), asyncio.Semaphore(8)
        async with RawClient(server.address(transport)) as client:
            await asyncio.gather(*(cancelled(client, request_id, limit) for _ in range(number)))
            records = await server.trail.of(request_id, count=number)
        assert len(records) == number
        assert {record["status"] for record in records} == {"CANCELLED"}

    await burst(100)
    worker = server.worker
    before = resident_bytes(worker), threads(worker), open_files(worker)
    await burst(count)
    grown, more_threads, more_files = (
        after - old
        for after, old in zip((resident_bytes(worker), threads(worker), open_files(worker)), before, strict=True)
    )
    assert grown < 5 * 2**20, f"{count} cancelled streams left {grown / 2**20:.1f} MiB"
    assert more_threads <= 8  # pools of the libraries that had not filled up
    assert more_files <= 1  # the connection of the last burst may not be closed yet
    await assert_idle(worker)
