"""HTTP/3 for the clients of these tests, on a library that shares nothing with the server."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset

__all__ = ["Http3", "Reply", "http3"]


class Reply:
    """One exchange: what has come of its reply."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.trailers: dict[bytes, bytes] = {}
        self.body = b""
        self.over = False
        self.broken = False
        self._news = asyncio.Event()

    def take(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            (self.trailers if self.headers else self.headers).update(event.headers)
        elif isinstance(event, DataReceived):
            self.body += event.data
        self.over = self.over or bool(getattr(event, "stream_ended", False))
        self._news.set()

    def end(self) -> None:
        """The connection is gone, or the server has reset the stream."""
        self.broken = not self.over
        self.over = True
        self._news.set()

    async def until(self, size: int) -> bytes:
        """The body, once it has so many bytes or is whole."""
        async with asyncio.timeout(20):
            while len(self.body) < size and not self.over:
                self._news.clear()
                await self._news.wait()
        return self.body

    async def whole(self) -> bytes:
        """The whole body."""
        async with asyncio.timeout(20):
            while not self.over:
                self._news.clear()
                await self._news.wait()
        assert not self.broken, "the reply breaks off"
        return self.body

    @property
    def status(self) -> int:
        return int(self.headers[b":status"])


class Http3(QuicConnectionProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http = H3Connection(self._quic)
        self._paused = False
        self._replies: defaultdict[int, Reply] = defaultdict(Reply)

    def pause(self) -> None:
        """Take no more of what comes; nothing is acknowledged either."""
        self._paused = True

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        if not self._paused:
            super().datagram_received(data, addr)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            for reply in self._replies.values():
                reply.end()
        elif isinstance(event, StreamReset):
            self._replies[event.stream_id].end()
        for each in self._http.handle_event(event):
            if isinstance(each, HeadersReceived | DataReceived):
                self._replies[each.stream_id].take(each)

    def begin(
        self,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes = b"",
        *,
        method: bytes = b"POST",
        end: bool = True,
    ) -> tuple[int, Reply]:
        """Send a request; the number of its stream, and its reply."""
        stream = self._quic.get_next_available_stream_id()
        own = [(b":method", method), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path.encode())]
        self._http.send_headers(stream, [*own, *headers], end_stream=end and not body)
        if body:
            self._http.send_data(stream, body, end_stream=end)
        self.transmit()
        return stream, self._replies[stream]

    def send(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """More of the request."""
        self._http.send_data(stream, body, end_stream=end)
        self.transmit()

    def cancel(self, stream: int) -> None:
        """Take no more of a reply whose request has been sent whole."""
        self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()


@asynccontextmanager
async def http3(
    address: str, authority: Path, certificate: Path | None = None, key: Path | None = None
) -> AsyncIterator[Http3]:
    """A connection to `host:port`, which trusts `authority` and shows a certificate where one is given."""
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, server_name="localhost")
    configuration.load_verify_locations(str(authority))
    if certificate is not None:
        configuration.load_cert_chain(certificate, key)
    host, port = address.rsplit(":", 1)
    async with connect(host, int(port), configuration=configuration, create_protocol=Http3) as connected:
        assert isinstance(connected, Http3)
        yield connected
