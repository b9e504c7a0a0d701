"""What a plugin declares: components, each with its name, its configuration and the factory that makes it."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import field, frozen

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_core.config import EnvironmentName, ServerSettings
    from mfn_core.execution import ComputePool
    from mfn_core.host import WorkerHost
    from mfn_core.operation import Catalogue

__all__ = ["ComponentContext", "ComponentKind", "ComponentSpec", "NoSettings"]


class ComponentKind(enum.Enum):
    """The kinds of component, each with the section of the configuration that its instances stand in."""

    AUDIT_SINK = "audit"
    TELEMETRY = "telemetry"
    AUTHENTICATOR = "auth"
    LIMITER = "limits"
    MIDDLEWARE = "middlewares"
    EXECUTOR = "executors"
    BACKEND = "engines"
    SERVICE = "services"
    TRANSPORT = "transports"

    @property
    def section(self) -> str:
        """Top-level table of the configuration file: `[transports.grpc]`."""
        return self.value


@frozen(kw_only=True)
class NoSettings:
    """Configuration of a component that has none."""


@frozen(kw_only=True)
class ComponentContext:
    """What a factory may use. Made by the kernel, one for each component."""

    name: str
    """The component's name in the configuration: `grpc`, `grpc/public`."""
    server: ServerSettings
    """The `[server]` table: limits of grids and steps, threads, drain time."""
    worker: int
    """Index of this worker process, from 0."""
    compute: ComputePool
    """Runs compute on the configured engine and executor; usable once the server has started."""
    catalogue: Catalogue
    """Every service of the server; complete once the server starts."""
    log: logging.Logger


@frozen(kw_only=True)
class ComponentSpec:
    """One component as its plugin declares it. Making it has no side effects: the factory's work is to construct.

    The factory is called at assembly with the decoded configuration and the context. It may raise
    `mfn_core.config.ConfigError`, or `ValueError` and `OSError` with a message for the operator, which are reported
    together with every other problem of the configuration. It opens no port and starts no thread: that is for
    `async start()` of what it returns, where there is such a method. `async stop()`, where there is one, is called
    exactly once for everything that was started or whose start failed, in reverse order.
    """

    name: str = field(validator=attrs.validators.matches_re(r"[a-z][a-z0-9_]{0,31}"))
    """Unique among the components of its kind; the name in the configuration."""
    config: type[Any] = NoSettings
    """An attrs class. Decoded strictly: an unknown key, a wrong type or a failing validator is reported."""
    factory: Callable[[Any, ComponentContext], Any]
    summary: str
    """One line for `mfn plugins`."""
    stability: Literal["experimental", "stable"] = "experimental"
    scope: Literal["process", "shared"] = "process"
    """`shared`: its state is the same seen from every worker process. `process`: each worker has its own."""
    host: Callable[[Mapping[str, Any]], WorkerHost] | None = None
    """For a transport that brings the worker process with it: `{name: config} -> WorkerHost`, all its listeners."""
    announce: Callable[[Any, Plan, Mapping[str, Sequence[str]]], Iterable[str]] | None = None
    """`(config, plan, {transport: addresses}) -> lines` for the person who starts the server, such as a link. Called in
    the supervisor once the server listens for the first time; the lines go to standard error."""
    environment: Sequence[EnvironmentName] = ()
    """Environment variables that set something of the component's table: `[transports.grpc]`, not `"grpc/public"`."""
    examples: Mapping[str, str] = field(factory=dict)
    """TOML fragments for the documentation, by title."""
