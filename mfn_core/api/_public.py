"""What of the kernel is the plugin API: modules, their names, and who makes the values of a class.

A name that is in `__all__` of a module and not here is the kernel's own.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["GIVEN", "MODULES", "PARTS"]

MODULES: Mapping[str, tuple[str, ...]] = {
    # What a plugin is made of.
    "mfn_core": (),
    "mfn_core.hookspecs": ("ENTRY_POINT_GROUP", "hookimpl"),
    "mfn_core.components": (),
    "mfn_core.config": (
        *("ConfigError", "Document", "EnvironmentName", "Problem", "SchemaValidator", "Secret", "ServerSettings"),
        *("at_least", "between", "each", "join_path", "listen_address", "matches", "non_empty", "one_of", "positive"),
        *("override", "read_document", "setting", "split_address", "suggest"),
    ),
    "mfn_core.config.environment": (
        *("boolean", "file_path", "megabytes", "milliseconds", "number", "port", "text", "whole_number"),
    ),
    "mfn_core.assembly": (),
    # What takes part in a call.
    "mfn_core.call": (),
    "mfn_core.errors": (),
    "mfn_core.middleware": (),
    "mfn_core.audit": ("AuditRecord", "AuditSink", "SupportsOffer"),
    "mfn_core.auth": (
        "ANONYMOUS",
        "AUTHENTICATION_FAILED",
        "ROLES",
        "Authenticator",
        "SupportsWithdrawal",
        "unauthenticated",
    ),
    "mfn_core.limits": ("Lease", "Limiter"),
    "mfn_core.operation": (),
    "mfn_core.pages": (),
    "mfn_core.dispatcher": (),
    "mfn_core.transport": (),
    # What computes.
    "mfn_core.compute": (),
    "mfn_core.execution": ("ComputePool", "RunningSession", "available_cores"),
    # What a transport needs that brings the worker process with it, or that a process of somebody else's carries.
    "mfn_core.host": ("Launched", "WorkerCommand", "WorkerHost"),
    "mfn_core.host.control": ("WorkerEnd",),
    "mfn_core.host.worker": (),
    "mfn_core.server": (),
    # The suites, and a real server for tests.
    "mfn_core.testing.audit": (),
    "mfn_core.testing.auth": (),
    "mfn_core.testing.backend": (),
    "mfn_core.testing.executor": (),
    "mfn_core.testing.limits": (),
    "mfn_core.testing.middleware": (),
    "mfn_core.testing.plugin": (),
    "mfn_core.testing.process": (),
    "mfn_core.testing.service": (),
    "mfn_core.testing.transport": (),
    "mfn_core.testing.wire": (),
}
"""Public modules, and the public names of each; none named: all that are in its `__all__`."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "mfn_core.assembly.Plan": ("anonymous", "components", "of", "server"),
    "mfn_core.assembly.PlannedComponent": ("config", "kind", "name", "path", "spec"),
    "mfn_core.config.Document": ("base_dir", "origins", "source", "tables"),
    "mfn_core.config.ServerSettings": (
        *("allow", "anonymous_role", "compute_queue", "compute_threads", "drain_seconds", "engine", "log_format"),
        *("log_level", "max_cell_steps", "max_grid", "max_steps", "min_grid", "plugins", "workers"),
    ),
    "mfn_core.dispatcher.Dispatcher": ("active", "dispatch", "draining", "new_call_id", "operations", "unknown"),
    "mfn_core.execution.ComputePool": (
        *("backend_for", "expected_wait", "final_state", "run", "seconds", "session", "whole_run"),
    ),
    "mfn_core.execution.RunningSession": ("session", "step"),
    "mfn_core.host.control.WorkerEnd": ("inherited",),
    "mfn_core.host.worker.Worker": ("()", "finished", "ready", "server", "start"),
    "mfn_core.server.Server": ("()", "addresses", "component", "preflight", "start", "stop"),
    "mfn_core.testing.plugin.PluginSuite": ("plugin", "settings"),
    "mfn_core.testing.transport.TransportSuite": ("client", "name", "plugins", "tables"),
}
"""Classes of which plugins use a part; the rest of each is the kernel's. `()` is the making of one."""

GIVEN = frozenset(
    {
        "mfn_core.assembly.Plan",
        "mfn_core.assembly.PlannedComponent",
        "mfn_core.call.Cancellation",
        "mfn_core.components.ComponentContext",
        "mfn_core.compute.CancelToken",
        "mfn_core.compute.Run",
        "mfn_core.config.ServerSettings",
        "mfn_core.dispatcher.Dispatcher",
        "mfn_core.dispatcher.Outcome",
        "mfn_core.execution.ComputePool",
        "mfn_core.execution.RunningSession",
        "mfn_core.host.Launched",
        "mfn_core.host.control.WorkerEnd",
        "mfn_core.operation.Catalogue",
        "mfn_core.audit.AuditRecord",
    }
)
"""Classes whose values plugins are given and do not make: more in one of them breaks nobody, and how it is made is not
public."""
