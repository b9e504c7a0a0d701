"""Which pages a browser shows may call, by the origin that it says they have.

A page of a name of the attacker's, which that name's server then lets lead to this machine, is of the same origin as
what listens here, so that its browser lets it read everything (DNS rebinding). Its host is no name of this machine.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mfn_core.assembly import is_loopback

if TYPE_CHECKING:
    from mfn_transport_asgi._asgi import Scope
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["DENIED", "PageOrigins"]

DENIED = "pages of this origin may not call this server"


class PageOrigins:
    """The rules of one listener."""

    def __init__(self, settings: AsgiSettings) -> None:
        """Allow what the settings name."""
        self._any = "*" in settings.cors_origins
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self._local = is_loopback(settings.listen)

    @property
    def local(self) -> bool:
        """Whether the listener can be reached from this machine alone."""
        return self._local

    def are_own(self, scope: Scope) -> bool:
        """Whether the page that asks, where it is one, is of this server or of an allowed origin."""
        origin, host = _said(scope)
        if origin is None or self._allows(origin):
            return True
        netloc, name = _parts(origin)
        if netloc != host.decode("latin-1").lower():
            return False
        return not self._local or _names_this_machine(name)

    def are_near(self, scope: Scope) -> bool:
        """Whether the page that asks, where it is one, is of this machine or of an allowed origin."""
        origin, _ = _said(scope)
        return origin is None or self._allows(origin) or _names_this_machine(_parts(origin)[1])

    def _allows(self, origin: bytes) -> bool:
        return self._any or origin in self._origins


def _said(scope: Scope) -> tuple[bytes | None, bytes]:
    origin, host = None, b""
    for name, value in scope["headers"]:
        if name == b"origin":
            origin = value
        elif name == b"host":
            host = value
    return origin, host


def _parts(origin: bytes) -> tuple[str, str]:
    """Host with its port, and without; empty where it is no address, as that of a page without an origin."""
    try:
        parts = urlsplit(origin.decode("latin-1"))
        return parts.netloc.lower(), parts.hostname or ""
    except ValueError:
        return "", ""


def _names_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
