"""The life of a socket, its bounds, and what a slow or silent client gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mfn_asgi_parts.sockets import hall
from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._websocket.outbox import WAITING_ANSWERS
from mfn_transport_asgi._websocket.settings import WebSocketSettings


async def test_a_heartbeat_comes_and_who_answers_it_stays() -> None:
    async with hall(heartbeat_seconds=0.05, silence_seconds=0.3) as made:
        link = await made.greeted()
        for count in range(1, 12):  # longer than the time after which silence ends it
            await link.until("heartbeat", count)
            link.say("pong", {})
        assert not link.gone


async def test_who_answers_no_heartbeat_is_dropped_and_its_calls_end() -> None:
    async with hall(heartbeat_seconds=0.05, silence_seconds=0.2) as made:
        link = await made.greeted()
        link.say("subscribe", {"stream_id": "a", "params": {"steps": 2_000_000_000}})
        await link.until("subscribe_success")
        assert await link.over() == (1008, "no answer to heartbeats")
        async with asyncio.timeout(5):
            while made.dispatcher.active:
                await asyncio.sleep(0)


async def test_who_does_not_say_who_it_is_is_dropped() -> None:
    async with hall(opening_seconds=0.1) as made:
        link = made.enter()
        link.say("init", {"protocol_version": "1.0"})
        assert (await link.over())[0] == 1008
        (told,) = await link.until("error")
        assert told["payload"]["error_code"] == "NOT_AUTHENTICATED"


async def test_a_proof_that_is_too_old_begins_no_further_stream() -> None:
    async with hall(trusted_seconds=1.0) as made:
        link = await made.greeted()
        (connection,) = [each for each in made.sockets._connections.values() if each is not None]
        connection._proved -= 2.0
        link.say("subscribe", {"stream_id": "a", "params": {}})
        (told,) = await link.until("error")
        assert told["payload"]["error_code"] == "NOT_AUTHENTICATED"
        link.say("auth", {"token": "good-ada"})
        await link.until("auth_success", 2)
        link.say("subscribe", {"stream_id": "a", "params": {"steps": 1}})
        await link.until("simulation_complete")


async def test_a_proof_that_is_taken_back_begins_no_further_call() -> None:
    async with hall() as made:
        link = await made.greeted("ben")
        made.withdrawn.add("ben")
        link.say("subscribe", {"stream_id": "a", "params": {}})
        (told,) = await link.until("subscribe_failed")
        assert told["payload"]["error_code"] == "NOT_AUTHENTICATED"
        assert told["payload"]["message"] == "authentication failed"
        assert made.asked == []
        assert not link.gone


async def test_the_sockets_of_a_principal_are_counted_and_given_back() -> None:
    async with hall(max_sockets_per_principal=2) as made:
        first, _, other = await made.greeted("ada"), await made.greeted("ada"), await made.greeted("ben")
        third = made.enter()
        third.say("init", {"protocol_version": "1.0"})
        third.say("auth", {"token": "good-ada"})
        (told,) = await third.until("auth_failed")
        assert told["payload"]["details"] == {"limit": "max_sockets_per_principal"}
        assert await third.over() == (1013, "not authenticated")
        assert [(each.principal, each.status) for each in made.records] == [
            *(("ada", "OK"), ("ada", "OK"), ("ben", "OK")),
            ("ada", "RESOURCE_EXHAUSTED"),
        ]
        first.say("close")
        assert (await first.over())[0] == 1000
        async with asyncio.timeout(5):
            while made.sockets.active > 2:
                await asyncio.sleep(0)
        await made.greeted("ada")
        assert not other.gone


async def test_an_auth_message_that_shows_no_text_is_wrong_and_not_to_be_tried_again() -> None:
    async with hall() as made:
        link = made.enter()
        link.say("init", {"protocol_version": "1.0"})
        link.say("auth", {"token": []})
        (told,) = await link.until("auth_failed")
        assert (told["payload"]["error_code"], told["payload"]["code"]) == ("AUTH_FAILED", "INVALID_ARGUMENT")
        assert await link.over() == (1008, "not authenticated")


async def test_a_key_that_stands_twice_in_a_message_ends_the_socket() -> None:
    async with hall() as made:
        link = await made.greeted()
        link.say_text('{"type": "subscribe", "stream_id": "a", "payload": {"params": {"seed": 1, "seed": 2}}}')
        assert await link.over() == (1007, "a key stands twice")
        (told,) = await link.until("error")
        assert told["payload"]["message"] == "invalid argument: seed: stands twice in one JSON object; keep one"
        assert made.asked == []


async def test_sockets_beyond_the_limit_are_not_even_opened() -> None:
    async with hall(max_sockets=1) as made:
        await made.greeted()
        link = made.enter()
        assert (await link.over())[0] == 1013
        assert not link.accepted


async def test_the_end_of_the_connection_in_the_log_ends_its_socket() -> None:
    async with hall() as made:
        link = await made.greeted()
        made.disconnects._connection_ended(b"127.0.0.1:40001")
        await asyncio.sleep(0)
        assert not link.gone
        made.disconnects._connection_ended(b"127.0.0.1:40000")
        assert link.gone
        async with asyncio.timeout(5):
            while made.sockets.active:
                await asyncio.sleep(0)


async def test_a_drain_lets_streams_end_begins_none_and_then_closes() -> None:
    async with hall() as made:
        idle, busy = await made.greeted(), await made.greeted()
        busy.say("subscribe", {"stream_id": "a", "params": {"steps": 2_000_000_000}})
        await busy.until("simulation_state")
        made.sockets.drain()
        assert await idle.over() == (1001, "the server is shutting down")
        busy.say("subscribe", {"stream_id": "b", "params": {}})
        (told,) = await busy.until("error")
        assert told["payload"]["code"] == "UNAVAILABLE"
        assert not busy.gone
        busy.say("unsubscribe", stream_id="a")
        assert (await busy.over())[0] == 1001
        late = made.enter()
        assert not late.accepted


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "compress"])
async def test_a_client_that_reads_nothing_costs_no_more_than_its_bounds(policy: str) -> None:
    async with hall(max_waiting_updates=8, patience_seconds=0.0) as made:
        link = await made.greeted()
        link.reads.clear()
        link.say("subscribe", {"stream_id": "a", "params": {"steps": 500, "backpressure": policy}})
        async with asyncio.timeout(10):
            while made.frames < 500 or made.dispatcher.active:
                await asyncio.sleep(0)
        link.reads.set()
        (ended,) = await link.until("unsubscribe")
        states = await link.until("simulation_state")
        dropped = ended["payload"]["dropped"]
        assert len(states) <= 10
        assert len(states) + dropped == 500
        assert states[-1]["payload"]["step"] == 500, "the last state is never dropped"
        assert (await link.until("simulation_complete"))[0]["payload"]["final_metrics"]["pot_mean_mV"] == -70.0


async def test_a_client_that_asks_on_without_reading_is_not_served_any_further() -> None:
    async with hall() as made:
        link = await made.greeted()
        link.reads.clear()
        for number in range(WAITING_ANSWERS + 2):
            link.say("unsubscribe", stream_id=str(number))
        assert await link.over() == (1008, "answers are not read")


async def test_a_defect_is_not_told_to_the_client() -> None:
    async with hall() as made:
        link = await made.greeted()
        link.say("subscribe", {"stream_id": "a", "stream_type": "simulation_live", "params": {"steps": 0}})
        await link.until("unsubscribe")
        link.say("subscribe", {"stream_id": "b", "params": {"backpressure": "magic"}})
        (told,) = await link.until("subscribe_failed")
        assert told["payload"]["violations"][0]["field"] == "backpressure"
        link.say("dance", stream_id="a")
        (told,) = await link.until("error")
        assert told["payload"]["error_code"] == "SUBSCRIBE_FAILED"


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"parameters": {"alpha": 10**400}}, ["parameters[alpha]"]),
        ({"parameters": {"alpha": "0.1", "leak": None}}, ["parameters[alpha]", "parameters[leak]"]),
        ({"parameters": {"\ud800": 1}}, ["parameters[�]"]),
        ({"parameters": {f"k{index}": 1 for index in range(65)}}, ["parameters"]),
        ({"alpha": 10**400, "model": "\ud800", "boundary": "\ud800"}, ["model", "boundary", "alpha"]),
        ({f"\ud800{index}": 1 for index in range(30)}, [*(f"�{index}" for index in range(20)), "params"]),
        ({"alpha": 0.1, "turing_enabled": False, "parameters": {}}, ["alpha", "turing_enabled"]),
        ({"model": "gray_scott"}, ["model"]),
        ({"model": "gray_scott", "parameters": {"feed": 0.05}}, ["model"]),
        ({"model": "gray_scott", "alpha": 0.1}, ["model", "alpha"]),
    ],
)
@pytest.mark.parametrize("path", ["/ws/simulation_live", "/ws/stream_features"])
async def test_a_parameter_that_cannot_be_taken_is_named(path: str, params: dict[str, Any], fields: list[str]) -> None:
    async with hall() as made:
        link = await made.greeted(path=path)
        link.say("subscribe", {"stream_id": "a", "params": params})
        (told,) = await link.until("subscribe_failed")
        assert (told["payload"]["error_code"], told["payload"]["code"]) == ("SUBSCRIBE_FAILED", "INVALID_ARGUMENT")
        assert [each["field"] for each in told["payload"]["violations"]] == fields
        assert made.asked == []


async def test_parameters_go_to_the_model_that_they_are_for() -> None:
    async with hall() as made:
        link = await made.greeted()
        for stream, params in enumerate(
            (
                {},
                {"model": "mycelium_turing", "alpha": 0.1},
                {"model": "mycelium_rd", "parameters": {"alpha": 0.1, "jitter": True}},
                {"model": "nobody_knows", "alpha": 0.1},
                {"parameters": None, "backpressure": None},
            )
        ):
            link.say("subscribe", {"stream_id": str(stream), "params": {"steps": 1, **params}})
            await link.until("simulation_complete", stream + 1)
    own = pb.MyceliumParameters(alpha=0.18, spike_probability=0.25, turing_enabled=True)
    variant = pb.MyceliumParameters(alpha=0.1, spike_probability=0.25, turing_enabled=True)
    common = {"grid_size": 64, "seed": 42}
    assert [each.simulation for each in made.asked] == [
        pb.SimulationSpec(mycelium=own, **common),
        pb.SimulationSpec(model="mycelium_turing", mycelium=variant, **common),
        pb.SimulationSpec(model="mycelium_rd", parameter_values={"alpha": 0.1, "jitter": 1.0}, **common),
        pb.SimulationSpec(model="nobody_knows", **common),
        pb.SimulationSpec(mycelium=own, **common),
    ]


async def test_the_gradient_of_a_field_of_one_cell_is_zero() -> None:
    async with hall() as made:
        link = await made.greeted(path="/ws/stream_features")
        link.say("subscribe", {"stream_id": "a", "params": {"grid_size": 1, "steps": 1}})
        (told,) = await link.until("feature_update")
        assert told["payload"]["features"]["spatial_variance"] == 0.0


async def test_every_subscription_is_a_call_with_the_principal_of_the_opening() -> None:
    async with hall() as made:
        link = await made.greeted("ada")
        link.say("subscribe", {"stream_id": "a", "params": {"steps": 1}})
        await link.until("simulation_complete")
    opening, stream = made.calls
    assert (opening.operation.path, opening.protocol) == ("/mfn.WebSocket/Open", "websocket")
    assert opening.signed_path == "GET /ws/simulation_live"
    assert stream.operation.path == "/mfn.v1.FieldService/Simulate"
    assert stream.opened_by is opening
    assert stream.principal is not None
    assert stream.principal.name == "ada"
    assert stream.metadata.get("authorization") is None


def test_a_silence_that_is_shorter_than_a_heartbeat_is_refused() -> None:
    with pytest.raises(ValueError, match="silence_seconds"):
        WebSocketSettings(heartbeat_seconds=30.0, silence_seconds=30.0)
