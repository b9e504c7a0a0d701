"""The same server under Envoy and under uvicorn: the same numbers, checks and records, whatever carries the bytes."""

from __future__ import annotations

import asyncio
import http.client
import json
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from mfn_client.raw import RawClient
from mfn_e2e.audit import verified
from mfn_e2e.calls import Header, exchange, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.websocket import socket
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1
from mfn_signing import new_random_nonce, sign_headers

KINDS = ("pyvoy", "uvicorn")
RUN, STREAM = "/mfn.MFNSimulationService/RunSimulation", "/mfn.v1.FieldService/Simulate"
SPEC: dict[str, Any] = {"seed": 9, "grid_size": 32, "steps": 40, "alpha": 0.15, "spike_probability": 0.4}
LIVE = "/ws/simulation_live"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Deployment]]:
    """One of each kind; every call is computed anew."""
    with ExitStack() as stack:
        found = {}
        for kind in KINDS:
            configuration = tables(
                transports=["asgi"],
                plugins=["auth_loopback"],
                auth={"hmac": {"keys_file": "keys.toml"}, "loopback": {"token_file": "token.json"}},
                cache={"max_bytes": 0},
            )
            configuration["transports"]["asgi"]["server"] = kind
            found[kind] = stack.enter_context(Deployment(configuration, tmp_path_factory.mktemp(kind)))
        yield found


def ask(
    server: Deployment, target: str, body: bytes, headers: Mapping[str, str], *, signed: str = "", covers: Any = b""
) -> tuple[int, bytes]:
    """A POST, signed where `signed` says as what."""
    own = dict(server.caller().sign(signed, covers)) if signed else {}
    connection = http.client.HTTPConnection(server.address("asgi"), timeout=60)
    try:
        connection.request("POST", target, body=body, headers={**headers, **own})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def framed(raw: bytes) -> bytes:
    return struct.pack(">BI", 0, len(raw)) + raw


def unframed(body: bytes) -> bytes:
    """The first message of a body."""
    (size,) = struct.unpack_from(">I", body, 1)
    return body[5 : 5 + size]


JSON = {"content-type": "application/json"}


def replies(server: Deployment) -> dict[str, bytes]:
    """The same run by every protocol that HTTP/1.1 carries."""
    message = w1.SimulationRequest(request_id="same", turing_enabled=True, **SPEC).SerializeToString()
    stream = v1.SimulateRequest(
        request_id="same",
        simulation=v1.SimulationSpec(seed=9, grid_size=32),
        steps=40,
        frames=v1.FrameOptions(every_n_steps=10, field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN),
    ).SerializeToString()
    rest = json.dumps({"request_id": "same", **SPEC}).encode()
    asked: dict[str, tuple[str, bytes, Mapping[str, str], str, Any]] = {
        "rest": ("/simulate", rest, JSON, "POST /simulate", rest),
        "connect": (RUN, message, {"content-type": "application/proto"}, RUN, message),
        "grpc-web": (RUN, framed(message), {"content-type": "application/grpc-web+proto"}, RUN, message),
        "connect stream": (STREAM, framed(stream), {"content-type": "application/connect+proto"}, STREAM, stream),
        "grpc-web stream": (STREAM, framed(stream), {"content-type": "application/grpc-web+proto"}, STREAM, stream),
    }
    frames = json.dumps(
        {"simulation": {"seed": 9, "grid_size": 32}, "steps": 40, "frames": {"every_n_steps": 10}, "request_id": "same"}
    ).encode()
    for name, accept in (("lines", "application/x-ndjson"), ("events", "text/event-stream")):
        asked[name] = (STREAM, frames, {**JSON, "accept": accept}, f"POST {STREAM}", frames)
    found = {}
    for name, (target, body, headers, signed, covers) in asked.items():
        status, found[name] = ask(server, target, body, headers, signed=signed, covers=covers)
        assert status == 200, (name, found[name])
    return found


