"""Whether the address of a server is on this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote

__all__ = ["is_loopback"]


def is_loopback(target: str) -> bool:
    """Whether everything that the target names is this machine alone: a loopback address, `localhost`, or a socket.

    Other names count as remote, whatever they resolve to today.
    """
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    if colon and scheme in ("ipv4", "ipv6"):
        addresses = rest.lstrip("/").split(",")
        return all(_is_loopback_host(_host(address)) for address in addresses)
    if colon and scheme == "dns":
        # dns:name:port, or dns://server/name:port
        rest = rest.rpartition("/")[2]
        return _is_loopback_host(_host(rest))
    return _is_loopback_host(_host(target))


def _host(address: str) -> str:
    address = unquote(address)
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, colon, port = address.rpartition(":")
    # More than one colon and no brackets: an IPv6 address without a port.
    return host if colon and ":" not in host and port.isdigit() else address


def _is_loopback_host(host: str) -> bool:
    if host.lower() in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
