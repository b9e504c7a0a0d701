"""What waits to be sent on one WebSocket: bounded, fair between its streams, and clear about what it drops."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable

__all__ = ["Lane", "Outbox", "Policy"]

WAITING_ANSWERS = 256
"""Answers to messages that may wait; a client that asks on without reading is not served any further."""


class Policy(enum.Enum):
    """What a full lane does with an update, once its reader has had the time to catch up."""

    DROP_OLDEST = "drop_oldest"
    """The oldest update gives way: what is shown is the latest."""
    DROP_NEWEST = "drop_newest"
    """The new update is dropped: what was begun is told to its end."""
    COMPRESS = "compress"
    """Every second update gives way: the whole course at half the rate."""
    WAIT = "wait"
    """Nothing is dropped: the producer waits."""


class Lane:
    """Updates of one stream that wait, at most so many and so many bytes, but always one."""

    def __init__(
        self, wake: Callable[[], None], *, policy: Policy, max_updates: int, max_bytes: int, patience: float
    ) -> None:
        """Made by `Outbox.lane`."""
        self._wake = wake
        self._policy = policy
        self._max_updates = max_updates
        self._max_bytes = max_bytes
        self._patience = patience
        self._waiting: deque[tuple[str | bytes, bool]] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self.dropped = 0
        """Updates that were dropped so far."""
        self.finished = False
        """Whether nothing more is put; such a lane is forgotten once it is empty."""

    async def put(self, update: str | bytes) -> None:
        """Let an update wait for its turn; returns when there is room for it, and after `patience` at the latest,
        unless the policy is to wait."""
        if self._full(len(update)):
            patience = None if self._policy is Policy.WAIT else self._patience
            try:
                async with asyncio.timeout(patience):
                    while self._full(len(update)):
                        self._room.clear()
                        await self._room.wait()
            except TimeoutError:
                if not self._make_room(len(update)):
                    return
        self._append(update, droppable=True)

    def keep(self, message: str | bytes) -> None:
        """Let a message wait that is never dropped and needs no room, such as the first and the last of a stream."""
        self._append(message, droppable=False)

    def finish(self) -> None:
        """Nothing more is put."""
        self.finished = True
        self._wake()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def take(self) -> str | bytes | None:
        """The next to be sent; None where nothing waits."""
        if not self._waiting:
            return None
        message, _ = self._waiting.popleft()
        self._bytes -= len(message)
        self._room.set()
        return message

    def _full(self, size: int) -> bool:
        if not self._waiting:
            return False
        return len(self._waiting) >= self._max_updates or self._bytes + size > self._max_bytes

    def _make_room(self, size: int) -> bool:
        """Whether there is room now for an update."""
        if self._policy is Policy.DROP_NEWEST:
            self.dropped += 1
            return False
        if self._policy is Policy.COMPRESS:
            self._keep(lambda position: position % 2 == 0)
        while self._full(size):
            if not self._keep(lambda position: position > 0):
                self.dropped += 1
                return False
        return True

    def _keep(self, wanted: Callable[[int], bool]) -> bool:
        """Drop the updates at the positions that are not wanted; whether any was."""
        kept: deque[tuple[str | bytes, bool]] = deque()
        position = 0
        for message, droppable in self._waiting:
            if droppable and not wanted(position):
                self._bytes -= len(message)
            else:
                kept.append((message, droppable))
            position += droppable
        gone = len(self._waiting) - len(kept)
        self.dropped += gone
        self._waiting = kept
        return gone > 0

    def _append(self, message: str | bytes, *, droppable: bool) -> None:
        self._waiting.append((message, droppable))
        self._bytes += len(message)
        self._wake()


class Outbox:
    """Sends answers first, then one update of each lane in turn."""

    def __init__(self, send: Callable[[str | bytes], Awaitable[None]]) -> None:
        """Send by `send`, which returns when there is room for the next message."""
        self._send = send
        self._answers: deque[str] = deque()
        self._lanes: deque[Lane] = deque()
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def answer(self, message: str) -> bool:
        """Let an answer wait for its turn; false when too many do already."""
        if len(self._answers) >= WAITING_ANSWERS:
            return False
        self._answers.append(message)
        self._wake()
        return True

    def lane(self, *, policy: Policy, max_updates: int, max_bytes: int, patience: float) -> Lane:
        """A lane for one stream.

        Args:
            policy: what is done when it is full.
            max_updates: that may wait.
            max_bytes: that they may have together, in characters where they are text.
            patience: seconds that a producer waits for room.
        """
        lane = Lane(self._wake, policy=policy, max_updates=max_updates, max_bytes=max_bytes, patience=patience)
        self._lanes.append(lane)
        return lane

    async def flushed(self) -> None:
        """Wait until everything has been handed over."""
        await self._idle.wait()

    async def run(self) -> None:
        """Send until cancelled.

        Raises:
            OSError: the connection is gone.
        """
        while True:
            message = self._next()
            if message is not None:
                await self._send(message)
                continue
            self._something.clear()
            self._idle.set()
            await self._something.wait()

    def _next(self) -> str | bytes | None:
        if self._answers:
            return self._answers.popleft()
        for _ in range(len(self._lanes)):
            lane = self._lanes.popleft()
            message = lane.take()
            if not (lane.finished and lane.empty):
                self._lanes.append(lane)
            if message is not None:
                return message
        return None

    def _wake(self) -> None:
        self._idle.clear()
        self._something.set()
