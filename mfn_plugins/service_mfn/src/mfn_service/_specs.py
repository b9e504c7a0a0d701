"""From requests to field specifications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from mfn_core import Code, MfnError
from mfn_core.execution import ComputePool
from mfn_model import MYCELIUM, MYCELIUM_RD, FieldSpec, ParameterValue
from mfn_proto.defaults import effective
from mfn_proto.mfn_pb2 import FeatureRequest, FeatureStreamRequest, SimulationRequest, SimulationStreamRequest
from mfn_proto.mycelium_pb2 import SimulateRequest
from mfn_proto.v1.field_pb2 import SimulationSpec
from mfn_service._limits import Breach
from mfn_service._models import HISTORIC, Own, Wanted, known_model, potential_breaches

__all__ = [
    "SPIKE_PROBABILITY",
    "AnyRun",
    "described_run",
    "mycelium_run",
    "named_breaches",
    "require_engine",
    "simulation",
    "wanted_described_run",
    "wanted_run",
    "wanted_simulation",
]

AnyRun = FeatureRequest | SimulationRequest | FeatureStreamRequest | SimulationStreamRequest
"""The requests of package `mfn` that describe one run."""

SPIKE_PROBABILITY = 0.25
"""Of the historic models in package `mycelium`, whose requests have no field for it."""


def mycelium_run(request: AnyRun) -> FieldSpec:
    """The specification of a validated request of package `mfn`."""
    if request.model or request.parameters:
        return wanted_run(request).spec()
    return FieldSpec(
        model=MYCELIUM.name,
        grid_size=int(effective(request, "grid_size")),
        seed=int(effective(request, "seed")),
        parameters=_mycelium_parameters(
            effective(request, "alpha"), effective(request, "spike_probability"), request.turing_enabled
        ),
    )


@lru_cache(maxsize=1024)
def _mycelium_parameters(alpha: float, spike_probability: float, turing_enabled: bool) -> Mapping[str, ParameterValue]:
    """The parameters of the historic model, checked once: callers send the same few with one seed after another."""
    parameters = {"alpha": alpha, "spike_probability": spike_probability, "turing_enabled": turing_enabled}
    return FieldSpec(model=MYCELIUM.name, grid_size=1, seed=0, parameters=parameters).parameters


def wanted_run(request: AnyRun) -> Wanted:
    """What a request of package `mfn` asks of the model that it names.

    Raises:
        MfnError: UNIMPLEMENTED for a model that is not known.
    """
    model = known_model(request.model or MYCELIUM.name)
    historic = model.name in HISTORIC
    return Wanted(
        model=model,
        grid_size=int(effective(request, "grid_size")),
        seed=int(effective(request, "seed")),
        own={
            "alpha": _own(request, "alpha", historic),
            "spike_probability": _own(request, "spike_probability", historic),
            "turing_enabled": Own(
                path="turing_enabled", value=request.turing_enabled, sent=bool(request.turing_enabled)
            ),
        },
        named=request.parameters,
    )


def described_run(request: SimulateRequest) -> FieldSpec:
    """The specification of a validated request of package `mycelium`."""
    return wanted_described_run(request).spec()


def wanted_described_run(request: SimulateRequest) -> Wanted:
    """What a request of package `mycelium` asks of the model that it names.

    Raises:
        MfnError: UNIMPLEMENTED for a model that is not known.
    """
    model = known_model(request.model or MYCELIUM_RD.name)
    historic = model.name in HISTORIC
    own = {
        "alpha": _own(request, "alpha", historic),
        "turing_enabled": Own(path="turing_enabled", value=request.turing_enabled, sent=bool(request.turing_enabled)),
    }
    if historic:
        own["spike_probability"] = Own(path="parameters", value=SPIKE_PROBABILITY, sent=False)
    return Wanted(
        model=model,
        grid_size=int(effective(request, "grid_size")),
        seed=int(effective(request, "seed")),
        own=own,
        named=request.parameters,
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
    return wanted_simulation(message, path).spec()


def wanted_simulation(message: SimulationSpec, path: str) -> Wanted:
    """What a `SimulationSpec` asks of the model that it names.

    Raises:
        MfnError: UNIMPLEMENTED for a model that is not known; INVALID_ARGUMENT for parameters of another kind.
    """
    model = known_model(message.model or MYCELIUM.name)
    sent = message.HasField("mycelium")
    own: dict[str, Own] = {}
    if sent or model.name in HISTORIC:
        said = message.mycelium
        for name in ("alpha", "spike_probability"):
            own[name] = Own(path=f"{path}.mycelium.{name}", value=float(effective(said, name)), sent=sent)
        for name in ("turing_enabled", "jitter"):
            own[name] = Own(path=f"{path}.mycelium.{name}", value=bool(getattr(said, name)), sent=sent)
    if sent and not {parameter.name for parameter in model.parameters}.issuperset(own):
        breach = Breach(
            field=f"{path}.mycelium",
            description=f"model {model.name!r} has parameters of another kind; leave it unset, and name them in "
            "parameter_values",
        )
        raise MfnError.invalid([breach.violation()])
    return Wanted(
        model=model,
        grid_size=int(effective(message, "grid_size")),
        seed=int(effective(message, "seed")),
        boundary=message.boundary,
        own=own,
        named=message.parameter_values,
        named_path=f"{path}.parameter_values",
        prefix=f"{path}.",
    )


def named_breaches(found: list[Breach], wanted: Callable[[], Wanted], *, potential: bool = False) -> list[Breach]:
    """`found` and what the model that the request names adds to it; a field at fault is not named twice.

    The names of a map that is at fault as a whole, for it has too many, are not looked at: this is done on the event
    loop.

    Args:
        found: what is wrong with the request already.
        wanted: what it asks of its model.
        potential: whether the model's field must be a potential.

    Raises:
        MfnError: what `wanted` raises, when nothing else is wrong.
    """
    try:
        asked = wanted()
    except MfnError:
        if found:
            return found
        raise
    more = list(potential_breaches(asked.model, f"{asked.prefix}model")) if potential else []
    named = {each.field for each in found}
    if not more and asked.named_path not in named:
        more = asked.breaches()
    found.extend(each for each in more if each.field not in named)
    return found


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


def _own(request: AnyRun | SimulateRequest, name: str, historic: bool) -> Own:
    """A number that a request of an older package has a field for."""
    sent = request.HasField(name)
    return Own(path=name, value=float(effective(request, name)) if sent or historic else None, sent=sent)
