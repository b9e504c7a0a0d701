"""One WebSocket between two event loops: Envoy serves sockets on a loop of its own, the server lives on another.

Neither loop waits for the other. Messages that came are handed over a few at a time, so that a client which is ahead
is held by flow control; a message is sent once Envoy has room for it.

The end of a connection without a closing handshake is not told by ASGI's `receive` here: the listener's log of ended
connections tells it (see `_disconnects`), and the heartbeat what that may miss.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, settled

__all__ = ["Link", "carry"]

AHEAD = 8
"""Messages of a client that may wait to be looked at."""


class Link:
    """A socket as the server's own loop sees it; every public method is for that loop alone."""

    def __init__(self, scope: Scope, send: Send, *, home: asyncio.AbstractEventLoop) -> None:
        """Made on the loop that serves the socket.

        Args:
            scope: ASGI's.
            send: ASGI's.
            home: the server's own loop.
        """
        self.scope = scope
        self._send = send
        self._home = home
        self._there = asyncio.get_running_loop()
        self._credit = asyncio.Semaphore(AHEAD)
        self._over = asyncio.Event()
        self._accepted = asyncio.Event()
        self._arrived: list[str | bytes] = []
        self._reader: asyncio.Future[None] | None = None
        self._sending: set[asyncio.Future[None]] = set()
        self.gone = False
        """Whether nothing more can be sent or will come."""

    async def accept(self) -> None:
        """Take the connection.

        Raises:
            OSError: it is gone.
        """
        await self._sent({"type": "websocket.accept"})
        self._tell(self._accepted.set)

    async def send(self, message: str | bytes) -> None:
        """Send one message, text or binary; returns when there is room for the next.

        Raises:
            OSError: the connection is gone.
        """
        kind = "text" if isinstance(message, str) else "bytes"
        await self._sent({"type": "websocket.send", kind: message})

    async def receive(self) -> str | bytes | None:
        """The next message; None once the connection is gone."""
        while not self._arrived:
            if self.gone:
                return None
            self._reader = self._home.create_future()
            await self._reader
        message = self._arrived.pop(0)
        self._tell(self._credit.release)
        return message

    async def close(self, code: int, reason: str, *, patience: float) -> None:
        """Close with a handshake, and after `patience` seconds without one; safe to call twice."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience):
                await self._sent({"type": "websocket.close", "code": code, "reason": reason})
        self.end()

    def end(self) -> None:
        """The connection is over: wake whoever waits for it; safe to call twice."""
        if self.gone:
            return
        self.gone = True
        self._tell(self._over.set)
        self._wake()
        for waiting in self._sending:
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the connection is gone"))

    async def _sent(self, message: Message) -> None:
        if self.gone:
            raise ConnectionResetError("the connection is gone")
        done: asyncio.Future[None] = self._home.create_future()
        self._sending.add(done)
        try:
            self._tell(self._begin_send, message, done)
            await done
        finally:
            self._sending.discard(done)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _take(self, message: Message) -> None:
        """What the pump brought."""
        if message["type"] != "websocket.receive":
            self.end()
            return
        text = message.get("text")
        self._arrived.append(text if text is not None else message.get("bytes") or b"")
        self._wake()

    def _tell(self, what: Callable[..., Any], *arguments: Any) -> None:
        # A loop that has ended is one of a process that ends.
        with contextlib.suppress(RuntimeError):
            self._there.call_soon_threadsafe(what, *arguments)

    # On the loop that serves the socket.

    def _begin_send(self, message: Message, done: asyncio.Future[None]) -> None:
        sent = asyncio.ensure_future(self._send(message))
        sent.add_done_callback(lambda ended: self._finish_send(ended, done))

    def _finish_send(self, ended: asyncio.Future[None], done: asyncio.Future[None]) -> None:
        failed = ended.exception() if not ended.cancelled() else ConnectionResetError("the connection is gone")
        with contextlib.suppress(RuntimeError):
            self._home.call_soon_threadsafe(_settle, done, failed)

    async def pump(self, receive: Receive) -> None:
        """Hand over what comes until the server is done with the socket, or the client is."""
        over = asyncio.ensure_future(self._over.wait())
        reading = asyncio.ensure_future(self._read(receive))
        await asyncio.wait([over, reading], return_when=asyncio.FIRST_COMPLETED)
        for task in (over, reading):
            task.cancel()
        await asyncio.gather(over, reading, return_exceptions=True)

    async def _read(self, receive: Receive) -> None:
        await self._accepted.wait()  # until then `receive` tells of the connection again and again
        while True:
            await self._credit.acquire()
            message = await settled(receive())
            self._home.call_soon_threadsafe(self._take, message)
            if message["type"] != "websocket.receive":
                return


def _settle(done: asyncio.Future[None], failed: BaseException | None) -> None:
    if done.done():
        return
    if failed is None:
        done.set_result(None)
    else:
        done.set_exception(ConnectionResetError(f"the connection is gone: {failed}"))


async def carry(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    home: asyncio.AbstractEventLoop | None,
    opened: Callable[[Link], None] | None,
) -> None:
    """Serve one socket, on the loop that Envoy has for sockets.

    Args:
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        home: the server's own loop; None while there is none.
        opened: called there with the link; None where sockets are not served.
    """
    await settled(receive())
    if home is None or opened is None:
        await settled(send({"type": "websocket.close", "code": 1013, "reason": "not ready"}))
        return
    link = Link(scope, send, home=home)
    home.call_soon_threadsafe(opened, link)
    await link.pump(receive)
