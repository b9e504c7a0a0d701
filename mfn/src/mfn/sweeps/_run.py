"""Run what a sweep still lacks on a pool, and hand every outcome on as it comes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait

from mfn.sweeps._plan import SweepPlan
from mfn.sweeps._pools import Outcome, Pool, UnavailableError
from mfn.sweeps._simulation import Job, StoppedError

__all__ = ["PATIENCE_SECONDS", "SweepFailedError", "run_simulations"]

PATIENCE_SECONDS = 300.0
"""How long a pool may be unavailable before the sweep ends."""
RETRY_SECONDS = 1.0
"""How long it waits before it asks an unavailable pool again."""
LOOK_SECONDS = 0.2
"""How soon a stop is noticed while simulations run."""
FRESH_DEATHS = 3
"""Processes that die one after another before any has finished a simulation are no accident of one simulation."""


class SweepFailedError(Exception):
    """The sweep cannot go on; what has been computed is in the journal."""


def run_simulations(
    plan: SweepPlan,
    engine: str,
    pending: Iterable[int],
    pool: Pool,
    record: Callable[[Outcome], None],
    stop: threading.Event,
) -> None:
    """Run the simulations with these numbers; returns when all have an outcome, or early once `stop` is set.

    When a process dies, the simulations that were under way are run again one at a time: the one that brings its
    process down alone has failed, and the others are none the worse.

    Args:
        plan: what is computed.
        engine: name of the engine.
        pending: numbers of the simulations.
        pool: runs them; it is stopped here when `stop` is set, and not closed.
        record: called in this thread with every outcome.
        stop: set by a signal handler or another thread.

    Raises:
        SweepFailedError: the pool cannot run simulations.
        OSError: what `record` raises.
    """
    _Run(plan, engine, pending, pool, record, stop).run()


class _Run:
    def __init__(
        self,
        plan: SweepPlan,
        engine: str,
        pending: Iterable[int],
        pool: Pool,
        record: Callable[[Outcome], None],
        stop: threading.Event,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._pending = iter(pending)
        self._pool = pool
        self._record = record
        self._stop = stop
        self._again: deque[int] = deque()
        """Numbers that a pool gave back without an outcome."""
        self._suspects: deque[int] = deque()
        """Numbers that were under way when a process died; run one at a time."""
        self._isolating = False
        """Whether the one simulation under way is such a suspect."""
        self._under_way: dict[Future[Outcome], int] = {}
        self._finished = 0
        self._deaths = 0
        self._unavailable_since: float | None = None

    def run(self) -> None:
        while not self._stop.is_set():
            self._fill()
            if not self._under_way:
                return
            done, _ = wait(self._under_way, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            self._take(done)
        self._pool.stop()
        while self._under_way:  # they end at their next step, and some may have finished
            done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
            self._take(done)

    def _fill(self) -> None:
        if not self._under_way:
            self._isolating = bool(self._suspects)
        if self._isolating:
            if not self._under_way:
                self._submit(self._suspects.popleft())
            return
        while len(self._under_way) < self._pool.window and not self._stop.is_set():
            number = self._again.popleft() if self._again else next(self._pending, None)
            if number is None:
                return
            self._submit(number)

    def _submit(self, number: int) -> None:
        self._under_way[self._pool.submit(self._job(number))] = number

    def _job(self, number: int) -> Job:
        return Job(
            number=number,
            model=self._plan.model,
            boundary=self._plan.boundary,
            engine=self._engine,
            settings=self._plan.design.settings(number),
            thresholds=self._plan.thresholds,
        )

    def _take(self, done: Iterable[Future[Outcome]]) -> None:
        broken: list[int] = []
        refused: UnavailableError | None = None
        for future in done:
            number = self._under_way.pop(future)
            if future.cancelled():
                continue
            failed = future.exception()
            if failed is None:
                self._finished += 1
                self._unavailable_since = None
                self._record(future.result())
            elif isinstance(failed, StoppedError):
                continue
            elif isinstance(failed, BrokenExecutor):
                broken.append(number)
            elif isinstance(failed, UnavailableError):
                refused = failed
                self._again.append(number)
            else:
                raise SweepFailedError(f"simulation {number} was lost: {type(failed).__name__}: {failed}") from failed
        if broken:
            self._died(broken)
        if refused is not None:
            self._wait_for_the_pool(refused)

    def _died(self, numbers: list[int]) -> None:
        # A broken pool loses all that was under way.
        while self._under_way:
            done, _ = wait(self._under_way)
            for future in done:
                number = self._under_way.pop(future)
                if not future.cancelled() and future.exception() is None:
                    self._record(future.result())
                else:
                    numbers.append(number)
        self._pool.renew()
        if not self._isolating:
            self._suspects.extend(sorted(numbers))
            return
        self._deaths += 1
        if self._finished == 0 and self._deaths >= FRESH_DEATHS:
            raise SweepFailedError(
                f"{self._deaths} worker processes died at their first simulation; "
                "run with one worker to see why, or with a smaller grid if memory is short"
            )
        message = "the process that ran it died; the system kills one that takes too much memory"
        for number in numbers:
            self._record({"sim_id": number, "error": {"type": "WorkerDied", "message": message}})

    def _wait_for_the_pool(self, refused: UnavailableError) -> None:
        now = time.monotonic()
        if self._unavailable_since is None:
            self._unavailable_since = now
        if now - self._unavailable_since >= PATIENCE_SECONDS:
            raise SweepFailedError(f"{refused}; given up after {PATIENCE_SECONDS:.0f} s") from refused
        self._stop.wait(RETRY_SECONDS)
