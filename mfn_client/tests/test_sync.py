"""The client without an event loop: the same methods, from several threads, and ends that leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from mfn_client import (
    Acknowledgement,
    Code,
    Credentials,
    Frame,
    MFNClient,
    MFNClientSync,
    MfnRpcError,
    ServingStatus,
    SessionEnded,
)
from mfn_proto import mfn_pb2
from mfn_proto.v1 import field_pb2 as pb

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
RUN = "/mfn.MFNSimulationService/RunSimulation"
ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
STEER = "/mfn.v1.FieldService/SteerSimulation"
CHECK = "/grpc.health.v1.Health/Check"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))
PATIENCE = 20.0


async def answer(call: Any) -> None:
    request = mfn_pb2.FeatureRequest.FromString(call.first)
    await call.write(mfn_pb2.FeatureResponse(request_id=request.request_id, growth_events=request.seed))


async def endless(call: Any) -> None:
    request = mfn_pb2.FeatureStreamRequest.FromString(call.first)
    step = 0
    while True:
        step += 1
        await call.write(mfn_pb2.FeatureFrame(request_id=request.request_id, step=step))


async def three(call: Any) -> None:
    request = mfn_pb2.FeatureStreamRequest.FromString(call.first)
    for step in (1, 2, 3):
        await call.write(mfn_pb2.FeatureFrame(request_id=request.request_id, step=step, is_final=step == 3))


async def silent(call: Any) -> None:
    await asyncio.Event().wait()


async def analyzed(call: Any) -> None:
    header = pb.AnalyzeFieldRequest.FromString((await call.read_all())[0]).header
    await call.write(pb.AnalyzeFieldResponse(request_id=header.request_id, active_fraction=0.5))


async def steered(call: Any) -> None:
    first = pb.SteerSimulationRequest.FromString(await call.read())
    session = pb.Session(session_id="unguessable", resume_within_seconds=30, step=4, sequence=1, paused=True)
    if first.HasField("start"):
        await call.write(pb.SteerSimulationResponse(started=session))
    else:
        await call.write(pb.SteerSimulationResponse(resumed=session))
    await call.write(pb.SteerSimulationResponse(frame=pb.Frame(request_id="first", step=10)))
    while (raw := await call.read()) is not None:
        command = pb.SteerSimulationRequest.FromString(raw)
        done = pb.CommandAcknowledgement(sequence=command.sequence, step=10)
        await call.write(pb.SteerSimulationResponse(acknowledged=done))
        if command.HasField("stop"):
            ended = pb.SessionEnded(reason=pb.SESSION_END_REASON_STOPPED, step=10)
            await call.write(pb.SteerSimulationResponse(ended=ended))
            return


@pytest.fixture
def tiny(threaded: Any) -> Any:
    threaded.serve(EXTRACT, answer)
    threaded.serve(STREAM_FEATURES, three)
    threaded.serve(RUN, silent)
    threaded.serve(ANALYZE, analyzed)
    threaded.serve(STEER, steered)
    return threaded


@pytest.fixture
def client(tiny: Any) -> Iterator[MFNClientSync]:
    with MFNClientSync(tiny.address, credentials=CREDENTIALS) as client:
        yield client


def until(condition: Any) -> None:
    waited = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError("it did not happen")


def test_calls_block_and_give_the_same_results(tiny: Any, client: MFNClientSync) -> None:
    assert client.extract_features(seed=7).growth_events == 7
    assert client.analyze_field([[0.0]]).active_fraction == 0.5
    assert client.target == tiny.address


def test_errors_are_the_same(client: MFNClientSync) -> None:
    with pytest.raises(MfnRpcError) as caught:
        client.validate_pattern()
    assert caught.value.code is Code.UNIMPLEMENTED
    with pytest.raises(ValueError, match="two dimensions"):
        client.analyze_field([0.0])


def test_streams_are_iterators(client: MFNClientSync) -> None:
    frames = client.stream_features(request_id="mine")
    assert frames.request_id == "mine"
    assert [frame.step for frame in frames] == [1, 2, 3]
    assert list(frames) == []
    frames.close()
    frames.close()


def test_leaving_a_stream_cancels_its_call(tiny: Any, client: MFNClientSync) -> None:
    tiny.serve(STREAM_FEATURES, endless)
    with client.stream_features() as frames:
        for frame in frames:
            if frame.step == 3:
                break
    until(tiny.cancelled.is_set)
    tiny.cancelled.clear()
    for _ in client.stream_features():
        break
    gc.collect()
    until(tiny.cancelled.is_set)


def test_a_session_is_steered_from_one_thread_or_from_two(client: MFNClientSync) -> None:
    with client.steer(request_id="mine") as session:
        assert (session.request_id, session.session_id, session.resume_within_seconds) == ("mine", "unguessable", 30)
        assert (session.opened_at_step, session.opened_paused, session.resumptions) == (4, True, 0)
        assert isinstance(next(session), Frame)
        assert session.last_step == 10
        assert [session.pause(), session.resume(), session.inject(1, 2), session.change(alpha=0.1)] == [2, 3, 4, 5]
        commander = threading.Thread(target=session.stop)
        commander.start()
        events = list(session)
        commander.join()
        assert [type(event) for event in events] == [*[Acknowledgement] * 5, SessionEnded]
    assert session.ended == events[-1]


def test_a_session_is_left_and_taken_up(tiny: Any, client: MFNClientSync) -> None:
    with client.steer() as session:
        next(session)
        session.detach()
    with client.resume(session.session_id, session.last_step) as again:
        assert isinstance(next(again), Frame)
    assert again.ended is not None
    assert [call.path for call in tiny.calls] == [STEER, STEER]


def test_health_is_the_same(tiny: Any, client: MFNClientSync) -> None:
    async def serving(call: Any) -> None:
        await call.write(b"\x08\x01")

    tiny.secret = None
    tiny.serve(CHECK, serving)
    assert client.health_check() is ServingStatus.SERVING


def test_many_threads_share_one_client(tiny: Any, client: MFNClientSync) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda seed: client.extract_features(seed=seed).growth_events, range(100)))
    assert results == list(range(100))
    assert len(tiny.calls) == 100


def test_threads_take_turns_at_one_stream(client: MFNClientSync) -> None:
    frames = client.stream_features()
    with ThreadPoolExecutor(3) as pool:
        steps = sorted(frame.step for frame in pool.map(lambda _: next(frames), range(3)))
    assert steps == [1, 2, 3]


def test_several_clients_and_an_event_loop_beside_them_do_not_disturb_each_other(tiny: Any) -> None:
    def fifty(client: MFNClientSync) -> None:
        for _ in range(50):
            client.extract_features()

    async def beside() -> None:
        async with MFNClient(tiny.address, credentials=CREDENTIALS) as client:
            await asyncio.gather(*(client.extract_features() for _ in range(50)))

    with (
        MFNClientSync(tiny.address, credentials=CREDENTIALS) as one,
        MFNClientSync(tiny.address, credentials=CREDENTIALS) as other,
        ThreadPoolExecutor(3) as pool,
    ):
        running: list[Future[Any]] = [pool.submit(fifty, one), pool.submit(fifty, other)]
        running.append(pool.submit(lambda: asyncio.run(beside())))
        for each in running:
            each.result(PATIENCE)


def test_closing_ends_the_calls_of_other_threads_with_an_error(tiny: Any) -> None:
    client = MFNClientSync(tiny.address, credentials=CREDENTIALS)
    client.connect()
    with ThreadPoolExecutor(2) as pool:
        hanging = [pool.submit(client.run_simulation) for _ in range(2)]
        until(lambda: len(tiny.calls) == 2)
        client.close()
        for each in hanging:
            with pytest.raises(MfnRpcError) as caught:
                each.result(PATIENCE)
            assert caught.value.code is Code.CANCELLED


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mfn-client")]


def test_a_client_is_opened_once_and_closed_as_often_as_one_likes(tiny: Any) -> None:
    client = MFNClientSync(tiny.address, credentials=CREDENTIALS)
    with pytest.raises(RuntimeError, match="open the client first"):
        client.extract_features()
    client.close()
    client.connect()
    with pytest.raises(RuntimeError, match="open already"):
        client.connect()
    frames = client.stream_features()
    next(frames)
    client.close()
    client.close()
    frames.close()
    assert threads() == []
    with pytest.raises(RuntimeError, match="open the client first"):
        next(frames)
    with client:
        client.extract_features()
    assert threads() == []


def test_a_client_that_is_dropped_leaves_no_thread(tiny: Any) -> None:
    client = MFNClientSync(tiny.address, credentials=CREDENTIALS)
    client.connect()
    client.extract_features()
    assert threads() == ["mfn-client"]
    del client
    gc.collect()
    until(lambda: threads() == [])


PUBLIC = sorted(name for name in vars(MFNClient) if not name.startswith("_"))


def test_both_clients_have_the_same_methods_with_the_same_arguments_and_documentation() -> None:
    assert sorted(name for name in vars(MFNClientSync) if not name.startswith("_")) == PUBLIC
    for name in {*PUBLIC, "__init__"} - {"target", "connect", "close"}:
        one, other = getattr(MFNClient, name), getattr(MFNClientSync, name)
        assert list(inspect.signature(one).parameters.values()) == list(inspect.signature(other).parameters.values())
        assert one.__doc__ == other.__doc__
        assert not inspect.iscoroutinefunction(other)


PROGRAM = """
import sys, threading
from mfn_client import Credentials, MFNClientSync

credentials = Credentials(key_id="lab-1", secret=bytes(range(32)))
client = MFNClientSync(sys.argv[1], credentials=credentials)
client.connect()
client.extract_features()
frames = client.stream_features()
assert next(frames).step == 1
if sys.argv[2] == "close":
    client.close()
elif sys.argv[2] == "thread":
    def hang():
        try:
            client.run_simulation()
        except BaseException:
            pass
    threading.Thread(target=hang, daemon=True).start()
elif sys.argv[2] == "interrupt":
    print("ready", flush=True)
    client.run_simulation()
"""


def program(tiny: Any, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, tiny.address, how],
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("how", ["close", "leave", "thread"])
def test_a_program_ends_without_a_warning_however_it_leaves_its_client(tiny: Any, how: str) -> None:
    with program(tiny, how) as process:
        said, _ = process.communicate(timeout=60)
    assert said == ""
    assert process.returncode == 0


def test_an_interrupt_cancels_the_call_that_is_waited_for(tiny: Any) -> None:
    with program(tiny, "interrupt") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until(lambda: any(call.path == RUN for call in tiny.calls))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert said.rstrip().endswith("KeyboardInterrupt")
    until(tiny.cancelled.is_set)
