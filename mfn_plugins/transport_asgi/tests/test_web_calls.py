"""gRPC-Web and Connect on a real server: over both versions of HTTP, with clients that leave, lag and lie."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_asgi_parts.connect_wire import END, status_of
from mfn_asgi_parts.grpc_web_wire import TRAILERS, GrpcWebCall
from mfn_asgi_parts.http_wire import Http, HttpExchange, frame, to_headers, whole

Start = Callable[..., Any]
Connect = Callable[..., Any]
Open = Callable[..., Http]
HTTP = [pytest.param(False, id="http1"), pytest.param(True, id="http2")]
FORMS = [
    pytest.param("application/grpc-web", id="grpc-web"),
    pytest.param("application/connect+proto", id="connect"),
]


def message(value: bytes) -> bytes:
    return BytesValue(value=value).SerializeToString()


def begin(http: Http, method: str, content_type: str, *further: tuple[str, str]) -> HttpExchange:
    return http.begin(f"/asgi.Test/{method}", to_headers([("content-type", content_type)], further))


@pytest.mark.parametrize("http2", HTTP)
async def test_unary_calls_work_over_either_version_of_http(start: Start, opened: Open, http2: bool) -> None:
    http = opened(start().address("asgi"), http2=http2)
    assert await whole(begin(http, "Echo", "application/proto"), message(b"hi")) == (200, message(b"hi"))
    exchange = begin(http, "Echo", "application/json", ("connect-protocol-version", "1"))
    assert await whole(exchange, b'"a', b'Gk="') == (200, b'"aGk="')
    text = base64.b64encode(frame(message(b"hi")))
    status, body = await whole(begin(http, "Echo", "application/grpc-web-text"), text[:3], text[3:])
    assert status == 200
    assert base64.b64decode(body[:12]) == frame(message(b"hi"))
    call = GrpcWebCall(begin(http, "Echo", "application/grpc-web+proto"))
    await call.send(message(b"hi"))
    await call.half_close()
    assert await call.receive() == message(b"hi")
    assert ("x-initial", "first") in await call.initial_metadata()
    ended = await call.status()
    assert (ended.code, list(ended.trailing)) == ("OK", [("x-trailing-bin", b"\x00\xff")])


@pytest.mark.parametrize("http2", HTTP)
async def test_streams_work_over_either_version_of_http(start: Start, opened: Open, http2: bool) -> None:
    http = opened(start().address("asgi"), http2=http2)
    for content_type, flag in (("application/connect+proto", END), ("application/grpc-web", TRAILERS)):
        flood = begin(http, "Flood", content_type)
        await flood.send(frame(message(b"10")))
        await flood.send(None)
        for _ in range(3):
            assert await flood.take_frame() == (0, message(bytes(10)))
        await flood.abandon()
        count = begin(http, "Count", content_type)
        for size in (0, 1, 70_000, 5):
            assert await count.send(frame(message(bytes(size))))
        await count.send(None)
        assert await count.take_frame() == (0, message(b"70006"))
        end = await count.take_frame()
        assert end is not None
        assert end[0] == flag


async def test_a_conversation_in_json_needs_http_2(start: Start, opened: Open) -> None:
    address = start().address("asgi")
    mirror = begin(opened(address), "Mirror", "application/connect+json")
    for text in (b'"YQ=="', b'"Yg=="'):
        assert await mirror.send(frame(text))
        assert await mirror.take_frame() == (0, text)
    await mirror.send(None)
    assert await mirror.take_frame() == (END, b"{}")
    status, body = await whole(begin(opened(address, http2=False), "Mirror", "application/connect+json"), frame(b'""'))
    assert (status, body) == (505, b"a call that streams both ways needs HTTP/2\n")


@pytest.mark.parametrize("http2", HTTP)
async def test_an_idle_handler_is_cancelled_when_its_client_leaves(
    start: Start, opened: Open, connect: Connect, http2: bool
) -> None:
    address = start().address("asgi")
    watcher = connect(address)
    unary = begin(opened(address, http2=http2), "Wait", "application/proto")
    web = begin(opened(address, http2=http2), "Wait", "application/grpc-web")
    streams = [begin(opened(address, http2=http2), "Sit", form.values[0]) for form in FORMS]
    await unary.send(b"")
    for exchange in (web, *streams):
        await exchange.send(frame(b""))
    for exchange in (unary, web, *streams):
        await exchange.send(None)
    for exchange in streams:
        assert await exchange.take_frame() == (0, b"")
    assert (await watcher.settled(running=4))["running"] == 4
    for exchange in (unary, web, *streams):
        await exchange.abandon()
    state = await watcher.settled(running=0, cancelled=4)
    assert (state["running"], state["cancelled"]) == (0, 4)


@pytest.mark.parametrize("http2", HTTP)
@pytest.mark.parametrize("content_type", FORMS)
async def test_a_client_that_does_not_read_holds_the_handler_back(
    start: Start, opened: Open, connect: Connect, content_type: str, http2: bool
) -> None:
    address = start().address("asgi")
    watcher = connect(address)
    flood = begin(opened(address, http2=http2), "Flood", content_type)
    await flood.send(frame(message(b"100000")))
    await flood.send(None)
    await flood.take_frame()
    seen = -1
    while (now := (await watcher.state())["flooded"]) != seen:
        seen = now
        await asyncio.sleep(0.2)  # whether it has come to a stop shows only in time
    assert seen < 1000


async def test_bodies_over_the_limit_are_refused_and_the_connection_lives_on(start: Start, opened: Open) -> None:
    http = opened(start(max_message_bytes=100_000).address("asgi"))
    status, body = await whole(begin(http, "Echo", "application/proto"), *([bytes(50_000)] * 10))
    assert (status, json.loads(body)["code"]) == (429, "resource_exhausted")
    call = GrpcWebCall(begin(http, "Echo", "application/grpc-web"))
    await call.send(message(bytes(100_000)))
    assert (await call.status()).code == "RESOURCE_EXHAUSTED"
    assert (await whole(begin(http, "Echo", "application/proto"), message(b"hi")))[0] == 200


async def test_an_unexpected_exception_shows_the_call_id_and_nothing_else(start: Start, opened: Open) -> None:
    http = opened(start().address("asgi"))
    flood = begin(http, "Flood", "application/connect+proto")
    await flood.send(frame(message(b"not a number")))
    await flood.send(None)
    end = await flood.take_frame()
    assert end is not None
    status = status_of(json.loads(end[1])["error"], ())
    assert status.code == "INTERNAL"
    assert "call id" in status.message
    assert "not a number" not in status.message


class Raw:
    """One connection of HTTP/1.1, written by hand."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection(self._host, int(self._port))
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def ask(self, request: str, body: bytes = b"") -> tuple[str, dict[str, str], bytes]:
        """Status line, headers and body of the reply; `request` is its head without the blank line."""
        head = request.replace("\n", "\r\n") + f"\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        return await self.reply()

    async def reply(self) -> tuple[str, dict[str, str], bytes]:
        """The next one on the connection."""
        line, *rest = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(pair.split(": ", 1) for pair in rest if pair)
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return line, headers, body


