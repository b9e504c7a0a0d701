"""The compute pool: the only way from a handler to an engine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

from mfn_core.call import Call
from mfn_core.compute import Backend, CancelToken, RemoteExecutor, Run, Session
from mfn_core.errors import Code, MfnError
from mfn_core.execution._batches import BatchCounts, BatchRules, BatchStats
from mfn_core.execution._jobs import Deliveries, Job
from mfn_core.execution._runs import RunWork
from mfn_core.execution._threads import ComputeThreads
from mfn_core.execution.bounded import ExecutorJobs
from mfn_core.execution.calibration import calibrated
from mfn_core.execution.engines import Engine, Engines, spec_error
from mfn_core.execution.remote import EngineRecipe, LastState, RemoteRun, RemoteRuns
from mfn_model import FieldSpec, FieldState, NumericalInstabilityError, SpecError

__all__ = ["ComputePool", "RunningSession", "available_cores"]

T = TypeVar("T")

JOB_SECONDS = 0.005
"""What a job is taken to last of which nobody says more: those of a stream are a few slices."""


def available_cores() -> int:
    """Cores that this process may use: no more than the machine has, and fewer where it is confined to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ComputePool:
    """Runs the numeric work of calls: the only way from a handler to an engine."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        engine: str = "auto",
        threads: int = 0,
        queue: int = 256,
        batching: BatchRules | None = None,
        executor: Executor | None = None,
        remote: RemoteExecutor | None = None,
    ) -> None:
        """Use `backends` by `engine`, on `executor` or on `threads` threads (0: one a core).

        Args:
            backends: by name.
            engine: the name of one, or `auto`.
            threads: jobs at work at once.
            queue: jobs that may wait.
            batching: which runs go together, on engines that do several at once; none unless given, nor on `executor`.
            executor: threads of others; the pool's own unless given.
            remote: workers that whole runs are sent to; all else stays on the threads.
        """
        self._preferred = engine
        self._engines = Engines(backends, engine)
        running = threads or available_cores()
        self._stats = BatchStats()
        self._batches = batching is not None and batching.max_size > 1 and executor is None
        self._jobs: ComputeThreads | ExecutorJobs
        if executor is None:
            self._jobs = ComputeThreads(
                threads=running, waiting=queue, rules=batching or BatchRules(), stats=self._stats
            )
        else:
            self._jobs = ExecutorJobs(executor, running=running, waiting=queue)
        self._deliveries: Deliveries | None = None
        self._remote = None if remote is None else RemoteRuns(remote, waiting=queue)
        self._recipes: Mapping[str, EngineRecipe] = {}

    def use(self, backends: Mapping[str, Backend], recipes: Mapping[str, EngineRecipe] | None = None) -> None:
        """Take these backends from now on; called once, at assembly.

        `recipes` says how a remote worker makes them; the runs of an engine without one stay here.
        """
        self._engines = Engines(backends, self._preferred)
        self._recipes = dict(recipes or {})

    @property
    def batches(self) -> BatchCounts:
        """What was done in batches so far, for telemetry. Safe from any thread."""
        return self._stats.counts()

    @property
    def expected_wait(self) -> float:
        """Seconds that a job waits which comes now, by the estimates of those before it. Safe from any thread."""
        return self._jobs.expected_wait

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines, and what is known of them."""
        return tuple(self._engines)

    def calibrate(self, seconds: float) -> None:
        """Measure every engine, for about so many seconds in all. Blocks: called at the start, off the loop."""
        engines = tuple(self._engines)
        for engine in engines:
            self._engines.replace(calibrated(engine, seconds / len(engines)))

    def backend_for(self, spec: FieldSpec, *, engine: str | None = None) -> tuple[str, Backend]:
        """Name and backend that will run the spec.

        Raises:
            MfnError: INVALID_ARGUMENT, when no installed backend supports it.
        """
        chosen = self._engine_for(spec, engine)
        return chosen.name, chosen.backend

    def seconds(self, spec: FieldSpec, steps: int) -> float:
        """What a run is expected to last on one thread: an estimate for `run`, and no promise.

        Raises:
            MfnError: INVALID_ARGUMENT, when no installed backend supports the spec.
        """
        return _seconds(self._engine_for(spec), spec, steps)

    async def run(self, call: Call, job: Callable[[CancelToken], T], *, seconds: float = JOB_SECONDS) -> T:
        """Run `job(cancel)` on a compute thread and wait for it.

        When the call is aborted meanwhile, the job sees its token set, and this returns only after the job has: a
        session is never used by two threads.

        Args:
            call: pays for the work; its cancellation stops it.
            job: called on a compute thread.
            seconds: that the job is expected to last, for the estimate of how long others will wait.

        Raises:
            MfnError: RESOURCE_EXHAUSTED when the queue is full; the call's own error when it was aborted.
        """
        token = call.cancel
        return await self._outcome(call, Job(lambda: job(token), self._way_back(), seconds))

    @overload
    async def final_state(self, call: Call, spec: FieldSpec, steps: int) -> FieldState: ...
    @overload
    async def final_state(self, call: Call, spec: FieldSpec, steps: int, measure: Callable[[FieldState], T]) -> T: ...
    async def final_state(
        self, call: Call, spec: FieldSpec, steps: int, measure: Callable[[FieldState], Any] | None = None
    ) -> Any:
        """Run a spec from step 0 to its last step, and give the state there, or what `measure` makes of it.

        One job does all of it. Where the engine does several runs at once, and the configuration lets it, runs that
        wait meanwhile are done together; the numbers are the same, and a caller need not know. A call that is aborted
        leaves such a batch at once; alone, it waits until its job has seen that.

        Args:
            call: pays for the work; its cancellation stops it.
            spec: what to simulate.
            steps: at least 0.
            measure: called with the state on the compute thread, unless the call was aborted; what it raises, this
                raises. Where runs go to a remote executor it is called there: it can be pickled, and so can what it
                gives.

        Raises:
            MfnError: INVALID_ARGUMENT when no engine supports the spec; else as `run`, and UNAVAILABLE when remote
                workers cannot be reached.
        """
        engine = self._engine_for(spec)
        if self._remote is not None and engine.name in self._recipes:
            return await self._sent(call, engine, spec, steps, LastState(_whole if measure is None else measure))
        work: RunWork[Any] = RunWork(
            backend=engine.backend,
            engine=engine.batched if self._batches else None,
            run=Run(spec=spec, steps=steps, cancel=call.cancel),
            measure=_whole if measure is None else measure,
        )
        return await self._outcome(call, Job(work.alone, self._way_back(), _seconds(engine, spec, steps), work))

    async def whole_run(
        self, call: Call, spec: FieldSpec, steps: int, follow: Callable[[Session, int, CancelToken], T]
    ) -> T:
        """Run a spec from step 0 to its last step by `follow`, which looks at more than the last state.

        Args:
            call: pays for the work; its cancellation stops it.
            spec: what to simulate.
            steps: at least 0.
            follow: `(session, steps, cancel)`: advances a fresh session, on a compute thread or on a remote worker. It
                can be pickled, and so can what it gives. What it gives once `cancel` is set, nobody sees.

        Raises:
            MfnError: as `final_state`.
        """
        engine = self._engine_for(spec)
        if self._remote is not None and engine.name in self._recipes:
            return await self._sent(call, engine, spec, steps, follow)
        backend = engine.backend

        def job(cancel: CancelToken) -> T:
            session = backend.open(spec)
            try:
                return follow(session, steps, cancel)
            finally:
                session.close()

        return await self.run(call, job, seconds=_seconds(engine, spec, steps))

    @asynccontextmanager
    async def session(self, call: Call, spec: FieldSpec) -> AsyncIterator[RunningSession]:
        """A session of the configured engine for as long as the block runs.

        Raises:
            MfnError: INVALID_ARGUMENT for a spec that no backend takes; what `run` raises.
        """
        backend = self._engine_for(spec).backend
        opened: list[Session] = []
        try:
            # Appended inside the job: a call aborted while its session opens still closes it.
            await self.run(call, lambda _: opened.append(backend.open(spec)))
            yield RunningSession(self, call, opened[0])
        finally:
            for session in opened:
                session.close()

    def shutdown(self) -> None:
        """Stop the threads; jobs still waiting are cancelled."""
        self._jobs.shutdown()

    def _engine_for(self, spec: FieldSpec, engine: str | None = None) -> Engine:
        try:
            return self._engines.choose(spec, engine)
        except SpecError as wrong:
            raise spec_error(wrong) from wrong

    def _way_back(self) -> Deliveries:
        loop = asyncio.get_running_loop()
        found = self._deliveries
        if found is None or found.loop is not loop:
            found = self._deliveries = Deliveries(loop)
        return found

    async def _outcome(self, call: Call, job: Job[T]) -> T:
        """Submit the job and wait for it."""
        self._jobs.submit(job)
        try:
            result = await job.outcome()
        except asyncio.CancelledError:
            call.cancel.set(Code.CANCELLED)
            if not self._jobs.withdraw(job) and not job.shared:
                # The job is at work: it sees the token within a slice, however often the task is cancelled.
                await job.ended()
            raise
        except Exception as failed:
            if (error := _call_error(call, failed)) is not failed:
                raise error from failed
            raise
        if call.cancel.is_set():
            raise call.aborted()
        return result

    async def _sent(
        self,
        call: Call,
        engine: Engine,
        spec: FieldSpec,
        steps: int,
        follow: Callable[[Session, int, CancelToken], T],
    ) -> T:
        """Send a run to the remote executor and wait for what comes of it."""
        assert self._remote is not None
        deadline = call.cancel.deadline
        run = RemoteRun(
            engine=self._recipes[engine.name],
            model=spec.declaration,
            spec=spec,
            steps=steps,
            follow=follow,
            seconds=None if deadline is None else deadline - time.monotonic(),
        )
        try:
            result = await self._remote.outcome(run, _seconds(engine, spec, steps))
        except asyncio.CancelledError:
            call.cancel.set(Code.CANCELLED)
            raise
        except Exception as failed:
            if (error := _call_error(call, failed)) is not failed:
                raise error from failed
            raise
        if call.cancel.is_set():
            raise call.aborted()
        return result


