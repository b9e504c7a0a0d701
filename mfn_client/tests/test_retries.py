"""Retries against a server that fails as each test tells it to.

The server checks signatures and remembers nonces, so that an attempt which is not signed afresh is UNAUTHENTICATED.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from mfn_client import Code, Credentials, MFNClient, MfnRpcError, RetryBudget
from mfn_proto import mfn_pb2
from mfn_proto.rich_status import DETAILS_KEY, encode_rich_status
from mfn_proto.v1 import field_pb2 as pb
from mfn_signing import HEADERS

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
STEER = "/mfn.v1.FieldService/SteerSimulation"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))
PATIENCE = 20.0

Trailing = tuple[tuple[str, str | bytes], ...]
SOON: Trailing = (("retry-after-ms", "1"),)


def retry_info(code: int, seconds: float) -> Trailing:
    return ((DETAILS_KEY, encode_rich_status(code, "wait", retry_after=seconds)),)


class Failing:
    """A method that fails so many times, and answers from then on."""

    def __init__(self, failures: int, code: str, trailing: Trailing = ()) -> None:
        self.left = failures
        self.code = grpc.StatusCode[code]
        self.trailing = trailing

    async def __call__(self, call: Any) -> None:
        if call.path in (ANALYZE, STEER):
            first = await call.read()
        if self.left > 0:
            self.left -= 1
            await call.context.abort(self.code, "not now", self.trailing)
        if call.path == EXTRACT:
            request_id = mfn_pb2.FeatureRequest.FromString(call.first).request_id
            await call.write(mfn_pb2.FeatureResponse(request_id=request_id))
        elif call.path == STREAM_FEATURES:
            request_id = mfn_pb2.FeatureStreamRequest.FromString(call.first).request_id
            await call.write(mfn_pb2.FeatureFrame(request_id=request_id, step=1, is_final=True))
        elif call.path == ANALYZE:
            messages = [first, *await call.read_all()]
            assert len(messages) == 2  # the whole upload, in each attempt
            request_id = pb.AnalyzeFieldRequest.FromString(first).header.request_id
            await call.write(pb.AnalyzeFieldResponse(request_id=request_id))
        else:
            await call.write(pb.SteerSimulationResponse(started=pb.Session(session_id="s", sequence=1)))
            ended = pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED)
            await call.write(pb.SteerSimulationResponse(ended=ended))


async def unary(client: MFNClient) -> None:
    await client.extract_features()


async def server_stream(client: MFNClient) -> None:
    assert [frame.step async for frame in client.stream_features()] == [1]


async def client_stream(client: MFNClient) -> None:
    await client.analyze_field([[0.0]])


async def bidi(client: MFNClient) -> None:
    async with client.steer() as session:
        assert [event async for event in session] == [session.ended]


Shape = Callable[[MFNClient], Awaitable[None]]
SHAPES: list[tuple[str, Shape]] = [
    (EXTRACT, unary),
    (STREAM_FEATURES, server_stream),
    (ANALYZE, client_stream),
    (STEER, bidi),
]
NAMES = ["unary", "server_stream", "client_stream", "bidi"]
IDEMPOTENT = SHAPES[:3]

PERMANENT = sorted(set(Code) - {Code.OK, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED})


def patient(server: Any, **options: Any) -> MFNClient:
    return MFNClient(server.address, credentials=CREDENTIALS, retry_backoff_ms=1.0, **options)


def nonces(server: Any) -> list[str]:
    return [call.header(HEADERS[2]) for call in server.calls]


@pytest.mark.parametrize(("path", "call"), SHAPES, ids=NAMES)
@pytest.mark.parametrize(
    ("code", "trailing"),
    [
        ("UNAVAILABLE", SOON),
        ("UNAVAILABLE", retry_info(14, 0.0)),
        ("RESOURCE_EXHAUSTED", SOON),
        ("RESOURCE_EXHAUSTED", retry_info(8, 0.001)),
    ],
    ids=["unavailable", "unavailable-info", "exhausted", "exhausted-info"],
)
async def test_a_refusal_that_says_when_to_come_back_is_obeyed_in_every_shape(
    server: Any, path: str, call: Shape, code: str, trailing: Trailing
) -> None:
    server.serve(path, Failing(2, code, trailing))
    async with patient(server) as client:
        await call(client)
    assert len(server.calls) == 3
    assert len(set(nonces(server))) == 3


@pytest.mark.parametrize(("path", "call"), IDEMPOTENT, ids=NAMES[:3])
@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_what_is_idempotent_is_attempted_again_without_a_word_of_the_server(
    server: Any, path: str, call: Shape, code: str
) -> None:
    server.serve(path, Failing(2, code))
    async with patient(server) as client:
        await call(client)
    assert len(server.calls) == 3


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_a_session_is_not_started_again_where_it_may_have_been_started(server: Any, code: str) -> None:
    server.serve(STEER, Failing(1, code))
    async with patient(server) as client:
        with pytest.raises(MfnRpcError) as caught:
            await bidi(client)
    assert (caught.value.code, caught.value.attempts) == (code, 1)
    assert len(server.calls) == 1


async def test_taking_a_session_up_is_attempted_again(server: Any) -> None:
    left = 2

    async def resumed(call: Any) -> None:
        nonlocal left
        await call.read()
        if left > 0:
            left -= 1
            await call.context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        await call.write(pb.SteerSimulationResponse(resumed=pb.Session(session_id="s", sequence=1)))
        await call.write(pb.SteerSimulationResponse(ended=pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED)))

    server.serve(STEER, resumed)
    async with patient(server) as client, client.resume("s") as session:
        assert [event async for event in session] == [session.ended]
    assert len(server.calls) == 3


@pytest.mark.parametrize(("path", "call"), SHAPES, ids=NAMES)
@pytest.mark.parametrize("code", PERMANENT)
async def test_a_permanent_code_is_the_caller_s_at_once(server: Any, path: str, call: Shape, code: str) -> None:
    server.serve(path, Failing(1, code, SOON))
    async with patient(server) as client:
        with pytest.raises(MfnRpcError) as caught:
            await call(client)
    assert caught.value.code == code
    assert caught.value.attempts == 1
    assert len(server.calls) == 1


@pytest.mark.parametrize(("path", "call"), SHAPES, ids=NAMES)
async def test_a_bound_that_waiting_does_not_move_is_the_caller_s_at_once(server: Any, path: str, call: Shape) -> None:
    server.serve(path, Failing(1, "RESOURCE_EXHAUSTED"))
    async with patient(server) as client:
        with pytest.raises(MfnRpcError) as caught:
            await call(client)
    assert caught.value.attempts == 1
    assert len(server.calls) == 1


@pytest.mark.parametrize(("path", "call"), SHAPES, ids=NAMES)
@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_the_last_attempt_s_error_is_raised_and_counts_the_attempts(
    server: Any, path: str, call: Shape, attempts: int
) -> None:
    server.serve(path, Failing(9, "UNAVAILABLE", SOON))
    async with patient(server, retry_max_attempts=attempts) as client:
        with pytest.raises(MfnRpcError) as caught:
            await call(client)
    error = caught.value
    assert (error.code, error.message, error.attempts) == (Code.UNAVAILABLE, "not now", attempts)
    assert (f", {attempts} attempts]" in str(error)) is (attempts > 1)
    assert len(server.calls) == attempts


@pytest.mark.parametrize(("path", "call"), SHAPES, ids=NAMES)
@pytest.mark.parametrize(
    "trailing",
    [retry_info(8, 0.3), (("retry-after-ms", "300"),)],
    ids=["info", "metadata"],
)
async def test_the_server_s_delay_is_the_least_that_is_waited(
    server: Any, path: str, call: Shape, trailing: Trailing
) -> None:
    server.serve(path, Failing(1, "RESOURCE_EXHAUSTED", trailing))
    async with patient(server) as client:
        began = time.monotonic()
        await call(client)
        assert time.monotonic() - began >= 0.3


async def test_the_delay_of_a_gateway_is_in_seconds(server: Any) -> None:
    server.serve(EXTRACT, Failing(1, "UNAVAILABLE", (("retry-after", "1"),)))
    async with patient(server) as client:
        began = time.monotonic()
        await client.extract_features()
        assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("seconds", [5.0, None])
async def test_a_delay_that_does_not_fit_into_the_deadline_is_reported_and_not_waited(
    server: Any, seconds: float | None
) -> None:
    server.serve(EXTRACT, Failing(1, "RESOURCE_EXHAUSTED", retry_info(8, 60.0)))
    async with patient(server) as client:
        async with asyncio.timeout(4.0):
            with pytest.raises(MfnRpcError) as caught:
                await client.extract_features(timeout=seconds)
    assert (caught.value.code, caught.value.retry_after) == (Code.RESOURCE_EXHAUSTED, 60.0)
    assert len(server.calls) == 1


async def test_the_deadline_is_that_of_all_attempts_together(server: Any) -> None:
    server.serve(EXTRACT, Failing(1, "UNAVAILABLE", retry_info(14, 1.5)))
    async with patient(server) as client:
        await client.extract_features(timeout=30.0)
    first, second = (call.seconds_left for call in server.calls)
    assert first - second >= 1.0  # counted on the wall clock, in coarse steps


async def test_a_deadline_that_passed_is_not_attempted_again(server: Any) -> None:
    async def silent(call: Any) -> None:
        await asyncio.Event().wait()

    server.serve(EXTRACT, silent)
    async with patient(server) as client:
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features(timeout=0.2)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert len(server.calls) == 1


async def test_a_stream_is_not_attempted_again_once_it_has_given_a_reply(server: Any) -> None:
    async def breaks(call: Any) -> None:
        request_id = mfn_pb2.FeatureStreamRequest.FromString(call.first).request_id
        await call.write(mfn_pb2.FeatureFrame(request_id=request_id, step=1))
        await call.context.abort(grpc.StatusCode.UNAVAILABLE, "not now", SOON)

    server.serve(STREAM_FEATURES, breaks)
    async with patient(server) as client:
        stream = client.stream_features()
        assert (await anext(stream)).step == 1
        with pytest.raises(MfnRpcError, match="UNAVAILABLE: not now"):
            await anext(stream)
    assert len(server.calls) == 1


async def test_a_budget_that_is_used_up_ends_retries_and_not_calls(server: Any) -> None:
    server.serve(EXTRACT, Failing(10**6, "UNAVAILABLE", SOON))
    budget = RetryBudget(capacity=4, per_call=0.0, per_second=0.0)
    async with patient(server, retry_budget=budget) as client:
        for _ in range(20):
            with pytest.raises(MfnRpcError):
                await client.extract_features()
    assert len(server.calls) == 20 + 4


async def test_several_clients_may_share_a_budget(server: Any) -> None:
    server.serve(EXTRACT, Failing(10**6, "UNAVAILABLE", SOON))
    budget = RetryBudget(capacity=3, per_call=0.0, per_second=0.0)
    async with patient(server, retry_budget=budget) as one, patient(server, retry_budget=budget) as other:
        for client in (one, other):
            with pytest.raises(MfnRpcError):
                await client.extract_features()
    assert len(server.calls) == 2 + 3
    assert budget.tokens == 0.0


async def test_an_outage_adds_no_more_than_a_tenth_to_the_load(server: Any) -> None:
    server.serve(EXTRACT, Failing(10**6, "UNAVAILABLE", SOON))
    budget = RetryBudget(capacity=1, per_second=0.0)
    async with patient(server, retry_budget=budget) as client:
        for _ in range(10):
            await asyncio.gather(*(client.extract_features() for _ in range(20)), return_exceptions=True)
    assert 200 < len(server.calls) <= 200 * 1.1 + 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_closing_the_client_ends_the_wait_for_the_next_attempt(server: Any, streamed: bool) -> None:
    server.serve(EXTRACT, Failing(9, "UNAVAILABLE", retry_info(14, 20.0)))
    server.serve(STREAM_FEATURES, Failing(9, "UNAVAILABLE", retry_info(14, 20.0)))
    async with patient(server) as client:
        call = unary(client) if not streamed else server_stream(client)
        task = asyncio.ensure_future(call)
        async with asyncio.timeout(PATIENCE):
            while not server.calls:
                await asyncio.sleep(0)
    with pytest.raises(MfnRpcError) as caught:
        async with asyncio.timeout(5.0):
            await task
    assert caught.value.code is Code.CANCELLED


async def test_cancelling_the_task_ends_the_wait_for_the_next_attempt(server: Any) -> None:
    server.serve(EXTRACT, Failing(9, "UNAVAILABLE", retry_info(14, 20.0)))
    async with patient(server) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.extract_features()
    assert len(server.calls) == 1


async def test_a_stream_that_is_closed_in_the_wait_makes_no_further_attempt(server: Any) -> None:
    server.serve(STREAM_FEATURES, Failing(9, "UNAVAILABLE", retry_info(14, 0.3)))
    async with patient(server) as client:
        stream = client.stream_features()
        task = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(PATIENCE):
            while not server.calls:
                await asyncio.sleep(0)
        await stream.aclose()
        with pytest.raises(MfnRpcError) as caught:
            await task
    assert caught.value.code is Code.CANCELLED
    assert len(server.calls) == 1


@pytest.mark.parametrize("values", [{"retry_max_attempts": 0}, {"retry_backoff_ms": 0.0}, {"retry_backoff_ms": -1.0}])
def test_a_pace_out_of_its_bounds_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        MFNClient("127.0.0.1:1", **values)
