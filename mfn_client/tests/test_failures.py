"""Errors, deadlines, cancellation, and closing."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import re
import socket
import sys
from typing import Any

import grpc
import pytest

from mfn_client import CLIENT_TIMEOUT, Code, Credentials, FieldViolation, MFNClient, MfnRpcError
from mfn_proto import mfn_pb2
from mfn_proto.rich_status import DETAILS_KEY, encode_rich_status

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
SECRET = bytes(range(32))
CREDENTIALS = Credentials(key_id="lab-1", secret=SECRET)
PATIENCE = 20.0


async def silent(call: Any) -> None:
    """Replies with nothing until the caller gives up."""
    await asyncio.Event().wait()


async def endless(call: Any) -> None:
    """Sends frames for as long as somebody reads them."""
    request = mfn_pb2.FeatureStreamRequest.FromString(call.first)
    step = 0
    while True:
        step += 1
        await call.write(mfn_pb2.FeatureFrame(request_id=request.request_id, step=step))


async def seen_cancelled(server: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        await server.cancelled.wait()


async def called(server: Any, calls: int = 1) -> None:
    """Wait until so many calls are being served."""
    async with asyncio.timeout(PATIENCE):
        while len(server.calls) < calls:
            await asyncio.sleep(0)


async def test_an_error_tells_everything_that_the_server_says(server: Any) -> None:
    async def refuse(call: Any) -> None:
        details = encode_rich_status(
            8,
            "too many",
            violations=[("alpha", "got 1.0, at most 0.25"), ("seed", "got -1, at least 0")],
            retry_after=1.5,
            reason="RATE",
            details={"limit": "rate"},
        )
        await call.context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", ((DETAILS_KEY, details),))

    server.serve(EXTRACT, refuse)
    server.serve(STREAM_FEATURES, refuse)
    server.serve(ANALYZE, refuse)

    async def streamed(client: MFNClient) -> None:
        await anext(client.stream_features(request_id="mine"))

    for call in (
        lambda client: client.extract_features(request_id="mine"),
        streamed,
        lambda client: client.analyze_field([[0.0]], request_id="mine"),
    ):
        async with MFNClient(server.address, credentials=CREDENTIALS, retry_max_attempts=1) as client:
            with pytest.raises(MfnRpcError) as caught:
                await call(client)
        error = caught.value
        assert error.code is Code.RESOURCE_EXHAUSTED
        assert error.code == "RESOURCE_EXHAUSTED"
        assert error.message == "too many"
        assert error.retry_after == 1.5
        assert error.violations == (
            FieldViolation(field="alpha", description="got 1.0, at most 0.25"),
            FieldViolation(field="seed", description="got -1, at least 0"),
        )
        assert (error.reason, error.details) == ("RATE", {"limit": "rate"})
        assert error.request_id == "mine"
        assert error.method in (EXTRACT, STREAM_FEATURES, ANALYZE)
        assert str(error) == f"RESOURCE_EXHAUSTED: too many [{error.method}, request mine]"


async def test_an_error_can_be_pickled_with_all_that_it_says(client: MFNClient) -> None:
    with pytest.raises(MfnRpcError) as caught:
        await client.extract_features()  # the server has no such method
    copy = pickle.loads(pickle.dumps(caught.value))
    assert vars(copy) == vars(caught.value)
    assert str(copy) == str(caught.value)
    assert copy.code is Code.UNIMPLEMENTED


def test_a_code_of_a_later_version_is_unknown() -> None:
    assert MfnRpcError("TEAPOT", "short and stout").code is Code.UNKNOWN


async def test_replies_before_a_failure_are_good(server: Any, client: MFNClient) -> None:
    async def handle(call: Any) -> None:
        request = mfn_pb2.FeatureStreamRequest.FromString(call.first)
        await call.write(mfn_pb2.FeatureFrame(request_id=request.request_id, step=10))
        await call.context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the numbers became unstable")

    server.serve(STREAM_FEATURES, handle)
    stream = client.stream_features()
    assert (await anext(stream)).step == 10
    with pytest.raises(MfnRpcError, match="FAILED_PRECONDITION: the numbers became unstable"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_wrong_secret_is_unauthenticated_and_no_error_shows_it(server: Any) -> None:
    wrong = Credentials(key_id="lab-1", secret=b"\x42" * 32)
    async with MFNClient(server.address, credentials=wrong) as client:
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
    assert caught.value.code is Code.UNAUTHENTICATED
    shown = f"{caught.value!r} {caught.value} {vars(caught.value)} {vars(client)}"
    assert "QkJC" not in shown
    assert "4242" not in shown
    assert "BBBB" not in shown


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        async with MFNClient(f"127.0.0.1:{taken.getsockname()[1]}") as client:
            with pytest.raises(MfnRpcError) as caught:
                await client.extract_features()
            assert caught.value.code is Code.UNAVAILABLE
            with pytest.raises(MfnRpcError) as caught:
                await anext(client.stream_features())
            assert caught.value.code is Code.UNAVAILABLE


async def test_calls_have_the_deadlines_that_were_given(server: Any, client: MFNClient) -> None:
    async def reply(call: Any) -> None:
        request = mfn_pb2.FeatureRequest.FromString(call.first)
        await call.write(mfn_pb2.FeatureResponse(request_id=request.request_id))

    server.serve(EXTRACT, reply)
    server.serve(STREAM_FEATURES, reply)
    await client.extract_features()
    await client.extract_features(timeout=300)
    await client.extract_features(timeout=None)
    for timeout in (None, 400.0, CLIENT_TIMEOUT, 9e9, 1e300):
        await anext(client.stream_features(timeout=timeout))
    async with MFNClient(server.address, credentials=CREDENTIALS, timeout=None) as patient:
        await patient.extract_features()
    async with MFNClient(server.address, credentials=CREDENTIALS, timeout=1e12) as patient:
        await patient.extract_features()
    left = [None if call.seconds_left is None else round(call.seconds_left, -1) for call in server.calls]
    assert left[:6] == [30, 300, None, None, 400, 30]
    assert left[8] is None
    assert all(9e7 < seconds < 1.01e8 for seconds in (left[6], left[7], left[9]))


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_deadline_that_passes_ends_the_call_on_both_sides(
    server: Any, client: MFNClient, streamed: bool
) -> None:
    server.serve(EXTRACT, silent)
    server.serve(STREAM_FEATURES, silent)
    call = anext(client.stream_features(timeout=0.3)) if streamed else client.extract_features(timeout=0.3)
    with pytest.raises(MfnRpcError) as caught:
        await call
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    await seen_cancelled(server)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
async def test_a_timeout_that_is_no_time_is_refused(client: MFNClient, seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds"):
        await client.extract_features(timeout=seconds)
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds"):
        client.stream_features(timeout=seconds)
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds"):
        MFNClient("127.0.0.1:1", timeout=seconds)


async def test_leaving_the_block_of_a_stream_cancels_the_call(server: Any, client: MFNClient) -> None:
    server.serve(STREAM_FEATURES, endless)
    async with client.stream_features() as frames:
        async for frame in frames:
            if frame.step == 3:
                break
    await seen_cancelled(server)
    with pytest.raises(StopAsyncIteration):
        await anext(frames)


async def test_closing_a_stream_cancels_the_call_and_may_be_done_twice(server: Any, client: MFNClient) -> None:
    server.serve(STREAM_FEATURES, endless)
    frames = client.stream_features()
    assert (await anext(frames)).step == 1
    await frames.aclose()
    await seen_cancelled(server)
    await frames.aclose()


async def test_dropping_a_stream_cancels_the_call(server: Any, client: MFNClient) -> None:
    server.serve(STREAM_FEATURES, endless)
    async for _ in client.stream_features():
        break
    gc.collect()
    await seen_cancelled(server)


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_the_task_cancels_the_call(server: Any, client: MFNClient, streamed: bool) -> None:
    server.serve(EXTRACT, silent)
    server.serve(STREAM_FEATURES, silent)
    stream = client.stream_features()
    task = asyncio.ensure_future(anext(stream) if streamed else client.extract_features())
    await called(server)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen_cancelled(server)


async def test_a_timeout_of_the_caller_cancels_the_call(server: Any, client: MFNClient) -> None:
    server.serve(EXTRACT, silent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.extract_features()
    await seen_cancelled(server)


@pytest.mark.parametrize("streamed", [False, True])
async def test_closing_the_client_ends_its_calls_with_an_error_and_not_a_cancelled_task(
    server: Any, client: MFNClient, streamed: bool
) -> None:
    server.serve(EXTRACT, silent)
    server.serve(STREAM_FEATURES, silent)
    stream = client.stream_features()
    task = asyncio.ensure_future(anext(stream) if streamed else client.extract_features())
    await called(server)
    await client.close()
    with pytest.raises(MfnRpcError) as caught:
        await task
    assert caught.value.code is Code.CANCELLED
    await seen_cancelled(server)
    await client.close()


async def test_a_client_that_is_not_open_says_so(server: Any) -> None:
    client = MFNClient(server.address, credentials=CREDENTIALS)
    with pytest.raises(RuntimeError, match="open the client first"):
        await client.extract_features()
    await client.connect()
    with pytest.raises(RuntimeError, match="open already"):
        await client.connect()
    await client.close()
    with pytest.raises(RuntimeError, match="open the client first"):
        await anext(client.stream_features())
    assert server.calls == []


PROGRAM = """
import asyncio, gc, os, sys
from mfn_client import Code, Credentials, MFNClient, MfnRpcError

