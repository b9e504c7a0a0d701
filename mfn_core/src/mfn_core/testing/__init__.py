"""Conformance suites that authors of plugins run, and a real server process for tests.

Each suite is a class of pytest tests in a module of its own: subclass it in a test file under a name that begins with
`Test`, and give the fixtures and attributes that its docstring names. They need the extra `mfn-core[testing]`, which is
pytest and pytest-asyncio, and no configuration of either.

| what was written | suite |
| --- | --- |
| any plugin | `mfn_core.testing.plugin.PluginSuite` |
| a compute backend | `mfn_core.testing.backend.BackendSuite` |
| a transport | `mfn_core.testing.transport.TransportSuite` |
| an authenticator | `mfn_core.testing.auth.AuthenticatorSuite` |
| a limiter | `mfn_core.testing.limits.LimiterSuite` |
| an audit sink | `mfn_core.testing.audit.AuditSinkSuite` |
| a remote executor | `mfn_core.testing.executor.RemoteExecutorSuite` |
| a middleware, or telemetry | `mfn_core.testing.middleware.MiddlewareSuite` |
| a service | `mfn_core.testing.service.ServiceSuite` |

`mfn_core.testing.process.ServerProcess` is a real server, and needs no extra.
"""

from __future__ import annotations

import sys

if (_pytest := sys.modules.get("pytest")) is not None:
    # Before they are imported, so that a failing assertion of theirs tells its values.
    _pytest.register_assert_rewrite(
        *(
            f"{__name__}.{module}"
            for module in (
                *("_backend_cases", "audit", "auth", "backend", "executor"),
                *("limits", "middleware", "plugin", "service"),
            )
        )
    )
