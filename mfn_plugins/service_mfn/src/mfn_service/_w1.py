"""Package `mfn`: features and simulations, one field or frame by frame."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version
from typing import Any, cast

from mfn_core import Call, FieldViolation, Operation, Service, Shape
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec, FieldState, FieldStatistics
from mfn_proto.defaults import effective
from mfn_proto.mfn_pb2 import (
    FeatureFrame,
    FeatureRequest,
    FeatureResponse,
    FeatureStreamRequest,
    ResponseMeta,
    SimulationFrame,
    SimulationRequest,
    SimulationResult,
    SimulationStreamRequest,
)
from mfn_service._frames import stream_frames
from mfn_service._limits import WorkLimits, cell_steps, refuse, rule_breaches
from mfn_service._measures import legacy_dimension, statistics
from mfn_service._pacing import Pacer
from mfn_service._reply_cache import cache_key, stamp
from mfn_service._specs import AnyRun, mycelium_run, named_breaches, require_engine, wanted_run

__all__ = ["FEATURES", "SIMULATION", "mfn_services", "response_meta"]

FEATURES = "mfn.MFNFeaturesService"
SIMULATION = "mfn.MFNSimulationService"


def response_meta() -> ResponseMeta:
    """What every unary reply of this package says of the server."""
    return ResponseMeta(meta={"server": "mfn", "version": version("mfn-service")})


def mfn_services(compute: ComputePool, limits: WorkLimits) -> Sequence[Service]:
    """The services of package `mfn` that simulate.

    Args:
        compute: runs their simulations.
        limits: what one call may ask for.
    """
    validate, cost = _validator(compute, limits), _cost
    meta = response_meta()

    def unary(service: str, method: str, request: type[AnyRun], reply: type[Any]) -> Operation:
        return Operation(
            service=service,
            method=method,
            shape=Shape.UNARY,
            request_type=request,
            response_type=reply,
            handler=_last_field(compute, reply, meta),
            idempotent=True,
            deterministic=True,
            validate=validate,
            cost=cost,
            cache_key=cache_key(request),
            stamp=stamp(request),
        )

    def stream(
        service: str, method: str, request: type[AnyRun], frame: type[Any], make: Callable[[str], _Make]
    ) -> Operation:
        return Operation(
            service=service,
            method=method,
            shape=Shape.SERVER_STREAM,
            request_type=request,
            response_type=frame,
            handler=_frame_by_frame(compute, make),
            idempotent=True,
            deterministic=True,
            validate=validate,
            cost=cost,
        )

    return (
        Service(
            name=FEATURES,
            operations=(
                unary(FEATURES, "ExtractFeatures", FeatureRequest, FeatureResponse),
                stream(FEATURES, "StreamFeatures", FeatureStreamRequest, FeatureFrame, _feature_frame),
            ),
        ),
        Service(
            name=SIMULATION,
            operations=(
                unary(SIMULATION, "RunSimulation", SimulationRequest, SimulationResult),
                stream(SIMULATION, "StreamSimulation", SimulationStreamRequest, SimulationFrame, _simulation_frame),
            ),
        ),
    )


_Make = Callable[[FieldState, bool], Any]


def _steps_field(request: AnyRun) -> str:
    return "total_steps" if isinstance(request, FeatureStreamRequest | SimulationStreamRequest) else "steps"


def _validator(compute: ComputePool, limits: WorkLimits) -> Callable[[AnyRun], Sequence[FieldViolation]]:
    def validate(request: AnyRun) -> Sequence[FieldViolation]:
        """Bounds of the definition and of the model, and limits of the server, together."""
        steps_field = _steps_field(request)
        found = limits.run(
            rule_breaches(request),
            grid_path="grid_size",
            grid_size=int(effective(request, "grid_size")),
            steps_path=steps_field,
            steps=int(effective(request, steps_field)),
        )
        if request.model or request.parameters:
            found = named_breaches(found, lambda: wanted_run(request), potential=True)
            if not found:
                require_engine(compute, mycelium_run(request))  # so that what cannot run is not charged
        return refuse(found)

    return validate


def _cost(request: AnyRun) -> float:
    return cell_steps(int(effective(request, "grid_size")), int(effective(request, _steps_field(request))))


def _last_field(
    compute: ComputePool, reply: type[Any], meta: ResponseMeta
) -> Callable[[FeatureRequest | SimulationRequest, Call], Any]:
    """A handler that simulates and measures in one compute job."""

    async def run(request: FeatureRequest | SimulationRequest, call: Call) -> Any:
        spec, steps = mycelium_run(request), int(effective(request, "steps"))
        numbers = await compute.final_state(call, spec, steps, _numbers_and_dimension)
        return reply(request_id=request.request_id, meta=meta, **numbers)

    return run


def _frame_by_frame(
    compute: ComputePool, make: Callable[[str], _Make]
) -> Callable[[FeatureStreamRequest | SimulationStreamRequest, Call], AsyncIterator[Any]]:
    """A handler that streams the snapshots of one run."""

    def run(request: FeatureStreamRequest | SimulationStreamRequest, call: Call) -> AsyncIterator[Any]:
        spec: FieldSpec = mycelium_run(request)
        return stream_frames(
            compute,
            call,
            spec,
            steps=int(effective(request, "total_steps")),
            every=int(effective(request, "steps_per_frame")),
            make=make(request.request_id),
            pacer=Pacer(float(effective(request, "max_frames_per_second"))),
        )

    return run


def _numbers(state: FieldState, found: FieldStatistics) -> dict[str, float]:
    """What every reply of this package says of a state, by the names of its fields."""
    return {
        "pot_min_mV": found.minimum_mv,
        "pot_max_mV": found.maximum_mv,
        "pot_mean_mV": found.mean_mv,
        "pot_std_mV": found.std_mv,
        "growth_events": state.growth_events,
    }


def _numbers_and_dimension(state: FieldState) -> dict[str, float]:
    """What a reply about a whole run says of its last state."""
    found = statistics(state)
    return {**_numbers(state, found), "fractal_dimension": legacy_dimension(state.field, found.active_cells)}


def _feature_frame(request_id: str) -> _Make:
    def make(state: FieldState, is_final: bool) -> FeatureFrame:
        return FeatureFrame(
            request_id=request_id,
            step=state.step,
            is_final=is_final,
            **cast("dict[str, Any]", _numbers_and_dimension(state)),
        )

    return make


def _simulation_frame(request_id: str) -> _Make:
    def make(state: FieldState, is_final: bool) -> SimulationFrame:
        return SimulationFrame(
            request_id=request_id,
            step=state.step,
            is_final=is_final,
            **cast("dict[str, Any]", _numbers(state, statistics(state))),
        )

    return make
