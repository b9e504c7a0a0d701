"""The MFN kernel: contracts, configuration, assembly, call path, command line and conformance suites.

The names below are what a plugin imports. Each is loaded from its module when it is first used, so that importing
the kernel costs nothing that is not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfn_core.audit import AuditRecord, AuditSink
    from mfn_core.auth import Authenticator, unauthenticated
    from mfn_core.call import Allowance, Call, Metadata, Peer, Principal, Request
    from mfn_core.components import ComponentContext, ComponentKind, ComponentSpec, NoSettings
    from mfn_core.compute import (
        Backend,
        CancelToken,
        RemoteExecutor,
        Run,
        Session,
        SupportsBatch,
        SupportsCheckpoint,
        SupportsRestore,
        SupportsSpeed,
        SupportsSteering,
        require_supported,
    )
    from mfn_core.config import ConfigError, Problem, Secret, setting
    from mfn_core.dispatcher import Dispatcher, Outcome
    from mfn_core.errors import Code, FieldViolation, MfnError
    from mfn_core.hookspecs import hookimpl
    from mfn_core.limits import Lease, Limiter
    from mfn_core.middleware import Middleware, Next
    from mfn_core.operation import Operation, Service, ServiceProvider, Shape
    from mfn_core.pages import Page, SupportsPages
    from mfn_core.transport import Transport

__all__ = [
    "Allowance",
    "AuditRecord",
    "AuditSink",
    "Authenticator",
    "Backend",
    "Call",
    "CancelToken",
    "Code",
    "ComponentContext",
    "ComponentKind",
    "ComponentSpec",
    "ConfigError",
    "Dispatcher",
    "FieldViolation",
    "Lease",
    "Limiter",
    "Metadata",
    "MfnError",
    "Middleware",
    "Next",
    "NoSettings",
    "Operation",
    "Outcome",
    "Page",
    "Peer",
    "Principal",
    "Problem",
    "RemoteExecutor",
    "Request",
    "Run",
    "Secret",
    "Service",
    "ServiceProvider",
    "Session",
    "Shape",
    "SupportsBatch",
    "SupportsCheckpoint",
    "SupportsPages",
    "SupportsRestore",
    "SupportsSpeed",
    "SupportsSteering",
    "Transport",
    "hookimpl",
    "require_supported",
    "setting",
    "unauthenticated",
]

_MODULES: dict[str, tuple[str, ...]] = {
    "audit": ("AuditRecord", "AuditSink"),
    "auth": ("Authenticator", "unauthenticated"),
    "call": ("Allowance", "Call", "Metadata", "Peer", "Principal", "Request"),
    "components": ("ComponentContext", "ComponentKind", "ComponentSpec", "NoSettings"),
    "compute": (
        "Backend",
        "CancelToken",
        "RemoteExecutor",
        "Run",
        "Session",
        "SupportsBatch",
        "SupportsCheckpoint",
        "SupportsRestore",
        "SupportsSpeed",
        "SupportsSteering",
        "require_supported",
    ),
    "config": ("ConfigError", "Problem", "Secret", "setting"),
    "dispatcher": ("Dispatcher", "Outcome"),
    "errors": ("Code", "FieldViolation", "MfnError"),
    "hookspecs": ("hookimpl",),
    "limits": ("Lease", "Limiter"),
    "middleware": ("Middleware", "Next"),
    "operation": ("Operation", "Service", "ServiceProvider", "Shape"),
    "pages": ("Page", "SupportsPages"),
    "transport": ("Transport",),
}

_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