async def test_the_numbers_are_the_same_to_the_last_bit(servers: Mapping[str, Deployment]) -> None:
    of_envoy, of_uvicorn = [await asyncio.to_thread(replies, servers[kind]) for kind in KINDS]
    assert of_uvicorn.keys() == of_envoy.keys()
    for name in of_envoy:
        assert of_uvicorn[name] == of_envoy[name], name
    # And they are those of gRPC, which one of them cannot carry.
    request = w1.SimulationRequest(request_id="same", turing_enabled=True, **SPEC)
    async with RawClient(servers["pyvoy"].address("asgi")) as client:
        headers = servers["pyvoy"].caller().headers(RUN, request)
        ended = await exchange(client, RUN, [request.SerializeToString()], headers)
    (reply,) = ended.replies
    assert {of_envoy["connect"], unframed(of_envoy["grpc-web"])} == {reply}
    assert of_uvicorn["lines"].count(b"\n") == 4
    assert of_uvicorn["events"].endswith(b"event: end\ndata: {}\n\n")


@pytest.mark.parametrize("kind", KINDS)
async def test_sockets_take_signatures_and_the_token_of_this_machine(
    servers: Mapping[str, Deployment], kind: str
) -> None:
    server = servers[kind]
    address = server.address("asgi")
    now = int(time.time())
    signed: list[Header] = list(
        sign_headers(server.keys["ada-reads"], f"GET {LIVE}", b"", timestamp=now, nonce=new_random_nonce())
    )
    finals = []
    for headers in (signed, []):
        async with socket(address, LIVE, headers) as talk:
            if not headers:
                await talk.say("auth", {"token": json.loads((server.directory / "token.json").read_text())["token"]})
            assert (await talk.hear())["type"] == "auth_success"
            await talk.say("subscribe", {"stream_id": "a", "params": SPEC})
            complete, _ = await talk.until("simulation_complete")
            finals.append(complete["payload"]["final_metrics"])
    status, raw = await asyncio.to_thread(
        ask,
        server,
        "/simulate",
        json.dumps(SPEC).encode(),
        JSON,
        signed="POST /simulate",
        covers=json.dumps(SPEC).encode(),
    )
    assert status == 200
    result = json.loads(raw)
    for final in finals:
        assert {name: result[name] for name in final} == final


@pytest.mark.parametrize("kind", KINDS)
async def test_who_does_not_prove_who_it_is_is_refused_and_recorded(
    servers: Mapping[str, Deployment], kind: str
) -> None:
    server = servers[kind]
    body = json.dumps(SPEC).encode()
    unsigned, forged, replayed = new_id(), new_id(), new_id()
    assert ask(server, "/simulate", body, {**JSON, "x-request-id": unsigned})[0] == 401
    wrong = {**JSON, "x-request-id": forged}
    assert ask(server, "/simulate", body, wrong, signed="POST /simulate", covers=body + b" ")[0] == 401
    headers = {**JSON, "x-request-id": replayed, **dict(server.caller().sign("POST /simulate", body))}
    assert [ask(server, "/simulate", body, headers)[0] for _ in range(2)] == [200, 401]
    for request_id in (unsigned, forged):
        assert (await server.trail.one(request_id))["status"] == "UNAUTHENTICATED"
    assert [each["status"] for each in await server.trail.of(replayed, count=2)] == ["OK", "UNAUTHENTICATED"]


async def test_grpc_on_a_server_that_cannot_carry_it_is_told_what_to_do_and_recorded(
    servers: Mapping[str, Deployment],
) -> None:
    server = servers["uvicorn"]
    request_id = new_id()
    headers = {"content-type": "application/grpc", "te": "trailers", "x-request-id": request_id}
    status, text = ask(server, RUN, framed(b""), headers)
    assert status == 505
    assert b"gRPC needs HTTP/2 or HTTP/3" in text
    record = await server.trail.one(request_id)
    assert (record["status"], record["method"], record["transport"]) == ("UNIMPLEMENTED", RUN, "asgi")


def test_the_trails_are_whole(servers: Mapping[str, Deployment]) -> None:
    for server in servers.values():
        status, report = verified(server.trail.path)
        assert (status, report["ok"]) == (0, True)
