"""Whole runs on workers that share no memory with the server: what is sent there, and what happens to it there.

A session lives where it was opened, and a closure over it means nothing elsewhere. So what goes to an executor on other
machines is a value: the recipe of an engine, a specification, the number of steps, and what the caller wants to know
of the run. The worker makes the engine once, and keeps it; what comes back is what the caller wanted to know, which is
far smaller than a field. Sessions of streams and of steered runs, whose caller looks at every frame, stay on the
server's own threads.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from attrs import field, frozen

from mfn_core.compute import Backend, CancelToken, RemoteExecutor, Session
from mfn_core.execution._refusals import queue_full
from mfn_model import FieldModel, FieldSpec, FieldState, register_model

if TYPE_CHECKING:
    from mfn_core.config import ServerSettings

__all__ = ["EngineRecipe", "LastState", "RemoteRun", "RemoteRuns", "advance"]

T = TypeVar("T")

_making = threading.Lock()


@frozen(kw_only=True)
class EngineRecipe:
    """How to make an engine that a server has, in another process that has the same distributions installed."""

    plugin: str
    """What `server.plugins` calls its plugin."""
    component: str
    """Name of its component."""
    name: str
    """Its name in the configuration: `numpy`, or `numpy/wide` for a further one."""
    settings: bytes = field(repr=False)
    """Its settings and those of the server, pickled; bytes, so that recipes can be compared."""

    @classmethod
    def of(cls, *, plugin: str, component: str, name: str, config: object, server: ServerSettings) -> EngineRecipe:
        """The recipe of an engine with these settings."""
        return cls(plugin=plugin, component=component, name=name, settings=pickle.dumps((config, server)))

    def backend(self) -> Backend:
        """The engine; made at the first call in a process, and kept.

        Raises:
            ConfigError: its plugin is not installed here, or cannot be loaded.
            Exception: what the engine's factory or start raises.
        """
        with _making:
            return _made(self)


@cache
def _made(recipe: EngineRecipe) -> Backend:
    from mfn_core.components import ComponentContext, ComponentKind
    from mfn_core.execution.pool import ComputePool
    from mfn_core.operation import Catalogue
    from mfn_core.registry import PluginRegistry

    # Written by the server that sent the job, which may run any code here as it is.
    config, server = pickle.loads(recipe.settings)  # noqa: S301 - see above
    spec = PluginRegistry([recipe.plugin]).component(ComponentKind.BACKEND, recipe.component).spec
    context = ComponentContext(
        name=recipe.name,
        server=server,
        worker=0,
        compute=ComputePool({}),
        catalogue=Catalogue(),
        log=logging.getLogger(f"mfn.engines.{recipe.name}"),
    )
    backend = cast("Backend", spec.factory(config, context))
    start = getattr(backend, "start", None)
    if start is not None:
        asyncio.run(start())
    return backend


@frozen(kw_only=True)
class RemoteRun(Generic[T]):
    """A whole run as a value that can be pickled; called on a worker with the token of its executor."""

    engine: EngineRecipe
    model: FieldModel
    """That of the spec, which a plugin may have declared that the worker never heard of."""
    spec: FieldSpec
    steps: int
    follow: Callable[[Session, int, CancelToken], T]
    """`(session, steps, cancel)`: advances a fresh session and gives what the caller wants to know."""
    seconds: float | None
    """Until the deadline of the call, when it was sent; None: there is none."""

    def __call__(self, cancel: CancelToken) -> T:
        """Do the run.

        Raises:
            Exception: what the engine and `follow` raise.
        """
        register_model(self.model)
        token = cancel if self.seconds is None else _Deadline(cancel, time.monotonic() + self.seconds)
        session = self.engine.backend().open(self.spec)
        try:
            return self.follow(session, self.steps, token)
        finally:
            session.close()


class _Deadline:
    """A token that is set when another one is, or at a time on this machine's clock."""

    def __init__(self, cancel: CancelToken, until: float) -> None:
        self._cancel = cancel
        self._until = until

    def is_set(self) -> bool:
        return time.monotonic() >= self._until or self._cancel.is_set()


class RemoteRuns:
    """A bound in front of a remote executor, and the way from its futures to tasks. Used from one event loop."""

    def __init__(self, executor: RemoteExecutor, *, waiting: int) -> None:
        """Keep at most `waiting` runs waiting for a place on the executor's workers."""
        self._executor = executor
        self._waiting = waiting
        self._under_way = 0
        self._seconds = 0.0

    @property
    def expected_wait(self) -> float:
        """Seconds until the runs that are there now are over, if they last as long as they are expected to."""
        return self._seconds / max(1, self._executor.slots)

    async def outcome(self, run: RemoteRun[T], seconds: float) -> T:
        """Send a run away and wait for what comes of it.

        Args:
            run: what to do.
            seconds: that it is expected to last.

        Raises:
            MfnError: RESOURCE_EXHAUSTED when too many wait; UNAVAILABLE when the workers cannot be reached.
            Exception: what the run raises.
        """
        capacity = self._executor.slots + self._waiting
        if self._under_way >= capacity:
            raise queue_full(capacity, self.expected_wait)
        self._under_way += 1
        self._seconds += seconds
        try:
            sent: Future[T] = self._executor.submit(run)
            # A task that is cancelled here cancels the executor's future, and that the run on its worker.
            return await asyncio.wrap_future(sent)
        finally:
            self._under_way -= 1
            self._seconds = self._seconds - seconds if self._under_way else 0.0


def advance(session: Session, steps: int, cancel: CancelToken) -> FieldState:
    """The state after so many steps.

    Raises:
        RuntimeError: the engine stopped before; where the run was cancelled, nobody sees that.
    """
    session.step(steps, cancel)
    state = session.state()
    if state.step < steps:
        raise RuntimeError(f"the engine stopped at step {state.step} of {steps} of a run that is wanted")
    return state


@frozen
class LastState(Generic[T]):
    """`follow` for a run of which only the last state is measured."""

    measure: Callable[[FieldState], T]

    def __call__(self, session: Session, steps: int, cancel: CancelToken) -> T:
        """What `measure` makes of the last state."""
        return self.measure(advance(session, steps, cancel))