async def test_a_connection_of_http_1_carries_call_after_call(start: Start) -> None:
    async with Raw(start().address("asgi")) as raw:
        echo = "POST /asgi.Test/Echo HTTP/1.1\ncontent-type: application/"
        for _ in range(3):
            line, headers, body = await raw.ask(echo + "proto", message(b"hi"))
            assert (line, body) == ("HTTP/1.1 200 OK", message(b"hi"))
            assert (headers["x-initial"], headers["trailer-x-trailing-bin"]) == ("first", "AP8")
            line, _, body = await raw.ask(echo + "grpc-web+proto", frame(message(b"hi")))
            assert line == "HTTP/1.1 200 OK"
            assert body.startswith(frame(message(b"hi")) + b"\x80")
            line, headers, body = await raw.ask("POST /asgi.Test/Nope HTTP/1.1\ncontent-type: application/grpc-web")
            assert (line, headers["grpc-status"], body) == ("HTTP/1.1 200 OK", "12", b"")
            line, headers, body = await raw.ask(echo + "json\nconnect-protocol-version: 1", b"{")
            assert line == "HTTP/1.1 400 Bad Request"
            assert json.loads(body)["code"] == "invalid_argument"


@pytest.mark.parametrize(
    ("request_head", "line"),
    [
        ("POST /asgi.Test/Echo HTTP/1.1\ncontent-type: application/json", "HTTP/1.1 400"),
        ("POST /asgi.Test/Echo HTTP/1.1\ncontent-type: application/xml", "HTTP/1.1 415"),
        ("POST /asgi.Test/Echo HTTP/1.1", "HTTP/1.1 415"),
        ("POST /asgi.Test/Echo HTTP/1.1\ncontent-type: application/connect+proto", "HTTP/1.1 415"),
        ("POST /asgi.Test/Mirror HTTP/1.1\ncontent-type: application/proto", "HTTP/1.1 415"),
        ("GET /asgi.Test/Echo?connect=v1&encoding=json&message=%22%22 HTTP/1.1", "HTTP/1.1 405"),
        ("GET /asgi.Test/Echo HTTP/1.1\ncontent-type: application/grpc-web", "HTTP/1.1 405"),
        ("PUT /asgi.Test/Echo HTTP/1.1\ncontent-type: application/proto", "HTTP/1.1 405"),
        ("POST /asgi.Test/Ech%6F HTTP/1.1\ncontent-type: application/proto", "HTTP/1.1 501"),
        ("POST /asgi.Test/Echo/ HTTP/1.1\ncontent-type: application/proto", "HTTP/1.1 501"),
        (
            "OPTIONS /asgi.Test/Echo HTTP/1.1\norigin: https://a.example\naccess-control-request-method: POST",
            "HTTP/1.1 403",
        ),
    ],
)
async def test_what_is_no_call_gets_a_defined_status(shared: str, request_head: str, line: str) -> None:
    async with Raw(shared) as raw:
        got, _, body = await raw.ask(request_head)
        assert got.startswith(line)
        assert b"Traceback" not in body


