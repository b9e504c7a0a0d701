"""The hooks that a plugin may implement: all of them synchronous, all called at assembly and never for a call.

A plugin is a module (or an object) named by an entry point of the group `mfn.plugins.v1`. It marks its
implementations with `hookimpl`::

    from mfn_core import ComponentSpec, hookimpl

    @hookimpl
    def mfn_backends():
        return [ComponentSpec(name="mine", factory=lambda config, context: Mine(), summary="my engine")]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy

from mfn_core.components import ComponentSpec

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_core.config import Problem
    from mfn_model import FieldModel, OwnStep

__all__ = ["ENTRY_POINT_GROUP", "PROJECT", "hookimpl", "hookspec"]

PROJECT = "mfn"
ENTRY_POINT_GROUP = "mfn.plugins.v1"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mfn_backends() -> Sequence[ComponentSpec]:
    """Compute backends; a factory makes a `mfn_core.compute.Backend`. Section `[engines.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_transports() -> Sequence[ComponentSpec]:
    """Transports; a factory makes a `mfn_core.transport.Transport`. Section `[transports.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_authenticators() -> Sequence[ComponentSpec]:
    """Authenticators; a factory makes a `mfn_core.auth.Authenticator`. Section `[auth.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_limiters() -> Sequence[ComponentSpec]:
    """Limiters; a factory makes a `mfn_core.limits.Limiter`. Section `[limits.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_audit_sinks() -> Sequence[ComponentSpec]:
    """Audit sinks; a factory makes a `mfn_core.audit.AuditSink`. Section `[audit.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_services() -> Sequence[ComponentSpec]:
    """Services; a factory makes a `mfn_core.operation.ServiceProvider`. Section `[services.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_middlewares() -> Sequence[ComponentSpec]:
    """Further steps of the chain; a factory makes a `mfn_core.middleware.Middleware`.

    Section `[middlewares.NAME]`; its place in the chain is its name in `[pipeline] order`.
    """
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_executors() -> Sequence[ComponentSpec]:
    """Executors; a factory makes a `concurrent.futures.Executor` of threads, or a `mfn_core.compute.RemoteExecutor`.

    Section `[executors.NAME]`.
    """
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_telemetry() -> Sequence[ComponentSpec]:
    """Telemetry; a factory makes a `mfn_core.middleware.Middleware` that observes. Section `[telemetry.NAME]`."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_models() -> Sequence[FieldModel]:
    """Field models; no section. An engine that computes every declared model computes these too."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_steps() -> Sequence[OwnStep]:
    """Steps that are written by hand for a model and an engine; no section. The declaration stays the truth."""
    raise NotImplementedError  # a specification has no body


@hookspec
def mfn_check(plan: Plan) -> Iterable[Problem]:
    """What a plugin finds wrong with a whole configuration, before anything is made.

    Called by `mfn check` and at the start of every server, once all sections have been decoded. Opens nothing and
    changes nothing.
    """
    raise NotImplementedError  # a specification has no body
