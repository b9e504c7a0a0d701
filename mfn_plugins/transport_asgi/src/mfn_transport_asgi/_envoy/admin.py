"""Envoy's administration interface, on a Unix socket in the worker's private directory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

__all__ = ["Admin"]

MAX_REPLY = 1 << 20
TIMEOUT = 5.0

_REST_OF_HEAD = "HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Admin:
    """Asks one Envoy. Every request has a connection of its own and a time limit.

    Every method raises OSError when Envoy does not answer: it is not there yet, or no more.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def listening(self) -> list[str]:
        """Addresses that accept connections, each once; empty while Envoy is starting."""
        if (await self._request("GET", "/ready")).strip() != b"LIVE":
            return []
        found = json.loads(await self._request("GET", "/listeners?format=json"))
        # The listener of HTTP/3 has the number of the other.
        return list(dict.fromkeys(_address(status["local_address"]) for status in found.get("listener_statuses", ())))

    async def drain(self) -> None:
        """Accept no more connections, and tell every client at its next reply to go elsewhere."""
        await self._request("POST", "/drain_listeners")
        await self._request("POST", "/healthcheck/fail")

    async def unsent(self, stat_prefix: str) -> int:
        """What clients have not been sent yet: streams that are open, and bytes that wait in sockets."""
        gauges = (f"http.{stat_prefix}.downstream_rq_active", f"http.{stat_prefix}.downstream_cx_tx_bytes_buffered")
        pattern = "|".join(f"^{gauge}$" for gauge in gauges)
        found = await self._request("GET", f"/stats?filter={pattern}")
        return sum(int(line.rpartition(b":")[2]) for line in found.splitlines() if b":" in line)

    async def _request(self, method: str, target: str) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._socket, limit=MAX_REPLY)
                try:
                    writer.write(f"{method} {target} {_REST_OF_HEAD}".encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await _body(reader, head)
                finally:
                    writer.close()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as broken:
            raise OSError(f"envoy's answer to {method} {target} is broken: {broken}") from broken
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(f"envoy refused {method} {target}: {head.splitlines()[0].decode('latin-1')}")
        return body


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        parts: list[bytes] = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            if size > MAX_REPLY:
                raise ValueError(f"a chunk of {size} bytes")
            parts.append((await reader.readexactly(size + 2))[:-2])
        return b"".join(parts)
    for line in lowered.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(min(int(line.partition(b":")[2]), MAX_REPLY))
    return await reader.read(MAX_REPLY)


def _address(local: dict[str, Any]) -> str:
    socket = local["socket_address"]
    host = socket["address"]
    return f"[{host}]:{socket['port_value']}" if ":" in host else f"{host}:{socket['port_value']}"
