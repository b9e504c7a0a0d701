"""gRPC transport for MFN on grpc.aio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfn_transport_grpc._settings import GrpcSettings, KeepaliveSettings, TlsSettings

if TYPE_CHECKING:
    from mfn_transport_grpc._transport import GrpcTransport

__all__ = ["GrpcSettings", "GrpcTransport", "KeepaliveSettings", "TlsSettings"]


def __getattr__(name: str) -> Any:
    # grpc takes long to import: only a server that uses the transport pays for it.
    if name == "GrpcTransport":
        from mfn_transport_grpc._transport import GrpcTransport

        return GrpcTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
