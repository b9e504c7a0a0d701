"""What a client sends, read before it is asked for: only so is it noticed that the client has left.

An ASGI server tells of a client that is gone by `receive`, and a handler that computes, or waits for something else
than its client, calls it no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from mfn_transport_asgi._asgi import Message, Receive

__all__ = ["ReadAhead"]

_log = logging.getLogger(__name__)

AHEAD = 2
"""Messages of a client that may wait to be asked for; beyond them the server holds it by flow control, and a client
that leaves then is noticed when the next is asked for."""

_GONE: Message = {"type": "http.disconnect"}


class ReadAhead:
    """Between one request and the `receive` of its server. Used on the event loop alone."""

    def __init__(self, receive: Receive, gone: Callable[[], None]) -> None:
        """Begin to read; `gone` is called once, when the client has left before `close`."""
        self._receive = receive
        self._gone = gone
        self._ready: deque[Message] = deque()
        self._waiting: deque[asyncio.Future[Message]] = deque()
        self._room = asyncio.Semaphore(AHEAD)
        self._over = False
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def receive(self) -> asyncio.Future[Message]:
        """ASGI's `receive`, as a future: whoever waits for it may give up without losing what it brings."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if self._ready:
            future.set_result(self._ready.popleft())
            self._room.release()
        elif self._over:
            future.set_result(_GONE)
        else:
            self._waiting.append(future)
        return future

    async def close(self) -> None:
        """The request is answered: read no further."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._end()

    async def _read(self) -> None:
        whole = False
        while True:
            if not whole:
                await self._room.acquire()
            try:
                message = await self._receive()
            except Exception as failed:  # noqa: BLE001 - a server that fails here has lost its client
                _log.debug("the server could not read on: %r", failed)
                message = _GONE
            if message["type"] != "http.request":
                self._end()
                self._gone()
                return
            whole = not message.get("more_body", False)
            self._give(message)

    def _give(self, message: Message) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(message)
                self._room.release()
                return
        self._ready.append(message)

    def _end(self) -> None:
        self._over = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(_GONE)
