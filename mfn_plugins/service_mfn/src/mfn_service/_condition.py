"""Whether the services take calls, as `mycelium.MyceliumService.HealthCheck` says it."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version

from mfn_core import Call, Operation, Shape
from mfn_proto.mycelium_pb2 import HealthCheckRequest, HealthCheckResponse

__all__ = ["DRAINING", "HEALTHY", "STARTING", "Condition", "health_operation"]

STARTING, HEALTHY, DRAINING = "starting", "healthy", "draining"


class Condition:
    """STARTING, then HEALTHY, then DRAINING; for one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starting; uptime will be on `clock`, in seconds."""
        self._clock = clock
        self._since: float | None = None
        self.status = STARTING
        """What a caller is told."""

    def started(self) -> None:
        """Calls are taken from now on."""
        self._since = self._clock()
        self.status = HEALTHY

    def draining(self) -> None:
        """No further calls are taken; safe to do twice."""
        self.status = DRAINING

    @property
    def uptime(self) -> int:
        """Whole seconds since `started`; 0 before."""
        return 0 if self._since is None else int(self._clock() - self._since)


def health_operation(service: str, condition: Condition) -> Operation:
    """`HealthCheck`, in the service of this name; it needs no credentials."""
    own_version = version("mfn-service")

    async def handler(request: HealthCheckRequest, call: Call) -> HealthCheckResponse:
        return HealthCheckResponse(status=condition.status, version=own_version, uptime_seconds=condition.uptime)

    return Operation(
        service=service,
        method="HealthCheck",
        shape=Shape.UNARY,
        request_type=HealthCheckRequest,
        response_type=HealthCheckResponse,
        handler=handler,
        public=True,
        idempotent=True,
    )
