"""Environment variables that set something of `[transports.grpc]`."""

from __future__ import annotations

from typing import Any

from mfn_core.config import EnvironmentName
from mfn_core.config.environment import boolean, file_path, megabytes, milliseconds, port, whole_number

__all__ = ["ENVIRONMENT"]


def _tls(given: str, present: Any) -> Any:
    """Turned on without a certificate it stays on, and the configuration is refused for what is missing."""
    if boolean(given):
        return present if isinstance(present, dict) else {}
    return None


ENVIRONMENT = (
    EnvironmentName(name="GRPC_PORT", setting=("listen",), convert=port("127.0.0.1:50051")),
    EnvironmentName(name="MFN_GRPC_PORT", setting=("listen",), convert=port("127.0.0.1:50051")),
    EnvironmentName(name="GRPC_MAX_MESSAGE_SIZE", setting=("max_message_bytes",), convert=megabytes),
    EnvironmentName(name="GRPC_MAX_CONCURRENT_STREAMS", setting=("max_concurrent_streams",), convert=whole_number),
    EnvironmentName(name="GRPC_KEEPALIVE_TIME_MS", setting=("keepalive", "interval_seconds"), convert=milliseconds),
    EnvironmentName(name="GRPC_KEEPALIVE_TIMEOUT_MS", setting=("keepalive", "timeout_seconds"), convert=milliseconds),
    EnvironmentName(name="GRPC_TLS_CERT_PATH", setting=("tls", "certificate"), convert=file_path),
    EnvironmentName(name="GRPC_TLS_KEY_PATH", setting=("tls", "key"), convert=file_path),
    EnvironmentName(name="GRPC_TLS_ENABLED", setting=("tls",), convert=_tls),
)
"""In the order in which they are applied: whether TLS is on is decided after its files are known."""
