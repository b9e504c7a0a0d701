"""What runs on a worker: a job under the token of its task, once the versions there are those of the server."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, TypeVar

from attrs import frozen

from mfn_core import CancelToken, Code, MfnError

__all__ = ["Outcome", "TaskToken", "perform", "versions"]

T = TypeVar("T")

MATTERING = ("mfn-core", "mfn-model", "mfn-executor-dask", "numpy")
"""Distributions that must be the same on both sides: jobs are pickled by one and unpickled by the other."""


class TaskToken:
    """Says whether the task that it was made in is still wanted.

    The scheduler tells a worker when the last future of a task is cancelled; a task that is at work then turns to the
    state `cancelled` in the worker's own table, which this looks at. Nothing is sent, so it costs a few microseconds.
    """

    def __init__(self) -> None:
        """Find the task that this thread works on.

        Raises:
            ValueError: it works on none.
        """
        from distributed import get_worker
        from distributed.worker import thread_state

        self._tasks = get_worker().state.tasks
        self._key = thread_state.key

    def is_set(self) -> bool:
        """Whether nobody waits for the task any more."""
        task = self._tasks.get(self._key)
        return task is None or task.state not in ("executing", "long-running")


@frozen(kw_only=True)
class Outcome(Generic[T]):
    """What came of a job.

    An error is a value here: a task that raises is logged by its worker with a traceback, and a run that a caller has
    given up, or one that the model refuses, is nothing that the operator of a cluster must see.
    """

    result: T | None = None
    error: Exception | None = None


def perform(pickled: bytes, expected: Mapping[str, str]) -> bytes:
    """Do a job on a worker. Raises nothing but what ends the process.

    The job comes as bytes, and so does what came of it go. What the library itself cannot unpickle breaks the worker's
    connection to the scheduler for good; here it is an error like any other.

    Args:
        pickled: the job, `(cancel) -> result`; called with the token of this task.
        expected: versions on the server; where this worker has others, the outcome is INTERNAL.

    Returns:
        An `Outcome`, pickled.
    """
    if (found := versions()) != expected:
        differing = ", ".join(
            f"{name} {found.get(name)} and not {number}"
            for name, number in expected.items()
            if found.get(name) != number
        )
        reason = f"a worker of the cluster has {differing}; install the same on both sides"
        error = MfnError(
            Code.INTERNAL, "the cluster cannot run this call", reason=reason, details={"reason": "VERSIONS"}
        )
        return pickle.dumps(Outcome[Any](error=error))
    try:
        # Sent by the server, which may run any code here as it is.
        job: Callable[[CancelToken], Any] = pickle.loads(pickled)  # noqa: S301 - see above
        return pickle.dumps(Outcome(result=job(TaskToken())))
    except Exception as failed:  # noqa: BLE001 - a job may raise anything, and who sent it gets it
        return pickle.dumps(Outcome[Any](error=_portable(failed)))


def _portable(failed: Exception) -> Exception:
    """The error, or what can be said of it where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(failed))  # noqa: S301 - our own, made in this line
    except Exception:  # noqa: BLE001 - an exception of anybody may fail in any way here
        return RuntimeError(f"{type(failed).__name__}: {failed}")
    return failed


@cache
def versions() -> Mapping[str, str]:
    """What is installed here of all that matters."""
    return {name: _version(name) for name in MATTERING}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
