"""gRPC-Web and Connect in front of the same server: the same bits, the same checks, the same trail."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from attrs import frozen
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message

from mfn_client.raw import RawClient
from mfn_e2e.calls import Header, exchange, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.operations import EXAMPLES, Example
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

REPLIES: Mapping[str, type[Message]] = {
    "unary": w1.SimulationResult,
    "server_stream": w1.SimulationFrame,
    "client_stream": v1.AnalyzeFieldResponse,
}
CARRIED = tuple(example for example in EXAMPLES if example.shape in REPLIES)
"""What HTTP/1.1 carries: everything but conversations."""

PAGE = "https://app.example.org"


@frozen(kw_only=True)
class Reply:
    """What came back."""

    http: int
    headers: Mapping[str, str]
    body: bytes


def send(
    server: Deployment, target: str, headers: Iterable[Header], body: bytes | None = None, *, method: str = "POST"
) -> Reply:
    """One request over HTTP/1.1."""
    host, _, port = server.address("asgi").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, target, body=body, headers=dict(headers))
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Reply(http=response.status, headers=named, body=response.read())
    finally:
        connection.close()


def bits(message: Message) -> bytes:
    """What two messages have in common that are equal to the last bit; a map has no order of its own."""
    return message.SerializeToString(deterministic=True)


def enveloped(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        size = int.from_bytes(body[1:5], "big")
        yield body[0], body[5 : 5 + size]
        body = body[5 + size :]


def unpadded(text: bytes) -> bytes:
    """The bytes of base64 whose pieces are padded each by itself."""
    return b"".join(base64.b64decode(piece, validate=True) for piece in re.findall(rb"[^=]+=*", text))


def as_json(message: Message) -> bytes:
    return json.dumps(MessageToDict(message)).encode()


@frozen(kw_only=True)
class Spoken:
    """One way to write calls over HTTP."""

    name: str
    protocol: str
    """In the audit."""
    json: bool
    of: Callable[[Example], str]
    """The content type."""

    def contents(self, example: Example) -> list[bytes]:
        """The messages as the codec sees them."""
        return [as_json(message) for message in example.messages()] if self.json else example.raw()

    def call(
        self, server: Deployment, example: Example, *further: Header, sign: bool = True, tampered: bool = False
    ) -> Reply:
        """Sign and send; tampered: something else than what was signed."""
        contents = self.contents(example)
        signed = server.caller().sign(example.path, None if example.client_streams else contents[0]) if sign else []
        if tampered:
            contents[0] += b" " if self.json else b"\x98\x06\x01"  # an unknown field, which changes nothing
        content_type = self.of(example)
        bare = content_type in ("application/proto", "application/json")
        body = contents[0] if bare else b"".join(enveloped(each) for each in contents)
        if "text" in content_type:
            body = base64.b64encode(body)
        headers = [*signed, *further, ("content-type", content_type), ("connect-protocol-version", "1")]
        return send(server, example.path, headers, body)

    def ended(self, example: Example, reply: Reply) -> tuple[str, list[bytes]]:
        """The code in the protocol's own words, and the messages as they came."""
        content_type = self.of(example)
        if content_type in ("application/proto", "application/json"):
            return ("", [reply.body]) if reply.http == 200 else (json.loads(reply.body)["code"], [])
        assert reply.http == 200
        if "grpc-status" in reply.headers:
            return reply.headers["grpc-status"], []
        body = unpadded(reply.body) if "text" in content_type else reply.body
        *messages, (_, last) = frames(body)
        found = [content for _, content in messages]
        if self.protocol == "connect":
            return json.loads(last).get("error", {"code": ""})["code"], found
        return dict(line.split(": ") for line in last.decode().splitlines())["grpc-status"], found


def _connect(codec: str) -> Callable[[Example], str]:
    return lambda example: f"application/{codec}" if example.shape == "unary" else f"application/connect+{codec}"


SPOKEN = (
    Spoken(name="connect", protocol="connect", json=False, of=_connect("proto")),
    Spoken(name="connect-json", protocol="connect", json=True, of=_connect("json")),
    Spoken(name="grpc-web", protocol="grpc-web", json=False, of=lambda _: "application/grpc-web+proto"),
    Spoken(name="grpc-web-text", protocol="grpc-web", json=False, of=lambda _: "application/grpc-web-text"),
)
REFUSED = {"connect": "unauthenticated", "grpc-web": "16"}

every_way = pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: spoken.name)
every_shape = pytest.mark.parametrize("example", CARRIED, ids=lambda example: example.shape)


async def over_grpc(server: Deployment, example: Example) -> list[Message]:
    async with RawClient(server.address("asgi")) as client:
        ended = await exchange(client, example.path, example.raw(), example.sign(server.caller()))
    assert ended.status.ok, ended.status
    return [REPLIES[example.shape].FromString(raw) for raw in ended.replies]


