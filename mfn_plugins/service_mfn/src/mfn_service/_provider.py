"""The services of this plugin, assembled."""

from __future__ import annotations

from collections.abc import Sequence

from mfn_core import ComponentContext, Service
from mfn_proto.validation import prepare
from mfn_service._aggregate import aggregation_service
from mfn_service._analyze import analyze_operation
from mfn_service._condition import Condition
from mfn_service._limits import WorkLimits
from mfn_service._model_service import model_service
from mfn_service._sessions import Clock, SessionLimits, SessionRegistry
from mfn_service._settings import ServiceSettings
from mfn_service._simulate import simulate_operation
from mfn_service._steer import Steering
from mfn_service._uploads import UploadBudget
from mfn_service._validation import validation_service
from mfn_service._w1 import mfn_services
from mfn_service._w2 import mycelium_service

__all__ = ["FIELD_SERVICE", "MfnServices"]

FIELD_SERVICE = "mfn.v1.FieldService"


class MfnServices:
    """A `mfn_core.operation.ServiceProvider`: packages `mfn`, `mycelium` and `mfn.v1`."""

    def __init__(self, settings: ServiceSettings, context: ComponentContext, *, clock: Clock | None = None) -> None:
        """Construct the services; nothing is computed or reserved.

        Args:
            settings: bounds of what is kept between messages.
            context: the compute pool, and the server's limits.
            clock: what the timers of sessions run on; the running event loop unless given.
        """
        limits = WorkLimits.of(context.server)
        self.sessions = SessionRegistry(
            SessionLimits(
                sessions=settings.sessions,
                per_principal=settings.sessions_per_principal,
                cells=settings.session_cells,
                steps=settings.session_steps,
                seconds=settings.session_seconds,
                resume_within=settings.resume_within_seconds,
            ),
            clock,
        )
        self.uploads = UploadBudget(settings.upload_bytes)
        steering = Steering(context.compute, limits, self.sessions, pending_commands=settings.pending_commands)
        self.condition = Condition()
        self._services = (
            *mfn_services(context.compute, limits),
            validation_service(context.compute, limits),
            mycelium_service(context.compute, limits, self.condition),
            Service(
                name=FIELD_SERVICE,
                operations=(
                    simulate_operation(FIELD_SERVICE, context.compute, limits),
                    analyze_operation(
                        FIELD_SERVICE, context.compute, limits, self.uploads, seconds=settings.upload_seconds
                    ),
                    steering.operation(FIELD_SERVICE),
                ),
            ),
            model_service(context.compute),
            aggregation_service(
                context.compute,
                limits,
                self.uploads,
                seconds=settings.upload_seconds,
                reply_bytes=settings.aggregate_reply_bytes,
            ),
        )

    @property
    def services(self) -> Sequence[Service]:
        """The services, for the dispatcher."""
        return self._services

    async def start(self) -> None:
        """Compile the rules of every request, so that no call waits for that."""
        prepare(*(operation.request_type for service in self._services for operation in service.operations))
        self.condition.started()

    async def drain(self) -> None:
        """End the steered simulations, so that their clients learn why; returns at once. Safe to do twice."""
        self.condition.draining()
        self.sessions.drain()

    async def stop(self) -> None:
        """Give back what is left of them. Safe to do twice."""
        self.sessions.stop()
