"""Compute off the event loop: a bounded queue in front of an executor, and sessions of the configured engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from mfn_core.call import Call
from mfn_core.compute import Backend, CancelToken, Session, SupportsSpeed
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_model import BoundViolation, FieldSpec, FieldState, NumericalInstabilityError, SpecError

__all__ = ["BoundedExecutor", "ComputePool", "RunningSession", "choose_backend", "spec_error"]

T = TypeVar("T")

RETRY_AFTER_FULL = 0.1
"""Seconds that a caller is asked to wait when the compute queue is full."""


class BoundedExecutor(Executor):
    """An executor that refuses work instead of growing its queue."""

    def __init__(self, inner: Executor, *, running: int, waiting: int) -> None:
        """Allow `running` jobs at work and `waiting` more in the queue of `inner`."""
        self._inner = inner
        self._capacity = running + waiting
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
            raise MfnError(
                Code.RESOURCE_EXHAUSTED,
                f"the compute queue is full ({self._capacity} jobs); retry after {RETRY_AFTER_FULL} s",
                retry_after=RETRY_AFTER_FULL,
                details={"limit": "compute_queue"},
            )
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


class ComputePool:
    """Runs the numeric work of calls: the only way from a handler to an engine."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        engine: str = "auto",
        threads: int = 0,
        queue: int = 256,
        executor: Executor | None = None,
    ) -> None:
        """Use `backends` by `engine`, on `executor` or on `threads` threads (0: one a core)."""
        self._backends = dict(backends)
        self._engine = engine
        running = threads or os.cpu_count() or 1
        inner = executor or ThreadPoolExecutor(running, thread_name_prefix="mfn-compute")
        self._executor = BoundedExecutor(inner, running=running, waiting=queue)

    def use(self, backends: Mapping[str, Backend]) -> None:
        """Take these backends from now on; called once, at assembly."""
        self._backends = dict(backends)

    def backend_for(self, spec: FieldSpec, *, engine: str | None = None) -> tuple[str, Backend]:
        """Name and backend that will run the spec.

        Raises:
            MfnError: INVALID_ARGUMENT, when no installed backend supports it.
        """
        try:
            return choose_backend(self._backends, spec, engine or self._engine)
        except SpecError as wrong:
            raise spec_error(wrong) from wrong

    async def run(self, call: Call, job: Callable[[CancelToken], T]) -> T:
        """Run `job(cancel)` on a compute thread and wait for it.

        When the call is aborted meanwhile, the job sees its token set, and this returns only after the job has: a
        session is never used by two threads.

        Raises:
            MfnError: RESOURCE_EXHAUSTED when the queue is full; the call's own error when it was aborted.
        """
        queued = self._executor.submit(job, call.cancel)
        future = asyncio.wrap_future(queued)
        try:
            result = await asyncio.shield(future)
        except asyncio.CancelledError:
            call.cancel.set(Code.CANCELLED)
            if not queued.cancel():
                # The job is at work: it sees the token within a slice, however often the task is cancelled.
                while not future.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([future])
                future.exception()  # retrieved, so that it is not reported as lost: the abort stands for it
            raise
        except SpecError as wrong:
            raise spec_error(wrong) from wrong
        except NumericalInstabilityError as unstable:
            raise MfnError(
                Code.FAILED_PRECONDITION,
                f"the numbers became unstable: {unstable}",
                details={"reason": "NUMERICAL_INSTABILITY"},
            ) from unstable
        if call.cancel.is_set():
            raise call.aborted()
        return result

    @asynccontextmanager
    async def session(self, call: Call, spec: FieldSpec) -> AsyncIterator[RunningSession]:
        """A session of the configured engine for as long as the block runs.

        Raises:
            MfnError: INVALID_ARGUMENT for a spec that no backend takes; what `run` raises.
        """
        _, backend = self.backend_for(spec)
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
        self._executor.shutdown(wait=True, cancel_futures=True)


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


def choose_backend(backends: Mapping[str, Backend], spec: FieldSpec, engine: str) -> tuple[str, Backend]:
    """The named backend, or with `auto` the fastest that supports the spec.

    Raises:
        mfn_model.SpecError: there is none.
    """
    known = ", ".join(sorted(backends)) or "none"
    if engine != "auto":
        backend = backends.get(engine)
        if backend is None:
            raise _refused(
                "engine", engine, f"one of: {known}", f"no engine {engine!r} is installed; there is: {known}"
            )
        if not backend.supports(spec):
            raise _refused(
                "model",
                spec.model,
                f"a model of engine {engine!r}",
                f"engine {engine!r} does not support {spec.model!r}",
            )
        return engine, backend
    able = [(name, backend) for name, backend in sorted(backends.items()) if backend.supports(spec)]
    if not able:
        raise _refused(
            "model",
            spec.model,
            "a model of an installed engine",
            f"no engine supports {spec.model!r}; there is: {known}",
        )
    return max(able, key=lambda pair: pair[1].speed(spec) if isinstance(pair[1], SupportsSpeed) else 1.0)


def _refused(field: str, value: object, bound: str, message: str) -> SpecError:
    return SpecError([BoundViolation(field=field, value=value, bound=bound, message=message)])


def spec_error(error: SpecError) -> MfnError:
    """A model's refusal of a spec as the caller's error."""
    return MfnError.invalid(
        FieldViolation(field=violation.field, description=violation.message) for violation in error.violations
    )