async def main(address):
    credentials = Credentials(key_id="lab-1", secret=bytes(range(32)))
    async with MFNClient(address, credentials=credentials) as client:
        await asyncio.gather(*(client.extract_features() for _ in range(20)))
        left = client.stream_features()
        assert (await anext(left)).step == 1
        async for frame in client.stream_features():
            break
        async with client.stream_features() as frames:
            async for frame in frames:
                break
        hanging = asyncio.ensure_future(client.run_simulation())
        await asyncio.sleep(0)
        hanging.cancel()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(100):  # what was cancelled has yet to end
        tasks = {task for task in tasks if not task.done()}
        await asyncio.sleep(0.01)
        if not tasks:
            break
    assert not tasks, tasks
    try:
        while True:
            await anext(left)
    except MfnRpcError as error:
        assert error.code is Code.CANCELLED, error

asyncio.run(main(sys.argv[1]), debug=True)
gc.collect()
"""


async def test_a_program_ends_without_a_warning_and_with_nothing_left_running(server: Any) -> None:
    async def reply(call: Any) -> None:
        request = mfn_pb2.FeatureRequest.FromString(call.first)
        await call.write(mfn_pb2.FeatureResponse(request_id=request.request_id))

    server.serve(EXTRACT, reply)
    server.serve(STREAM_FEATURES, endless)
    server.serve("/mfn.MFNSimulationService/RunSimulation", silent)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, server.address),
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    # Debug mode of asyncio tells of slow steps, which a busy machine has.
    lines = [line for line in said.decode().splitlines() if not re.match(r"Executing <.*took .* seconds", line)]
    assert lines == []
    assert process.returncode == 0
