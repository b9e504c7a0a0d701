"""The compute threads: a bounded queue of jobs, and the threads that take from it, some runs together."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from itertools import islice
from typing import Any, NamedTuple

from mfn_core.compute import SupportsBatch
from mfn_core.errors import Code, MfnError
from mfn_core.execution._batches import Batch, BatchRules, BatchStats, perform_together
from mfn_core.execution._jobs import Job
from mfn_core.execution._refusals import queue_full, shutting_down

__all__ = ["ComputeThreads"]

_log = logging.getLogger(__name__)

LOOKED_THROUGH = 8
"""For each place in a batch, the waiting jobs that are looked through for it: the queue may be long, and the event
loop waits for its lock."""


class _Gathering(NamedTuple):
    """A batch whose thread waits for more runs."""

    batch: Batch
    changed: threading.Condition
    enough: int
    """Runs for which it waits."""


class ComputeThreads:
    """Threads that do jobs in the order of their coming, whole runs of one engine together where rules allow it.

    A thread that becomes free takes the oldest job. Where that is a run of an engine which batches, it takes further
    runs like it out of the queue: its share of what waits, so that no other thread is left without work. These overtake
    what stands between them, which then waits for at most `BatchRules.max_cell_steps` longer; the oldest job is always
    taken first. Threads are started when they are first needed.
    """

    def __init__(
        self,
        *,
        threads: int,
        waiting: int,
        rules: BatchRules,
        stats: BatchStats,
    ) -> None:
        """Keep at most `waiting` jobs waiting for `threads` threads."""
        self._threads = threads
        self._capacity = threads + waiting
        self._rules = rules
        self._stats = stats
        self._lock = threading.Lock()
        self._available = threading.Condition(self._lock)
        self._waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self._waiting_seconds = 0.0
        self._gatherings: list[_Gathering] = []
        self._usual = 1
        """Runs of the last batch, or of larger ones shortly before."""
        self._started: list[threading.Thread] = []
        self._idle = 0
        self._busy = 0
        self._closed = False
        self._waking: asyncio.AbstractEventLoop | None = None
        """The loop that will wake idle threads when its turn is over."""

    @property
    def expected_wait(self) -> float:
        """Seconds until the jobs that wait now have been taken, if they last as long as they are expected to."""
        return self._waiting_seconds / self._threads

    # On the event loop.

    def submit(self, job: Job[Any]) -> None:
        """Put a job into the queue.

        Raises:
            MfnError: RESOURCE_EXHAUSTED when it is full; UNAVAILABLE after `shutdown`.
        """
        with self._lock:
            if self._closed:
                raise shutting_down()
            if self._gatherings and self._joined(job):
                return
            if len(self._waiting) + self._busy >= self._capacity:
                raise queue_full(self._capacity, self.expected_wait)
            if self._rules.window:
                job.arrived = time.monotonic()
            self._waiting[job] = None
            self._waiting_seconds += job.seconds
            # Threads that were woken for other jobs still count as idle.
            if len(self._waiting) > self._idle and len(self._started) < self._threads:
                if not self._start_thread():
                    self._take_out(job)
                    raise MfnError(Code.UNAVAILABLE, "the server has no thread to compute on now; retry later")
            elif self._idle and self._waking is not job.loop:
                # At the end of this turn of the loop: until then a thread that was woken could only wait for the
                # interpreter's lock, and several jobs of one turn need one waking.
                self._waking = job.loop
                job.loop.call_soon(self._wake)

    def withdraw(self, job: Job[Any]) -> bool:
        """Take a job out of the queue again; False when it is at work already, or over."""
        with self._lock:
            if job in self._waiting:
                self._take_out(job)
                return True
            for gathering in self._gatherings:
                if gathering.batch.remove(job):
                    gathering.changed.notify()
                    return True
            return False

    def shutdown(self) -> None:
        """Refuse further jobs, fail those that wait, and return when the threads have ended. Safe to call twice."""
        with self._lock:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._available.notify_all()
            for gathering in self._gatherings:
                gathering.changed.notify()
        for job in left:
            job.error = shutting_down()
            job.post()
        for thread in self._started:
            thread.join()

    def _wake(self) -> None:
        with self._lock:
            self._waking = None
            self._available.notify(min(self._idle, len(self._waiting)))

    # Under the lock.

    def _joined(self, job: Job[Any]) -> bool:
        """Put a job into a batch whose thread waits for more, if there is one for it."""
        for gathering in self._gatherings:
            batch = gathering.batch
            if batch.add(job):
                if batch.full or len(batch.jobs) >= gathering.enough:
                    gathering.changed.notify()
                return True
        return False

    def _start_thread(self) -> bool:
        """Start one more; False when there is none at all, because the system gives none."""
        # A daemon: a pool that nobody shut down must not keep the interpreter from ending.
        thread = threading.Thread(target=self._work, name=f"mfn-compute-{len(self._started)}", daemon=True)
        try:
            thread.start()
        except RuntimeError as failed:
            _log.warning("compute thread %d of %d: %s", len(self._started) + 1, self._threads, failed)
            return bool(self._started)
        self._started.append(thread)
        return True

    def _take_out(self, job: Job[Any]) -> None:
        del self._waiting[job]
        self._waiting_seconds = self._waiting_seconds - job.seconds if self._waiting else 0.0

    def _take(self) -> Job[Any] | Batch | None:
        """The next work, once there is some; None after `shutdown`."""
        while True:
            while not self._waiting:
                if self._closed:
                    return None
                self._idle += 1
                self._available.wait()
                self._idle -= 1
            job = next(iter(self._waiting))
            self._take_out(job)
            self._busy += 1
            if job.run is None or job.run.engine is None:
                return job
            batch = self._gathered(job.run.engine, job)
            if batch.jobs:
                self._stats.count(batch)
                return batch
            self._busy -= 1  # every run was withdrawn meanwhile

    def _gathered(self, engine: SupportsBatch, first: Job[Any]) -> Batch:
        """The run and others like it: what waits already, and what comes within the window.

        Callers that go on as soon as they are answered come one by one behind a batch. Without a window while they do,
        the first of them would be taken alone, and each of the others would interrupt its thread.
        """
        rules, usual = self._rules, self._usual
        share = -(-(1 + len(self._waiting)) // self._threads)
        batch = Batch(engine, rules, rules.max_size if rules.window else max(share, usual))
        batch.add(first)
        for job in list(islice(self._waiting, LOOKED_THROUGH * rules.max_size)):
            if batch.full:
                break
            if batch.add(job):
                self._take_out(job)
        if rules.window:
            self._await_more(batch, first.arrived + rules.window, rules.max_size)
        elif rules.busy_window and not self._idle and len(batch.jobs) < usual:
            self._await_more(batch, time.monotonic() + rules.busy_window, usual)
        # Down by a quarter at most: what has not come within one window is not gone.
        self._usual = max(len(batch.jobs), usual * 3 // 4, 1)
        for job, _ in batch.jobs:
            job.shared = len(batch.jobs) > 1
        return batch

    def _await_more(self, batch: Batch, until: float, enough: int) -> None:
        gathering = _Gathering(batch, threading.Condition(self._lock), enough)
        self._gatherings.append(gathering)
        while 0 < len(batch.jobs) < enough and not batch.full and not self._closed:
            left = until - time.monotonic()
            if left <= 0.0:
                break
            gathering.changed.wait(left)
        self._gatherings.remove(gathering)

    # On the compute threads.

    def _work(self) -> None:
        with self._lock:
            taken = self._take()
        while taken is not None:
            whole = True
            if isinstance(taken, Batch):
                whole = perform_together(taken)
            else:
                taken.perform()
                taken.post()
            taken = None  # not held until the next one comes
            with self._lock:
                self._busy -= 1
                if not whole:
                    self._stats.count_failed()
                taken = self._take()
