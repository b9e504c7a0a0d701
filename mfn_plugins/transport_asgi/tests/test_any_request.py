"""Whatever a client sends over the protocols of the web, it gets a whole reply with a defined status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_asgi_parts.by_hand import Client, Server, body
from mfn_core import Code
from mfn_transport_asgi._connect.protocol import ConnectProtocol
from mfn_transport_asgi._framing import frame
from mfn_transport_asgi._grpc.web import GrpcWebProtocol

CONTENT_TYPES: dict[bytes, Callable[..., Any]] = {
    b"application/grpc-web": GrpcWebProtocol,
    b"application/grpc-web-text": GrpcWebProtocol,
    b"application/proto": ConnectProtocol,
    b"application/json": ConnectProtocol,
    b"application/connect+proto": ConnectProtocol,
    b"application/connect+json": ConnectProtocol,
}
METHODS = st.sampled_from(["Echo", "Repeat", "Count", "Mirror", "Fail", "FailStream", "Nope"])
NOISE = st.binary(max_size=30)
PIECES = st.lists(NOISE | NOISE.map(frame) | st.sampled_from([frame(b'"YQ=="'), b"\x82\0\0\0\0"]), max_size=5)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"grpc-timeout",
                b"grpc-encoding",
                b"accept",
                b"accept-encoding",
                b"content-encoding",
                b"connect-timeout-ms",
                b"connect-content-encoding",
                b"connect-accept-encoding",
                b"connect-protocol-version",
                b"x-text",
                b"x-bytes-bin",
            ]
        ),
        NOISE | st.sampled_from([b"gzip", b"identity", b"1", b"application/grpc-web-text"]),
    ),
    max_size=4,
)
HTTP_STATUSES = {200, 400, 404, 405, 409, 415, 429, 499, 501, 504, 505}
"""Without 500: nothing here is a defect of the server."""


@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=bytes.decode)
@given(method=METHODS, pieces=PIECES, headers=HEADERS, http=st.sampled_from(["1.1", "2"]))
def test_any_request_gets_a_whole_reply(
    content_type: bytes, method: str, pieces: list[bytes], headers: list[tuple[bytes, bytes]], http: str
) -> None:
    async def ask() -> None:
        server = Server(CONTENT_TYPES[content_type])
        sent = [body(piece, more=True) for piece in pieces]
        named = [(b"content-type", content_type), *headers]
        client = await server.ask(Client([*sent, body(b"")]), method, *named, http=http)
        assert client.whole
        assert client.http in HTTP_STATUSES
        assert Code.INTERNAL not in {code for _, code in server.recorder.ended}
        assert len(server.recorder.ended) == 1

    asyncio.run(ask())


@given(query=st.binary(max_size=60), method=METHODS, encoding=st.sampled_from([b"proto", b"json"]))
def test_any_query_gets_a_whole_reply(query: bytes, method: str, encoding: bytes) -> None:
    async def ask() -> None:
        server = Server(ConnectProtocol)
        written = b"connect=v1&encoding=" + encoding + b"&message=" + query
        client = await server.ask(Client([]), method, verb="GET", query=written)
        assert client.whole
        assert client.http in HTTP_STATUSES
        assert Code.INTERNAL not in {code for _, code in server.recorder.ended}
        assert len(server.recorder.ended) == 1

    asyncio.run(ask())