@every_way
@every_shape
async def test_a_signed_call_has_the_bits_of_grpc_and_leaves_a_record(
    server: Deployment, spoken: Spoken, example: Example
) -> None:
    request_id = new_id()
    code, messages = spoken.ended(example, spoken.call(server, example, ("x-request-id", request_id)))
    assert code in ("", "0")
    kind = REPLIES[example.shape]
    replies = [Parse(each, kind()) if spoken.json else kind.FromString(each) for each in messages]
    expected = await over_grpc(server, example)
    assert len(replies) == example.replies
    assert [bits(reply) for reply in replies] == [bits(reply) for reply in expected]
    record = await server.trail.one(request_id)
    assert (record["protocol"], record["status"], record["principal"]) == (spoken.protocol, "OK", "ada")
    assert (record["method"], record["shape"], record["transport"]) == (example.path, example.shape, "asgi")


@every_way
@every_shape
async def test_a_call_without_a_right_signature_is_refused(
    server: Deployment, spoken: Spoken, example: Example
) -> None:
    unsigned = spoken.call(server, example, sign=False)
    assert spoken.ended(example, unsigned) == (REFUSED[spoken.protocol], [])
    if unsigned.http != 200:
        assert unsigned.http == 401
        assert json.loads(unsigned.body) == {"code": "unauthenticated", "message": "authentication failed"}
    if not example.client_streams:  # what a client streams is not covered
        request_id = new_id()
        reply = spoken.call(server, example, ("x-request-id", request_id), tampered=True)
        assert spoken.ended(example, reply) == (REFUSED[spoken.protocol], [])
        record = await server.trail.one(request_id)
        assert (record["status"], record["protocol"]) == ("UNAUTHENTICATED", spoken.protocol)


async def test_a_get_is_signed_like_the_post(server: Deployment) -> None:
    example = CARRIED[0]
    caller = server.caller()
    (expected,) = await over_grpc(server, example)
    for encoding, content in (("proto", example.raw()[0]), ("json", as_json(example.messages()[0]))):
        text = base64.urlsafe_b64encode(content).decode() if encoding == "proto" else content.decode()
        query = f"?connect=v1&encoding={encoding}&base64={int(encoding == 'proto')}&message={quote(text, safe='')}"
        reply = send(server, example.path + query, caller.sign(example.path, content), method="GET")
        assert reply.http == 200
        found = (
            w1.SimulationResult.FromString(reply.body)
            if encoding == "proto"
            else Parse(reply.body, w1.SimulationResult())
        )
        assert found == expected
        refused = send(server, example.path + query, caller.sign(example.path, b"another"), method="GET")
        assert refused.http == 401


async def test_what_was_computed_for_one_protocol_is_in_the_cache_for_the_others(tmp_path: Path) -> None:
    with Deployment(tables(), tmp_path) as server:
        example = CARRIED[0]
        codes = [spoken.ended(example, spoken.call(server, example)) for spoken in SPOKEN]
    kind = REPLIES[example.shape]
    replies = [
        bits(Parse(raw, kind()) if spoken.json else kind.FromString(raw))
        for spoken, (_, (raw,)) in zip(SPOKEN, codes, strict=True)
    ]
    assert len(set(replies)) == 1


def test_a_page_of_a_named_origin_is_let_in_and_asks_without_a_signature(tmp_path: Path) -> None:
    configuration: dict[str, Any] = tables(transports=["asgi"])
    configuration["transports"]["asgi"]["cors_origins"] = [PAGE]
    with Deployment(configuration, tmp_path) as server:
        example = CARRIED[0]
        wanted = "content-type,x-mfn-key-id,x-mfn-timestamp,x-mfn-nonce,x-mfn-content-sha256,x-mfn-signature"
        asked: Sequence[Header] = [
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", wanted),
        ]
        allowed = send(server, example.path, [("origin", PAGE), *asked], method="OPTIONS")
        assert (allowed.http, allowed.headers["access-control-allow-origin"]) == (204, PAGE)
        assert allowed.headers["access-control-allow-headers"].replace(" ", "") == wanted
        other = send(server, example.path, [("origin", "https://other.example.org"), *asked], method="OPTIONS")
        assert other.http == 403
        assert "access-control-allow-origin" not in other.headers
        for spoken in SPOKEN:
            reply = spoken.call(server, example, ("origin", PAGE))
            assert reply.headers["access-control-allow-origin"] == PAGE
            assert "grpc-status" in reply.headers["access-control-expose-headers"].split(", ")
    # The question of a browser is no call.
    server.trail.refresh()
    assert sorted(record["protocol"] for record in server.trail.records) == ["connect"] * 2 + ["grpc-web"] * 2
