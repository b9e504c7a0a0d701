"""The suite of every transport, on this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mfn_client.raw import RawClient
from mfn_core.testing.transport import TransportSuite
from mfn_core.testing.wire import WireClient


class TestAsgi(TransportSuite):
    plugins: ClassVar[Sequence[str]] = ("transport_asgi",)
    name: ClassVar[str] = "asgi"
    tables: ClassVar[Mapping[str, Any]] = {
        "transports": {"asgi": {"listen": "127.0.0.1:0", "max_message_bytes": TransportSuite.max_message_bytes}}
    }

    def client(self, address: str) -> WireClient:
        return RawClient(address)
