"""From a configuration document to a plan: every section decoded, every rule checked, nothing made yet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen

from mfn_core.components import ComponentKind, ComponentSpec
from mfn_core.config import (
    SERVER_ENVIRONMENT,
    CacheSettings,
    ConfigError,
    Document,
    EnvironmentName,
    PipelineSettings,
    Problem,
    ServerSettings,
    apply_environment,
    decode,
    suggest,
)
from mfn_core.registry import PluginRegistry, Registered

__all__ = ["Plan", "PlannedComponent", "is_loopback", "plan"]

T = TypeVar("T")

STAGES = ("audit", "telemetry", "auth", "limit")
"""The stages that the kernel itself puts into the chain; middlewares stand there under their own names."""


@frozen(kw_only=True)
class PlannedComponent:
    """One component that a server will be made of."""

    kind: ComponentKind
    name: str
    """`grpc`, or `grpc/public` for a further one."""
    config: Any
    registered: Registered

    @property
    def spec(self) -> ComponentSpec:
        """Its declaration."""
        return self.registered.spec

    @property
    def path(self) -> str:
        """Where it stands in the configuration."""
        return _table_path(self.kind.section, self.name)


@frozen(kw_only=True)
class Plan:
    """A whole server, checked and not yet made."""

    document: Document
    server: ServerSettings
    pipeline: PipelineSettings
    cache: CacheSettings
    components: tuple[PlannedComponent, ...]
    registry: PluginRegistry

    def of(self, kind: ComponentKind) -> tuple[PlannedComponent, ...]:
        """The components of one kind, in the order of the configuration."""
        return tuple(component for component in self.components if component.kind is kind)

    @property
    def anonymous(self) -> bool:
        """Whether a call without credentials is served."""
        return "anonymous" in self.server.allow


def plan(document: Document) -> Plan:
    """Decode and check a whole configuration.

    Raises:
        ConfigError: with every problem found. What cannot be judged while something else is wrong, such as the
            section of a plugin that does not load, or the rules between sections, is left for the next time.
    """
    problems: list[Problem] = []
    sections = {kind.section: kind for kind in ComponentKind}
    known = {"server", "pipeline", "cache", *sections}
    for name in document.tables:
        if name not in known:
            problems.append(
                Problem(
                    path=name,
                    message=f"unknown section [{name}]",
                    remedy=suggest(name, known),
                )
            )
    document = apply_environment(document, ((("server",), name) for name in SERVER_ENVIRONMENT), problems)
    server = _decode(ServerSettings, document, "server", problems)
    pipeline = _decode(PipelineSettings, document, "pipeline", problems)
    cache = _decode(CacheSettings, document, "cache", problems)
    unloaded: list[Problem] = []
    registry = PluginRegistry(_named_plugins(document, server), problems=unloaded)
    problems += unloaded
    problems += registry.register_models()
    document = apply_environment(document, _environment(document, registry), problems)
    components: list[PlannedComponent] = []
    for section, kind in sections.items():
        components.extend(_components(document, section, kind, registry, problems, complete=not unloaded))
    if server is None or pipeline is None or cache is None:
        raise ConfigError(problems)
    planned = Plan(
        document=document,
        server=server,
        pipeline=pipeline,
        cache=cache,
        components=tuple(components),
        registry=registry,
    )
    # With a section that did not decode, the rules below would report its absence a second time.
    if not problems:
        problems.extend(_rules(planned))
        problems.extend(registry.check(planned))
    if problems:
        raise ConfigError(problems)
    return planned


def _environment(document: Document, registry: PluginRegistry) -> Iterable[tuple[tuple[str, ...], EnvironmentName]]:
    """The variables of every component, except where a section names further instances and not the component itself."""
    for kind in ComponentKind:
        tables = document.tables.get(kind.section, {})
        for name, registered in registry.components(kind).items():
            named_otherwise = isinstance(tables, Mapping) and any(
                each.partition("/")[0] == name for each in tables if each != name
            )
            if isinstance(tables, Mapping) and (name in tables or not named_otherwise):
                for variable in registered.spec.environment:
                    yield (kind.section, name), variable


def _decode(cls: type[T], document: Document, name: str, problems: list[Problem]) -> T | None:
    try:
        return decode(cls, document.tables.get(name, {}), name, document.base_dir)
    except ConfigError as failed:
        problems.extend(failed.problems)
        return None


def _named_plugins(document: Document, server: ServerSettings | None) -> Sequence[str]:
    """The plugins of the configuration, also where another key of `[server]` is wrong."""
    if server is not None:
        return server.plugins
    table = document.tables.get("server")
    names = table.get("plugins") if isinstance(table, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []


def _components(
    document: Document,
    section: str,
    kind: ComponentKind,
    registry: PluginRegistry,
    problems: list[Problem],
    *,
    complete: bool,
) -> Iterable[PlannedComponent]:
    """Every instance of one kind: one for each table, and one with its defaults for a component without any."""
    tables = document.tables.get(section, {})
    if not isinstance(tables, Mapping):
        problems.append(Problem(path=section, message="must be a table of tables", remedy=f"write [{section}.NAME]"))
        return
    registered = registry.components(kind)
    instances: dict[str, Any] = {}
    for name, table in tables.items():
        base = name.partition("/")[0]
        if base not in registered:
            if not complete:
                continue  # it may be of a plugin that did not load
            problems.append(
                Problem(
                    path=_table_path(section, name),
                    message=f"no plugin of this server provides {base!r} among its {section}",
                    remedy=suggest(base, registered) or "name its plugin in server.plugins",
                )
            )
            continue
        instances[name] = table
    configured = {name.partition("/")[0] for name in instances}
    for name in registered:
        if name not in configured:
            instances[name] = {}
    for name, table in instances.items():
        entry = registered[name.partition("/")[0]]
        path = _table_path(section, name)
        try:
            config = decode(entry.spec.config, table, path, document.base_dir)
        except ConfigError as failed:
            problems.extend(failed.problems)
            continue
        yield PlannedComponent(kind=kind, name=name, config=config, registered=entry)


def _table_path(section: str, name: str) -> str:
    return f'{section}."{name}"' if "/" in name else f"{section}.{name}"


def _rules(planned: Plan) -> Iterable[Problem]:
    """What must hold between the sections."""
    yield from _needed(planned)
    yield from _order(planned)
    yield from _listeners(planned)
    yield from _exposure(planned)
    yield from _processes(planned)


def _needed(planned: Plan) -> Iterable[Problem]:
    server = planned.server
    for kind, what in ((ComponentKind.TRANSPORT, "transport"), (ComponentKind.SERVICE, "service")):
        if not planned.of(kind):
            yield Problem(
                path="server.plugins",
                message=f"no plugin provides a {what}",
                remedy=f"add one, such as {what}_… in the output of `mfn plugins`",
            )
    engines = [component.name for component in planned.of(ComponentKind.BACKEND)]
    if server.engine != "auto" and server.engine not in engines:
        yield Problem(
            path="server.engine",
            message=f"no plugin of this server provides the engine {server.engine!r}",
            remedy=suggest(server.engine, engines) or "name its plugin in server.plugins",
        )
    if server.min_grid > server.max_grid:
        yield Problem(
            path="server.min_grid",
            message=f"{server.min_grid} is more than server.max_grid = {server.max_grid}",
            remedy="lower min_grid or raise max_grid",
        )
    authenticated = bool(planned.of(ComponentKind.AUTHENTICATOR)) or planned.anonymous
    if not authenticated:
        needs = "the operations of this server need a principal"
        if planned.of(ComponentKind.LIMITER):
            needs += ", and so do its limits"
        yield Problem(
            path="auth",
            message=f"no authenticator: {needs}",
            remedy='add an authentication plugin such as auth_hmac, or allow = ["anonymous"] on loopback',
        )
    executors = planned.of(ComponentKind.EXECUTOR)
    if len(executors) > 1:
        yield Problem(
            path="executors",
            message=f"{len(executors)} executors: {', '.join(e.name for e in executors)}",
            remedy="keep one",
        )


def _order(planned: Plan) -> Iterable[Problem]:
    order = planned.pipeline.order
    path = "pipeline.order"
    extra = [component.name for component in planned.of(ComponentKind.MIDDLEWARE)]
    known = (*STAGES, *extra)
    for stage in order:
        if stage not in known:
            yield Problem(
                path=path,
                message=f"unknown stage {stage!r}",
                remedy=suggest(stage, known) or f"known: {known}",
            )
    for stage in sorted(set(order)):
        if order.count(stage) > 1:
            yield Problem(path=path, message=f"stage {stage!r} stands in it twice", remedy="keep one")
    for stage in known:
        if stage not in order:
            yield Problem(
                path=path,
                message=f"stage {stage!r} is missing",
                remedy=f"the default is {list(STAGES)}; middlewares are added by name",
            )
    positions = {stage: order.index(stage) for stage in order}
    if positions.get("audit", 0) != 0:
        yield Problem(
            path=path,
            message="audit must stand first: what comes before it would leave no record",
            remedy="move 'audit' to the front",
        )
    if "auth" in positions and positions["auth"] > positions.get("limit", len(order)):
        yield Problem(
            path=path,
            message="limit stands before auth, and limits are by principal",
            remedy="move 'auth' before 'limit'",
        )
    for stage in ("auth", "limit"):
        if positions.get("telemetry", 0) > positions.get(stage, len(order)):
            yield Problem(
                path=path,
                message=f"telemetry stands after {stage} and would not see what it refuses",
                remedy=f"move 'telemetry' before {stage!r}",
            )


def _listeners(planned: Plan) -> Iterable[Problem]:
    """Each transport has an address of its own: that of another one is free until both are started."""
    first: dict[str, PlannedComponent] = {}
    for transport in planned.of(ComponentKind.TRANSPORT):
        listen = getattr(transport.config, "listen", None)
        if not isinstance(listen, str) or listen.rpartition(":")[2] == "0":
            continue
        other = first.setdefault(listen, transport)
        if other is not transport:
            yield Problem(
                path=f"{transport.path}.listen",
                message=f"{listen} is the address of {other.path} too",
                remedy="give each transport a port of its own",
            )


def _exposure(planned: Plan) -> Iterable[Problem]:
    """Wider than loopback only with TLS and authentication, unless the configuration says otherwise by name."""
    allow = planned.server.allow
    for transport in planned.of(ComponentKind.TRANSPORT):
        listen = getattr(transport.config, "listen", None)
        if not isinstance(listen, str) or is_loopback(listen):
            continue
        where = f"{transport.path}.listen"
        if not getattr(transport.config, "encrypted", False) and "plaintext-beyond-loopback" not in allow:
            yield Problem(
                path=where,
                message=f"{listen} is reachable from other machines, without TLS",
                remedy=f"configure [{transport.path}.tls], listen on 127.0.0.1, or server.allow = "
                '["plaintext-beyond-loopback"] behind a proxy that encrypts',
            )
        if planned.anonymous and "anonymous-beyond-loopback" not in allow:
            yield Problem(
                path=where,
                message=f"{listen} is reachable from other machines, and server.allow has 'anonymous'",
                remedy="require authentication, or listen on 127.0.0.1",
            )


def _processes(planned: Plan) -> Iterable[Problem]:
    if planned.server.workers > 1:
        for kind in (ComponentKind.AUTHENTICATOR, ComponentKind.LIMITER, ComponentKind.AUDIT_SINK):
            for component in planned.of(kind):
                if component.spec.scope == "process":
                    yield Problem(
                        path="server.workers",
                        message=f"{planned.server.workers} workers, but {component.path} keeps its state in one",
                        remedy="set workers = 1, or use one whose scope is shared",
                    )
    hosted = [t for t in planned.of(ComponentKind.TRANSPORT) if t.spec.host is not None]
    if len({transport.spec.name for transport in hosted}) > 1:
        yield Problem(
            path="transports",
            message=f"{', '.join(t.path for t in hosted)} each bring a worker process of their own",
            remedy="keep one kind of them in a server",
        )


def is_loopback(listen: str) -> bool:
    """Whether `host:port` can be reached from this machine alone."""
    host = listen.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
