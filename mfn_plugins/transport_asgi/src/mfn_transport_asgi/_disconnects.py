"""Calls whose client is gone, told by Envoy's access log through a pipe.

After a client has sent all of its request, ASGI's `receive` no longer waits: it answers at once, for ever. A handler
that computes, or waits for something else than its client, would never hear that the client is gone. So the listener
gives each stream an id of its own (overwriting whatever the client sent under that name) and logs the id of every
stream that ends abnormally into a pipe that the event loop watches; over HTTP/3, where nothing tells how a stream
ended, that of every stream.

Of a WebSocket ASGI tells even less, so that the listener logs the end of every connection there too, by the address of
its client.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from mfn_core.call import Call

__all__ = ["CONNECTION", "EARLY", "Disconnects"]

CONNECTION = "tcp "
"""What stands in the log before the address of the client whose connection has ended."""

EARLY = 4096
"""Ids remembered of streams that ended before their call was known here, or after it was over."""

CHUNK = 1 << 16

_CONNECTION = CONNECTION.encode()


class Disconnects:
    """The calls in flight by the id of their stream. Used on the event loop alone."""

    def __init__(self) -> None:
        self._calls: dict[bytes, Call] = {}
        self._connections: dict[bytes, Callable[[], None]] = {}
        self._early: dict[bytes, None] = {}
        self._rest = b""

    def watch(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        """Read the pipe whenever there is something in it."""
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._on_readable, loop, descriptor)

    def add(self, stream: bytes, call: Call) -> bool:
        """Know a call; false when its client is gone already."""
        if self._early and stream in self._early:
            del self._early[stream]
            return False
        self._calls[stream] = call
        return True

    def discard(self, stream: bytes) -> None:
        """Forget a call that is over."""
        self._calls.pop(stream, None)

    def ended(self, stream: bytes) -> None:
        """A stream ended abnormally: abort its call."""
        call = self._calls.get(stream)
        if call is not None:
            call.abort()
            return
        self._early[stream] = None
        if len(self._early) > EARLY:
            del self._early[next(iter(self._early))]

    def add_connection(self, address: bytes, ended: Callable[[], None]) -> None:
        """Know a connection by its client's address; `ended` is called when it ends. One that has ended before this is
        not noticed: addresses are used again."""
        self._connections[address] = ended

    def discard_connection(self, address: bytes) -> None:
        """Forget a connection."""
        self._connections.pop(address, None)

    def _connection_ended(self, address: bytes) -> None:
        ended = self._connections.pop(address, None)
        if ended is not None:
            ended()

    def _on_readable(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        try:
            chunk = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            # Envoy has closed its log: it is about to exit.
            loop.remove_reader(descriptor)
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(_CONNECTION):
                self._connection_ended(line[len(_CONNECTION) :])
            else:
                self.ended(line)
