"""Records that were taken and are not in the file yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

__all__ = ["Backlog", "Entry", "Waiter"]


class Waiter:
    """Somebody who waits for a record to be kept. Made and given up on the event loop, read by the writer."""

    __slots__ = ("caller", "future", "given_up")

    def __init__(
        self, future: asyncio.Future[None], caller: asyncio.Task[object] | None = None, *, given_up: bool = False
    ) -> None:
        """Remember who waits.

        Args:
            future: settled once the record is kept or refused.
            caller: the task whose cancellation means that nobody waits any more; None: not known.
            given_up: nobody waits even now for a disk that refuses.
        """
        self.future = future
        self.caller = caller
        self.given_up = given_up


Entry = tuple[str, Waiter | None]
"""A record's members, and who waits for it. None: its caller was told that it is kept, so it must be."""


class Backlog:
    """A queue in two parts: what the event loop puts, and in front of it what the disk has refused.

    `put`, `full` and `len` are for any thread; the rest is the writer's.
    """

    def __init__(self, capacity: int) -> None:
        """Make it empty; beyond `capacity` records it is full."""
        self._capacity = capacity
        self._queue: deque[Entry] = deque()
        self._refused: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._queue) + len(self._refused)

    @property
    def full(self) -> bool:
        """Whether as many records wait for their first write as may."""
        return len(self._queue) >= self._capacity

    @property
    def queued(self) -> int:
        """Records that wait for their first write."""
        return len(self._queue)

    @property
    def refused(self) -> bool:
        """Whether there are records that the disk has refused."""
        return bool(self._refused)

    def put(self, entry: Entry) -> None:
        """Add one at the end."""
        self._queue.append(entry)

    def take(self, count: int) -> list[Entry]:
        """Take the first ones out, at most `count`."""
        taken: list[Entry] = []
        for part in (self._refused, self._queue):
            while len(taken) < count and part:
                taken.append(part.popleft())
        return taken

    def take_all(self) -> list[Entry]:
        """Take everything out, up to what is put meanwhile."""
        return self.take(len(self))

    def put_back(self, refused: Iterable[Entry]) -> None:
        """Put what the disk has refused in front of everything, in its order."""
        self._refused.extendleft(reversed(list(refused)))
