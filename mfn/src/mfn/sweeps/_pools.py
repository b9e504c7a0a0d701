"""Where the simulations of a sweep run: in this process, or in processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import BrokenExecutor, Executor, Future
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any, Protocol

from mfn.sweeps._simulation import Job, run_job
from mfn_core import CancelToken

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

__all__ = ["LocalPool", "Outcome", "Pool", "ProcessPool", "UnavailableError"]

Outcome = dict[str, Any]
"""What `run_job` returns."""


class UnavailableError(Exception):
    """The pool cannot run anything now; the same simulation may be submitted again after a while."""


class Pool(Protocol):
    """Runs simulations. Used by one thread."""

    @property
    def window(self) -> int:
        """How many simulations it should be given at once, so that nothing stands idle."""
        ...

    def submit(self, job: Job) -> Future[Outcome]:
        """Run one.

        The future ends with the outcome, or with `StoppedError`, `UnavailableError`, or `BrokenExecutor` when a
        process died and it is not known which of the simulations under way is to blame.
        """
        ...

    def renew(self) -> None:
        """Make it usable again after a `BrokenExecutor`."""
        ...

    def stop(self) -> None:
        """Tell every simulation under way to end at its next step, and begin no further one."""
        ...

    def close(self) -> None:
        """Give everything back; simulations under way are waited for. Safe to call twice."""
        ...


class LocalPool:
    """Runs each simulation in this process, at once; `submit` returns when it is over."""

    window = 1

    def __init__(self, stop: threading.Event) -> None:
        """Let a simulation end when `stop` is set: nothing else gets a chance to while one runs."""
        self._stop = stop

    def submit(self, job: Job) -> Future[Outcome]:
        """See `Pool`."""
        future: Future[Outcome] = Future()
        try:
            future.set_result(run_job(job, self._stop))
        except Exception as failed:  # noqa: BLE001 - a future carries whatever its work raised
            future.set_exception(failed)
        return future

    def renew(self) -> None:
        """Nothing breaks here."""

    def stop(self) -> None:
        """Nothing is under way between two calls."""

    def close(self) -> None:
        """Nothing is held."""


_stopped: CancelToken | None = None
"""In a worker process: the token of its pool."""


def _begin(event: Event) -> None:
    """Prepare a worker process."""
    global _stopped
    _stopped = event
    # Control-C reaches every process of the terminal; the one that holds the journal decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, name="mfn-parent", daemon=True).start()


def _end_with_the_parent() -> None:
    """End this process when the one that it works for is gone: killed, it can tell nobody to stop."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _run(job: Job) -> Outcome:
    assert _stopped is not None, "the pool's initialiser has run"
    return run_job(job, _stopped)


class ProcessPool:
    """Runs simulations in processes of this machine, which are spawned and not forked."""

    def __init__(self, workers: int) -> None:
        """Use `workers` processes; they start with the first simulations."""
        from multiprocessing import get_context

        self.window = 4 * workers
        self._workers = workers
        self._context = get_context("spawn")
        self._event = self._context.Event()
        self._executor: Executor | None = None

    def submit(self, job: Job) -> Future[Outcome]:
        """See `Pool`."""
        from concurrent.futures import ProcessPoolExecutor

        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._workers, mp_context=self._context, initializer=_begin, initargs=(self._event,)
            )
        try:
            return self._executor.submit(_run, job)
        except BrokenExecutor as broken:  # it broke while it stood idle
            future: Future[Outcome] = Future()
            future.set_exception(broken)
            return future

    def renew(self) -> None:
        """See `Pool`."""
        self.close()

    def stop(self) -> None:
        """See `Pool`."""
        self._event.set()

    def close(self) -> None:
        """See `Pool`."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