class RunningSession:
    """A session seen from the event loop. Not for use by two tasks at once."""

    def __init__(self, pool: ComputePool, call: Call, session: Session) -> None:
        self._pool = pool
        self.call = call
        """The call that pays for the work; a session that outlives its call is handed to the next one."""
        self.session = session
        """The engine's own session; touch it only while no step runs."""

    async def step(self, n: int) -> FieldState:
        """Advance by `n` steps and return the state.

        Raises:
            MfnError: the call was aborted, or the queue is full.
        """
        session = self.session

        def job(cancel: CancelToken) -> FieldState:
            session.step(n, cancel)
            return session.state()

        return await self._pool.run(self.call, job)


def _call_error(call: Call, failed: Exception) -> Exception:
    """What the caller sees of a job that failed."""
    if call.cancel.is_set():
        return call.aborted()
    if isinstance(failed, SpecError):
        return spec_error(failed)
    if isinstance(failed, NumericalInstabilityError):
        return MfnError(
            Code.FAILED_PRECONDITION,
            f"the numbers became unstable: {failed}",
            reason="the numbers became unstable",
            details={"reason": "NUMERICAL_INSTABILITY"},
        )
    return failed


def _whole(state: FieldState) -> FieldState:
    return state


def _seconds(engine: Engine, spec: FieldSpec, steps: int) -> float:
    speed = engine.usual_speed(spec)
    return JOB_SECONDS if not speed else spec.grid_size * spec.grid_size * max(steps, 1) / speed
