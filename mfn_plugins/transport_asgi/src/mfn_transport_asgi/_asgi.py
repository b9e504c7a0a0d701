"""ASGI as it is spoken here: its types, plain replies, and waiting for it without breaking it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

__all__ = ["Message", "Receive", "Scope", "Send", "Sending", "WireProtocol", "plain_reply", "settled"]

T = TypeVar("T")

Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class WireProtocol(Protocol):
    """One protocol that the application speaks, for one dispatcher. Everything runs on the worker's event loop."""

    @property
    def content_types(self) -> Sequence[bytes]:
        """Content types, without parameters and in lower case, whose requests are its own."""
        ...

    @property
    def for_browsers(self) -> bool:
        """Whether pages of other origins may speak it, where the listener allows them to."""
        ...

    def claims(self, scope: Scope) -> bool:
        """Whether a request is its own whose content type is nobody's. Protocols are asked in the order in which they
        were added; the first that says so gets it."""
        ...

    @property
    def active(self) -> int:
        """Requests whose reply has not been handed over whole; the worker ends only when there are none."""
        ...

    def start(self) -> None:
        """Called once before the first request."""
        ...

    def stop(self) -> None:
        """Called once after the last request; gives back what `start` took."""
        ...

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answer one request. Must finish the reply whatever happens: one that is not finished hangs its client."""
        ...


class Sending:
    """ASGI's `send`, and how far the reply has come."""

    __slots__ = ("_send", "ended", "started")

    def __init__(self, send: Send) -> None:
        """Nothing is sent yet."""
        self._send = send
        self.started = False
        """Whether the head of the reply has been sent."""
        self.ended = False
        """Whether the reply is whole."""

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send on; as cheap as the other, and with the same result."""
        if message["type"] == "http.response.start":
            self.started = True
        elif not message.get("more_body", False):
            self.ended = True
        return self._send(message)


async def plain_reply(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """A few bytes of text, for requests that are no call."""
    start = [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def settled(operation: Awaitable[T]) -> T:
    """The result of `receive()` or `send()`, which a cancelled waiter leaves alone.

    Both return futures. Cancelling one loses the bytes that it would have brought, and the server's thread, which
    still holds it, fails when it sets the result.
    """
    if isinstance(operation, asyncio.Future) and not operation.done():
        return await asyncio.shield(operation)
    return await operation
