"""The streams that a WebSocket offers: what their parameters mean, and how a frame becomes a message.

Both are `mfn.v1.FieldService/Simulate`, so that their last numbers are those of the unary calls.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from attrs import frozen

from mfn_core.dispatcher import Outcome
from mfn_core.errors import FieldViolation, MfnError
from mfn_model import MODELS
from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._json.refusal import MAX_VIOLATIONS, shown
from mfn_transport_asgi._websocket.features import FEATURES, cells, features, potentials
from mfn_transport_asgi._websocket.outbox import Policy

__all__ = ["OPERATION", "STREAMS", "Stream", "Told", "in_own_names", "policy_of", "raw_parameters"]

OPERATION = b"/mfn.v1.FieldService/Simulate"
MYCELIUM = "mycelium"
"""The model where none is named."""
POTENTIAL = "V"
"""Unit of a field that is a potential."""
MOST_NAMED = 64
"""Parameters by name in one subscription: what the request has room for."""

_OWN = ("alpha", "spike_probability", "turing_enabled")
_NO_POTENTIAL = "and this stream tells of potentials alone; use /ws/field"


@frozen
class Told:
    """A message of a stream."""

    type: str
    payload: Mapping[str, Any]
    kept: bool = False
    """Whether it may not be dropped."""


class Stream(Protocol):
    """What one subscription sends."""

    def request(self) -> bytes:
        """The request in protobuf, of the parameters.

        Raises:
            MfnError: INVALID_ARGUMENT: with every parameter that is wrong.
        """
        ...

    def tell(self, reply: bytes) -> list[Told]:
        """What the client is told of a reply."""
        ...


class _Parameters:
    """Reads parameters one by one and remembers what is wrong with them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = dict(given)
        self.wrong: list[FieldViolation] = []

    def says(self, name: str) -> bool:
        """Whether it is there, and not taken yet."""
        return self._given.get(name) is not None

    def take(self, name: str, default: Any, kind: type, what: str) -> Any:
        value = self._given.pop(name, None)
        if value is None:
            return default
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
            value, fits = float(value), True
        if kind is int and isinstance(value, float) and value.is_integer():
            value, fits = int(value), True
        if (
            not fits
            or (kind is int and not -(1 << 31) <= value < 1 << 31)
            or (kind is float and not math.isfinite(value))
            or (kind is str and not _is_unicode(value))
        ):
            self.refuse(name, f"must be {what}")
            return default
        return value

    def within(self, name: str, default: int, low: int, high: int) -> int:
        value: int = self.take(name, default, int, f"a whole number from {low} to {high}")
        if not low <= value <= high:
            self.refuse(name, f"got {value}, must be {low} to {high}")
            return default
        return value

    def refuse(self, name: str, why: str) -> None:
        self.wrong.append(FieldViolation(field=name, description=why))

    def finish(self) -> None:
        for name in self._given:
            self.refuse(shown(name), "is no parameter of this stream")
        if self.wrong:
            more = len(self.wrong) - MAX_VIOLATIONS
            if more > 0:
                self.wrong[MAX_VIOLATIONS:] = [FieldViolation(field="params", description=f"and {more} more faults")]
            raise MfnError.invalid(self.wrong)


def policy_of(given: Mapping[str, Any]) -> Policy | None:
    """The policy that the parameters name; None: there is none of that name."""
    named = given.get("backpressure")
    if named is None:
        return Policy.DROP_OLDEST
    return next((policy for policy in Policy if policy.value == named), None)


def _simulation(parameters: _Parameters, *, steps: int) -> pb.SimulateRequest:
    """The part of the request that both streams have; every value is sent, so that absence means nothing."""
    take = parameters.take
    spec = pb.SimulationSpec(
        model=take("model", "", str, "the name of a model"),
        boundary=take("boundary", "", str, "periodic, neumann or dirichlet"),
        grid_size=take("grid_size", 64, int, "a whole number"),
        seed=take("seed", 42, int, "a whole number"),
    )
    said = [name for name in _OWN if parameters.says(name)]
    own = pb.MyceliumParameters(
        alpha=take("alpha", 0.18, float, "a number"),
        spike_probability=take("spike_probability", 0.25, float, "a number"),
        turing_enabled=take("turing_enabled", True, bool, "true or false"),
    )
    named = take("parameters", None, dict, "an object of numbers by name")
    model = MODELS.get(spec.model or MYCELIUM)
    if model is not None and model.species[0].unit != POTENTIAL:
        parameters.refuse("model", f"got {spec.model!r}, whose field is no potential, {_NO_POTENTIAL}")
    if named is not None:
        for name in said:
            parameters.refuse(name, "stands beside parameters; name it there")
        _name(spec, named, parameters)
    elif model is not None:
        declared = {each.name for each in model.parameters}
        if declared.issuperset(each.name for each in pb.MyceliumParameters.DESCRIPTOR.fields):
            spec.mycelium.CopyFrom(own)
        else:
            for name in said:
                if name in declared:
                    spec.parameter_values[name] = getattr(own, name)
                else:
                    parameters.refuse(name, f"is no parameter of the model {spec.model!r}; leave it out")
    take("backpressure", None, str, "drop_oldest, drop_newest, compress or wait")
    return pb.SimulateRequest(
        simulation=spec,
        steps=take("steps", steps, int, "a whole number"),
        frames=pb.FrameOptions(field_encoding=pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN),
    )


