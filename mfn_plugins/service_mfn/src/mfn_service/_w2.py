"""Package `mycelium`: runs described after every step."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from mfn_core import Call, CancelToken, FieldViolation, Operation, Service, Session, Shape
from mfn_core.execution import ComputePool
from mfn_model import FieldState, mean_and_std
from mfn_proto.defaults import effective
from mfn_proto.mycelium_pb2 import FieldStats, SimulateRequest, SimulateResponse, SimulationUpdate
from mfn_service._condition import Condition, health_operation
from mfn_service._federated import federated_operation
from mfn_service._frames import stream_frames
from mfn_service._limits import WorkLimits, cell_steps, refuse, rule_breaches
from mfn_service._measures import legacy_dimension, statistics, unstable
from mfn_service._nernst import nernst_operation
from mfn_service._specs import described_run, named_breaches, require_engine, wanted_described_run
from mfn_service._validation import validate_operation

__all__ = ["MYCELIUM_SERVICE", "described", "mycelium_service"]

MYCELIUM_SERVICE = "mycelium.MyceliumService"


def mycelium_service(compute: ComputePool, limits: WorkLimits, condition: Condition) -> Service:
    """The service of package `mycelium`.

    Args:
        compute: runs its simulations.
        limits: what one call may ask for.
        condition: what `HealthCheck` tells.
    """
    validate = _validator(compute, limits)
    return Service(
        name=MYCELIUM_SERVICE,
        operations=(
            validate_operation(MYCELIUM_SERVICE, compute, limits),
            Operation(
                service=MYCELIUM_SERVICE,
                method="Simulate",
                shape=Shape.UNARY,
                request_type=SimulateRequest,
                response_type=SimulateResponse,
                handler=_whole_run(compute),
                idempotent=True,
                deterministic=True,
                validate=validate,
                cost=_cost,
                # A request carries no id: its bytes are what the reply depends on.
                cache_key=lambda raw: raw,
            ),
            Operation(
                service=MYCELIUM_SERVICE,
                method="SimulateStream",
                shape=Shape.SERVER_STREAM,
                request_type=SimulateRequest,
                response_type=SimulationUpdate,
                handler=_step_by_step(compute),
                idempotent=True,
                deterministic=True,
                validate=validate,
                cost=_cost,
            ),
            nernst_operation(MYCELIUM_SERVICE),
            federated_operation(MYCELIUM_SERVICE, compute, limits),
            health_operation(MYCELIUM_SERVICE, condition),
        ),
    )


def _validator(compute: ComputePool, limits: WorkLimits) -> Callable[[SimulateRequest], Sequence[FieldViolation]]:
    def validate(request: SimulateRequest) -> Sequence[FieldViolation]:
        """Bounds of the definition and of the model, and limits of the server, together."""
        found = limits.run(
            rule_breaches(request),
            grid_path="grid_size",
            grid_size=int(effective(request, "grid_size")),
            steps_path="steps",
            steps=int(effective(request, "steps")),
        )
        found = named_breaches(found, lambda: wanted_described_run(request), potential=True)
        if not found:
            require_engine(compute, described_run(request))  # so that what cannot run is not charged
        return refuse(found)

    return validate


def _cost(request: SimulateRequest) -> float:
    return cell_steps(int(effective(request, "grid_size")), int(effective(request, "steps")))


def _whole_run(compute: ComputePool) -> Callable[[SimulateRequest, Call], Awaitable[SimulateResponse]]:
    """A handler that simulates and measures in one compute job."""

    async def run(request: SimulateRequest, call: Call) -> SimulateResponse:
        return await compute.whole_run(call, described_run(request), int(effective(request, "steps")), described)

    return run


def described(session: Session, steps: int, cancel: CancelToken) -> SimulateResponse:
    """Advance a fresh session and describe it after every step; on a compute thread or a remote worker.

    Raises:
        RuntimeError: the engine stopped before the last step; where the run was cancelled, nobody sees that.
        MfnError: FAILED_PRECONDITION, when the field holds NaN or infinite values.
    """
    reply = SimulateResponse()
    for step in range(steps):
        if session.step(1, cancel) == 0:
            raise RuntimeError(f"the engine stopped at step {step} of {steps} of a run that is wanted")
        state = session.state()
        mean, std = _moments(state)
        reply.field_mean.append(mean)
        reply.field_std.append(std)
    reply.growth_events = state.growth_events
    reply.fractal_dimension = legacy_dimension(state.field)
    reply.field_stats.CopyFrom(_field_stats(state))
    return reply


def _step_by_step(compute: ComputePool) -> Callable[[SimulateRequest, Call], AsyncIterator[SimulationUpdate]]:
    """A handler that streams one update a step, of one run."""

    def run(request: SimulateRequest, call: Call) -> AsyncIterator[SimulationUpdate]:
        spec, steps = described_run(request), int(effective(request, "steps"))

        def make(state: FieldState, is_final: bool) -> SimulationUpdate:
            mean, std = _moments(state)
            return SimulationUpdate(
                step=state.step - 1,
                total_steps=steps,
                pot_mean_mV=mean * 1000.0,
                pot_std_mV=std * 1000.0,
                growth_events=state.growth_events,
                completed=is_final,
            )

        return stream_frames(compute, call, spec, steps=steps, every=1, make=make)

    return run


def _moments(state: FieldState) -> tuple[float, float]:
    """Mean and deviation of the potential, V.

    Raises:
        MfnError: FAILED_PRECONDITION, when the field holds NaN or infinite values.
    """
    mean, std = mean_and_std(state.field)
    if not (math.isfinite(mean) and math.isfinite(std)):
        raise unstable(state)
    return mean, std


def _field_stats(state: FieldState) -> FieldStats:
    found = statistics(state)
    return FieldStats(mean=found.mean, std=found.std, min=found.minimum, max=found.maximum)
