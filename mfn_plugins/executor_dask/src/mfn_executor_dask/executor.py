"""The executor: jobs on the workers of a cluster, which may go away and come back while the server serves."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mfn_core import CancelToken, Code, ComponentContext, MfnError
from mfn_core.config import ConfigError
from mfn_executor_dask._cluster import Connected, connect
from mfn_executor_dask.jobs import Outcome, perform, versions
from mfn_executor_dask.settings import DaskSettings

if TYPE_CHECKING:
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

__all__ = ["DaskExecutor", "make_executor"]

T = TypeVar("T")

COUNT_SECONDS = 5.0
"""Age at which the number of slots is asked for anew: workers come and go."""


def make_executor(config: DaskSettings, context: ComponentContext) -> DaskExecutor:
    """The component of `[executors.dask]`."""
    return DaskExecutor(config, path=f"executors.{context.name}", log=context.log)


class DaskExecutor:
    """See `mfn_core.compute.RemoteExecutor`. `start` and `stop` are called once each."""

    remote: Literal[True] = True

    def __init__(self, settings: DaskSettings, *, path: str = "executors.dask", log: logging.Logger) -> None:
        """Make an executor that is not connected yet.

        Args:
            settings: the table.
            path: where it stands in the configuration, for messages.
            log: says when the connection is lost and found again.
        """
        self._settings = settings
        self._path = path
        self._log = log
        self._connected: Connected | None = None
        self._executor: ClientExecutor | None = None
        self._slots = 0
        self._counted = 0.0
        self._lock = threading.Lock()
        self._busy: threading.Thread | None = None
        """Connects anew, or counts slots; one at a time."""
        self._stopped = False

    @property
    def slots(self) -> int:
        """Threads of all workers."""
        return self._slots

    async def start(self) -> None:
        """Connect.

        Raises:
            ConfigError: the scheduler cannot be reached, or its workers do not fit.
        """
        await asyncio.to_thread(self.open)

    async def stop(self) -> None:
        """Close the connection, and the cluster that was started for it. Jobs under way are cancelled."""
        await asyncio.to_thread(self.close)

    def open(self) -> None:
        """What `start` does, outside an event loop; blocks."""
        self._take(connect(self._settings, self._path))
        self._count()

    def close(self) -> None:
        """What `stop` does, outside an event loop; blocks. Safe to call twice."""
        with self._lock:
            self._stopped = True
            busy, connected = self._busy, self._connected
            self._connected = self._executor = None
        if connected is not None:
            connected.close()
        if busy is not None:
            busy.join()

    def submit(self, job: Callable[[CancelToken], T], /) -> Future[T]:
        """See `mfn_core.compute.RemoteExecutor`.

        Raises:
            MfnError: UNAVAILABLE, while the scheduler is away.
        """
        import cloudpickle

        executor, client = self._executor, self._client()
        if executor is None or client is None:
            self._look_after()
            raise self._away()
        if time.monotonic() - self._counted >= COUNT_SECONDS:
            self._look_after()
        outer: Future[T] = Future()
        try:
            pickled = cloudpickle.dumps(job)
        except Exception as failed:  # noqa: BLE001 - pickling runs code of whoever made the job
            outer.set_exception(TypeError(f"the job cannot be sent to the cluster: {failed}"))
            return outer
        try:
            inner = executor.submit(perform, pickled, versions())
        except (OSError, RuntimeError) as failed:  # it closed in this moment
            raise self._away() from failed
        # Either of them may be cancelled: by the caller, whose word goes on to the worker, or by a lost connection.
        outer.add_done_callback(lambda ended: inner.cancel() if ended.cancelled() else None)
        inner.add_done_callback(lambda ended: self._hand_on(ended, outer))
        return outer

    def _hand_on(self, inner: Future[Any], outer: Future[Any]) -> None:
        """Give the outcome of a task to who waits for it; called from a thread of the client."""
        if not outer.set_running_or_notify_cancel():
            return
        try:
            # From a worker, which was sent code by this process, and may answer with some.
            outcome: Outcome[Any] = pickle.loads(inner.result())  # noqa: S301 - see above
        except CancelledError:
            self._look_after()
            outer.set_exception(self._away())
        except Exception as failed:  # noqa: BLE001 - whatever the cluster says of a task, its caller is told
            outer.set_exception(_translated(failed))
        else:
            if outcome.error is not None:
                outer.set_exception(outcome.error)
            else:
                outer.set_result(outcome.result)

    def _away(self) -> MfnError:
        where = self._settings.scheduler or "the cluster of this machine"
        return MfnError(
            Code.UNAVAILABLE,
            "the compute cluster cannot be reached now; retry later",
            reason=f"{where} is away",
            retry_after=self._settings.retry_seconds,
            details={"executor": "dask"},
        )

    # The connection.

    def _client(self) -> Client | None:
        """The client, where its connection stands."""
        connected = self._connected
        return connected.client if connected is not None and connected.client.status == "running" else None

    def _take(self, connected: Connected) -> None:
        with self._lock:
            if not self._stopped:
                self._connected = connected
                self._executor = connected.client.get_executor(pure=False)
                return
        connected.close()  # it was stopped meanwhile

    def _look_after(self) -> None:
        """See to the connection and to the number of slots, on a thread of its own."""
        with self._lock:
            if self._stopped or self._busy is not None:
                return
            self._busy = threading.Thread(target=self._work, name="mfn-dask", daemon=True)
            self._busy.start()

    def _work(self) -> None:
        try:
            connected = self._connected
            if connected is None or connected.client.status == "closed":
                self._log.warning("the connection to the compute cluster is lost; connecting anew")
                if connected is not None:
                    connected.close()
                self._take(connect(self._settings, self._path))
                self._log.info("the compute cluster is back")
            # A client that is still connecting by itself is left alone: it becomes running, or closed.
            if self._client() is not None:
                self._count()
        except ConfigError as failed:
            self._log.warning("%s", "; ".join(problem.message for problem in failed.problems))
        except Exception:  # noqa: BLE001 - whatever a client raises, the next call tries again
            self._log.exception("connecting to the compute cluster failed")
        finally:
            with self._lock:
                self._busy = None

    def _count(self) -> None:
        client = self._client()
        if client is not None:
            self._slots = sum(client.nthreads().values())
            self._counted = time.monotonic()


def _translated(failed: Exception) -> Exception:
    from distributed.scheduler import KilledWorker

    if not isinstance(failed, KilledWorker):
        return failed
    error = MfnError(
        Code.INTERNAL,
        "the call brought down the processes that worked on it",
        reason=f"a worker of the cluster died of it, again and again: {' '.join(str(failed).split())[:300]}",
    )
    error.__cause__ = failed
    return error
