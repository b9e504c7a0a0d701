"""A call that is not wanted any more stops computing within a slice and closes its session."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mfn_core import Code
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1

STEPS = 5000
GRID = {"grid_size": 16}

CALLS = [
    pytest.param(
        "/mfn.MFNFeaturesService/ExtractFeatures", w1.FeatureRequest(steps=STEPS, **GRID), id="ExtractFeatures"
    ),
    pytest.param(
        "/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest(steps=STEPS, **GRID), id="RunSimulation"
    ),
    pytest.param("/mycelium.MyceliumService/Simulate", w2.SimulateRequest(steps=STEPS, **GRID), id="mycelium-Simulate"),
    pytest.param(
        "/mycelium.MyceliumService/SimulateStream", w2.SimulateRequest(steps=STEPS, **GRID), id="SimulateStream"
    ),
    pytest.param(
        "/mfn.MFNFeaturesService/StreamFeatures",
        w1.FeatureStreamRequest(total_steps=STEPS, steps_per_frame=STEPS, **GRID),
        id="StreamFeatures",
    ),
    pytest.param(
        "/mfn.MFNSimulationService/StreamSimulation",
        w1.SimulationStreamRequest(total_steps=STEPS, steps_per_frame=1, **GRID),
        id="StreamSimulation",
    ),
    pytest.param(
        "/mfn.v1.FieldService/Simulate",
        v1.SimulateRequest(simulation=v1.SimulationSpec(**GRID), steps=STEPS),
        id="Simulate",
    ),
    pytest.param(
        "/mfn.v1.FieldService/SteerSimulation",
        v1.SteerSimulationRequest(
            start=v1.StartCommand(
                simulation=v1.SimulationSpec(**GRID),
                total_steps=STEPS,
                frames=v1.FrameOptions(every_n_steps=STEPS),
            )
        ),
        id="SteerSimulation",
    ),
]


def begun(served: Any, path: str, message: Any, **arguments: Any) -> Any:
    if served.dispatcher.operations[path].shape.client_streams:
        conversation = served.open(path, **arguments)
        conversation.send(message)
        return conversation
    return served.open(path, message, **arguments)


@pytest.mark.parametrize(("path", "message"), CALLS)
async def test_a_cancelled_call_takes_no_further_step(serve: Any, path: str, message: Any) -> None:
    served = serve(service={"resume_within_seconds": 0})
    gate = served.backend.gate = threading.Semaphore(5)  # a sixth step waits for ever, and looks for its cancellation
    conversation = begun(served, path, message)
    await served.until(lambda: bool(served.backend.sessions) and served.backend.sessions[0].steps == 5)
    conversation.break_off()
    assert (await conversation.outcome()).code is Code.CANCELLED
    for _ in range(100):
        gate.release()
    session = served.backend.sessions[0]
    assert session.steps == 5
    assert session.closed
    assert served.provider.sessions.live == 0


@pytest.mark.parametrize(("path", "message"), CALLS)
async def test_a_deadline_stops_the_computing(serve: Any, path: str, message: Any) -> None:
    served = serve(service={"resume_within_seconds": 0})
    served.backend.gate = threading.Semaphore(3)
    conversation = begun(served, path, message, timeout=0.2)
    assert (await conversation.outcome()).code is Code.DEADLINE_EXCEEDED
    assert [(each.steps <= 3, each.closed) for each in served.backend.sessions] == [(True, True)]


@pytest.mark.parametrize(("path", "message"), CALLS[3:])
async def test_a_stream_whose_reader_is_gone_closes_its_session(serve: Any, path: str, message: Any) -> None:
    served = serve(service={"resume_within_seconds": 0})
    short = type(message).FromString(message.SerializeToString())
    if isinstance(short, v1.SteerSimulationRequest):
        short.start.frames.every_n_steps = 1
    elif isinstance(short, v1.SimulateRequest):
        short.frames.every_n_steps = 1
    elif not isinstance(short, w2.SimulateRequest):
        short.steps_per_frame = 1
    conversation = begun(served, path, short, window=1)
    await conversation.next()
    await served.until(conversation._outbound.full)
    conversation.break_off()
    assert (await conversation.outcome()).code is Code.CANCELLED
    assert [each.closed for each in served.backend.sessions] == [True]


async def test_a_call_cancelled_while_it_waits_for_a_thread_opens_nothing(serve: Any) -> None:
    served = serve(threads=1)
    served.backend.gate = threading.Semaphore(0)
    run = "/mfn.MFNSimulationService/RunSimulation"
    first = served.open(run, w1.SimulationRequest(steps=10, **GRID))
    await served.until(lambda: len(served.backend.sessions) == 1)
    second = served.open(run, w1.SimulationRequest(steps=10, **GRID))
    await served.until(lambda: served.dispatcher.active == 2)
    second.break_off()
    assert (await second.outcome()).code is Code.CANCELLED
    for _ in range(10):
        served.backend.gate.release()
    assert (await first.outcome()).code is Code.OK
    assert len(served.backend.sessions) == 1


async def test_drain_ends_calls_that_do_not_finish_as_unavailable(served: Any) -> None:
    served.backend.gate = threading.Semaphore(2)
    conversation = served.open("/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest(steps=100, **GRID))
    await served.until(lambda: bool(served.backend.sessions) and served.backend.sessions[0].steps == 2)
    await served.dispatcher.drain(0.01)
    assert (await conversation.outcome()).code is Code.UNAVAILABLE
    assert served.backend.sessions[0].closed
