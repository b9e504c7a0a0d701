"""Run a sweep on an executor plugin: on a cluster, or on whatever else takes jobs by value."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from mfn.sweeps._pools import Outcome, Pool, UnavailableError
from mfn.sweeps._run import SweepFailedError
from mfn.sweeps._simulation import Job, run_job
from mfn_core import Code, ComponentContext, ComponentKind, MfnError, RemoteExecutor
from mfn_core.config import ConfigError, Document, ServerSettings, decode, read_document
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.registry import PluginRegistry

__all__ = ["remote_pool"]

PREFIX = "executor_"


def remote_pool(name: str, *, scheduler: str | None, config: Path | None, workers: int | None) -> Callable[[], Pool]:
    """What makes a pool on the executor `name` of the plugin `executor_NAME`; called, it connects.

    Args:
        name: as in `[executors.NAME]`.
        scheduler: where its workers are; it wins over the file.
        config: a configuration file with a section for it.
        workers: of a cluster of this machine, where there is no scheduler.

    Returns:
        The pool's maker, which raises `SweepFailedError` when the executor cannot be reached.

    Raises:
        ValueError: there is no such executor, its settings are wrong, or it takes no jobs by value.
    """
    installed = {plugin.name for plugin in PluginRegistry.installed()}
    if PREFIX + name not in installed:
        known = sorted(each.removeprefix(PREFIX) for each in installed if each.startswith(PREFIX))
        listed = ", ".join(["processes", *known])
        raise ValueError(f"no executor {name!r} is installed; there is: {listed}")
    try:
        executor = _made(name, scheduler, config, workers)
    except ConfigError as wrong:
        raise ValueError(str(wrong)) from wrong
    if not isinstance(executor, RemoteExecutor):
        raise ValueError(f"executor {name!r} shares the memory of this process; leave --executor out")

    def connected() -> Pool:
        try:
            asyncio.run(_lifecycle(executor, "start"))
        except (ConfigError, OSError) as failed:
            raise SweepFailedError(str(failed)) from failed
        return _RemotePool(executor)

    return connected


def _made(name: str, scheduler: str | None, config: Path | None, workers: int | None) -> object:
    document = (
        Document(tables={}, base_dir=Path.cwd(), source="command line") if config is None else read_document(config)
    )
    table: dict[str, Any] = dict(document.tables.get("executors", {}).get(name, {}))
    if scheduler is not None:
        table["scheduler"] = scheduler
    if workers is not None:
        if table.get("scheduler"):
            raise ValueError("--workers is of a cluster of this machine; a scheduler has its own")
        table["local"] = {**table.get("local", {}), "workers": workers}
    spec = PluginRegistry([PREFIX + name]).component(ComponentKind.EXECUTOR, name).spec
    settings = decode(spec.config, table, f"executors.{name}", document.base_dir)
    context = ComponentContext(
        name=name,
        server=ServerSettings(),
        worker=0,
        compute=ComputePool({}),
        catalogue=Catalogue(),
        log=logging.getLogger(f"mfn.executors.{name}"),
    )
    made: object = spec.factory(settings, context)
    return made


async def _lifecycle(executor: object, phase: str) -> None:
    method = getattr(executor, phase, None)
    if method is not None:
        await method()


class _RemotePool:
    """Runs simulations by `RemoteExecutor.submit`; a worker that dies is the executor's concern."""

    def __init__(self, executor: RemoteExecutor) -> None:
        self._executor = executor
        self._futures: set[Future[Outcome]] = set()
        self._closed = False

    @property
    def window(self) -> int:
        """Twice what runs at once, and something even while no worker is there."""
        return max(4, 2 * self._executor.slots)

    def submit(self, job: Job) -> Future[Outcome]:
        """See `Pool`."""
        outer: Future[Outcome] = Future()
        try:
            inner = self._executor.submit(partial(run_job, job))
        except MfnError as failed:
            outer.set_exception(_translated(failed))
            return outer
        self._futures.add(inner)

        def done(ended: Future[Outcome]) -> None:
            self._futures.discard(ended)
            if ended.cancelled():
                outer.cancel()
                outer.set_running_or_notify_cancel()
            elif (failed := ended.exception()) is None:
                outer.set_result(ended.result())
            elif isinstance(failed, MfnError) and failed.code is Code.INTERNAL and not failed.details:
                error = {"type": "WorkerDied", "message": failed.reason}
                outer.set_result({"sim_id": job.number, "error": error})
            else:
                outer.set_exception(_translated(failed))

        inner.add_done_callback(done)
        return outer

    def renew(self) -> None:
        """The executor sees to its workers itself."""

    def stop(self) -> None:
        """See `Pool`."""
        for future in tuple(self._futures):
            future.cancel()

    def close(self) -> None:
        """See `Pool`."""
        if not self._closed:
            self._closed = True
            asyncio.run(_lifecycle(self._executor, "stop"))


def _translated(failed: BaseException) -> BaseException:
    if isinstance(failed, MfnError) and failed.code is Code.UNAVAILABLE:
        return UnavailableError(failed.reason)
    return failed
