"""States and measurements as messages of package `mfn.v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfn_model import DimensionEstimate, FieldState, FieldStatistics
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._measures import dimension, statistics

__all__ = ["CELL_TYPES", "encoded_field", "fractal_dimension", "frame", "statistics_message"]

CELL_TYPES: Mapping[int, np.dtype[Any]] = {
    pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: np.dtype("<f8"),
    pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: np.dtype("<f4"),
}
"""The encodings that carry a field, each with the type of a cell."""


def frame(
    state: FieldState, *, request_id: str, is_final: bool, encoding: pb.FieldEncoding, injections: int = 0
) -> pb.Frame:
    """A snapshot. Called on compute threads.

    Args:
        state: the state to describe.
        request_id: the caller's own.
        is_final: whether it is the run's last frame.
        encoding: how the field is carried; one that is not in `CELL_TYPES` means that it is not.
        injections: growth events of the state that were injected, and are not counted.

    Raises:
        MfnError: FAILED_PRECONDITION, when the field holds NaN or infinite values.
    """
    found = statistics(state)
    estimate, legacy = dimension(state.field)
    return pb.Frame(
        request_id=request_id,
        step=state.step,
        is_final=is_final,
        statistics=statistics_message(found),
        growth_events=state.growth_events - injections,
        dimension=fractal_dimension(estimate),
        fractal_dimension=legacy,
        field=encoded_field(state, encoding) if encoding in CELL_TYPES else None,
    )


def statistics_message(found: FieldStatistics) -> pb.FieldStatistics:
    """Statistics in volts."""
    return pb.FieldStatistics(
        min_volts=found.minimum, max_volts=found.maximum, mean_volts=found.mean, std_volts=found.std
    )


def fractal_dimension(estimate: DimensionEstimate) -> pb.FractalDimension:
    """A dimension with its fit, or with the reason why there is none."""
    return pb.FractalDimension(
        value=estimate.value,
        reason=estimate.reason or "",
        r_squared=estimate.r_squared,
        scales=[
            pb.BoxCount(box_size=size, occupied_boxes=count)
            for size, count in zip(estimate.scales, estimate.counts, strict=True)
        ],
    )


def encoded_field(state: FieldState, encoding: pb.FieldEncoding) -> pb.Field:
    """The potential in bytes, row by row."""
    return pb.Field(
        data=state.field.astype(CELL_TYPES[encoding], copy=False).tobytes(),
        encoding=encoding,
        shape=state.field.shape,
        unit="V",
    )
