"""Limits under load: what is admitted, what is refused, and places that come back however a call ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mfn_client.raw import RawCall, RawClient
from mfn_e2e.calls import Caller, exchange, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1

NERNST = "/mycelium.MyceliumService/ComputeNernst"
SIMULATE, STEER = "/mfn.v1.FieldService/Simulate", "/mfn.v1.FieldService/SteerSimulation"

CONCURRENT = 50
"""Calls in flight that a principal may have unless it is configured."""

IN_FLIGHT = 40
"""Calls that the load has in flight: fewer than a principal may have."""


# Calls a second.


@pytest.mark.parametrize(
    ("count", "rate", "burst"),
    # A machine that is busy with other tests can still be asked for more than the rate, and no pause of it fills a
    # bucket to the brim.
    [(600, 100, 200), pytest.param(10_000, 250, 1000, marks=pytest.mark.slow)],
    ids=["600-calls", "10,000-calls"],
)
@pytest.mark.slow
async def test_what_is_admitted_is_the_burst_and_the_rate_and_hardly_less(
    tmp_path: Path, transport: str, count: int, rate: int, burst: int
) -> None:
    limits = {"token_bucket": {"rate": float(rate), "burst": burst}}
    message = w2.NernstRequest(z_valence=1, concentration_out_molar=0.005, concentration_in_molar=0.14)
    raw = message.SerializeToString()
    ended: dict[str, int] = {}
    with Deployment(tables(plugins=["ratelimit"], limits=limits), tmp_path) as server:
        caller = server.caller()
        async with RawClient(server.address(transport)) as client:
            sent: list[float] = []
            answered: list[float] = []

            async def load() -> None:
                while len(sent) < count:
                    sent.append(time.monotonic())
                    reply = await exchange(client, NERNST, [raw], caller.headers(NERNST, message))
                    answered.append(time.monotonic())
                    ended[reply.code] = ended.get(reply.code, 0) + 1

            await asyncio.gather(*(load() for _ in range(IN_FLIGHT)))
    assert set(ended) == {"OK", "RESOURCE_EXHAUSTED"}, ended
    assert sum(ended.values()) == count
    # The server saw the first and the last call some time within these.
    longest, shortest = answered[-1] - sent[0], sent[-1] - answered[0]
    assert 0.98 * (burst + rate * shortest) <= ended["OK"] <= burst + rate * longest, (ended, shortest, longest)


# Calls in flight.


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server with the limits as they are unless configured."""
    with Deployment(tables(plugins=["ratelimit"]), tmp_path_factory.mktemp("limited")) as started:
        yield started


SLOW = v1.SimulateRequest(
    simulation=v1.SimulationSpec(grid_size=8),
    steps=10_000,
    frames=v1.FrameOptions(every_n_steps=1, max_frames_per_second=1.0),
)


@asynccontextmanager
async def stream(
    client: RawClient,
    caller: Caller,
    request_id: str,
    timeout: float | None = None,  # noqa: ASYNC109 - the call's deadline
) -> AsyncIterator[RawCall]:
    """A stream that has been admitted, and would run for hours."""
    signed = caller.headers(SIMULATE, SLOW, request_id=request_id)
    async with client.open(SIMULATE, metadata=signed, timeout=timeout) as call:
        await call.send(SLOW.SerializeToString())
        await call.half_close()
        assert await call.receive() is not None, await call.status()
        yield call


async def refused(client: RawClient, caller: Caller) -> None:
    ended = await exchange(client, SIMULATE, [SLOW.SerializeToString()], caller.headers(SIMULATE, SLOW))
    assert (ended.code, ended.status.details["limit"]) == ("RESOURCE_EXHAUSTED", "concurrent"), ended.status
    assert ended.status.retry_after is not None


async def by_cancel(limited: Deployment, transport: str, caller: Caller, request_id: str) -> str:
    async with RawClient(limited.address(transport)) as client:
        async with stream(client, caller, request_id) as call:
            await refused(client, caller)
            call.cancel()
        return "CANCELLED"


async def by_error(limited: Deployment, transport: str, caller: Caller, request_id: str) -> str:
    start = v1.StartCommand(unlimited=True, frames=v1.FrameOptions(every_n_steps=1, max_frames_per_second=1.0))
    wrong = v1.ChangeCommand(alpha=9.0)
    async with RawClient(limited.address(transport)) as client:
        signed = caller.headers(STEER, None, request_id=request_id)
        async with client.open(STEER, metadata=signed) as call:
            await call.send(v1.SteerSimulationRequest(start=start).SerializeToString())
            assert await call.receive() is not None, await call.status()
            await refused(client, caller)
            await call.send(v1.SteerSimulationRequest(change=wrong).SerializeToString())
            while await call.receive() is not None:
                pass
            return (await call.status()).code


async def by_deadline(limited: Deployment, transport: str, caller: Caller, request_id: str) -> str:
    async with (
        RawClient(limited.address(transport)) as client,
        stream(client, caller, request_id, timeout=2.0) as call,
    ):
        await refused(client, caller)
        while await call.receive() is not None:
            pass
        return (await call.status()).code


async def by_disconnect(limited: Deployment, transport: str, caller: Caller, request_id: str) -> str:
    async with RawClient(limited.address(transport)) as client, stream(client, caller, request_id):
        await refused(client, caller)
        await client.close()
    return "CANCELLED"


ENDINGS = {
    "cancel": (by_cancel, {"CANCELLED"}),
    "error": (by_error, {"INVALID_ARGUMENT"}),
    # The client hangs up at its deadline, which may reach the server a moment before the server's own timer.
    "deadline": (by_deadline, {"DEADLINE_EXCEEDED", "CANCELLED"}),
    "disconnect": (by_disconnect, {"CANCELLED"}),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_one_stream_too_many_is_refused_and_admitted_when_another_ends(
    limited: Deployment, transport: str, ending: str
) -> None:
    caller, held, last = limited.caller(), new_id(), new_id()
    end, on_record = ENDINGS[ending]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(RawClient(limited.address(transport)))
        for _ in range(CONCURRENT - 1):
            await stack.enter_async_context(stream(client, caller, held))
        assert await end(limited, transport, caller, last) in on_record
        # A record is written when the call has given back what it held.
        assert (await limited.trail.one(last))["status"] in on_record
        async with stream(client, caller, held):
            await refused(client, caller)
    # Those that follow find every place free.
    assert len(await limited.trail.of(held, count=CONCURRENT)) == CONCURRENT
