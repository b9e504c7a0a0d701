"""The messages of a client that streams them, read ahead by a few while the call computes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from mfn_core import Code, MfnError

__all__ = ["Inbox"]

M = TypeVar("M")


class Inbox(Generic[M]):
    """Reads a stream of requests in a task of its own, and holds a bounded number of them in order.

    While it is full the client is not read, so that flow control reaches it.
    """

    def __init__(self, requests: AsyncIterator[M], notify: Callable[[], None], capacity: int) -> None:
        """Begin to read.

        Args:
            requests: the stream; nobody else reads it from now on.
            notify: called on the loop whenever a message has come, and once when no more will.
            capacity: messages that are held, at least 1.
        """
        self._requests = requests
        self._notify = notify
        self._queue: asyncio.Queue[M] = asyncio.Queue(capacity)
        self._reader = asyncio.get_running_loop().create_task(self._read())
        self._reader.add_done_callback(lambda _: notify())

    def take(self) -> M | None:
        """The oldest message that has come, or None."""
        return None if self._queue.empty() else self._queue.get_nowait()

    def half_closed(self) -> bool:
        """Whether every message was taken and the client will send no more.

        Raises:
            Exception: what broke the stream, once the messages that came before are taken.
        """
        if not self._reader.done() or not self._queue.empty():
            return False
        if self._reader.cancelled():
            raise MfnError(Code.CANCELLED, "the stream of requests was cancelled")
        self._reader.result()
        return True

    async def close(self) -> None:
        """Stop reading. Safe to do twice."""
        self._reader.cancel()
        await asyncio.wait([self._reader])
        if not self._reader.cancelled():
            self._reader.exception()  # retrieved: the call is over, and its own outcome stands
        close = getattr(self._requests, "aclose", None)
        if close is not None:
            await close()

    async def _read(self) -> None:
        async for message in self._requests:
            await self._queue.put(message)
            self._notify()
