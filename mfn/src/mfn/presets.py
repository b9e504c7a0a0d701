"""Configurations of a server by name, for `mfn config init --preset`.

`dev`, `staging` and `prod` are the stages of a deployment: how it is reached, who may call, what is kept. `small`,
`medium` and `large` are the sizes of a machine: how much one call, one caller and all of them may take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfn_core.config import Preset

__all__ = ["dev", "large", "medium", "prod", "small", "staging"]

MAX_GRID = 256
"""Largest grid of the stages, in cells along each side."""

_COMPUTE = ("engine_numpy", "service_mfn", "transport_grpc")
_GUARDED = (*_COMPUTE, "auth_hmac", "ratelimit", "audit_jsonl")
_TLS: Mapping[str, Any] = {"certificate": "tls/server.pem", "key": "tls/server.key"}
_KEY = "mfn keys new --principal NAME --role write    # keys.toml, beside this file"
_CERTIFICATE = "put the certificate and its key into tls/server.pem and tls/server.key, beside this file"

dev = Preset(
    summary="For development: on this machine alone, without keys, and talkative.",
    tables={
        "server": {
            "plugins": [*_COMPUTE, "audit_jsonl"],
            "max_grid": MAX_GRID,
            "max_steps": 1000,
            "max_cell_steps": MAX_GRID**2 * 1000,
            "allow": ["anonymous"],
            "drain_seconds": 1.0,
            "log_level": "debug",
            "log_format": "text",
        },
        "transports": {"grpc": {"listen": "127.0.0.1:50051", "reflection": "public"}},
        "services": {"mfn": {"upload_seconds": 300.0, "session_seconds": 3600.0}},
        "audit": {"jsonl": {"path": "audit.jsonl", "fsync": "never"}},
    },
)

staging = Preset(
    summary="For a rehearsal: encrypted, signed, limited and audited as in production, with more to look at.",
    tables={
        "server": {
            "plugins": list(_GUARDED),
            "max_grid": MAX_GRID,
            "max_steps": 500,
            "max_cell_steps": MAX_GRID**2 * 500,
            "drain_seconds": 10.0,
            "log_level": "info",
            "log_format": "json",
        },
        "transports": {"grpc": {"listen": "0.0.0.0:50051", "reflection": "authenticated", "tls": _TLS}},
        "services": {"mfn": {"upload_seconds": 120.0, "session_seconds": 1800.0}},
        "limits": {
            "token_bucket": {
                "rate": 1000.0,
                "burst": 1000,
                "concurrent": 50,
                "cell_steps_per_second": 200_000_000.0,
                "cell_steps_burst": 400_000_000.0,
            }
        },
        "auth": {"hmac": {"keys_file": "keys.toml"}},
        "audit": {"jsonl": {"path": "audit.jsonl", "fsync": "interval", "keep_files": 30}},
    },
    needs=(_KEY, _CERTIFICATE),
)

prod = Preset(
    summary="For production: encrypted, signed, limited, and every record on the disk before its reply leaves.",
    tables={
        "server": {
            "plugins": list(_GUARDED),
            "max_grid": MAX_GRID,
            "max_steps": 500,
            "max_cell_steps": MAX_GRID**2 * 500,
            "compute_queue": 256,
            "drain_seconds": 10.0,
            "log_level": "info",
            "log_format": "json",
        },
        "transports": {
            "grpc": {
                "listen": "0.0.0.0:50051",
                "max_concurrent_streams": 100,
                "max_connection_age_seconds": 1800.0,
                "reflection": "off",
                "tls": _TLS,
            }
        },
        "services": {"mfn": {"upload_seconds": 60.0, "session_seconds": 900.0}},
        "limits": {
            "token_bucket": {
                "rate": 1000.0,
                "burst": 1000,
                "concurrent": 50,
                "cell_steps_per_second": 100_000_000.0,
                "cell_steps_burst": 200_000_000.0,
            }
        },
        "auth": {"hmac": {"keys_file": "keys.toml", "replay_capacity": 1_000_000}},
        "audit": {"jsonl": {"path": "audit.jsonl", "fsync": "always", "on_error": "refuse", "rotate_hours": 24.0}},
    },
    needs=(_KEY, _CERTIFICATE),
)


def _sized(
    summary: str, *, server: Mapping[str, Any], mfn: Mapping[str, Any], limits: Mapping[str, Any], **more: Any
) -> Preset:
    """A server on loopback, behind whatever encrypts on that machine."""
    return Preset(
        summary=summary,
        tables={
            "server": {"plugins": list(_GUARDED), **server},
            "transports": {"grpc": {"listen": "127.0.0.1:50051", **more.get("grpc", {})}},
            "services": {"mfn": mfn},
            "limits": {"token_bucket": limits},
            "auth": {"hmac": {"keys_file": "keys.toml", **more.get("hmac", {})}},
            "audit": {"jsonl": {"path": "audit.jsonl", "fsync": "interval"}},
            "cache": {"max_bytes": more["cache"]},
        },
        needs=(_KEY,),
    )


small = _sized(
    "For one core and 512 MiB, such as a container at the edge.",
    server={
        "max_grid": 128,
        "max_steps": 1000,
        "max_cell_steps": 128**2 * 1000,
        "compute_threads": 1,
        "compute_queue": 32,
    },
    grpc={"max_concurrent_streams": 100, "max_message_bytes": 4_194_304},
    mfn={"sessions": 8, "sessions_per_principal": 2, "session_cells": 131_072, "upload_bytes": 33_554_432},
    limits={"rate": 200.0, "burst": 200, "concurrent": 10},
    hmac={"replay_capacity": 100_000},
    cache=16_777_216,
)

medium = _sized(
    "For four cores and 4 GiB.",
    server={
        "max_grid": 512,
        "max_steps": 5000,
        "max_cell_steps": 512**2 * 1000,
        "compute_queue": 256,
    },
    mfn={"sessions": 64, "sessions_per_principal": 8, "session_cells": 4_194_304, "upload_bytes": 268_435_456},
    limits={"rate": 1000.0, "burst": 1000, "concurrent": 50},
    cache=67_108_864,
)

large = _sized(
    "For sixteen cores and 32 GiB.",
    server={
        "max_grid": 1024,
        "max_steps": 10_000,
        "max_cell_steps": 1024**2 * 2000,
        "compute_queue": 1024,
    },
    mfn={"sessions": 512, "sessions_per_principal": 32, "session_cells": 67_108_864, "upload_bytes": 2_147_483_648},
    limits={"rate": 10_000.0, "burst": 10_000, "concurrent": 500},
    cache=1_073_741_824,
)
