from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mfn_core.audit import AuditMiddleware, AuditRecord
from mfn_core.components import ComponentContext
from mfn_core.config import ServerSettings
from mfn_core.dispatcher import Dispatcher
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.testing.suite_service import SuiteService
from mfn_transport_grpc import GrpcSettings, GrpcTransport


class Records:
    """An audit sink that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    async def write(self, record: AuditRecord) -> None:
        self.records.append(record)


def context(**server: Any) -> ComponentContext:
    return ComponentContext(
        name="grpc",
        server=ServerSettings(**server),
        worker=0,
        compute=ComputePool({}),
        catalogue=Catalogue(),
        log=logging.getLogger("mfn.transports.grpc"),
    )


@pytest.fixture
def make() -> Callable[..., GrpcTransport]:
    """Make a transport; settings of `[server]` are given as a dictionary."""

    def make(server: dict[str, Any] | None = None, **settings: Any) -> GrpcTransport:
        return GrpcTransport(GrpcSettings(**{"listen": "127.0.0.1:0", **settings}), context(**(server or {})))

    return make


@pytest.fixture
def audit() -> Records:
    """What was recorded of the calls of a test."""
    return Records()


@pytest.fixture
def dispatcher(audit: Records) -> Dispatcher:
    """The suite's test service behind an audit."""
    return Dispatcher(SuiteService().services, [AuditMiddleware([audit])], outer=1)


@pytest.fixture
async def serve(
    make: Callable[..., GrpcTransport], dispatcher: Dispatcher
) -> AsyncIterator[Callable[..., Awaitable[GrpcTransport]]]:
    """Start a transport in the loop of the test; it is drained and stopped when the test ends."""
    started: list[GrpcTransport] = []

    async def serve(**settings: Any) -> GrpcTransport:
        transport = make(**settings)
        started.append(transport)
        await transport.start(dispatcher)
        return transport

    yield serve
    for transport in started:
        await transport.drain()
    await dispatcher.drain(0.0)
    for transport in started:
        await transport.stop()
