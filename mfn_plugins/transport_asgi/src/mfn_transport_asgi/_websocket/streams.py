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

from mfn_core.errors import FieldViolation, MfnError
from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._websocket.features import FEATURES, cells, features, potentials
from mfn_transport_asgi._websocket.outbox import Policy

__all__ = ["OPERATION", "STREAMS", "Stream", "Told", "policy_of", "raw_parameters"]

OPERATION = b"/mfn.v1.FieldService/Simulate"


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
            self.refuse(str(name)[:64], "is no parameter of this stream")
        if self.wrong:
            raise MfnError.invalid(self.wrong)


def policy_of(given: Mapping[str, Any]) -> Policy | None:
    """The policy that the parameters name; None: there is none of that name."""
    named = given.get("backpressure", Policy.DROP_OLDEST.value)
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
    own = pb.MyceliumParameters(
        alpha=take("alpha", 0.18, float, "a number"),
        spike_probability=take("spike_probability", 0.25, float, "a number"),
        turing_enabled=take("turing_enabled", True, bool, "true or false"),
    )
    named = take("parameters", None, dict, "an object of numbers by name")
    if named is None:
        spec.mycelium.CopyFrom(own)
    else:
        for name, value in named.items():
            if isinstance(value, bool | int | float) and math.isfinite(value):
                spec.parameter_values[str(name)] = float(value)
            else:
                parameters.refuse(f"parameters.{str(name)[:64]}", "must be a finite number")
    take("backpressure", None, str, "drop_oldest, drop_newest, compress or wait")
    return pb.SimulateRequest(
        simulation=spec,
        steps=take("steps", steps, int, "a whole number"),
        frames=pb.FrameOptions(field_encoding=pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN),
    )


def _frame(reply: bytes) -> pb.Frame:
    frame = pb.SimulateResponse.FromString(reply).frame
    if not frame.HasField("statistics"):
        text = "the field of this model is no potential, and this stream tells of potentials alone; use /ws/field"
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
            parameters.refuse("features", f"{str(name)[:64]!r} is none; known: {', '.join(FEATURES)}")
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
