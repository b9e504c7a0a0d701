"""A reply of several messages: lines of JSON, or server-sent events, as the client asks for.

Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html. Each has a number as its id, counted
from 1. The last one is `end`, or `error` with problem details; so a browser's EventSource knows when not to connect
again. Lines end with one that has `error` and nothing else, where the call failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from mfn_core.errors import MfnError
from mfn_transport_asgi._asgi import Send, settled

if TYPE_CHECKING:
    from mfn_core.call import Call

__all__ = ["EVENTS", "LINES", "StreamReply"]

LINES = b"application/x-ndjson"
EVENTS = b"text/event-stream"

_BEAT = b":\n\n"


class StreamReply:
    """The outbound side of one call. Its head is sent with the first message, so that a call which fails before that
    still has a status of HTTP."""

    def __init__(
        self,
        send: Send,
        *,
        content_type: bytes,
        encode: Callable[[bytes], Awaitable[bytes]],
        heartbeat: float,
        seen: int = 0,
    ) -> None:
        """Reply by `send`.

        Args:
            send: ASGI's.
            content_type: `LINES` or `EVENTS`.
            encode: makes JSON of a message.
            heartbeat: seconds of silence after which events are followed by a comment.
            seen: how many of the first messages the client has, and is not sent.
        """
        self._send = send
        self._events = content_type == EVENTS
        self._content_type = content_type
        self._encode = encode
        self._heartbeat = heartbeat
        self._seen = seen
        self._count = 0
        self._sending = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self._headers: Callable[[], Sequence[tuple[bytes, bytes]]] = tuple
        self.started = False
        """Whether the head has been sent."""

    def begin(self, call: Call, headers: Callable[[], Sequence[tuple[bytes, bytes]]]) -> None:
        """Belong to a call; `headers` makes those of its reply when the first message is there."""
        self._call = call
        self._headers = headers

    async def deliver(self, message: bytes) -> None:
        """Send one message; returns when there is room for the next, which flow control decides."""
        self._count += 1
        if self._count <= self._seen:
            return
        content = await self._encode(message)
        try:
            await self._write(b"id: %d\ndata: %s\n\n" % (self._count, content) if self._events else content + b"\n")
        except OSError:
            raise await self._gone() from None

    async def finish(self, problem: dict[str, Any] | None) -> None:
        """Say how the call ended, and end the reply; None: well."""
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
        last = b""
        if self._events:
            last = b"event: end\ndata: {}\n\n" if problem is None else b"event: error\ndata: %s\n\n" % _json(problem)
        elif problem is not None:
            last = _json({"error": problem}) + b"\n"
        await self._start()
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _start(self) -> None:
        if self.started:
            return
        # First of all: what a handler has left in its metadata may not be fit to be sent.
        headers = [(b"content-type", self._content_type), (b"x-accel-buffering", b"no"), *self._headers()]
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _write(self, content: bytes) -> None:
        async with self._sending:
            await self._start()
            if self._events and self._beating is None:
                self._beating = asyncio.get_running_loop().create_task(self._beat())
            await settled(self._send({"type": "http.response.body", "body": content, "more_body": True}))

    async def _beat(self) -> None:
        """Break silences: proxies, and browsers behind them, give up a connection on which nothing moves."""
        seen = self._count
        while True:
            await asyncio.sleep(self._heartbeat)
            if self._count == seen and not self._sending.locked():
                try:
                    await self._write(_BEAT)
                except OSError:
                    if self._call is not None:
                        self._call.abort()
                    return
            seen = self._count

    async def _gone(self) -> MfnError:
        if self._call is None:
            raise RuntimeError("a stream delivers before it belongs to a call")
        self._call.abort()
        # The abort interrupts the call's own task here; a task that a handler made for itself goes on to the error.
        await asyncio.sleep(0)
        return self._call.aborted()


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
