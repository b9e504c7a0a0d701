"""Executors that others bring: a bound in front of one, and jobs on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from mfn_core.execution._jobs import Job
from mfn_core.execution._refusals import queue_full, shutting_down

__all__ = ["BoundedExecutor", "ExecutorJobs"]

T = TypeVar("T")

WAIT_UNKNOWN = 0.1
"""Seconds that a wait is taken to last of which nothing is known."""


class BoundedExecutor(Executor):
    """An executor that refuses work instead of growing its queue."""

    def __init__(
        self, inner: Executor, *, running: int, waiting: int, expected_wait: Callable[[], float] | None = None
    ) -> None:
        """Allow `running` jobs at work and `waiting` more in the queue of `inner`.

        `expected_wait` gives the seconds until these are done, for the hint of a refusal.
        """
        self._inner = inner
        self._capacity = running + waiting
        self._expected_wait = expected_wait
        self._slots = threading.BoundedSemaphore(self._capacity)

    @property
    def capacity(self) -> int:
        """Jobs at work and waiting, together."""
        return self._capacity

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        """Run `fn` on the inner executor.

        Raises:
            MfnError: RESOURCE_EXHAUSTED, when the queue is full.
        """
        if not self._slots.acquire(blocking=False):
            raise queue_full(self._capacity, WAIT_UNKNOWN if self._expected_wait is None else self._expected_wait())
        try:
            future = self._inner.submit(fn, *args, **kwargs)
        except BaseException:
            self._slots.release()
            raise
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the inner executor down."""
        self._inner.shutdown(wait, cancel_futures=cancel_futures)


class ExecutorJobs:
    """Jobs on an executor of threads, in place of the kernel's own; each is done alone, in the executor's order."""

    def __init__(self, executor: Executor, *, running: int, waiting: int) -> None:
        """Keep at most `waiting` jobs waiting for `running` at work."""
        self._running = running
        self._executor = BoundedExecutor(
            executor, running=running, waiting=waiting, expected_wait=lambda: self.expected_wait
        )
        self._lock = threading.Lock()
        self._futures: dict[Job[Any], Future[None]] = {}
        self._seconds = 0.0

    @property
    def expected_wait(self) -> float:
        """Seconds until the jobs that are there now are over, if they last as long as they are expected to."""
        return self._seconds / self._running

    def submit(self, job: Job[Any]) -> None:
        """Put a job into the executor's queue.

        Raises:
            MfnError: RESOURCE_EXHAUSTED when it is full.
        """
        future = self._executor.submit(job.perform)
        with self._lock:
            self._futures[job] = future
            self._seconds += job.seconds
        future.add_done_callback(lambda future: self._over(job, future))

    def withdraw(self, job: Job[Any]) -> bool:
        """Take a job out of the queue again; False when it is at work already, or over."""
        with self._lock:
            future = self._futures.get(job)
        return future is not None and future.cancel()

    def shutdown(self) -> None:
        """Stop the executor; jobs that still wait fail."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _over(self, job: Job[Any], future: Future[None]) -> None:
        with self._lock:
            del self._futures[job]
            self._seconds = self._seconds - job.seconds if self._futures else 0.0
        if future.cancelled():
            job.error = shutting_down()  # or its caller is gone, and does not see this
        elif (failed := future.exception()) is not None:
            job.error = failed  # the executor's own failure: `perform` raises nothing
        job.post()
