from __future__ import annotations

from typing import ClassVar

from mfn_client.raw import RawClient
from mfn_core.testing.plugin import PluginSuite
from mfn_core.testing.transport import TransportSuite
from mfn_core.testing.wire import WireClient


class TestTransport(TransportSuite):
    plugins = ("transport_grpc",)
    name = "grpc"
    tables: ClassVar = {"transports": {"grpc": {"listen": "127.0.0.1:0", "max_message_bytes": 65_536}}}

    def client(self, address: str) -> WireClient:
        return RawClient(address)


class TestPlugin(PluginSuite):
    plugin = "transport_grpc"
