"""Scopes of servers that differ, made what the protocols read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from mfn_asgi_parts.by_hand import DISCONNECT, Client, Recorder, body, message
from mfn_asgi_parts.by_hand import Server as ByHand
from mfn_core import Code
from mfn_transport_asgi._any_server import AnyServer
from mfn_transport_asgi._application import Application
from mfn_transport_asgi._asgi import Receive, Scope, Send, plain_reply
from mfn_transport_asgi._framing import frame
from mfn_transport_asgi._grpc.protocol import GrpcProtocol
from mfn_transport_asgi._peer import peer_of

BARE: Mapping[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET"}
"""What every server gives; the rest is optional."""


class Kept:
    """Keeps the scope of the last request."""

    active = 0
    content_types = ()
    for_browsers = False
    scope: Scope

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def claims(self, scope: Scope) -> bool:
        return True

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await plain_reply(send, 200, b"kept")


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def server(kept: Kept) -> AnyServer:
    application = Application()
    application.speak(kept)
    return AnyServer(application, max_header_bytes=1000)


async def ask(server: AnyServer, scope: Mapping[str, Any], *pieces: Mapping[str, Any]) -> Client:
    client = Client(pieces or [body(b"")])
    async with asyncio.timeout(10):
        await server(scope, client.receive, client.send)
    assert client.whole
    return client


async def test_a_scope_of_the_least_that_asgi_demands_is_enough(server: AnyServer, kept: Kept) -> None:
    scope = {**BARE, "path": "/a b/ü", "headers": []}
    assert (await ask(server, scope)).http == 200
    assert kept.scope["raw_path"] == b"/a%20b/%C3%BC"
    assert kept.scope["query_string"] == b""
    assert peer_of(kept.scope, identifies=True).address == "unknown"
    assert not peer_of(kept.scope, identifies=True).encrypted


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"raw_path": b"/mfn/a%2Fb", "path": "/mfn/a/b", "root_path": "/mfn"}, b"/a%2Fb"),
        ({"raw_path": b"/a%2Fb", "path": "/a/b", "root_path": "/mfn"}, b"/a%2Fb"),
        ({"raw_path": b"/mfn", "path": "/mfn", "root_path": "/mfn"}, b"/"),
        ({"raw_path": b"/mfnx/a", "path": "/mfnx/a", "root_path": "/mfn"}, b"/mfnx/a"),
        ({"raw_path": b"/a?b=c", "path": "/a"}, b"/a"),
        ({"raw_path": None, "path": "/mfn/pkg.Service/Method", "root_path": "/mfn"}, b"/pkg.Service/Method"),
    ],
)
async def test_the_path_is_what_follows_where_it_is_mounted(
    server: AnyServer, kept: Kept, given: dict[str, Any], path: bytes
) -> None:
    await ask(server, {**BARE, **given, "headers": []})
    assert kept.scope["raw_path"] == path


async def test_headers_that_are_the_listeners_are_its_own(server: AnyServer, kept: Kept) -> None:
    headers = [
        (b"X-Mfn-Id", b"forged"),
        (b"X-Forwarded-For", b"192.0.2.1"),
        (b"x-forwarded-client-cert", b"forged"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-Own", b"Kept"),
    ]
    seen = []
    for _ in range(2):
        await ask(server, {**BARE, "path": "/", "headers": headers})
        first, (name, number) = kept.scope["headers"]
        assert first == (b"x-own", b"Kept")
        assert name == b"x-mfn-id"
        seen.append(number)
    assert b"forged" not in seen
    assert len(set(seen)) == 2


async def test_headers_over_the_limit_are_refused(server: AnyServer) -> None:
    headers = [(b"x-%d" % number, bytes(97)) for number in range(10)]
    assert (await ask(server, {**BARE, "path": "/", "headers": headers})).http == 200
    assert (await ask(server, {**BARE, "path": "/", "headers": [*headers, (b"x-more", b"x")]})).http == 431


async def test_where_a_request_may_not_come_in_it_is_refused(kept: Kept) -> None:
    application = Application()
    application.speak(kept)
    guarded = AnyServer(application, max_header_bytes=1000, refuse=lambda scope: "not from here")
    client = await ask(guarded, {**BARE, "path": "/", "headers": []})
    assert (client.http, client.body) == (403, b"not from here\n")
    assert not hasattr(kept, "scope")


GRPC = {
    "type": "http",
    "http_version": "2",
    "method": "POST",
    "path": "/t.T/Echo",
    "headers": [(b"content-type", b"application/grpc"), (b"te", b"trailers")],
    "client": ("127.0.0.1", 4000),
}


def served() -> tuple[AnyServer, Recorder, ByHand]:
    """gRPC on any server."""
    parts = ByHand(GrpcProtocol)
    application = Application()
    application.disconnects = parts.disconnects
    application.speak(parts.protocol)
    return AnyServer(application, max_header_bytes=1000), parts.recorder, parts


async def test_a_server_with_http_2_and_trailers_carries_grpc() -> None:
    server, recorder, _ = served()
    scope = {**GRPC, "extensions": {"http.response.trailers": {}}}
    client = await ask(server, scope, body(frame(message(b"hi"))))
    assert (client.status, client.body) == (0, frame(message(b"hi")))
    assert recorder.ended == [("/t.T/Echo", Code.OK)]


async def test_a_server_without_trailers_says_what_to_do() -> None:
    server, recorder, _ = served()
    client = await ask(server, {**GRPC, "extensions": None}, body(frame(message(b"hi"))))
    assert client.http == 505
    assert recorder.ended == [("/t.T/Echo", Code.UNIMPLEMENTED)]


@pytest.mark.parametrize("method", ["Sleep", "Mirror"])
async def test_a_client_that_leaves_aborts_its_call_wherever_that_waits(method: str) -> None:
    server, recorder, _ = served()
    scope = {**GRPC, "path": f"/t.T/{method}", "extensions": {"http.response.trailers": {}}}
    client = Client([body(frame(message(b"1")), more=method == "Mirror")])
    asked = asyncio.create_task(server(scope, client.receive, client.send))
    async with asyncio.timeout(10):
        await recorder.begun.wait()
        await client.silent.wait()
        client.say(DISCONNECT)
        await asked
    assert recorder.ended == [(f"/t.T/{method}", Code.CANCELLED)]


async def test_the_disconnect_that_follows_a_reply_aborts_nothing() -> None:
    server, recorder, parts = served()
    scope = {**GRPC, "extensions": {"http.response.trailers": {}}}
    for _ in range(3):
        await ask(server, scope, body(frame(message(b"1"))), DISCONNECT)
    assert [code for _, code in recorder.ended] in ([Code.OK] * 3, [Code.CANCELLED] * 3)
    assert parts.dispatcher.active == 0
