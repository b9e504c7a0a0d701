"""Whole runs of several calls, done together where the engine can: which go together, how, and the count of them."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from typing import Any

from attrs import frozen

from mfn_core.compute import SupportsBatch
from mfn_core.execution._jobs import Job
from mfn_core.execution._runs import RunWork

__all__ = ["HELD_SECONDS", "SIMILAR", "Batch", "BatchCounts", "BatchRules", "BatchStats", "perform_together"]

_log = logging.getLogger(__name__)

SIMILAR = 4.0
"""Runs go together whose cost differs from that of the first by this factor at most, so that none waits for long
for another."""

HELD_SECONDS = 0.001
"""A run that is measured waits no longer than this, and the measuring of one more, to be given back with others."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the histogram of batch sizes; what is larger is counted beyond them."""


@frozen(kw_only=True)
class BatchRules:
    """What may go into one batch."""

    max_size: int = 1
    """Runs; 1 turns batching off."""
    window: float = 0.0
    """Seconds that a run waits for others at most, from when it came."""
    busy_window: float = 0.0
    """Seconds that runs wait at most until as many have come as the batch before had; none where that had one."""
    max_cell_steps: int = 2**53
    """Work of all runs of a batch; a run that costs more goes alone."""


@frozen(kw_only=True)
class BatchCounts:
    """What was done in batches up to a moment."""

    batches: int
    runs: int
    """In all batches together."""
    cell_steps: int
    """In all batches together."""
    failed: int
    """Batches that an engine failed as a whole, whose runs were then done one by one."""
    sizes: tuple[tuple[float, int], ...]
    """For each upper bound, the batches of at most that many runs; the last bound is infinite."""


class BatchStats:
    """Counts batches. Written to by compute threads under the lock of their queue."""

    def __init__(self) -> None:
        self._sizes = [0] * (len(SIZES) + 1)
        self._runs = 0
        self._cell_steps = 0
        self._failed = 0

    def count(self, batch: Batch) -> None:
        """Count one."""
        self._sizes[bisect_left(SIZES, len(batch.jobs))] += 1
        self._runs += len(batch.jobs)
        self._cell_steps += batch.cell_steps

    def count_failed(self) -> None:
        """Count one that failed as a whole."""
        self._failed += 1

    def counts(self) -> BatchCounts:
        """What was counted so far. Safe from any thread; the numbers of a batch may be seen in part."""
        total, sizes = 0, []
        for bound, number in zip((*SIZES, float("inf")), tuple(self._sizes), strict=True):
            total += number
            sizes.append((float(bound), total))
        return BatchCounts(
            batches=total, runs=self._runs, cell_steps=self._cell_steps, failed=self._failed, sizes=tuple(sizes)
        )


class Batch:
    """Runs that go together, while they are put together. Used under the lock of the queue, then by one thread."""

    __slots__ = ("_first_cost", "_limit", "_rules", "cell_steps", "engine", "jobs")

    def __init__(self, engine: SupportsBatch, rules: BatchRules, limit: int) -> None:
        """Begin one of at most `limit` runs, where that is less than the rules allow."""
        self.engine = engine
        self.jobs: list[tuple[Job[Any], RunWork[Any]]] = []
        self.cell_steps = 0
        self._rules = rules
        self._limit = min(limit, rules.max_size)
        self._first_cost = 0

    @property
    def full(self) -> bool:
        """Whether nothing more goes in."""
        return len(self.jobs) >= self._limit or self.cell_steps >= self._rules.max_cell_steps

    def add(self, job: Job[Any]) -> bool:
        """Take a job in, where it is a run of the engine, of similar cost, and there is room; the first one always."""
        run = job.run
        if run is None or run.engine is not self.engine:
            return False
        cost = run.run.cell_steps
        if not self._first_cost:
            self._first_cost = cost
        elif (
            self.full
            or self.cell_steps + cost > self._rules.max_cell_steps
            or not self._first_cost / SIMILAR <= cost <= self._first_cost * SIMILAR
        ):
            return False
        self.jobs.append((job, run))
        self.cell_steps += cost
        return True

    def remove(self, job: Job[Any]) -> bool:
        """Let a job go again; False when it is not in the batch."""
        for place, (each, run) in enumerate(self.jobs):
            if each is job:
                del self.jobs[place]
                self.cell_steps -= run.run.cell_steps
                return True
        return False


def perform_together(batch: Batch) -> bool:
    """Do the runs in one call of their engine, and give each back soon after it is measured.

    False when the engine failed the batch as a whole; each run is then done alone.
    """
    wanted = []
    for job, run in batch.jobs:
        if run.run.cancel.is_set():
            job.post()
        else:
            wanted.append((job, run))
    if not wanted:
        return True
    name = type(batch.engine).__name__
    _log.debug("%s: a batch of %d runs, %d cell-steps", name, len(wanted), batch.cell_steps)
    try:
        found = batch.engine.run_batch([run.run for _, run in wanted])
        if len(found) != len(wanted):
            raise RuntimeError(f"{len(found)} states for {len(wanted)} runs")
    except BaseException:  # noqa: BLE001 - whatever an engine does, no call of the batch may be left waiting
        _log.exception("%s: failed a batch of %d runs; each is done alone", name, len(wanted))
        for job, _ in wanted:
            job.perform()
            job.post()
        return False
    # Each one that is given back alone interrupts this thread for a turn of the loop; a few together do so once.
    held: list[Job[Any]] = []
    until = time.monotonic() + HELD_SECONDS
    for (job, run), state in zip(wanted, found, strict=True):
        job.conclude(run, state)
        held.append(job)
        if time.monotonic() >= until:
            _post(held)
            until = time.monotonic() + HELD_SECONDS
    _post(held)
    return True


def _post(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.post()
    jobs.clear()
