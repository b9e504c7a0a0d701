"""A server made from a plan: its parts constructed, started in order, drained, and stopped in reverse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, cast

from mfn_core.assembly import Plan, PlannedComponent, plan
from mfn_core.audit import AuditMiddleware
from mfn_core.auth import AuthMiddleware
from mfn_core.cache import ResultCache
from mfn_core.call import Call, Principal
from mfn_core.coalescing import Coalescer
from mfn_core.components import ComponentContext, ComponentKind
from mfn_core.compute import RemoteExecutor
from mfn_core.config import BatchingSettings, ConfigError, Document, Problem
from mfn_core.dispatcher import Dispatcher
from mfn_core.execution import BatchRules, ComputePool, EngineRecipe, available_cores
from mfn_core.limits import Limiter, LimitMiddleware
from mfn_core.middleware import Middleware
from mfn_core.operation import Catalogue, Service
from mfn_core.pages import SupportsPages
from mfn_core.transport import SupportsPreflight, Transport

__all__ = ["Server", "assemble"]

_log = logging.getLogger(__name__)

START_ORDER = (
    ComponentKind.AUDIT_SINK,
    ComponentKind.TELEMETRY,
    ComponentKind.AUTHENTICATOR,
    ComponentKind.LIMITER,
    ComponentKind.MIDDLEWARE,
    ComponentKind.EXECUTOR,
    ComponentKind.BACKEND,
    ComponentKind.SERVICE,
)
"""Sinks, then who may call, then what is called; transports last, so that no call meets a half-started server."""


def assemble(document: Document, *, worker: int = 0) -> Server:
    """Check a configuration and construct its server; nothing is started and no port is opened.

    Raises:
        ConfigError: with every problem found.
    """
    return Server(plan(document), worker=worker)


class Server:
    """One worker's server. Use from one event loop: `start`, then `stop`."""

    def __init__(self, planned: Plan, *, worker: int = 0) -> None:
        """Construct every component.

        Raises:
            ConfigError: with the problem of every factory that failed.
        """
        self.plan = planned
        self._worker = worker
        self._made: dict[ComponentKind, dict[str, Any]] = {kind: {} for kind in ComponentKind}
        self._started: list[tuple[str, Any]] = []
        self._problems: list[Problem] = []
        self._catalogue = Catalogue()
        _warn_of_too_many_threads(planned.server.compute_threads)
        self._make(ComponentKind.EXECUTOR, cast("ComputePool", None))
        executor = next(iter(self._made[ComponentKind.EXECUTOR].values()), None)
        remote = executor if isinstance(executor, RemoteExecutor) else None
        self.compute = ComputePool(
            {},
            engine=planned.server.engine,
            threads=planned.server.compute_threads,
            queue=planned.server.compute_queue,
            batching=_batching(planned.server.batching),
            executor=None if remote is not None else cast("Executor | None", executor),
            remote=remote,
        )
        for kind in (*START_ORDER, ComponentKind.TRANSPORT):
            if kind is not ComponentKind.EXECUTOR:
                self._make(kind, self.compute)
        self.compute.use(self._made[ComponentKind.BACKEND], self._recipes() if remote is not None else {})
        if not self._problems:
            self.dispatcher = self._fold()
        if self._problems:
            self.compute.shutdown()
            raise ConfigError(self._problems)

    @property
    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Where each transport listens."""
        return {name: tuple(transport.addresses) for name, transport in self._transports()}

    def component(self, kind: ComponentKind, name: str) -> Any:
        """A component that this server is made of, for tests and for hosts."""
        return self._made[kind][name]

    def preflight(self) -> None:
        """Ask every transport what would keep it from starting, before any port is opened.

        Raises:
            ConfigError: with everything that is in the way.
        """
        found = [
            Problem(path=_path(ComponentKind.TRANSPORT, name), message=message)
            for name, transport in self._transports()
            if isinstance(transport, SupportsPreflight)
            for message in transport.preflight()
        ]
        if found:
            raise ConfigError(found)

    async def start(self) -> None:
        """Start everything in order. When a part fails, what was started is stopped in reverse and the error raised."""
        try:
            for kind in START_ORDER:
                for name, component in self._made[kind].items():
                    await self._start(f"{kind.section}.{name}", component)
                if kind is ComponentKind.BACKEND and (seconds := self.plan.server.calibration_seconds):
                    await asyncio.to_thread(self.compute.calibrate, seconds)
            for name, transport in self._transports():
                self._started.append((f"transports.{name}", transport))
                await transport.start(self.dispatcher)
        except BaseException:
            await self.stop(grace=0.0)
            raise

    async def stop(self, grace: float | None = None) -> None:
        """Drain, then stop everything in reverse; safe to call twice.

        Args:
            grace: seconds that calls in flight may still run; `server.drain_seconds` unless given.
        """
        started, self._started = self._started, []
        if not started:
            return
        # In the order of the start: services say that they are going before transports stop accepting.
        for path, component in started:
            await self._lifecycle(path, component, "drain")
        await self.dispatcher.drain(self.plan.server.drain_seconds if grace is None else grace)
        for path, component in reversed(started):
            await self._lifecycle(path, component, "stop")
        await asyncio.get_running_loop().run_in_executor(None, self.compute.shutdown)

    # Construction.

    def _transports(self) -> Iterable[tuple[str, Transport]]:
        return tuple(self._made[ComponentKind.TRANSPORT].items())

    def _make(self, kind: ComponentKind, compute: ComputePool) -> None:
        for component in self.plan.of(kind):
            context = ComponentContext(
                name=component.name,
                server=self.plan.server,
                worker=self._worker,
                compute=compute,
                catalogue=self._catalogue,
                log=logging.getLogger(f"mfn.{kind.section}.{component.name}"),
            )
            try:
                self._made[kind][component.name] = component.spec.factory(component.config, context)
            except ConfigError as failed:
                self._problems.extend(failed.problems)
            except (ValueError, OSError) as failed:
                self._problems.append(Problem(path=component.path, message=str(failed)))
            except Exception as failed:  # noqa: BLE001 - a plugin's defect is reported beside the other problems
                self._problems.append(_defect(component, failed))

    def _recipes(self) -> dict[str, EngineRecipe]:
        """How remote workers make the engines of this server."""
        return {
            component.name: EngineRecipe.of(
                plugin=component.registered.plugin,
                component=component.spec.name,
                name=component.name,
                config=component.config,
                server=self.plan.server,
            )
            for component in self.plan.of(ComponentKind.BACKEND)
        }

    def _fold(self) -> Dispatcher:
        limiters = cast("list[Limiter]", list(self._made[ComponentKind.LIMITER].values()))
        anonymous = None
        if self.plan.anonymous:
            role = self.plan.server.anonymous_role
            anonymous = Principal(name="anonymous", roles=frozenset([role]), method="anonymous")
        stages: dict[str, list[Middleware]] = {
            "audit": [AuditMiddleware(list(self._made[ComponentKind.AUDIT_SINK].values()))],
            "telemetry": list(self._made[ComponentKind.TELEMETRY].values()),
            "auth": [AuthMiddleware(list(self._made[ComponentKind.AUTHENTICATOR].values()), anonymous=anonymous)],
            "limit": [LimitMiddleware(limiters)] if limiters else [],
        }
        if not self._made[ComponentKind.AUDIT_SINK]:
            stages["audit"] = []
        chain: list[Middleware] = []
        outer = 0
        for stage in self.plan.pipeline.order:
            chain += stages[stage] if stage in stages else [self._made[ComponentKind.MIDDLEWARE][stage]]
            if stage in ("audit", "telemetry"):
                outer = len(chain)

        async def charge(call: Call, cost: float) -> None:
            for limiter in limiters:
                await limiter.charge(call, cost)

        services: list[Service] = []
        for provider in self._made[ComponentKind.SERVICE].values():
            services.extend(provider.services)
        self._catalogue.services = tuple(services)
        made = [each for components in self._made.values() for each in components.values()]
        self._catalogue.pages = tuple(page for each in made if isinstance(each, SupportsPages) for page in each.pages)
        try:
            return Dispatcher(
                services,
                chain,
                outer=outer,
                charge=charge if limiters else None,
                cache=ResultCache(self.plan.cache.max_bytes),
                coalescer=Coalescer() if self.plan.cache.coalesce else None,
            )
        except ValueError as twice:
            self._problems.append(Problem(path="services", message=str(twice), remedy="keep one of them"))
            return Dispatcher(())

    # Lifecycle.

    async def _start(self, path: str, component: Any) -> None:
        self._started.append((path, component))
        start = getattr(component, "start", None)
        if start is not None:
            await start()

    async def _lifecycle(self, path: str, component: Any, phase: str) -> None:
        """Call `drain` or `stop` where there is one; one part's failure must not keep the others from stopping."""
        method = getattr(component, phase, None)
        if method is None:
            return
        try:
            await method()
        except Exception:  # noqa: BLE001 - any part may fail in any way, and the rest must still stop
            _log.exception("%s: %s failed", path, phase)


def _batching(settings: BatchingSettings) -> BatchRules:
    return BatchRules(
        max_size=settings.max_size,
        window=settings.window_ms / 1000.0,
        busy_window=settings.busy_window_ms / 1000.0,
        max_cell_steps=settings.max_cell_steps,
    )


def _warn_of_too_many_threads(threads: int) -> None:
    cores = available_cores()
    if threads > cores:
        _log.warning(
            "server.compute_threads = %d, and this process may use %d cores: jobs will take turns on them, each takes "
            "longer, and an abort is seen later; set it to %d, or to 0",
            *(threads, cores, cores),
        )


def _path(kind: ComponentKind, name: str) -> str:
    return f'{kind.section}."{name}"' if "/" in name else f"{kind.section}.{name}"


def _defect(component: PlannedComponent, failed: Exception) -> Problem:
    return Problem(
        path=component.path,
        message=f"the factory of {component.registered.distribution} failed: {type(failed).__name__}: {failed}",
        remedy="report it to the plugin's author",
    )