async def test_a_page_is_answered_and_told_that_it_may_read(start: Start) -> None:
    page = "https://app.example.org"
    async with Raw(start(cors_origins=[page]).address("asgi")) as raw:
        line, headers, _ = await raw.ask(
            f"OPTIONS /asgi.Test/Echo HTTP/1.1\norigin: {page}\naccess-control-request-method: POST\n"
            "access-control-request-headers: content-type,x-mfn-signature"
        )
        assert line == "HTTP/1.1 204 No Content"
        assert headers["access-control-allow-headers"] == "content-type, x-mfn-signature"
        for content_type in ("application/proto", "application/grpc-web"):
            _, headers, _ = await raw.ask(
                f"POST /asgi.Test/Nope HTTP/1.1\norigin: {page}\ncontent-type: {content_type}"
            )
            assert headers["access-control-allow-origin"] == page
            assert "grpc-status-details-bin" in headers["access-control-expose-headers"].split(", ")


async def test_a_body_that_stops_half_way_leaves_nothing_behind(shared: str, connect: Connect) -> None:
    watcher = connect(shared)
    before = (await watcher.state())["tasks"]
    for content_type in ("application/proto", "application/grpc-web", "application/connect+proto"):
        for method in ("Echo", "Count", "Sit"):
            async with Raw(shared) as raw:
                head = f"POST /asgi.Test/{method} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n"
                raw.writer.write(f"{head}content-length: 100\r\n\r\n".encode() + b"\0\0\0")
                await raw.writer.drain()
    assert (await watcher.settled(tasks=before))["tasks"] == before
