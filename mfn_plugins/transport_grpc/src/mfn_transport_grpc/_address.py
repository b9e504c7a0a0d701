"""Whether an address can be bound, asked of the kernel of the machine before a server binds it."""

from __future__ import annotations

import errno
import socket

from mfn_core.config import split_address

__all__ = ["address_problem", "with_port"]


def address_problem(listen: str, *, shared: bool) -> str | None:
    """What keeps `listen` from being bound, or None. Binds every address that the host stands for, and closes it.

    Args:
        listen: `host:port`; with port 0 only the host is asked.
        shared: whether other workers of this server bind the same port.
    """
    host, port = split_address(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as failed:
        return f"cannot listen on {listen}: the host {host!r} is not known here ({failed.strerror})"
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                # Without it, connections of an earlier server that linger in TIME_WAIT would be in the way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if shared:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as failed:
            if failed.errno == errno.EAFNOSUPPORT:
                continue  # a machine without IPv6: grpc listens on the other addresses of the host
            remedy = {
                errno.EADDRINUSE: "; stop what listens there, or choose another port",
                errno.EACCES: "; choose a port above 1023, or allow this process to bind it",
                errno.EADDRNOTAVAIL: "; choose an address of this machine",
            }.get(failed.errno or 0, "")
            return f"cannot listen on {listen}: {failed.strerror or failed}{remedy}"
    return None


def with_port(listen: str, port: int) -> str:
    """`listen` with the port that was bound."""
    return f"{listen.rpartition(':')[0]}:{port}"
