"""WebSockets of a real server: who is let in, what streams tell, and that every subscription is a call."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import websockets
from google.protobuf.message import Message

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import LIMITS, Deployment, tables
from mfn_e2e.websocket import Socket, socket
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1
from mfn_signing import new_random_nonce, sign_headers

LIVE, FEATURES, FIELD = "/ws/simulation_live", "/ws/stream_features", "/ws/field"
RUN: dict[str, Any] = {"seed": 7, "grid_size": 32, "alpha": 0.12, "spike_probability": 0.5, "turing_enabled": True}
HEADER = struct.Struct("<4sBBHIIQQ4dddd16s")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    configuration = tables(
        transports=["asgi"],
        plugins=["auth_loopback"],
        server={**LIMITS, "drain_seconds": 5.0},
        auth={"hmac": {"keys_file": "keys.toml"}, "loopback": {"token_file": "token.json", "principal": "page"}},
    )
    configuration["transports"] = {
        "asgi": {"listen": "127.0.0.1:0", "websocket": {"max_subscriptions": 3, "max_message_bytes": 8192}}
    }
    with Deployment(configuration, tmp_path_factory.mktemp("websocket")) as started:
        yield started


@pytest.fixture
def address(server: Deployment) -> str:
    return server.address("asgi")


def token_of(server: Deployment) -> str:
    return str(json.loads((server.directory / "token.json").read_text())["token"])


def signature(server: Deployment, path: str, key: str = "ada-reads") -> list[tuple[str, str]]:
    """Headers of scheme v2 over the opening of a socket, which has no body."""
    now = int(time.time())
    return list(sign_headers(server.keys[key], f"GET {path}", b"", timestamp=now, nonce=new_random_nonce()))


async def called(server: Deployment, path: str, request: Message) -> tuple[bytes, ...]:
    """The replies of the same call over gRPC."""
    async with RawClient(server.address("asgi")) as client:
        headers = server.caller().headers(path, request)
        return (await exchange(client, path, [request.SerializeToString()], headers)).replies


async def turned_away(address: str, path: str, headers: Iterable[tuple[str, str]] = (), *, origin: str | None) -> None:
    """Assert that a socket is not even opened."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with socket(address, path, headers, origin=origin, greet=False):
            pass
    assert refused.value.response.status_code == 403


async def simulations(server: Deployment, local: tuple[str, int], count: int) -> list[dict[str, Any]]:
    """The records of the simulations on one socket, once there are so many."""
    peer = f"{local[0]}:{local[1]}"
    async with asyncio.timeout(20):
        while True:
            server.trail.refresh()
            found = [each for each in server.trail.records if each["peer"] == peer and "Simulate" in each["method"]]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)  # another process writes the file: it can only be looked at


async def as_page(talk: Socket, server: Deployment) -> None:
    await talk.say("auth", {"token": token_of(server)})
    assert (await talk.hear())["type"] == "auth_success"


