"""The messages of one call: read as the handler asks for them, sent as the client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from mfn_core.call import Request
from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._asgi import Message, Receive, Send, settled
from mfn_transport_asgi._framing import Unframer, compress, decompress, frame, whole

if TYPE_CHECKING:
    from mfn_core.call import Call

__all__ = ["Exchange", "Inbound", "read_single", "reply_body"]

OFFLOAD_BYTES = 16 * 1024
"""Messages from this size on are compressed and decompressed in a thread, so that other calls go on."""


class ClientGoneError(Exception):
    """The client cancelled, or its connection broke."""


class Inbound:
    """The request's messages. Reads no further than it is asked to: a client that is ahead is held by flow control."""

    __slots__ = ("_encoding", "_ended", "_limit", "_pending", "_receive", "_unframer")

    def __init__(self, receive: Receive, *, limit: int, encoding: bytes | None) -> None:
        self._receive = receive
        self._limit = limit
        self._encoding = encoding
        self._unframer = Unframer(limit)
        self._ended = False
        self._pending: Any = None

    def accept(self, message: Message) -> None:
        """Take what `receive()` gave.

        Raises:
            ClientGoneError: it gave a disconnect.
        """
        if message["type"] != "http.request":
            raise ClientGoneError
        self._unframer.feed(message.get("body", b""))
        self._ended = not message.get("more_body", False)

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
        if not compressed:
            return payload
        if self._encoding is None:
            raise MfnError(
                Code.INVALID_ARGUMENT, "the message is flagged as compressed, and the call has no grpc-encoding"
            )
        return await _off_loop(len(payload), decompress, payload, self._encoding, self._limit)


async def read_single(receive: Receive, *, limit: int, encoding: bytes | None) -> Request:
    """The one message of a call whose client does not stream.

    Raises:
        MfnError: none or more than one came, or it is too large, malformed, or cancelled before it was whole.
    """
    first = await receive()
    # Nearly always all of it is there in one piece, and nothing has to be put together.
    if first["type"] == "http.request" and not first["more_body"]:
        raw = whole(first["body"], limit)
        if raw is not None:
            return Request(raw=raw)
    inbound = Inbound(receive, limit=limit, encoding=encoding)
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


class Exchange:
    """Both directions of a call that streams at least one of them.

    It is the call's `inbound`; `deliver` is its outbound side. A client that is gone aborts the call wherever it is
    noticed first.
    """

    __slots__ = ("_call", "_compress_from", "_inbound", "_send", "_start", "started")

    def __init__(self, inbound: Inbound, send: Send, *, compress_from: int) -> None:
        """Read from `inbound` and reply by `send`; replies of `compress_from` bytes are compressed, 0: none."""
        self._inbound = inbound
        self._send = send
        self._compress_from = compress_from
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
        body = await reply_body(message, self._compress_from)
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
        return frame(await _off_loop(len(message), compress, message), compressed=True)
    return frame(message)


async def _off_loop(size: int, work: Callable[..., bytes], *arguments: Any) -> bytes:
    """Work on `size` bytes: at once when they are few, else in a thread."""
    if size < OFFLOAD_BYTES:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)
