"""A server of everything that is installed, and its keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfn_core.testing.process import ServerProcess
from mfn_e2e.audit import Trail
from mfn_e2e.calls import Caller
from mfn_e2e.installed import PLUGINS, TRANSPORTS, engines
from mfn_signing import Credentials, Key, append_key, generate_key

__all__ = ["AUDIT", "KEYS", "LIMITS", "SUPPORT", "Deployment", "tables", "tables_with_page"]

SUPPORT = Path(__file__).parents[1]
"""For `PYTHONPATH`: plugins of these tests are named by import path."""

KEYS: Mapping[str, tuple[str, str]] = {
    "ada": ("ada", "write"),
    "ada-reads": ("ada", "read"),
    "ben": ("ben", "write"),
}
"""Key id to principal and role."""

AUDIT = "audit.jsonl"

LIMITS: Mapping[str, int] = {
    "min_grid": 4,
    "max_grid": 512,
    "max_steps": 1_000_000,
    "max_cell_steps": 250_000_000_000,
}
"""Of the server that most tests share: room for runs of minutes, and each limit is one that a call can reach."""


def tables(
    *,
    transports: Iterable[str] = TRANSPORTS,
    plugins: Sequence[str] = (),
    server: Mapping[str, Any] | None = None,
    **sections: Mapping[str, Any],
) -> dict[str, Any]:
    """A configuration of every listener at a free port, signatures and audit; further plugins and sections.

    Where signatures or audit are not installed the server does without, for tests that are about neither.
    """
    used = tuple(transports)
    made: dict[str, Any] = {
        "server": {
            "plugins": [*engines(), "service_mfn", *(f"transport_{name}" for name in used)],
            "log_format": "text",
            "compute_threads": 2,
            **(server or {}),
        },
        "transports": {name: {"listen": "127.0.0.1:0"} for name in used},
    }
    named: list[str] = made["server"]["plugins"]
    if "auth_hmac" in PLUGINS:
        named.append("auth_hmac")
        made["auth"] = {"hmac": {"keys_file": "keys.toml"}}
    else:
        made["server"].setdefault("allow", ["anonymous"])
    if "audit_jsonl" in PLUGINS:
        named.append("audit_jsonl")
        made["audit"] = {"jsonl": {"path": AUDIT}}
    named.extend(plugins)
    return {**made, **sections}


def tables_with_page() -> dict[str, Any]:
    """A server on the one port that pages are served on, with the link that opens them."""
    configuration = tables(
        transports=["asgi"], plugins=["auth_loopback"], auth={"loopback": {"token_file": "token.json"}}
    )
    if "auth_hmac" in configuration["server"]["plugins"]:
        configuration["auth"]["hmac"] = {"keys_file": "keys.toml"}
    return configuration


class Deployment(ServerProcess):
    """A running server, those who may call it, and what it records."""

    def __init__(self, configuration: Mapping[str, Any], directory: Path) -> None:
        self.keys: dict[str, Key] = {}
        for key_id, (principal, role) in KEYS.items():
            self.keys[key_id] = generate_key(key_id=key_id, principal=principal, roles={role})
            append_key(directory / "keys.toml", self.keys[key_id])
        super().__init__(configuration, directory, env={"PYTHONPATH": str(SUPPORT)})
        self.trail = Trail(directory / AUDIT)

    def caller(self, key_id: str = "ada") -> Caller:
        """A new client of one key."""
        return Caller(credentials=Credentials.from_key(self.keys[key_id]))

    @property
    def worker(self) -> int:
        """Process id of the one worker."""
        (pid,) = self.worker_pids()
        return pid
