"""The listener's address: resolved once, tried before anything is started, and held for as long as the server lives."""

from __future__ import annotations

import os
import socket
import weakref
from typing import Self

from mfn_core.config import split_address

__all__ = ["HeldAddress", "bound", "name_of", "probe"]


TRIES = 16
"""Ports that are tried where any will do."""


def _resolve(listen: str) -> tuple[socket.AddressFamily, str, int]:
    host, port = split_address(listen)
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as unknown:
        raise OSError(f"cannot listen on {listen}: {host!r} is not known here: {unknown.strerror}") from unknown
    return family, str(found[0]), port


def bound(listen: str, *, share: bool) -> socket.socket:
    """A socket at the address, which listens to nothing yet; `share`: others may be bound to it as well.

    Raises:
        OSError: it cannot be bound; the message names it and says why.
    """
    family, host, port = _resolve(listen)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as failed:
        raise OSError(f"cannot listen on {listen}: {os.strerror(failed.errno or 0)}") from failed
    try:
        # As Envoy binds: connections of a server before this one, still closing, are no obstacle.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as failed:
        sock.close()
        raise OSError(f"cannot listen on {listen}: {os.strerror(failed.errno or 0).lower()}") from failed
    return sock


def name_of(sock: socket.socket) -> str:
    """`host:port` of a bound socket, numeric."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def probe(listen: str, *, datagrams: bool = False) -> None:
    """Bind the address and let it go again; `datagrams`: at the UDP port of the same number too.

    Raises:
        OSError: it cannot be bound; the message names it and says why.
    """
    # Never shared: otherwise two servers would silently take turns at the connections of one port.
    with bound(listen, share=False) as sock:
        if datagrams:
            _probe_datagrams(name_of(sock))


def _probe_datagrams(address: str) -> None:
    family, host, port = _resolve(address)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
        except OSError as failed:
            why = os.strerror(failed.errno or 0).lower()
            raise OSError(f"cannot listen on {address} for HTTP/3, which is the UDP port: {why}") from failed


def _with_free_datagrams(sock: socket.socket, listen: str, *, share: bool) -> socket.socket:
    """The socket, or, where any port will do, one whose number is free for datagrams as well."""
    for left in reversed(range(TRIES)):
        try:
            _probe_datagrams(name_of(sock))
        except OSError:
            sock.close()
            if left == 0 or split_address(listen)[1] != 0:
                raise
            sock = bound(listen, share=share)
        else:
            break
    return sock


class HeldAddress:
    """A bound address that nothing listens on.

    Port 0 becomes a real port once, so that a worker that is restarted, and each further worker, has the same. Nobody
    else can take the port meanwhile, and connections go to the workers, which do listen.
    """

    def __init__(self, listen: str, *, share: bool, datagrams: bool = False) -> None:
        """Bind `listen`; with `share` the workers may listen on it together.

        With `datagrams` the UDP port of the same number is free when this is made. It cannot be held: whoever is bound
        to it gets what is sent to it.

        Raises:
            OSError: it cannot be bound.
        """
        if share:
            probe(listen)
        sock = bound(listen, share=share)
        if datagrams:
            sock = _with_free_datagrams(sock, listen, share=share)
        name = sock.getsockname()
        self.host: str = name[0]
        """Numeric."""
        self.port: int = name[1]
        """Never 0."""
        # Let go with this object at the latest: its owner has no end of its own but the process's.
        self._release = weakref.finalize(self, os.close, sock.detach())

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def close(self) -> None:
        """Let the address go; safe to call twice."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
