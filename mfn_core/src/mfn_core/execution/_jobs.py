"""Jobs: work that a compute thread does for a task of the event loop, and the way back of those that are over.

A `concurrent.futures` future, its `asyncio` wrapper and a shield around that are three objects with locks and
callbacks, and a write to the loop's wake-up socket for each job. Here a job has one future of the loop, and jobs that
end before the loop has turned share one wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from mfn_core.execution._runs import RunWork
from mfn_model import FieldState

__all__ = ["Deliveries", "Job"]

T = TypeVar("T")


class Deliveries:
    """Jobs that are over, on their way back to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._over: deque[Job[Any]] = deque()
        self._called = False

    def post(self, job: Job[Any]) -> None:
        """Give a job back. Safe from any thread."""
        self._over.append(job)
        # Two threads may both find it unset: one turn of the loop too many, and no job is left behind.
        if not self._called:
            self._called = True
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Before the queue is looked at: what is posted from here on calls the loop again.
        self._called = False
        for _ in range(len(self._over)):
            self._over.popleft()._deliver()


class Job(Generic[T]):
    """Work for a compute thread. Made, awaited and abandoned on the event loop; performed on the thread."""

    __slots__ = (
        "_deliveries",
        "_ended",
        "_over",
        "_waiter",
        "_work",
        "arrived",
        "error",
        "result",
        "run",
        "seconds",
        "shared",
    )

    def __init__(
        self, work: Callable[[], T], deliveries: Deliveries, seconds: float, run: RunWork[T] | None = None
    ) -> None:
        """Make a job of `work`, which is expected to take so many seconds; `run` where it is a whole run."""
        self._work: Callable[[], T] | None = work
        self.run = run
        self._deliveries = deliveries
        self._waiter: asyncio.Future[None] = deliveries.loop.create_future()
        self._ended: asyncio.Future[None] | None = None
        self._over = False
        self.seconds = seconds
        self.shared = False
        """Whether it is done together with jobs of other calls, so that its caller need not wait to leave it."""
        self.arrived = 0.0
        """On the clock of `time.monotonic`; kept only where runs wait for others."""
        self.result: T | None = None
        self.error: BaseException | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it is awaited."""
        return self._deliveries.loop

    # On the compute thread.

    def perform(self) -> None:
        """Do the work and keep what came of it. Raises nothing."""
        work, self._work = self._work, None
        if work is None:
            return
        try:
            self.result = work()
        except BaseException as failed:  # noqa: BLE001 - it is raised where the job is awaited
            self.error = failed

    def conclude(self, run: RunWork[T], found: FieldState | Exception) -> None:
        """In place of `perform`: take what a batch gave for the run. Raises nothing."""
        self._work = None
        if run.run.cancel.is_set():
            return  # the call ends as aborted, whatever this is
        if isinstance(found, Exception):
            self.error = found
            return
        try:
            self.result = run.measured(found)
        except BaseException as failed:  # noqa: BLE001 - it is raised where the job is awaited
            self.error = failed

    def post(self) -> None:
        """Give the job back to its loop; called once, when it is over."""
        self._deliveries.post(self)

    # On the event loop.

    async def outcome(self) -> T:
        """What came of the work.

        Raises:
            BaseException: what the work raised.
            asyncio.CancelledError: the waiting task was cancelled; the job goes on.
        """
        await self._waiter
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return self.result  # type: ignore[return-value]  # None only where the work gave that

    async def ended(self) -> None:
        """Return once the job is over, however often the waiting task is cancelled meanwhile."""
        self._ended = self._deliveries.loop.create_future()
        while not self._over:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._ended])

    def _deliver(self) -> None:
        self._over = True
        for waiter in (self._waiter, self._ended):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
