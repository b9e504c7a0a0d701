"""HTTP exchanges for the clients of these tests: bodies streamed both ways, over either version of HTTP."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Self

from attrs import field, frozen
from pyqwest import Headers, HTTPTransport, HTTPVersion, Request, Response

from mfn_core.testing.wire import Pairs

__all__ = ["Failure", "Http", "HttpExchange", "Status", "Violation", "frame", "metadata_of", "to_headers", "whole"]

_PREFIX = struct.Struct(">BI")

AHEAD = 64 * 1024
"""Bytes of a reply that may wait to be taken; what is beyond them waits in the server."""


@frozen(kw_only=True)
class Violation:
    field: str
    description: str


@frozen(kw_only=True)
class Status:
    """A `mfn_core.testing.wire.WireStatus`."""

    code: str
    message: str = ""
    violations: Sequence[Violation] = ()
    retry_after: float | None = None
    trailing: Pairs = field(factory=tuple)


class Failure(Exception):
    """The exchange ended before its reply was whole."""


class Http:
    """A connection of its own to one server."""

    def __init__(self, address: str, *, http2: bool = True) -> None:
        version = HTTPVersion.HTTP2 if http2 else HTTPVersion.HTTP1
        self._transport = HTTPTransport(
            http_version=version,
            enable_gzip=False,
            enable_brotli=False,
            enable_zstd=False,
            enable_otel=False,
            follow_redirects=False,
        )
        self._root = f"http://{address}"
        self._begun: list[HttpExchange] = []

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        for exchange in self._begun:
            await exchange.abandon()
        await self._transport.__aexit__(*failure)

    def begin(self, path: str, headers: Headers) -> HttpExchange:
        """A POST whose body is sent piece by piece."""
        self._begun.append(HttpExchange(self._transport, self._root + path, headers))
        return self._begun[-1]


class HttpExchange:
    """One POST in flight. Nothing is sent before the first `send`; the reply is read ahead by `AHEAD` bytes."""

    def __init__(self, transport: HTTPTransport, url: str, headers: Headers) -> None:
        self._transport, self._url, self._headers = transport, url, headers
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._running: asyncio.Task[None] | None = None
        self._response: Response | None = None
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        """Something has arrived, or was taken."""
        self._over = asyncio.Event()
        self._broken: str | None = None
        self._wanted = AHEAD
        self.cancelled = False

    async def send(self, piece: bytes | None) -> bool:
        """Send a piece, or None for the end; False once the exchange is over."""
        if self._over.is_set():
            return False
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())
        put = asyncio.ensure_future(self._outgoing.put(piece))
        over = asyncio.ensure_future(self._over.wait())
        done, _ = await asyncio.wait([put, over], return_when=asyncio.FIRST_COMPLETED)
        for each in {put, over} - done:
            each.cancel()
        return put in done and not self._over.is_set()

    async def response(self) -> Response:
        """The head of the reply.

        Raises:
            Failure: there is none.
        """
        while self._response is None:
            if self._over.is_set():
                raise Failure(self._broken)
            await self._change()
        return self._response

    async def take(self, size: int) -> bytes:
        """Exactly so many bytes of the body; empty at its end.

        Raises:
            Failure: it breaks off.
        """
        self._wanted = max(AHEAD, size)
        self._changed.set()
        while len(self._buffer) < size:
            if self._over.is_set():
                if self._buffer or self._broken:
                    raise Failure(f"the reply ends with {bytes(self._buffer)!r}: {self._broken}")
                return b""
            await self._change()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._changed.set()
        return taken

    async def rest(self) -> bytes:
        """The body as far as it was not taken.

        Raises:
            Failure: it breaks off.
        """
        taken = b""
        while not self._over.is_set() or self._buffer:
            if not self._buffer:
                await self._change()
            taken += await self.take(len(self._buffer))
        if self._broken:
            raise Failure(self._broken)
        return taken

    async def take_frame(self) -> tuple[int, bytes] | None:
        """Flags and content of the next frame; None at the end."""
        prefix = await self.take(_PREFIX.size)
        if not prefix:
            return None
        flags, size = _PREFIX.unpack(prefix)
        content = await self.take(size) if size else b""
        if len(content) != size:
            raise Failure("the reply ends within a frame")
        return flags, content

    def cancel(self) -> None:
        """Give it up."""
        if self._over.is_set() or self._running is None:
            return
        self.cancelled = True
        self._broken = "cancelled here"
        self._over.set()
        self._changed.set()
        self._running.cancel()

    async def abandon(self) -> None:
        """Give it up, and wait until that is done."""
        self.cancel()
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _run(self) -> None:
        try:
            request = Request("POST", self._url, self._headers, self._pieces())
            async with await self._transport.execute(request) as response:
                self._response = response
                self._changed.set()
                async for piece in response.content:
                    while len(self._buffer) >= self._wanted:
                        await self._change()
                    self._buffer += piece
                    self._changed.set()
        except OSError as broken:
            self._broken = repr(broken)
        finally:
            self._over.set()
            self._changed.set()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._outgoing.get()) is not None:
            yield piece


def frame(message: bytes, flags: int = 0) -> bytes:
    """With the prefix of five bytes that every RPC protocol has."""
    return _PREFIX.pack(flags, len(message)) + message


def to_headers(*pairs: Iterable[tuple[str, str | bytes]]) -> Headers:
    """Metadata and other headers, in order; bytes as base64 without padding."""
    headers = Headers()
    for some in pairs:
        for key, value in some:
            text = base64.b64encode(value).rstrip(b"=").decode() if isinstance(value, bytes) else value
            headers.add(key, text)
    return headers


def metadata_of(headers: Iterable[tuple[str, str]]) -> Pairs:
    """Headers as metadata."""
    return [
        (key, base64.b64decode(value + "=" * (-len(value) % 4)) if key.endswith("-bin") else value)
        for key, value in headers
    ]


async def whole(exchange: HttpExchange, *pieces: bytes) -> tuple[int, bytes]:
    """Send everything, and take everything: HTTP status and body."""
    for piece in pieces:
        await exchange.send(piece)
    await exchange.send(None)
    return (await exchange.response()).status, await exchange.rest()
