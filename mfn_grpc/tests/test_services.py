"""Health and reflection through the dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from mfn_core import Call, Code, Dispatcher, Metadata, Operation, Outcome, Peer, Request, Service, Shape
from mfn_core.operation import Catalogue
from mfn_grpc import HealthService, ReflectionMode, ReflectionService, with_reflection

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def echo(request: StringValue, call: Call) -> StringValue:
    return request


class Server:
    """The two services beside one of its own."""

    def __init__(self) -> None:
        catalogue = Catalogue()
        self.health = HealthService(catalogue)
        own = Service(
            name="test.Echo",
            operations=[
                Operation(
                    service="test.Echo",
                    method="Echo",
                    shape=Shape.UNARY,
                    request_type=StringValue,
                    response_type=StringValue,
                    handler=echo,
                )
            ],
        )
        catalogue.services = (own, *self.health.services, *ReflectionService(catalogue).services)
        self.dispatcher = Dispatcher(catalogue.services)

    def call(self, path: str, message: Any, sent: list[bytes] | None = None) -> Call:
        operation = self.dispatcher.operations[path]
        streams = operation.shape.client_streams

        async def deliver(raw: bytes) -> None:
            if sent is not None:
                sent.append(raw)

        async def inbound() -> AsyncIterator[bytes]:
            for each in message if isinstance(message, list) else [message]:
                yield each.SerializeToString()

        return Call(
            id=self.dispatcher.new_call_id(),
            operation=operation,
            transport="test",
            metadata=Metadata(),
            peer=Peer(address="unknown"),
            request=None if streams else Request(raw=message.SerializeToString()),
            inbound=inbound() if streams else None,
            deliver=deliver if operation.shape.server_streams else None,
        )

    async def check(self, service: str = "") -> tuple[Code, int | None]:
        outcome: Outcome = await self.dispatcher.dispatch(self.call(CHECK, HealthCheckRequest(service=service)))
        reply = outcome.reply
        return outcome.code, None if reply is None else HealthCheckResponse.FromString(reply).status

    async def reflect(self, version: str, requests: Sequence[dict[str, Any]]) -> list[Any]:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        operation = self.dispatcher.operations[path]
        sent: list[bytes] = []
        messages = [operation.request_type(**request) for request in requests]  # type: ignore[arg-type]
        outcome = await self.dispatcher.dispatch(self.call(path, messages, sent))
        assert outcome.code is Code.OK
        return [operation.response_type.FromString(raw) for raw in sent]


@pytest.fixture
def server() -> Server:
    return Server()


async def test_health_is_true_for_the_server_and_for_each_service(server: Server) -> None:
    assert await server.check() == (Code.OK, NOT_SERVING)
    await server.health.start()
    for name in ("", "test.Echo", "grpc.health.v1.Health"):
        assert await server.check(name) == (Code.OK, SERVING)
    assert (await server.check("test.Nobody"))[0] is Code.NOT_FOUND
    await server.health.drain()
    assert await server.check("test.Echo") == (Code.OK, NOT_SERVING)


async def test_a_watch_reports_each_change_and_ends_with_the_drain(server: Server) -> None:
    sent: list[bytes] = []
    watching = asyncio.create_task(
        server.dispatcher.dispatch(server.call(WATCH, HealthCheckRequest(service="test.Echo"), sent))
    )

    async def seen(count: int) -> list[int]:
        async with asyncio.timeout(5):
            while len(sent) < count:
                await asyncio.sleep(0)
        return [HealthCheckResponse.FromString(raw).status for raw in sent]

    assert await seen(1) == [NOT_SERVING]
    await server.health.start()
    assert await seen(2) == [NOT_SERVING, SERVING]
    await server.health.drain()
    assert (await watching).code is Code.OK
    assert await seen(3) == [NOT_SERVING, SERVING, NOT_SERVING]


async def test_a_watch_of_an_unknown_service_says_so_and_goes_on(server: Server) -> None:
    sent: list[bytes] = []
    call = server.call(WATCH, HealthCheckRequest(service="test.Nobody"), sent)
    watching = asyncio.create_task(server.dispatcher.dispatch(call))
    async with asyncio.timeout(5):
        while not sent:
            await asyncio.sleep(0)
    assert HealthCheckResponse.FromString(sent[0]).status == HealthCheckResponse.SERVICE_UNKNOWN
    call.abort()
    assert (await watching).code is Code.CANCELLED


versions = pytest.mark.parametrize("version", ["v1", "v1alpha"])


@versions
async def test_reflection_lists_every_service(server: Server, version: str) -> None:
    (answer,) = await server.reflect(version, [{"list_services": "*", "host": "h"}])
    assert [service.name for service in answer.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "test.Echo",
    ]
    assert answer.valid_host == "h"
    assert answer.original_request.list_services == "*"


@versions
async def test_descriptors_are_complete(server: Server, version: str) -> None:
    symbols = [
        "grpc.health.v1.Health",
        "grpc.health.v1.Health.Check",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflectionRequest",
        "google.protobuf.StringValue",
    ]
    answers = await server.reflect(version, [{"file_containing_symbol": symbol} for symbol in symbols])
    for symbol, answer in zip(symbols, answers, strict=True):
        pool = descriptor_pool.DescriptorPool()
        for raw in reversed(answer.file_descriptor_response.file_descriptor_proto):
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(raw))
        assert pool.FindFileContainingSymbol(symbol.removesuffix(".Check")) is not None


@versions
async def test_what_is_not_there_is_not_found_and_the_stream_goes_on(server: Server, version: str) -> None:
    answers = await server.reflect(
        version,
        [
            {"file_containing_symbol": "no.Such"},
            {"file_by_filename": "no/such.proto"},
            {"file_containing_extension": {"containing_type": "no.Such", "extension_number": 1}},
            {"all_extension_numbers_of_type": "no.Such"},
            {},
            {"file_by_filename": "grpc_health/v1/health.proto"},
            {"all_extension_numbers_of_type": "google.protobuf.FieldOptions"},
        ],
    )
    assert [answer.error_response.error_code for answer in answers] == [5, 5, 5, 5, 5, 0, 0]
    assert answers[5].file_descriptor_response.file_descriptor_proto
    assert answers[6].all_extension_numbers_response.base_type_name == "google.protobuf.FieldOptions"


@pytest.mark.parametrize(
    ("mode", "listen", "offered"),
    [
        ("public", "0.0.0.0:1", "public"),
        ("authenticated", "127.0.0.1:1", "authenticated"),
        ("off", "127.0.0.1:1", "off"),
        ("auto", "127.0.0.1:1", "public"),
        ("auto", "[::1]:1", "public"),
        ("auto", "0.0.0.0:1", "authenticated"),
    ],
)
def test_a_transport_offers_reflection_as_it_is_told(
    server: Server, mode: ReflectionMode, listen: str, offered: str
) -> None:
    everything = server.dispatcher.operations
    paths = [path for path in everything if "reflection" in path]
    assert len(paths) == 2
    found = with_reflection(everything, mode, listen=listen)
    if offered == "off":
        assert set(everything) - set(found) == set(paths)
    else:
        assert [found[path].public for path in paths] == [offered == "public"] * 2
    assert all(found[path] is everything[path] for path in found if path not in paths)
