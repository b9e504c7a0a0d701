"""From requests to field specifications."""

from __future__ import annotations

from mfn_core import Code, FieldViolation, MfnError
from mfn_core.execution import ComputePool
from mfn_model import MODELS, MYCELIUM, FieldModel, FieldSpec, ParameterValue, SpecError
from mfn_proto.defaults import effective
from mfn_proto.mfn_pb2 import FeatureRequest, FeatureStreamRequest, SimulationRequest, SimulationStreamRequest
from mfn_proto.v1.field_pb2 import MyceliumParameters, SimulationSpec

__all__ = ["AnyRun", "mycelium_run", "require_engine", "simulated", "simulation", "spec_refused"]

AnyRun = FeatureRequest | SimulationRequest | FeatureStreamRequest | SimulationStreamRequest
"""The requests of package `mfn` that describe one run."""

_PARAMETERS = ("alpha", "spike_probability", "turing_enabled", "jitter")
"""What `MyceliumParameters` can say; a model that declares all of them is a variant of "mycelium"."""


def mycelium_run(request: AnyRun) -> FieldSpec:
    """The specification of a validated request of package `mfn`."""
    return FieldSpec(
        model=MYCELIUM.name,
        grid_size=int(effective(request, "grid_size")),
        seed=int(effective(request, "seed")),
        parameters={
            "alpha": effective(request, "alpha"),
            "spike_probability": effective(request, "spike_probability"),
            "turing_enabled": request.turing_enabled,
        },
    )


def simulation(message: SimulationSpec, path: str) -> FieldSpec:
    """The specification of a `SimulationSpec` that its definition's rules found nothing wrong with.

    Args:
        message: the message.
        path: where it stands in the request: `simulation`, `start.simulation`.

    Raises:
        MfnError: UNIMPLEMENTED for a model that is not known; INVALID_ARGUMENT for parameters that are not the
            model's, or out of its bounds.
    """
    name = message.model or MYCELIUM.name
    model = MODELS.get(name)
    if model is None:
        raise no_such_model(name)
    try:
        return FieldSpec(
            model=name,
            grid_size=int(effective(message, "grid_size")),
            seed=int(effective(message, "seed")),
            parameters=_parameters(message, model, path),
        )
    except SpecError as wrong:
        raise spec_refused(wrong, path, f"{path}.mycelium") from wrong


def simulated(compute: ComputePool, message: SimulationSpec, path: str) -> FieldSpec:
    """As `simulation`, for a server that can also run it.

    Raises:
        MfnError: what `simulation` raises; UNIMPLEMENTED when no engine of the server computes the model.
    """
    spec = simulation(message, path)
    require_engine(compute, spec)
    return spec


def require_engine(compute: ComputePool, spec: FieldSpec) -> None:
    """Find an engine for the specification.

    Raises:
        MfnError: UNIMPLEMENTED when no engine of the server computes the model.
    """
    try:
        compute.backend_for(spec)
    except MfnError as refused:
        raise MfnError(
            Code.UNIMPLEMENTED,
            f"no engine of this server computes the model {spec.model!r}",
            reason=refused.reason,
            details={"model": spec.model},
        ) from refused


def no_such_model(name: str) -> MfnError:
    """UNIMPLEMENTED: this server does not know the model."""
    return MfnError(
        Code.UNIMPLEMENTED,
        f"this server has no model {name!r}; it has: {', '.join(sorted(MODELS))}",
        details={"model": name},
    )


def spec_refused(error: SpecError, path: str, parameters_path: str) -> MfnError:
    """INVALID_ARGUMENT from what a model refused, each argument under its path in the request."""
    own = ("model", "grid_size", "seed")
    return MfnError.invalid(
        FieldViolation(field=f"{path if each.field in own else parameters_path}.{each.field}", description=each.message)
        for each in error.violations
    )


def _parameters(message: SimulationSpec, model: FieldModel, path: str) -> dict[str, ParameterValue]:
    declared = {parameter.name for parameter in model.parameters}
    if not declared.issuperset(_PARAMETERS):
        if message.HasField("mycelium"):
            raise MfnError.invalid(
                [
                    FieldViolation(
                        field=f"{path}.mycelium",
                        description=f"model {model.name!r} has parameters of another kind; leave it unset",
                    )
                ]
            )
        return {}
    own: MyceliumParameters = message.mycelium
    return {
        "alpha": effective(own, "alpha"),
        "spike_probability": effective(own, "spike_probability"),
        "turing_enabled": own.turing_enabled,
        "jitter": own.jitter,
    }
