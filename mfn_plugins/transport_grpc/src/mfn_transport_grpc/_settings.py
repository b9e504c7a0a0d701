"""The `[transports.grpc]` table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from mfn_core.config import at_least, between, listen_address, setting
from mfn_grpc import REFLECTION_HELP, ReflectionMode

__all__ = ["GrpcSettings", "KeepaliveSettings", "TlsSettings"]

MIB = 1024 * 1024


@frozen(kw_only=True)
class TlsSettings:
    """`[transports.grpc.tls]`: TLS 1.3, and 1.2 where that is asked for, with gRPC's suites (ECDHE with AEAD only)."""

    certificate: Path = setting(help="PEM file with the server's certificate, then its intermediates")
    key: Path = setting(help="PEM file with the certificate's private key, without a passphrase")
    client_ca: Path | None = setting(
        default=None,
        help="PEM file with the authorities that sign client certificates; with it every client must show one",
    )
    minimum_version: Literal["1.2", "1.3"] = setting(
        default="1.3", help="oldest version that is spoken; one for all gRPC listeners of a server"
    )


@frozen(kw_only=True)
class KeepaliveSettings:
    """`[transports.grpc.keepalive]`: how dead connections are found, and how often clients may probe.

    Raises:
        ValueError: a value is out of its bounds.
    """

    interval_seconds: float = setting(
        default=60.0,
        help="ping a connection that has been silent for so long",
        unit="seconds",
        validator=between(1.0, 86_400.0),
    )
    timeout_seconds: float = setting(
        default=20.0,
        help="close a connection that leaves a ping unanswered for so long",
        unit="seconds",
        validator=between(0.1, 3_600.0),
    )
    client_minimum_seconds: float = setting(
        default=10.0,
        help="clients that ping more often than this are disconnected",
        unit="seconds",
        validator=between(0.1, 86_400.0),
    )


@frozen(kw_only=True)
class GrpcSettings:
    """Configuration of one gRPC listener.

    Raises:
        ValueError: a value is out of its bounds.
    """

    listen: str = setting(
        default="127.0.0.1:50051", help="host:port; port 0 asks for a free one", validator=listen_address
    )
    max_message_bytes: int = setting(
        default=16 * MIB,
        help="longest request message; a longer one is answered with RESOURCE_EXHAUSTED",
        unit="bytes",
        validator=between(1024, 1024 * MIB),
    )
    max_concurrent_streams: int = setting(
        default=1000,
        help="calls in flight on one connection; further ones wait at the client",
        unit="calls",
        validator=between(1, 1_000_000),
    )
    request_seconds: float = setting(
        default=30.0,
        help="time that the one request message of a call may take to arrive",
        unit="seconds",
        validator=between(0.1, 3_600.0),
    )
    max_connection_age_seconds: float = setting(
        default=0.0,
        help="ask clients to reconnect after so long, so that a balancer spreads them anew; 0: never",
        unit="seconds",
        validator=at_least(0.0),
    )
    keepalive: KeepaliveSettings = setting(factory=KeepaliveSettings, help="how dead connections are found")
    reflection: ReflectionMode = setting(default="auto", help=REFLECTION_HELP)
    tls: TlsSettings | None = setting(default=None, help="encryption; without it the listener is plain text")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is configured."""
        return self.tls is not None