async def test_the_last_state_is_that_of_the_unary_call(server: Deployment, address: str) -> None:
    async with socket(address, LIVE, signature(server, LIVE)) as talk:
        assert (await talk.hear())["type"] == "auth_success"
        await talk.say("subscribe", {"stream_id": "a", "params": {**RUN, "steps": 50, "update_interval_steps": 7}})
        complete, before = await talk.until("simulation_complete")
    assert [message["type"] for message in before] == ["subscribe_success", *["simulation_state"] * 8]
    states = [message["payload"] for message in before[1:]]
    assert [state["step"] for state in states] == [7, 14, 21, 28, 35, 42, 49, 50]
    assert len({state["state"]["pot_std_mV"] for state in states}) == 8
    assert all(state["total_steps"] == 50 for state in states)
    (raw,) = await called(server, "/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest(**RUN, steps=50))
    reply = w1.SimulationResult.FromString(raw)
    final = complete["payload"]["final_metrics"]
    assert final == {
        name: getattr(reply, name)
        for name in ("growth_events", "pot_mean_mV", "pot_std_mV", "pot_min_mV", "pot_max_mV", "fractal_dimension")
    }
    assert states[-1]["metrics"]["growth_events"] == reply.growth_events


async def test_features_are_those_of_the_field(server: Deployment, address: str) -> None:
    async with socket(address, LIVE) as talk:
        await as_page(talk, server)
        await talk.say(
            "subscribe",
            {"stream_id": "s", "params": {**RUN, "steps": 3, "update_interval_steps": 3, "include_full_state": True}},
        )
        state, _ = await talk.until("simulation_state")
        await talk.until("unsubscribe")
        params = {**RUN, "steps": 3, "update_interval_steps": 3, "update_interval_ms": 10}
        await talk.say("subscribe", {"stream_id": "f", "stream_type": "stream_features", "params": params})
        update, _ = await talk.until("feature_update")
    found, field = update["payload"]["features"], np.array(state["payload"]["state"]["field"]) / 1000.0
    assert field.shape == (32, 32)
    active = sum(value > -0.060 for value in field.ravel())
    assert (found["active_nodes"], found["activity_ratio"]) == (active, pytest.approx(active / 1024))
    assert found["total_energy"] == pytest.approx(sum(value * value for value in field.ravel()), rel=1e-12)
    assert found["pot_mean_mV"] == pytest.approx(1000 * field.mean(), rel=1e-12)
    inner = ((field[2:, 1:-1] - field[:-2, 1:-1]) / 2) ** 2 + ((field[1:-1, 2:] - field[1:-1, :-2]) / 2) ** 2
    assert found["spatial_variance"] == pytest.approx(inner.mean(), rel=0.5)
    assert update["payload"]["sequence"] == 1


@pytest.mark.parametrize("how", ["headers", "message", "token"])
async def test_who_calls_is_proved_once_and_recorded_of_every_call(server: Deployment, address: str, how: str) -> None:
    signed = signature(server, LIVE)
    async with socket(address, LIVE, signed if how == "headers" else ()) as talk:
        if how == "message":
            names = {"x-mfn-content-sha256": "content_sha256", "x-mfn-key-id": "key_id"}
            shown = {names.get(name, name.removeprefix("x-mfn-")): value for name, value in signed}
            await talk.say("auth", shown)
        elif how == "token":
            await talk.say("auth", {"token": token_of(server)})
        assert (await talk.hear())["type"] == "auth_success"
        for stream in ("one", "two"):
            await talk.say("subscribe", {"stream_id": stream, "params": {"steps": 2, "grid_size": 8}})
            await talk.until("unsubscribe")
        local = talk.connection.local_address
    records = await simulations(server, local, 2)
    assert {record["principal"] for record in records} == {"page" if how == "token" else "ada"}
    assert {record["key_id"] for record in records} == {"loopback" if how == "token" else "ada-reads"}
    assert {(record["protocol"], record["status"]) for record in records} == {("websocket", "OK")}


async def test_a_signature_opens_one_socket(server: Deployment, address: str) -> None:
    signed = signature(server, LIVE)
    async with socket(address, LIVE, signed) as talk:
        assert (await talk.hear())["type"] == "auth_success"
    async with socket(address, LIVE, signed) as talk:
        failed = await talk.hear()
        assert (failed["type"], failed["payload"]["error_code"]) == ("auth_failed", "AUTH_FAILED")
        assert failed["payload"]["message"] == "authentication failed"
        assert await talk.closed() == 1008


@pytest.mark.parametrize(
    "shown",
    [{}, {"token": "mfnl_" + "x" * 43}, {"token": 7.5}, {"token": "y" * 5000}, {"key_id": "ada"}, {"key_id": ["ada"]}],
    ids=str,
)
async def test_wrong_credentials_end_the_socket(server: Deployment, address: str, shown: dict[str, Any]) -> None:
    async with socket(address, LIVE) as talk:
        await talk.say("auth", shown)
        failed = await talk.hear()
        assert failed["type"] == "auth_failed"
        assert await talk.closed() in (1008, 1013)


async def test_a_signature_over_another_path_is_refused(server: Deployment, address: str) -> None:
    async with socket(address, LIVE + "?a=1", signature(server, LIVE)) as talk:
        assert (await talk.hear())["payload"]["error_code"] == "AUTH_FAILED"
    async with socket(address, LIVE + "?a=1", signature(server, LIVE + "?a=1")) as talk:
        assert (await talk.hear())["type"] == "auth_success"


async def test_nothing_is_streamed_to_who_has_not_said_who_it_is(server: Deployment, address: str) -> None:
    for path, kind in ((LIVE, "subscribe"), (FIELD, "start")):
        async with socket(address, path) as talk:
            await talk.say(kind, {"stream_id": "a", "params": {}})
            refused = await talk.hear()
            assert refused["payload"]["error_code"] == "NOT_AUTHENTICATED"


async def test_the_bounds_of_a_socket(server: Deployment, address: str) -> None:
    async with socket(address, FEATURES) as talk:
        await as_page(talk, server)
        for stream in "abc":
            await talk.say("subscribe", {"stream_id": stream, "params": {"grid_size": 8}})
        await talk.say("subscribe", {"stream_id": "d", "params": {"grid_size": 8}})
        refused, _ = await talk.until("subscribe_failed")
        assert (refused["stream_id"], refused["payload"]["code"]) == ("d", "RESOURCE_EXHAUSTED")
        await talk.say("subscribe", {"stream_id": "a", "params": {}})
        refused, _ = await talk.until("subscribe_failed")
        assert refused["payload"]["code"] == "ALREADY_EXISTS"
        await talk.say("unsubscribe", stream_id="b")
        ended, _ = await talk.until("unsubscribe")
        assert (ended["stream_id"], ended["payload"]["reason"]) == ("b", "unsubscribed")
        await talk.say("subscribe", {"stream_id": "d", "params": {"grid_size": 8}})
        begun = ""
        while begun != "d":  # each stream says so when its own first frame is there
            begun = (await talk.until("subscribe_success"))[0]["stream_id"]
        await talk.connection.send("x" * 9000)
        assert await talk.closed() == 1009


async def test_what_is_wrong_with_parameters_is_told_all_at_once(server: Deployment, address: str) -> None:
    async with socket(address, LIVE) as talk:
        await as_page(talk, server)
        wrong = {"seed": "x", "grid_size": 2**40, "update_interval_steps": 101, "colour": "red", "turing_enabled": 1}
        await talk.say("subscribe", {"stream_id": "a", "params": wrong})
        refused, _ = await talk.until("subscribe_failed")
        assert {each["field"] for each in refused["payload"]["violations"]} == set(wrong)
        await talk.say("subscribe", {"stream_id": "a", "params": {"alpha": 0.3, "steps": -1}})
        refused, _ = await talk.until("subscribe_failed")
        assert refused["payload"]["code"] == "INVALID_ARGUMENT"
        assert {each["field"] for each in refused["payload"]["violations"]} == {"alpha", "steps"}
        assert "simulation." not in refused["payload"]["message"]
        wrong = {"grid_size": 2000, "parameters": {"alfa": 0.3}}
        await talk.say("subscribe", {"stream_id": "a", "params": wrong})
        refused, _ = await talk.until("subscribe_failed")
        assert {each["field"] for each in refused["payload"]["violations"]} == {"grid_size", "parameters[alfa]"}


async def test_a_client_that_vanishes_ends_its_calls(server: Deployment, address: str) -> None:
    async with socket(address, FEATURES, signature(server, FEATURES)) as talk:
        await talk.say("subscribe", {"stream_id": "gone", "params": {"update_interval_ms": 10_000, "steps": 10_000}})
        await talk.until("subscribe_success")
        local = talk.connection.local_address
        raw = talk.connection.transport.get_extra_info("socket")
        # A reset, and no closing handshake.
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        talk.connection.transport.abort()
        began = time.monotonic()
    (record,) = await simulations(server, local, 1)
    assert record["status"] == "CANCELLED"
    assert time.monotonic() - began < 5.0


async def test_pages_of_other_origins_are_turned_away(server: Deployment, address: str) -> None:
    async with socket(address, FIELD, origin=f"http://{address}") as talk:
        await as_page(talk, server)
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        await turned_away(address, FIELD, origin=origin)
    # A name that leads here, as after a rebinding of its address.
    port = address.rpartition(":")[2]
    headers = [("Host", f"evil.example:{port}")]
    await turned_away(address, FIELD, headers, origin=f"http://evil.example:{port}")


@pytest.mark.parametrize(
    ("sent", "code"),
    [("no json", 1007), ("[1]", 1007), ('{"type": 3}', 1007), (b"bytes", 1003), ("[" * 5000, 1007)],
    ids=["text", "a list", "a number for a type", "binary", "deep"],
)
async def test_what_is_no_message_closes_the_socket(address: str, sent: str | bytes, code: int) -> None:
    async with socket(address, LIVE) as talk:
        await talk.connection.send(sent)
        refused = await talk.hear()
        assert (refused["type"], refused["payload"]["error_code"]) == ("error", "INIT_FAILED")
        assert await talk.closed() == code


async def test_the_conversation_begins_with_init(address: str) -> None:
    async with socket(address, LIVE, greet=False) as talk:
        await talk.say("auth", {"token": "x"})
        assert (await talk.hear())["payload"]["error_code"] == "INIT_FAILED"
        await talk.say("init", {"protocol_version": "0.9"})
        assert (await talk.hear())["payload"]["error_code"] == "INIT_FAILED"
        assert await talk.closed() == 1008
    await turned_away(address, "/ws/elsewhere", origin=None)


async def test_frames_are_those_of_the_call_and_every_command_is_acknowledged(server: Deployment, address: str) -> None:
    simulation = {"grid_size": 16, "seed": 3, "mycelium": {"alpha": 0.1, "spike_probability": 0.5}}
    async with socket(address, FIELD) as talk:
        await as_page(talk, server)
        frames = {"every_n_steps": 10}
        start = {"simulation": simulation, "total_steps": 30, "frames": frames}
        await talk.say("start", {**start, "encoding": "float64"})
        ended, events = await talk.until("ended")
        assert ended["payload"] == {"reason": "completed", "step": 30, "timestamp": ended["payload"]["timestamp"]}
        assert events[0]["type"] == "started"
        shown = [parsed(raw) for raw in events[1:]]
        await talk.say("start", {**start, "encoding": "uint8"})
        _, events = await talk.until("ended")
        coarse = [parsed(raw) for raw in events[1:]]
        await talk.say("start", {"simulation": simulation, "unlimited": True, "frames": {"max_frames_per_second": 20}})
        await talk.until("started")
        for kind, payload in (
            ("pause", {}),
            ("change", {"alpha": 0.2}),
            ("inject", {"row": 3, "column": 4, "amplitude_volts": 0.1}),
            ("resume", {}),
            ("stop", {}),
        ):
            began = time.monotonic()
            await talk.say(kind, payload)
            await talk.until("acknowledged")
            assert time.monotonic() - began < 1.0, kind
        ended, _ = await talk.until("ended")
        assert ended["payload"]["reason"] == "stopped"
        await talk.say("pause", {})
        assert (await talk.hear())["payload"]["code"] == "FAILED_PRECONDITION"
    spec = v1.SimulationSpec(grid_size=16, seed=3, mycelium=v1.MyceliumParameters(alpha=0.1, spike_probability=0.5))
    options = v1.FrameOptions(every_n_steps=10, field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)
    request = v1.SimulateRequest(simulation=spec, steps=30, frames=options)
    replies = await called(server, "/mfn.v1.FieldService/Simulate", request)
    expected = [v1.SimulateResponse.FromString(raw).frame for raw in replies]
    assert [head["step"] for head, _ in shown] == [frame.step for frame in expected] == [10, 20, 30]
    for (head, field), (_, rough), frame in zip(shown, coarse, expected, strict=True):
        assert field.tobytes() == frame.field.data
        assert head["min"] == frame.statistics.min_volts
        assert head["final"] == frame.is_final
        assert np.abs(rough - field).max() <= (field.max() - field.min()) / 510 * 1.001


def parsed(raw: bytes) -> tuple[dict[str, Any], Any]:
    """A frame, read by the page of its form alone."""
    magic, version, kind, flags, rows, columns, step, events, low, *_, scale, offset, unit = HEADER.unpack_from(raw)
    assert (magic, version, HEADER.size) == (b"MFNF", 1, 104)
    numbers = np.frombuffer(raw, {1: "<f4", 2: "u1", 3: "<f8"}[kind], offset=104).reshape(rows, columns)
    assert unit.rstrip(b"\0") == b"V"
    field = numbers if kind == 3 else offset + scale * numbers.astype(float)
    return {"step": step, "events": events, "min": low, "final": flags == 1}, field