def _name(spec: pb.SimulationSpec, named: Mapping[str, Any], parameters: _Parameters) -> None:
    """Put parameters by name into the specification."""
    if len(named) > MOST_NAMED:
        parameters.refuse("parameters", f"got {len(named)} of them, must be at most {MOST_NAMED}; name fewer")
        return
    for name, value in named.items():
        path = f"parameters[{shown(name)}]"
        if not _is_unicode(name):
            parameters.refuse(path, "the name must be text in Unicode")
        elif not isinstance(value, bool | int | float) or not _is_finite(value):
            parameters.refuse(path, "must be a finite number")
        else:
            spec.parameter_values[name] = float(value)


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded: JSON may spell halves of characters."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no float comes near
        return False


_PATHS = (
    ("simulation.parameter_values", "parameters"),
    ("simulation.mycelium.", ""),
    ("simulation.", ""),
    ("frames.every_n_steps", "update_interval_steps"),
    ("frames.max_frames_per_second", "update_interval_ms"),
)
"""Where fields of the request come from, by what their paths begin with."""


def in_own_names(outcome: Outcome) -> Outcome:
    """The outcome of a call with the fields at fault named as the parameters that they were made of."""
    error = outcome.error
    if error is None or not error.violations:
        return outcome
    found = [FieldViolation(field=_own_name(each.field), description=each.description) for each in error.violations]
    message = error.message
    if message == MfnError.invalid(error.violations).message:
        message = MfnError.invalid(found).message
    told = MfnError(
        error.code,
        message,
        reason=error.reason,
        violations=found,
        retry_after=error.retry_after,
        details=error.details,
    )
    return Outcome(code=outcome.code, message=message, error=told)


def _own_name(path: str) -> str:
    for theirs, own in _PATHS:
        if path.startswith(theirs):
            return own + path[len(theirs) :]
    return path


def _frame(reply: bytes) -> pb.Frame:
    frame = pb.SimulateResponse.FromString(reply).frame
    if not frame.HasField("statistics"):
        text = f"the field of this model is no potential, {_NO_POTENTIAL}"
        raise MfnError.invalid([FieldViolation(field="model", description=text)])
    return frame


class SimulationLive:
    """`simulation_live`: the state of a run every so many steps, then its result."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._steps = 0
        self._whole = False

    def request(self) -> bytes:
        """See `Stream`."""
        parameters = _Parameters(self._given)
        request = _simulation(parameters, steps=64)
        request.frames.every_n_steps = parameters.within("update_interval_steps", 1, 1, 100)
        self._whole = parameters.take("include_full_state", False, bool, "true or false")
        parameters.finish()
        self._steps = request.steps
        return request.SerializeToString()

    def tell(self, reply: bytes) -> list[Told]:
        """See `Stream`."""
        frame = _frame(reply)
        state: dict[str, Any] = dict(potentials(frame.statistics))
        state |= features(frame, frozenset({"active_nodes"}))
        if self._whole:
            field = cells(frame.field)
            state["field_shape"] = list(field.shape)
            state["field_mean"] = state["pot_mean_mV"]
            state["field"] = (field * 1000.0).tolist()
        payload: dict[str, Any] = {
            "step": frame.step,
            "total_steps": self._steps,
            "state": state,
            "metrics": {"growth_events": frame.growth_events},
        }
        told = [Told("simulation_state", payload, kept=frame.is_final)]
        if frame.is_final:
            final = {
                "growth_events": frame.growth_events,
                **potentials(frame.statistics),
                "fractal_dimension": frame.fractal_dimension,
            }
            told.append(Told("simulation_complete", {"final_metrics": final}, kept=True))
        return told


class StreamFeatures:
    """`stream_features`: features of a running simulation, so many times a second."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._wanted = frozenset(FEATURES)
        self._sequence = 0

    def request(self) -> bytes:
        """See `Stream`."""
        parameters = _Parameters(self._given)
        request = _simulation(parameters, steps=1000)
        request.frames.every_n_steps = parameters.within("update_interval_steps", 1, 1, 100)
        request.frames.max_frames_per_second = 1000.0 / parameters.within("update_interval_ms", 100, 10, 10_000)
        wanted = parameters.take("features", None, list, "a list of names")
        # Whether updates are compressed is settled when the socket is opened, so that this changes nothing.
        parameters.take("compression", False, bool, "true or false")
        unknown = [name for name in wanted or () if name not in FEATURES]
        for name in unknown:
            parameters.refuse("features", f"{shown(str(name))!r} is none; known: {', '.join(FEATURES)}")
        parameters.finish()
        if wanted:
            self._wanted = frozenset(wanted)
        return request.SerializeToString()

    def tell(self, reply: bytes) -> list[Told]:
        """See `Stream`."""
        frame = _frame(reply)
        self._sequence += 1
        payload = {"sequence": self._sequence, "step": frame.step, "features": features(frame, self._wanted)}
        return [Told("feature_update", payload, kept=frame.is_final)]


STREAMS: Mapping[str, Callable[[Mapping[str, Any]], Stream]] = MappingProxyType(
    {"simulation_live": SimulationLive, "stream_features": StreamFeatures}
)
"""By their name, which is that of their path too."""


def raw_parameters(given: Mapping[str, Any]) -> bytes:
    """The parameters as they count in the audit."""
    return json.dumps(given, separators=(",", ":")).encode()
