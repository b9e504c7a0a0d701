"""`grpc.health.v1`: whether the server, and each of its services, takes calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from mfn_core import Call, Code, ComponentContext, ComponentSpec, MfnError, NoSettings, Operation, Service, Shape
from mfn_core.operation import Catalogue

__all__ = ["HEALTH", "HealthService"]

NAME = "grpc.health.v1.Health"
Status = health_pb2.HealthCheckResponse


class HealthService:
    """SERVING from the start to the drain; a service that does not exist is told from one that does not serve."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Speak for the services of `catalogue`."""
        self._catalogue = catalogue
        self._serving = False
        self._draining = False
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Everything that a call needs has started: say so."""
        self._set(True)

    async def drain(self) -> None:
        """Say NOT_SERVING, and end every watch: a stream that never ends must not hold up the drain."""
        self._draining = True
        self._set(False)

    @property
    def services(self) -> Sequence[Service]:
        """The one service."""
        check = Operation(
            service=NAME,
            method="Check",
            shape=Shape.UNARY,
            request_type=health_pb2.HealthCheckRequest,
            response_type=health_pb2.HealthCheckResponse,
            handler=self._check,
            public=True,
            idempotent=True,
        )
        watch = Operation(
            service=NAME,
            method="Watch",
            shape=Shape.SERVER_STREAM,
            request_type=health_pb2.HealthCheckRequest,
            response_type=health_pb2.HealthCheckResponse,
            handler=self._watch,
            public=True,
            idempotent=True,
        )
        return [Service(name=NAME, operations=[check, watch])]

    def _set(self, serving: bool) -> None:
        self._serving = serving
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _known(self, service: str) -> bool:
        return not service or any(each.name == service for each in self._catalogue.services)

    def _status(self, service: str) -> int:
        if not self._known(service):
            return int(Status.SERVICE_UNKNOWN)
        return int(Status.SERVING if self._serving else Status.NOT_SERVING)

    async def _check(self, request: health_pb2.HealthCheckRequest, call: Call) -> Message:
        if not self._known(request.service):
            raise MfnError(Code.NOT_FOUND, f"no service {request.service[:256]!r}; ask for '' or one that is served")
        return _reply(self._status(request.service))

    async def _watch(self, request: health_pb2.HealthCheckRequest, call: Call) -> AsyncIterator[Message]:
        while True:
            # Before the yield: what changes while the client reads is another turn.
            changed, last = self._changed, self._draining
            yield _reply(self._status(request.service))
            if last:
                return
            await changed.wait()


def _reply(status: int) -> Message:
    reply: Message = Status(status=status)
    return reply


def _make(settings: NoSettings, context: ComponentContext) -> HealthService:
    return HealthService(context.catalogue)


HEALTH = ComponentSpec(
    name="grpc_health", factory=_make, summary="grpc.health.v1: whether the server takes calls", scope="shared"
)
"""The component; one object, which several transports may declare."""
