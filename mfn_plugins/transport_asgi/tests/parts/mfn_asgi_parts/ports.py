"""Ports of servers that end."""

from __future__ import annotations

import socket
import time

__all__ = ["until_refused"]


def until_refused(address: str) -> None:
    """Wait until the address takes no connection any more."""
    host, port = address.rsplit(":", 1)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionError:
            return
        time.sleep(0.005)  # nothing tells that a port has closed but trying it
    raise AssertionError("the port is still open")
