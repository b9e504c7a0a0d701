"""The connection below a channel: whether it is there, and waiting for it."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc

__all__ = ["Link"]

_READY: Final = grpc.ChannelConnectivity.READY
_SHUTDOWN: Final = grpc.ChannelConnectivity.SHUTDOWN

LOOK_SECONDS = 0.02
"""How often a channel that is waited for is looked at, by all who wait together."""


class Link:
    """Follows the connectivity of one channel; made and closed with it. Use from the channel's event loop.

    The channel is asked, and not watched: a watch cannot be taken back from grpc core, which may end it only after
    the event loop has been closed, and complains of that then.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Follow `channel`; nothing is connected by that."""
        self._channel = channel
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._looking: asyncio.Task[None] | None = None
        self._waiting = 0
        self.reached = False
        """Whether the server has ever been reached, so that the address is known to be good."""

    @property
    def ready(self) -> bool:
        """Whether there is a connection now."""
        if self._channel.get_state() is _READY:
            self.reached = True
            return True
        return False

    @property
    def closed(self) -> bool:
        """Whether the channel was closed."""
        return self._closing.done()

    async def wait_ready(self, seconds: float) -> bool:
        """Connect and wait until there is a connection.

        Returns:
            False when there is none after `seconds`, or the channel was closed meanwhile.
        """
        if self.ready:
            return True
        if self.closed:
            return False
        self._waiting += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(), name="mfn-client-link")
            await asyncio.wait([self._looking], timeout=max(0.0, seconds))  # it ends when the channel is closed
        finally:
            self._waiting -= 1
        return self.ready  # of a closed channel: False

    async def pause(self, seconds: float) -> bool:
        """Sleep; False when the channel was closed meanwhile."""
        if seconds > 0.0 and not self.closed:
            await asyncio.wait([self._closing], timeout=seconds)
        return not self.closed

    async def close(self) -> None:
        """Wake whoever waits; called when the channel is about to be closed. Safe twice."""
        if not self._closing.done():
            self._closing.set_result(None)
        if self._looking is not None:
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        """Connect, and return once there is a connection, the channel was closed, or nobody waits any more."""
        while self._waiting:
            # Asked each time to connect: a connection that was made and lost again leaves the channel idle.
            if self._channel.get_state(try_to_connect=True) in (_READY, _SHUTDOWN):
                return
            await asyncio.wait([self._closing], timeout=LOOK_SECONDS)
            if self.closed:
                return
