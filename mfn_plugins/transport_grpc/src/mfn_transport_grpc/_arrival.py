"""How long a request may take to arrive, watched over for all calls by one timer."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["ArrivalWatch"]

Context = Any
"""`grpc.aio.ServicerContext`, whose published types are narrower than what it takes."""


class ArrivalWatch:
    """Reads the one request of a call, and gives up after a while.

    A timer for each call would cost a call a tenth of its time. All wait equally long here, so that those which have
    waited longest stand first in the dictionary, and one timer, armed only while somebody waits, looks at them.
    """

    def __init__(self, seconds: float) -> None:
        """Wait `seconds` for each request."""
        self.seconds = seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, context: Context) -> Any:
        """What `context.read()` gives.

        Raises:
            TimeoutError: nothing came in time.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is read within a task")
        loop = task.get_loop()
        self._since[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)
        try:
            return await context.read()
        except asyncio.CancelledError:
            # Both the watch and the client may have struck; then the client is gone.
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._since[task]
            self._late.discard(task)

    def close(self) -> None:
        """Stop the timer. Reads that still wait end with their connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for task, since in self._since.items():
            if since + self.seconds > now:
                self._timer = loop.call_at(since + self.seconds, self._look, loop)
                return
            if task not in self._late:
                self._late.add(task)
                task.cancel()
