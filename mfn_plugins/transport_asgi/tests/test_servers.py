"""One application under Envoy and under uvicorn: the same requests get the same answers."""

from __future__ import annotations

import base64
import http.client
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import websockets.sync.client
from google.protobuf.wrappers_pb2 import BytesValue
from websockets.exceptions import InvalidStatus

from mfn_core.testing.process import ServerProcess

SERVERS = ("pyvoy", "uvicorn")
PAGE = "https://app.example.org"
LIMIT = 4096
VARYING = ("date", "server", "connection", "transfer-encoding", "content-length", "keep-alive")
"""Headers that are the server's own way of saying where a body ends, or when."""


def message(value: bytes) -> bytes:
    return BytesValue(value=value).SerializeToString()


def framed(value: bytes) -> bytes:
    raw = message(value)
    return struct.pack(">BI", 0, len(raw)) + raw


def text(value: bytes) -> bytes:
    return json.dumps(base64.b64encode(value).decode()).encode()


JSON, PROTO = {"content-type": "application/json"}, {"content-type": "application/proto"}
WEB, WEB_TEXT = {"content-type": "application/grpc-web+proto"}, {"content-type": "application/grpc-web-text"}
STREAM, LINES = {"content-type": "application/connect+proto"}, {"content-type": "application/x-ndjson"}
V1 = {"connect-protocol-version": "1"}
EVENTS = {"accept": "text/event-stream"}
FOUND = {"origin": PAGE}
STRANGER = {"origin": "http://evil.example", "host": "evil.example"}
"""A page whose name leads to this machine, as its browser sends a call."""

REQUESTS: Mapping[str, tuple[str, str, Mapping[str, str], bytes]] = {
    "rest unary with an id": ("POST", "/asgi.Test/Echo", {**JSON, "x-request-id": "mine"}, text(b"hi")),
    "rest not json": ("POST", "/asgi.Test/Echo", {**JSON, "x-request-id": "mine"}, b"{"),
    "rest not of the type": ("POST", "/asgi.Test/Echo", {**JSON, "x-request-id": "mine"}, b'"?"'),
    "rest of another content type": ("POST", "/asgi.Test/Echo", {"content-type": "text/xml", "x-request-id": "1"}, b""),
    "rest of another method": ("PUT", "/asgi.Test/Echo", {**JSON, "x-request-id": "mine"}, text(b"hi")),
    "rest unacceptable": ("POST", "/asgi.Test/Echo", {**JSON, "accept": "image/png", "x-request-id": "m"}, b'""'),
    "rest too large": ("POST", "/asgi.Test/Echo", {**JSON, "x-request-id": "mine"}, text(bytes(2 * LIMIT))),
    "rest nothing there": ("GET", "/nothing/there%20?a=b", {"x-request-id": "mine"}, b""),
    "rest upload": (
        "POST",
        "/asgi.Test/Count",
        {**LINES, "x-request-id": "m"},
        text(b"12") + b"\n" + text(b"3") + b"\n",
    ),
    "rest lines": (
        "POST",
        "/asgi.Test/Mirror",
        {**LINES, "x-request-id": "m"},
        text(b"12") + b"\n" + text(b"3") + b"\n",
    ),
    "rest events": ("POST", "/asgi.Test/Mirror", {**LINES, **EVENTS, "x-request-id": "m"}, text(b"1") + b"\n"),
    "rest options": ("OPTIONS", "/asgi.Test/Echo", {}, b""),
    "grpc-web unary": ("POST", "/asgi.Test/Echo", WEB, framed(b"hi")),
    "grpc-web text": ("POST", "/asgi.Test/Echo", WEB_TEXT, base64.b64encode(framed(b"hi"))),
    "grpc-web broken text": ("POST", "/asgi.Test/Echo", WEB_TEXT, b"?!"),
    "grpc-web both ways": ("POST", "/asgi.Test/Mirror", WEB, framed(b"a") + framed(b"b")),
    "grpc-web without a message": ("POST", "/asgi.Test/Echo", WEB, b""),
    "grpc-web too large": ("POST", "/asgi.Test/Echo", WEB, framed(bytes(2 * LIMIT))),
    "grpc-web unknown": ("POST", "/asgi.Test/Nope", WEB, framed(b"")),
    "grpc-web read": ("GET", "/asgi.Test/Echo", WEB, b""),
    "connect unary": ("POST", "/asgi.Test/Echo", PROTO, message(b"hi")),
    "connect json": ("POST", "/asgi.Test/Echo", {**JSON, **V1}, text(b"hi")),
    "connect not json": ("POST", "/asgi.Test/Echo", {**JSON, **V1}, b"{"),
    "connect unknown": ("POST", "/asgi.Test/Nope", PROTO, b""),
    "connect timeout": ("POST", "/asgi.Test/Echo", {**PROTO, "connect-timeout-ms": "soon"}, b""),
    "connect stream": ("POST", "/asgi.Test/Count", STREAM, framed(b"abc") + framed(b"d")),
    "connect both ways": ("POST", "/asgi.Test/Mirror", STREAM, framed(b"abc")),
    "connect of another shape": ("POST", "/asgi.Test/Echo", STREAM, framed(b"abc")),
    "connect get of what changes something": (
        "GET",
        "/asgi.Test/Echo?connect=v1&encoding=json&message=%22%22",
        {},
        b"",
    ),
    "connect gzip that is none": ("POST", "/asgi.Test/Echo", {**PROTO, "content-encoding": "gzip"}, b"plain"),
    "grpc": ("POST", "/asgi.Test/Echo", {"content-type": "application/grpc", "te": "trailers"}, framed(b"hi")),
    "preflight": ("OPTIONS", "/asgi.Test/Echo", {**FOUND, "access-control-request-method": "POST"}, b""),
    "from a page": ("POST", "/asgi.Test/Echo", {**JSON, **FOUND, "x-request-id": "mine"}, text(b"hi")),
    "rest from a stranger": ("POST", "/asgi.Test/Echo", {**JSON, **STRANGER, "x-request-id": "mine"}, text(b"hi")),
    "connect from a stranger": ("POST", "/asgi.Test/Echo", {**PROTO, **STRANGER}, message(b"hi")),
    "connect stream from a stranger": ("POST", "/asgi.Test/Count", {**STREAM, **STRANGER}, framed(b"abc")),
    "grpc-web from a stranger": ("POST", "/asgi.Test/Echo", {**WEB, **STRANGER}, framed(b"hi")),
    "page": ("GET", "/", {}, b""),
    "page head": ("HEAD", "/", {}, b""),
    "page script": ("GET", "/live.js?v=1", {}, b""),
    "docs": ("GET", "/docs", {}, b""),
    "description": ("GET", "/openapi.json", {}, b""),
    "live": ("GET", "/livez", {}, b""),
    "ready": ("GET", "/readyz", {}, b""),
}


