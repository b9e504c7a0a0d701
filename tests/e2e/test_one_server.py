"""Several transports in one server are one server: one limiter, one cache, one audit chain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import permutations

import pytest

from mfn_client.raw import RawClient
from mfn_e2e.audit import verified
from mfn_e2e.calls import exchange, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_e2e.operations import EXAMPLES
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

RUN, STREAM = "/mfn.MFNSimulationService/RunSimulation", "/mfn.v1.FieldService/Simulate"

PAIRS = list(permutations(TRANSPORTS, 2)) or [(TRANSPORTS[0], TRANSPORTS[0])]
"""Every transport beside every other one; a lone one beside itself."""

CONCURRENT = 2
CELL_STEPS = 1_000_000


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that lets each principal have two calls in flight, and a million cell-steps in all."""
    configuration = tables(
        plugins=["mfn_e2e.toys"], limits={"slots": {"concurrent": CONCURRENT, "cell_steps": CELL_STEPS}}
    )
    with Deployment(configuration, tmp_path_factory.mktemp("limited")) as started:
        yield started


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_calls_in_flight_on_one_transport_count_on_the_other(
    limited: Deployment, first: str, second: str
) -> None:
    caller = limited.caller("ada")
    slow = v1.SimulateRequest(
        simulation=v1.SimulationSpec(grid_size=8),
        steps=1000,
        frames=v1.FrameOptions(every_n_steps=1, max_frames_per_second=20.0),
    )
    quick = w1.SimulationRequest(grid_size=8, steps=1)
    held = [new_id() for _ in range(CONCURRENT)]
    async with RawClient(limited.address(first)) as one, RawClient(limited.address(second)) as other:
        for request_id in held:
            call = one.open(STREAM, metadata=caller.headers(STREAM, slow, request_id=request_id))
            await call.send(slow.SerializeToString())
            await call.half_close()
            assert await call.receive() is not None
        refused = await exchange(other, RUN, [quick.SerializeToString()], caller.headers(RUN, quick))
        assert (refused.code, refused.status.retry_after) == ("RESOURCE_EXHAUSTED", 0.25)
        assert refused.status.details["limit"] == "slots.concurrent"
        # Another principal has slots of its own.
        another = limited.caller("ben")
        served = await exchange(other, RUN, [quick.SerializeToString()], another.headers(RUN, quick))
        assert served.status.ok, served.status
        await one.close()
        for request_id in held:
            assert (await limited.trail.one(request_id))["status"] == "CANCELLED"
        again = await exchange(other, RUN, [quick.SerializeToString()], caller.headers(RUN, quick))
        assert again.status.ok, again.status


async def test_cell_steps_used_on_one_transport_are_missing_on_the_others(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    configuration = tables(plugins=["mfn_e2e.toys"], limits={"slots": {"cell_steps": CELL_STEPS}})
    with Deployment(configuration, tmp_path_factory.mktemp("metered")) as metered:
        caller = metered.caller()
        most = w1.SimulationRequest(seed=1, grid_size=100, steps=60)
        async with (
            RawClient(metered.address(TRANSPORTS[0])) as one,
            RawClient(metered.address(TRANSPORTS[-1])) as other,
        ):
            first = await exchange(one, RUN, [most.SerializeToString()], caller.headers(RUN, most))
            assert first.status.ok, first.status
            more = w1.SimulationRequest(seed=2, grid_size=100, steps=60)
            second = await exchange(other, RUN, [more.SerializeToString()], caller.headers(RUN, more))
            assert second.code == "RESOURCE_EXHAUSTED"
            assert second.status.details["limit"] == "slots.cell_steps"
            # What is not valid is not charged, and what is known already costs nothing.
            wrong = w1.SimulationRequest(grid_size=100, steps=-1)
            third = await exchange(other, RUN, [wrong.SerializeToString()], caller.headers(RUN, wrong))
            assert third.code == "INVALID_ARGUMENT"
            known = await exchange(other, RUN, [most.SerializeToString()], caller.headers(RUN, most))
            assert known.replies == first.replies


async def test_a_known_reply_carries_the_id_of_the_request_that_asked_last(limited: Deployment) -> None:
    caller = limited.caller("ben")
    found = []
    for number in range(6):
        request = w1.SimulationRequest(request_id=f"number-{number}" * number, seed=99, grid_size=16, steps=8)
        async with RawClient(limited.address(TRANSPORTS[number % len(TRANSPORTS)])) as client:
            reply = await client.unary(RUN, request.SerializeToString(), metadata=caller.headers(RUN, request))
        result = w1.SimulationResult.FromString(reply.message)
        assert result.request_id == request.request_id
        result.ClearField("request_id")
        found.append(result.SerializeToString(deterministic=True))
    assert len(set(found)) == 1


async def test_calls_interleaved_over_all_transports_make_one_chain(server: Deployment) -> None:
    caller, request_id, rounds = server.caller(), new_id(), 10
    clients = {name: RawClient(server.address(name)) for name in TRANSPORTS}
    for client in clients.values():
        await client.__aenter__()
    try:
        ended = await asyncio.gather(
            *(
                exchange(client, example.path, example.raw(), [*example.sign(caller), ("x-request-id", request_id)])
                for _ in range(rounds)
                for example in EXAMPLES
                for client in clients.values()
            )
        )
    finally:
        for client in clients.values():
            await client.close()
    assert {each.code for each in ended} == {"OK"}
    records = await server.trail.of(request_id, count=len(ended))
    assert len(records) == len(ended) == rounds * len(EXAMPLES) * len(TRANSPORTS)
    for name in TRANSPORTS:
        for example in EXAMPLES:
            mine = [each for each in records if (each["transport"], each["method"]) == (name, example.path)]
            assert len(mine) == rounds
            assert {each["messages_out"] for each in mine} == {example.replies}
            assert {each["messages_in"] for each in mine} == {len(example.raw())}
            assert {each["bytes_in"] for each in mine} == {sum(map(len, example.raw()))}
    numbers = [record["seq"] for record in server.trail.records]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({record["call_id"] for record in server.trail.records}) == len(numbers)
    status, report = verified(server.trail.path)
    assert (status, report["ok"]) == (0, True)
    assert report["records"] >= len(numbers)
