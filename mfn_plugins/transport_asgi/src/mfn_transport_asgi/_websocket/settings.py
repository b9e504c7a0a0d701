"""Bounds of WebSockets."""

from __future__ import annotations

from attrs import frozen

from mfn_core import setting
from mfn_core.config import between

__all__ = ["WebSocketSettings"]


@frozen(kw_only=True)
class WebSocketSettings:
    """The `[transports.asgi.websocket]` table.

    Raises:
        ValueError: a value is out of its bounds.
    """

    enabled: bool = setting(default=True, help="whether WebSockets are served, under /ws/")
    max_sockets: int = setting(
        default=2000, help="open sockets of a worker; further ones are closed at once", validator=between(1, 1_000_000)
    )
    max_sockets_per_principal: int = setting(
        default=500, help="open sockets of one principal in a worker", validator=between(1, 1_000_000)
    )
    max_subscriptions: int = setting(default=16, help="streams on one socket at a time", validator=between(1, 1000))
    max_message_bytes: int = setting(
        default=65_536, help="longest message of a client", unit="bytes", validator=between(1024, 1 << 30)
    )
    max_waiting_updates: int = setting(
        default=64, help="updates of one stream that wait for a slow reader", validator=between(1, 100_000)
    )
    max_waiting_bytes: int = setting(
        default=1 << 20,
        help="what these updates may have together; one may always wait",
        unit="bytes",
        validator=between(1024, 1 << 30),
    )
    patience_seconds: float = setting(
        default=0.25,
        help="time that a full stream waits for its reader before it drops an update",
        unit="seconds",
        validator=between(0.0, 60.0),
    )
    heartbeat_seconds: float = setting(
        default=30.0, help="a heartbeat is sent so often", unit="seconds", validator=between(0.05, 3600.0)
    )
    silence_seconds: float = setting(
        default=60.0,
        help="a client that is silent for so long, and answers no heartbeat, is dropped",
        unit="seconds",
        validator=between(0.1, 86_400.0),
    )
    opening_seconds: float = setting(
        default=10.0,
        help="time that a client has to say who it is",
        unit="seconds",
        validator=between(0.1, 3600.0),
    )
    trusted_seconds: float = setting(
        default=43_200.0,
        help="time for which one proof of who the client is allows it to begin streams",
        unit="seconds",
        validator=between(1.0, 604_800.0),
    )

    def __attrs_post_init__(self) -> None:
        """Check what no setting tells by itself."""
        if self.silence_seconds <= self.heartbeat_seconds:
            raise ValueError(
                f"silence_seconds = {self.silence_seconds:g} is not more than heartbeat_seconds = "
                f"{self.heartbeat_seconds:g}, so that a client is dropped before it can answer; raise it"
            )
