"""From reply messages to results. `ValueError` where a reply breaks the contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2

from mfn_client._analysis_replies import dimension_estimates, features_measured
from mfn_client._analysis_results import SpeciesStatistics, ThresholdUsed
from mfn_client.results import (
    Acknowledgement,
    BoxCount,
    Dimension,
    FeatureFrame,
    Features,
    FieldAnalysis,
    FieldStatistics,
    Frame,
    ServingStatus,
    SessionEnded,
    SessionEndReason,
    SimulationFrame,
    SimulationSummary,
    SpeciesFrame,
    Validation,
)
from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.v1 import field_pb2

__all__ = [
    "acknowledgement",
    "analysis",
    "ended",
    "feature_frame",
    "features",
    "frame",
    "nernst_potential",
    "parsed",
    "serving_status",
    "simulate_frame",
    "simulation_frame",
    "simulation_summary",
    "species_statistics",
    "validation",
]

M = TypeVar("M", bound=Message)

_DTYPES: Mapping[int, np.dtype[Any]] = {
    field_pb2.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: np.dtype("<f8"),
    field_pb2.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: np.dtype("<f4"),
}
_REASON_PREFIX = "SESSION_END_REASON_"


def parsed(kind: Callable[[], M], raw: bytes) -> M:
    """The message of type `kind` in `raw`."""
    message = kind()
    try:
        message.ParseFromString(raw)
    except DecodeError as wrong:
        raise ValueError(f"{len(raw)} bytes are no {message.DESCRIPTOR.full_name}") from wrong
    return message


def features(raw: bytes) -> Features:
    """The reply of ExtractFeatures."""
    reply = parsed(mfn_pb2.FeatureResponse, raw)
    return Features(
        server=dict(reply.meta.meta),
        fractal_dimension=reply.fractal_dimension,
        **_summary(reply),
    )


def simulation_summary(raw: bytes) -> SimulationSummary:
    """The reply of RunSimulation."""
    reply = parsed(mfn_pb2.SimulationResult, raw)
    return SimulationSummary(
        server=dict(reply.meta.meta),
        fractal_dimension=reply.fractal_dimension,
        **_summary(reply),
    )


def validation(raw: bytes) -> Validation:
    """The reply of ValidatePattern."""
    reply = parsed(mfn_pb2.ValidationResult, raw)
    if not reply.growth_events.is_integer():
        raise ValueError(f"growth_events is {reply.growth_events!r}, not a whole number")
    return Validation(
        request_id=reply.request_id,
        loss_start=reply.loss_start,
        loss_final=reply.loss_final,
        loss_drop=reply.loss_drop,
        pot_min_mv=reply.pot_min_mV,
        pot_max_mv=reply.pot_max_mV,
        example_fractal_dimension=reply.example_fractal_dim,
        lyapunov_exponent=reply.lyapunov_exponent,
        growth_events=int(reply.growth_events),
        nernst_symbolic_mv=reply.nernst_symbolic_mV,
        nernst_numeric_mv=reply.nernst_numeric_mV,
        server=dict(reply.meta.meta),
    )


def nernst_potential(raw: bytes) -> float:
    """The reply of ComputeNernst, mV."""
    return parsed(mycelium_pb2.NernstResponse, raw).potential_mV


def serving_status(raw: bytes) -> ServingStatus:
    """The reply of a health check. A status of a later version of the protocol is UNKNOWN."""
    number = parsed(health_pb2.HealthCheckResponse, raw).status
    names = health_pb2.HealthCheckResponse.ServingStatus
    name = names.Name(number) if number in names.values() else ""
    return ServingStatus(name) if name in ServingStatus.__members__ else ServingStatus.UNKNOWN


def feature_frame(raw: bytes) -> FeatureFrame:
    """One reply of StreamFeatures."""
    reply = parsed(mfn_pb2.FeatureFrame, raw)
    return FeatureFrame(
        step=reply.step, is_final=reply.is_final, fractal_dimension=reply.fractal_dimension, **_summary(reply)
    )


def simulation_frame(raw: bytes) -> SimulationFrame:
    """One reply of StreamSimulation."""
    reply = parsed(mfn_pb2.SimulationFrame, raw)
    return SimulationFrame(step=reply.step, is_final=reply.is_final, **_summary(reply))


def simulate_frame(raw: bytes) -> Frame:
    """One reply of Simulate."""
    return frame(parsed(field_pb2.SimulateResponse, raw).frame)


def analysis(raw: bytes) -> FieldAnalysis:
    """The reply of AnalyzeField."""
    reply = parsed(field_pb2.AnalyzeFieldResponse, raw)
    return FieldAnalysis(
        request_id=reply.request_id,
        statistics=_statistics(reply),
        dimension=_dimension(reply.dimension),
        fractal_dimension=reply.fractal_dimension,
        active_fraction=reply.active_fraction,
        threshold_volts=_single_potential(reply),
        values=species_statistics(reply.values) if reply.HasField("values") else None,
        threshold=_threshold(reply.threshold) if reply.HasField("threshold") else None,
        features=features_measured(reply),
        dimensions=dimension_estimates(reply),
        warnings=tuple(reply.warnings),
    )


def frame(message: field_pb2.Frame) -> Frame:
    """A snapshot, with its field where it has one."""
    return Frame(
        request_id=message.request_id,
        step=message.step,
        is_final=message.is_final,
        statistics=_statistics(message),
        growth_events=message.growth_events,
        dimension=_dimension(message.dimension),
        fractal_dimension=message.fractal_dimension,
        field=_array(message.field) if message.HasField("field") else None,
        unit=message.species[0].unit if message.species else "V",
        species=tuple(
            SpeciesFrame(
                statistics=species_statistics(each), field=_array(each.field) if each.HasField("field") else None
            )
            for each in message.species
        ),
    )


def species_statistics(message: field_pb2.SpeciesFrame) -> SpeciesStatistics:
    """Statistics of any quantity."""
    return SpeciesStatistics(
        name=message.name,
        unit=message.unit,
        min=message.min,
        max=message.max,
        mean=message.mean,
        std=message.std,
    )


def acknowledgement(message: field_pb2.CommandAcknowledgement) -> Acknowledgement:
    """A command has taken effect."""
    return Acknowledgement(sequence=message.sequence, step=message.step, duplicate=message.duplicate)


def ended(message: field_pb2.SessionEnded) -> SessionEnded:
    """A session is over. A reason of a later version of the contract is UNSPECIFIED."""
    reason = SessionEndReason.UNSPECIFIED
    if message.reason in field_pb2.SessionEndReason.values():
        name = field_pb2.SessionEndReason.Name(message.reason).removeprefix(_REASON_PREFIX)
        if name in SessionEndReason.__members__:
            reason = SessionEndReason(name)
    return SessionEnded(reason=reason, step=message.step)


def _summary(reply: Any) -> dict[str, Any]:
    """What all replies of package `mfn` share."""
    return {
        "request_id": reply.request_id,
        "growth_events": reply.growth_events,
        "pot_min_mv": reply.pot_min_mV,
        "pot_max_mv": reply.pot_max_mV,
        "pot_mean_mv": reply.pot_mean_mV,
        "pot_std_mv": reply.pot_std_mV,
    }


def _statistics(owner: field_pb2.Frame | field_pb2.AnalyzeFieldResponse) -> FieldStatistics:
    """Statistics of a potential; NaN where the message has none, so that nobody takes another quantity for one."""
    if not owner.HasField("statistics"):
        return FieldStatistics(min_volts=math.nan, max_volts=math.nan, mean_volts=math.nan, std_volts=math.nan)
    message = owner.statistics
    return FieldStatistics(
        min_volts=message.min_volts,
        max_volts=message.max_volts,
        mean_volts=message.mean_volts,
        std_volts=message.std_volts,
    )


def _single_potential(reply: field_pb2.AnalyzeFieldResponse) -> float:
    """The threshold in V; NaN where it is another quantity, or not the same everywhere."""
    if not reply.HasField("threshold"):
        return reply.threshold_volts
    used = reply.threshold
    return used.value if used.unit == "V" and used.HasField("value") else math.nan


def _threshold(message: field_pb2.ThresholdUsed) -> ThresholdUsed:
    return ThresholdUsed(
        method=message.method, value=message.value if message.HasField("value") else None, unit=message.unit
    )


def _dimension(message: field_pb2.FractalDimension) -> Dimension:
    return Dimension(
        value=message.value if message.HasField("value") else None,
        reason=message.reason,
        r_squared=message.r_squared if message.HasField("r_squared") else None,
        scales=tuple(
            BoxCount(box_size=point.box_size, occupied_boxes=point.occupied_boxes) for point in message.scales
        ),
    )


def _array(message: field_pb2.Field) -> npt.NDArray[Any]:
    """The numbers, read-only, over the message's own bytes."""
    dtype = _DTYPES.get(message.encoding)
    shape = tuple(message.shape)
    if dtype is None or len(shape) != 2:
        raise ValueError(f"a field of encoding {message.encoding} and shape {shape} cannot be read")
    if len(message.data) != shape[0] * shape[1] * dtype.itemsize:
        raise ValueError(f"a field of shape {shape} came in {len(message.data)} bytes of {dtype.name}")
    array = np.frombuffer(message.data, dtype).reshape(shape)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
        array.flags.writeable = False
    return array
