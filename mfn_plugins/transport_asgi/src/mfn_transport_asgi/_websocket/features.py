"""What a subscription tells of a field beside its frame's own statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mfn_proto.v1 import field_pb2 as pb

__all__ = ["CELL_TYPES", "FEATURES", "THRESHOLD_VOLTS", "cells", "features", "potentials"]

THRESHOLD_VOLTS = -0.060
"""Cells above it are active."""

CELL_TYPES: Mapping[int, str] = MappingProxyType(
    {pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: "<f8", pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: "<f4"}
)


def cells(field: pb.Field) -> NDArray[np.floating]:
    """The numbers of a field, shape (rows, columns), in its unit."""
    return np.frombuffer(field.data, dtype=CELL_TYPES[field.encoding]).reshape(tuple(field.shape))


def potentials(statistics: pb.FieldStatistics) -> dict[str, float]:
    """Statistics of a potential, in mV."""
    return {
        "pot_mean_mV": statistics.mean_volts * 1000.0,
        "pot_std_mV": statistics.std_volts * 1000.0,
        "pot_min_mV": statistics.min_volts * 1000.0,
        "pot_max_mV": statistics.max_volts * 1000.0,
    }


def _active_nodes(field: NDArray[np.floating]) -> float:
    return int(np.count_nonzero(field > THRESHOLD_VOLTS))


def _activity_ratio(field: NDArray[np.floating]) -> float:
    return _active_nodes(field) / field.size


def _total_energy(field: NDArray[np.floating]) -> float:
    return float(np.vdot(field, field))


def _spatial_variance(field: NDArray[np.floating]) -> float:
    # Along a side of one cell there is no slope.
    slopes = [np.gradient(field, axis=axis) for axis, cells in enumerate(field.shape) if cells > 1]
    return float(np.mean(sum(slope * slope for slope in slopes))) if slopes else 0.0


_OF_THE_FIELD: Mapping[str, Callable[[NDArray[np.floating]], float]] = MappingProxyType(
    {
        "active_nodes": _active_nodes,
        "activity_ratio": _activity_ratio,
        "total_energy": _total_energy,
        "spatial_variance": _spatial_variance,
    }
)

FEATURES = (
    "pot_mean_mV",
    "pot_std_mV",
    "pot_min_mV",
    "pot_max_mV",
    "fractal_dimension",
    *_OF_THE_FIELD,
)
"""Every feature by name.

`pot_…`: mV, of the whole field. `fractal_dimension`: box counting over the active cells, 0 where it is undefined.
`active_nodes`: cells above -60 mV, and `activity_ratio` their share, 0 to 1. `total_energy`: the sum of the squared
potentials, V². `spatial_variance`: the mean squared length of the gradient, V² per cell², by central differences, and
one-sided ones at the edges, and none along a side of one cell.
"""


def features(frame: pb.Frame, wanted: frozenset[str]) -> dict[str, float]:
    """The wanted ones of `FEATURES`, of a frame that carries its field."""
    found: dict[str, float] = {**potentials(frame.statistics), "fractal_dimension": frame.fractal_dimension}
    field = cells(frame.field)
    found |= {name: measure(field) for name, measure in _OF_THE_FIELD.items() if name in wanted}
    return {name: found[name] for name in FEATURES if name in wanted}
