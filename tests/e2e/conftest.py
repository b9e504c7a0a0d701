"""Real servers, shared by as many tests as can share them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from mfn_client.raw import RawClient
from mfn_e2e.deployment import LIMITS, Deployment, tables
from mfn_e2e.installed import PLUGINS, TRANSPORTS, engines

NEEDED = {
    "test_asgi_identity.py": {"auth_hmac", "audit_jsonl", "engine_numpy", "transport_asgi"},
    "test_asgi_servers.py": {"auth_hmac", "auth_loopback", "audit_jsonl", "engine_numpy", "transport_asgi"},
    "test_asgi_workers.py": {"audit_jsonl", "engine_numpy", "transport_asgi", "transport_grpc"},
    "test_audit_under_load.py": {"auth_hmac", "audit_jsonl"},
    "test_buf_curl.py": {"auth_hmac"},
    "test_cancellation.py": {"audit_jsonl"},
    "test_command_line.py": {"auth_hmac"},
    "test_configuration_errors.py": {"auth_hmac"},
    "test_deadlines_under_load.py": {"audit_jsonl"},
    "test_default_server.py": {"auth_hmac"},
    "test_docs_page.py": {"auth_loopback", "engine_numpy", "transport_asgi"},
    "test_environment.py": {"auth_hmac", "audit_jsonl", "ratelimit", "transport_grpc"},
    "test_exit_statuses.py": {"auth_hmac", "audit_jsonl"},
    "test_interop.py": {"auth_hmac"},
    "test_interop_browser.py": {"auth_hmac", "auth_loopback", "audit_jsonl", "engine_numpy", "transport_asgi"},
    "test_interop_web.py": {"auth_hmac", "transport_asgi"},
    "test_keys_under_load.py": {"auth_hmac", "audit_jsonl"},
    "test_live_page.py": {"auth_loopback", "engine_numpy", "transport_asgi"},
    "test_limits.py": {"auth_hmac", "audit_jsonl", "ratelimit"},
    "test_one_server.py": {"auth_hmac", "audit_jsonl"},
    "test_openapi.py": {"transport_asgi"},
    "test_rest.py": {"auth_hmac", "audit_jsonl", "ratelimit", "transport_asgi"},
    "test_security.py": {"auth_hmac", "audit_jsonl"},
    "test_signals.py": {"audit_jsonl"},
    "test_steering.py": {"auth_hmac", "engine_numpy"},
    "test_tls.py": {"auth_hmac", "audit_jsonl"},
    "test_web.py": {"auth_hmac", "audit_jsonl", "transport_asgi"},
    "test_websocket.py": {"auth_hmac", "auth_loopback", "audit_jsonl", "engine_numpy", "transport_asgi"},
    "test_websocket_load.py": {"engine_numpy", "transport_asgi"},
}
"""What a file's tests are about beside an engine, the service and a transport, which all of them need.

A checkout without it leaves them out; test_installed.py says what no checkout may lack.
"""

collect_ignore = sorted(
    path.name
    for path in Path(__file__).parent.glob("test_*.py")
    if path.name != "test_installed.py"
    and not (TRANSPORTS and engines() and {"service_mfn", *NEEDED.get(path.name, ())} <= PLUGINS)
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One server of every transport, with room for runs that would take minutes."""
    configuration = tables(
        server=LIMITS,
        services={"mfn": {"sessions": 1000, "sessions_per_principal": 1000}},
        cache={"max_bytes": 0},  # so that every transport computes what it replies
    )
    with Deployment(configuration, tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport that is installed."""
    name: str = request.param
    return name


@pytest.fixture
async def client(server: Deployment, transport: str) -> AsyncIterator[RawClient]:
    """A connection to the shared server on one transport."""
    async with RawClient(server.address(transport)) as opened:
        yield opened
