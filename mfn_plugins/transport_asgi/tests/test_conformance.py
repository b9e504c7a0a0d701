"""The suite of every transport, on this one, over each protocol that carries all four shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from mfn_asgi_parts.connect_wire import ConnectClient
from mfn_asgi_parts.grpc_web_wire import GrpcWebClient
from mfn_client.raw import RawClient
from mfn_core.operation import Shape
from mfn_core.testing.suite_service import path_of
from mfn_core.testing.transport import TransportSuite
from mfn_core.testing.wire import WireClient, run_call

TABLES: Mapping[str, Any] = {
    "transports": {"asgi": {"listen": "127.0.0.1:0", "max_message_bytes": TransportSuite.max_message_bytes}}
}


ON_UVICORN: Mapping[str, Any] = {"transports": {"asgi": {**TABLES["transports"]["asgi"], "server": "uvicorn"}}}


class TestAsgi(TransportSuite):
    plugins: ClassVar[Sequence[str]] = ("transport_asgi",)
    name: ClassVar[str] = "asgi"
    tables: ClassVar[Mapping[str, Any]] = TABLES

    def client(self, address: str) -> WireClient:
        return RawClient(address)


@pytest.mark.slow  # in other frames than Connect, and on the same road
class TestGrpcWeb(TransportSuite):
    plugins: ClassVar[Sequence[str]] = ("transport_asgi",)
    name: ClassVar[str] = "asgi"
    tables: ClassVar[Mapping[str, Any]] = TABLES

    def client(self, address: str) -> WireClient:
        return GrpcWebClient(address)


class TestConnect(TransportSuite):
    plugins: ClassVar[Sequence[str]] = ("transport_asgi",)
    name: ClassVar[str] = "asgi"
    tables: ClassVar[Mapping[str, Any]] = TABLES

    def client(self, address: str) -> WireClient:
        return ConnectClient(address)

    @pytest.mark.parametrize("shape", [pytest.param(shape, id=shape.label) for shape in Shape])
    async def test_a_call_without_a_message_is_an_invalid_argument(self, shape: Shape, address: str) -> None:
        """Except that an empty body is the empty message of a unary call, which has no envelope to miss."""
        async with self.client(address) as client:
            ended = await run_call(client, path_of(shape), [], seconds=self.patience)
        expected = ("OK", [":0"]) if shape is Shape.UNARY else ("INVALID_ARGUMENT", [])
        assert (ended.status.code, ended.replies) == expected


@pytest.mark.slow  # what carries the listener is the subject of test_servers.py, which always runs
class TestGrpcWebOnUvicorn(TransportSuite):
    plugins: ClassVar[Sequence[str]] = ("transport_asgi",)
    name: ClassVar[str] = "asgi"
    tables: ClassVar[Mapping[str, Any]] = ON_UVICORN

    def client(self, address: str) -> WireClient:
        return GrpcWebClient(address, http2=False)
