"""Who is at the other end of a connection, as the listener tells it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mfn_core.call import Peer
from mfn_transport_asgi._asgi import Scope

__all__ = ["peer_of"]


_ENCRYPTED = ("https", "wss")


def peer_of(scope: Scope, identifies: bool) -> Peer:
    """Who sent a request, or opened a socket; `identifies`: whether the listener verifies client certificates.

    Only the listener is asked: no header of a request says anything about who sent it.
    """
    client = scope["client"]
    if client is None:
        return Peer(address="unknown")
    host, port = client
    encrypted = scope.get("scheme") in _ENCRYPTED
    identity: str | None = None
    if identifies:
        tls: Mapping[str, Any] = scope["extensions"].get("tls") or {}
        if tls.get("client_cert_error") is None:
            identity = tls.get("client_cert_name") or None  # the empty name is that of nobody
    return _peer(host, port, encrypted, identity)


@lru_cache(maxsize=4096)
def _peer(host: str, port: int, encrypted: bool, identity: str | None) -> Peer:
    # A connection carries many calls.
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Peer(address=address, encrypted=encrypted, tls_identity=identity)
