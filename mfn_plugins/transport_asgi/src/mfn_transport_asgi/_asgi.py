"""ASGI as it is spoken here: its types, plain replies, and waiting for it without breaking it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

__all__ = ["Message", "Receive", "Scope", "Send", "WireProtocol", "plain_reply", "settled"]

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
