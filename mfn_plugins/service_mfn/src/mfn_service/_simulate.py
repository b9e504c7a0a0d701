"""`mfn.v1.FieldService.Simulate`: one simulation, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from mfn_core import Call, FieldViolation, Operation, Shape
from mfn_core.execution import ComputePool
from mfn_model import FieldState
from mfn_proto.defaults import effective
from mfn_proto.v1.field_pb2 import SimulateRequest, SimulateResponse
from mfn_service._frames import stream_frames
from mfn_service._limits import WorkLimits, cell_steps, refuse, rule_breaches
from mfn_service._pacing import Pacer
from mfn_service._specs import named_breaches, require_engine, simulation, wanted_simulation
from mfn_service._views import FrameView, view_breaches

__all__ = ["simulate_operation"]


def simulate_operation(service: str, compute: ComputePool, limits: WorkLimits) -> Operation:
    """The operation, in the service of this name."""

    def validate(request: SimulateRequest) -> Sequence[FieldViolation]:
        found = limits.run(
            rule_breaches(request),
            grid_path="simulation.grid_size",
            grid_size=int(effective(request.simulation, "grid_size")),
            steps_path="steps",
            steps=int(effective(request, "steps")),
        )
        found = named_breaches(found, lambda: wanted_simulation(request.simulation, "simulation"))
        if not found:
            spec = simulation(request.simulation, "simulation")
            found.extend(view_breaches(request.frames, spec, "frames"))
            if not found:
                require_engine(compute, spec)  # so that what cannot run is not charged
        return refuse(found)

    def cost(request: SimulateRequest) -> float:
        return cell_steps(int(effective(request.simulation, "grid_size")), int(effective(request, "steps")))

    def handler(request: SimulateRequest, call: Call) -> AsyncIterator[SimulateResponse]:
        options, spec = request.frames, simulation(request.simulation, "simulation")
        view = FrameView.of(options, spec, request.request_id)

        def make(state: FieldState, is_final: bool) -> SimulateResponse:
            return SimulateResponse(frame=view.frame(state, is_final=is_final))

        return stream_frames(
            compute,
            call,
            spec,
            steps=int(effective(request, "steps")),
            every=int(effective(options, "every_n_steps")),
            make=make,
            pacer=Pacer(float(effective(options, "max_frames_per_second"))),
        )

    return Operation(
        service=service,
        method="Simulate",
        shape=Shape.SERVER_STREAM,
        request_type=SimulateRequest,
        response_type=SimulateResponse,
        handler=handler,
        idempotent=True,
        deterministic=True,
        validate=validate,
        cost=cost,
    )