@pytest.fixture(scope="module")
def addresses(
    tables: Callable[..., dict[str, Any]],
    server_environment: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """One server of each kind."""
    with ExitStack() as stack:
        found = {}
        for kind in SERVERS:
            made = tables(served_by=kind, cors_origins=[PAGE], max_message_bytes=LIMIT)
            server = ServerProcess(made, tmp_path_factory.mktemp(kind), env=server_environment)
            found[kind] = stack.enter_context(server).address("asgi")
        yield found


def answer(
    address: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers but those that vary, and body."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, target, body=body or None, headers=dict(headers))
        reply = connection.getresponse()
        content = reply.read()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, {name: value for name, value in named.items() if name not in VARYING}, content
    finally:
        connection.close()


def without_ids(content: bytes) -> bytes:
    """A body without the server's own id of the call, which is another each time."""
    try:
        parsed = json.loads(content)
    except ValueError:
        return content
    if isinstance(parsed, dict):
        parsed.pop("call_id", None)
        parsed.pop("instance", None)
    return json.dumps(parsed, sort_keys=True).encode()


@pytest.mark.parametrize("name", REQUESTS)
def test_status_headers_and_body_are_the_same(addresses: Mapping[str, str], name: str) -> None:
    of_envoy, of_uvicorn = (answer(addresses[kind], *REQUESTS[name]) for kind in SERVERS)
    assert of_uvicorn[0] == of_envoy[0]
    assert of_uvicorn[1] == of_envoy[1]
    assert without_ids(of_uvicorn[2]) == without_ids(of_envoy[2])


def test_a_page_that_has_made_its_name_lead_to_this_machine_may_not_call(addresses: Mapping[str, str]) -> None:
    said = {name: answer(addresses["pyvoy"], *request) for name, request in REQUESTS.items() if "a stranger" in name}
    assert len(said) == 4
    assert all(b"pages of this origin" in content or "grpc-message" in headers for _, headers, content in said.values())
    assert {name: status for name, (status, _, _) in said.items() if status != 200} == {
        "rest from a stranger": 403,
        "connect from a stranger": 403,
    }
    assert said["grpc-web from a stranger"][1]["grpc-status"] == "7"
    assert b"permission_denied" in said["connect stream from a stranger"][2]
    for origin in (PAGE, "http://localhost:5173", f"http://{addresses['pyvoy']}"):
        status, _, content = answer(
            addresses["pyvoy"], "POST", "/asgi.Test/Echo", {**JSON, "origin": origin}, text(b"hi")
        )
        assert (status, content) == (200, text(b"hi"))


@pytest.mark.parametrize("target", ["/%ff", "/v1/models/%c3", "/asgi.Test/%ed%a0%80?a=%C3%A9", "/%4%ff%"])
def test_a_path_that_is_not_utf_8_is_refused_by_both(addresses: Mapping[str, str], target: str) -> None:
    statuses = {kind: answer(addresses[kind], "GET", target, {}, b"")[0] for kind in SERVERS}
    # Envoy itself answers, before there is a call; uvicorn passes it on to where nothing is.
    assert statuses == {"pyvoy": 400, "uvicorn": 404}
    assert answer(addresses["pyvoy"], "GET", "/%C3%A9%4?a=%ff", {}, b"")[0] == 404


async def test_a_grpc_client_hears_why_its_path_is_refused(
    addresses: Mapping[str, str], connect: Callable[..., Any]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="path of a request is UTF-8") as refused:
        await connect(addresses["pyvoy"]).unary("%ff", timeout=20)
    assert refused.value.code() is grpc.StatusCode.INTERNAL


def test_the_table_has_answers_of_every_kind(addresses: Mapping[str, str]) -> None:
    statuses = {name: answer(addresses["uvicorn"], *request)[0] for name, request in REQUESTS.items()}
    assert set(statuses.values()) >= {200, 204, 400, 404, 405, 406, 413, 415, 505}
    assert {name for name, status in statuses.items() if status == 505} == {"grpc", "connect both ways"}


def said(address: str, path: str, *messages: str, origin: str | None = None) -> list[Any]:
    """What is answered on a socket until it closes, and the code with which it does."""
    heard: list[Any] = []
    try:
        with websockets.sync.client.connect(f"ws://{address}{path}", origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
            try:
                for each in messages[:-1]:  # what is wrong with the next must not overtake the answer
                    socket.send(each)
                    heard.append(json.loads(socket.recv(timeout=20)))
                socket.send(messages[-1])
                while True:
                    heard.append(json.loads(socket.recv(timeout=20)))
            except websockets.exceptions.ConnectionClosed as closed:
                heard.append(closed.rcvd.code if closed.rcvd else None)
    except InvalidStatus as refused:
        heard.append(f"refused with {refused.response.status_code}")
    return json.loads(
        json.dumps(heard), object_hook=lambda each: {k: v for k, v in each.items() if k not in ("timestamp", "call_id")}
    )  # type: ignore[no-any-return]


INIT, CLOSE = '{"type": "init", "payload": {"protocol_version": "1.0"}}', '{"type": "close"}'


@pytest.mark.parametrize(
    ("path", "origin", "messages"),
    [
        ("/ws/field", None, [INIT, CLOSE]),
        ("/ws/field", None, [INIT, '{"type": "dance"}', CLOSE]),
        ("/ws/field", None, ['{"type": "init", "payload": {"protocol_version": "9"}}']),
        ("/ws/field", None, ["no JSON"]),
        (
            "/ws/simulation_live",
            None,
            [INIT, '{"type": "subscribe", "payload": {"stream_id": "a", "params": {}}}', CLOSE],
        ),
        ("/ws/nothing", None, [INIT]),
        ("/ws/field", "https://evil.example.org", [INIT]),
        ("/ws/field", PAGE, [INIT, CLOSE]),
        ("/ws/field", None, [INIT, json.dumps({"type": "x" * 70_000})]),
    ],
)
def test_sockets_are_answered_and_closed_alike(
    addresses: Mapping[str, str], path: str, origin: str | None, messages: list[str]
) -> None:
    of_envoy, of_uvicorn = (said(addresses[kind], path, *messages, origin=origin) for kind in SERVERS)
    assert of_uvicorn == of_envoy
    assert of_envoy


def test_what_a_client_writes_about_itself_is_believed_by_neither(addresses: Mapping[str, str], tmp_path: Path) -> None:
    forged = {
        "x-mfn-id": "1",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-client-cert": 'Subject="CN=root"',
        "x-own": "kept",
    }
    for kind in SERVERS:
        status, _, content = answer(addresses[kind], "POST", "/asgi.Test/State", {**JSON, **forged}, b'""')
        assert status == 200
        state = json.loads(base64.b64decode(json.loads(content)))
        keys = {key for key, _ in state["metadata"]}
        assert "x-own" in keys
        assert not keys & {"x-mfn-id", "x-forwarded-for", "x-forwarded-client-cert"}
        assert state["peer"].startswith("127.0.0.1:")
        assert state["identity"] is None
