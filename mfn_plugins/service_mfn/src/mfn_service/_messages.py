"""States and measurements as messages of package `mfn.v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mfn_model import DimensionEstimate, FieldStatistics
from mfn_proto.v1 import field_pb2 as pb

__all__ = ["CELL_TYPES", "encoded_field", "fractal_dimension", "species_frame", "statistics_message"]

CELL_TYPES: Mapping[int, np.dtype[Any]] = {
    pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: np.dtype("<f8"),
    pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: np.dtype("<f4"),
}
"""The encodings that carry a field, each with the type of a cell."""


def statistics_message(found: FieldStatistics) -> pb.FieldStatistics:
    """Statistics of a potential, in volts."""
    return pb.FieldStatistics(
        min_volts=found.minimum, max_volts=found.maximum, mean_volts=found.mean, std_volts=found.std
    )


def species_frame(
    found: FieldStatistics, unit: str, *, name: str = "", field: pb.Field | None = None
) -> pb.SpeciesFrame:
    """Statistics of any quantity in its own unit, with its field where there is one."""
    return pb.SpeciesFrame(
        name=name,
        unit=unit,
        min=found.minimum,
        max=found.maximum,
        mean=found.mean,
        std=found.std,
        field=field,
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


def encoded_field(values: npt.NDArray[np.float64], encoding: pb.FieldEncoding, unit: str) -> pb.Field | None:
    """A quantity in bytes, row by row; None for an encoding that carries no field."""
    cell = CELL_TYPES.get(encoding)
    if cell is None:
        return None
    with np.errstate(over="ignore"):  # a value beyond float32 is infinite there
        data = values.astype(cell, copy=False).tobytes()
    return pb.Field(data=data, encoding=encoding, shape=values.shape, unit=unit)
