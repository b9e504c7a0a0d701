"""The messages of one call: read as the handler asks for them, sent as the client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from mfn_core.call import Request
from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._asgi import Message, Receive, Send, settled
from mfn_transport_asgi._framing import Unframer, compress, decompress, frame, too_large, whole

if TYPE_CHECKING:
    from mfn_core.call import Call
    from mfn_transport_asgi._base64_text import TextDecoder

__all__ = [
    "ClientGoneError",
    "Exchange",
    "Inbound",
    "Reader",
    "at_once",
    "compressed",
    "decompressed",
    "off_loop",
    "read_body",
    "read_on",
    "read_single",
    "reply_body",
]

OFFLOAD_BYTES = 16 * 1024
"""Messages from this size on are compressed, decompressed and transcoded in a thread, so that other calls go on."""

Transcode = Callable[[bytes], bytes]
"""Makes a protobuf message of what came."""


class ClientGoneError(Exception):
    """The client cancelled, or its connection broke."""


class Inbound:
    """The request's messages. Reads no further than it is asked to: a client that is ahead is held by flow control."""

    __slots__ = ("_encoding", "_ended", "_limit", "_pending", "_receive", "_text", "_transcode", "_unframer")

    def __init__(
        self,
        receive: Receive,
        *,
        limit: int,
        encoding: bytes | None,
        text: TextDecoder | None = None,
        transcode: Transcode | None = None,
    ) -> None:
        """Read by `receive`.

        Args:
            receive: ASGI's.
            limit: longest message, once decompressed.
            encoding: how messages are compressed that say they are.
            text: decodes the body where it is base64.
            transcode: makes protobuf of each message where it is something else; called as the handler reads.
        """
        self._receive = receive
        self._limit = limit
        self._encoding = encoding
        self._text = text
        self._transcode = transcode
        self._unframer = Unframer(limit)
        self._ended = False
        self._pending: Any = None

    def accept(self, message: Message) -> None:
        """Take what `receive()` gave.

        Raises:
            ClientGoneError: it gave a disconnect.
            MfnError: it is not base64 where it must be.
        """
        if message["type"] != "http.request":
            raise ClientGoneError
        body = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        self._unframer.feed(body if self._text is None else self._text.decode(body, final=self._ended))

    async def read(self) -> bytes | None:
        """The next message, de-framed and decompressed; None once the client has half-closed.

        Raises:
            MfnError: the message is too large or malformed.
            ClientGoneError: there will be no more.
        """
        while True:
            taken = self._unframer.take()
            if taken is not None:
                break
            if self._ended:
                if self._unframer.pending:
                    raise MfnError(
                        Code.INVALID_ARGUMENT,
                        f"malformed message: the request ends {self._unframer.pending} bytes into one",
                    )
                return None
            # A reader that is cancelled leaves its `receive()` behind for the next one: its bytes must not be lost.
            if self._pending is None:
                self._pending = self._receive()
            message = await settled(self._pending)
            self._pending = None
            self.accept(message)
        compressed, payload = taken
        if compressed:
            if self._encoding is None:
                raise MfnError(
                    Code.INVALID_ARGUMENT, "the message is flagged as compressed, and the call names no encoding"
                )
            payload = await decompressed(payload, self._encoding, self._limit)
        return payload if self._transcode is None else await off_loop(len(payload), self._transcode, payload)


async def read_single(
    receive: Receive, *, limit: int, encoding: bytes | None, text: TextDecoder | None = None
) -> Request:
    """The one message of a call whose client does not stream.

    Raises:
        MfnError: none or more than one came, or it is too large, malformed, or cancelled before it was whole.
    """
    first = await receive()
    request = at_once(first, limit) if text is None else None
    return request or await read_on(first, receive, limit=limit, encoding=encoding, text=text)


def at_once(first: Message, limit: int) -> Request | None:
    """The one message of a call, where all of it came with the first `receive()`, as it nearly always does, and nothing
    has to be put together; else None."""
    if first["type"] == "http.request" and not first["more_body"]:
        raw = whole(first["body"], limit)
        if raw is not None:
            return Request(raw=raw)
    return None


async def read_on(
    first: Message, receive: Receive, *, limit: int, encoding: bytes | None, text: TextDecoder | None = None
) -> Request:
    """As `read_single`, where the first `receive()` has given `first`."""
    inbound = Inbound(receive, limit=limit, encoding=encoding, text=text)
    try:
        inbound.accept(first)
        message = await inbound.read()
        if message is None:
            raise MfnError(Code.INVALID_ARGUMENT, "the request has no message, and the method takes exactly one")
        if await inbound.read() is not None:
            raise MfnError(Code.INVALID_ARGUMENT, "the request has several messages, and the method takes exactly one")
    except ClientGoneError:
        raise MfnError(Code.CANCELLED, "the call was cancelled before its request was whole") from None
    return Request(raw=message)


async def read_body(receive: Receive, *, limit: int, encoding: bytes | None) -> bytes:
    """A body that is one message without a prefix, decompressed.

    Raises:
        MfnError: it is too large or damaged, or was cancelled before it was whole.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise MfnError(Code.CANCELLED, "the call was cancelled before its request was whole")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise MfnError(
                Code.RESOURCE_EXHAUSTED, f"message is larger than the server's limit of {limit} bytes; send less"
            )
        parts.append(part)
        if not message.get("more_body", False):
            return await decompressed(b"".join(parts), encoding, limit)


class Reader(Protocol):
    """Takes the messages of a request out of its body."""

    async def read(self) -> bytes | None:
        """The next message; None once the client has half-closed. Raises as `Inbound.read` does."""
        ...


class Exchange:
    """Both directions of a call that streams at least one of them.

    It is the call's `inbound`; `deliver` is its outbound side. A client that is gone aborts the call wherever it is
    noticed first.
    """

    __slots__ = ("_body", "_call", "_inbound", "_send", "_start", "started")

    def __init__(self, inbound: Reader, send: Send, *, body: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Read from `inbound` and reply by `send`; `body` makes of a reply message what goes on the wire."""
        self._inbound = inbound
        self._send = send
        self._body = body
        self._call: Call | None = None
        self._start: Callable[[], Message] | None = None
        self.started = False
        """Whether the head of the reply has been sent."""

    def begin(self, call: Call, start: Callable[[], Message]) -> None:
        """Belong to a call; `start` makes the head of its reply when the first message is there."""
        self._call = call
        self._start = start

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            message = await self._inbound.read()
        except ClientGoneError:
            raise await self._gone() from None
        if message is None:
            raise StopAsyncIteration
        return message

    async def deliver(self, message: bytes) -> None:
        """Send one message; returns when there is room for the next, which flow control decides."""
        body = await self._body(message)
        try:
            if not self.started and self._start is not None:
                self.started = True
                await self._send(self._start())
            await settled(self._send({"type": "http.response.body", "body": body, "more_body": True}))
        except OSError:
            raise await self._gone() from None

    async def _gone(self) -> MfnError:
        if self._call is None:
            return MfnError(Code.CANCELLED, "the call was cancelled by its caller")
        self._call.abort()
        # The abort interrupts the call's own task here; a task that a handler made for itself goes on to the error.
        await asyncio.sleep(0)
        return self._call.aborted()


async def reply_body(message: bytes, compress_from: int) -> bytes:
    """One framed reply message, compressed when it has `compress_from` bytes or more and `compress_from` is not 0."""
    if 0 < compress_from <= len(message):
        return frame(await compressed(message), compressed=True)
    return frame(message)


async def compressed(message: bytes) -> bytes:
    """The message as gzip."""
    return await off_loop(len(message), compress, message)


async def decompressed(message: bytes, encoding: bytes | None, limit: int) -> bytes:
    """The message as it was before compression; nothing, and what has no encoding, is left as it is.

    Raises:
        MfnError: it has more than `limit` bytes, or is damaged.
    """
    if encoding is None or not message:
        if len(message) > limit:
            raise too_large(len(message), limit)
        return message
    return await off_loop(len(message), decompress, message, encoding, limit)


async def off_loop(size: int, work: Callable[..., bytes], *arguments: Any) -> bytes:
    """Work on `size` bytes: at once when they are few, else in a thread."""
    if size < OFFLOAD_BYTES:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)
