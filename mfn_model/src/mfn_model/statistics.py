"""Moments, extremes and activity of a potential field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model.mycelium import ACTIVE_THRESHOLD

__all__ = ["FieldStatistics", "active_mask", "field_statistics", "mean_and_std"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldStatistics:
    """Summary of a potential field; in V, with the same in mV beside it."""

    minimum: float
    maximum: float
    mean: float
    std: float
    """Population standard deviation (divisor: the number of cells)."""
    active_fraction: float
    """Share of the cells above the threshold, 0 … 1."""
    active_cells: int
    cells: int

    @property
    def minimum_mv(self) -> float:
        """Minimum in mV."""
        return self.minimum * 1000.0

    @property
    def maximum_mv(self) -> float:
        """Maximum in mV."""
        return self.maximum * 1000.0

    @property
    def mean_mv(self) -> float:
        """Mean in mV."""
        return self.mean * 1000.0

    @property
    def std_mv(self) -> float:
        """Population standard deviation in mV."""
        return self.std * 1000.0


def active_mask(field: npt.NDArray[np.float64], threshold: float = ACTIVE_THRESHOLD) -> npt.NDArray[np.bool_]:
    """Where `field` lies strictly above `threshold`, both in V; a bool array of the field's shape."""
    return np.asarray(np.greater(field, threshold))


def field_statistics(field: npt.NDArray[np.float64], threshold: float = ACTIVE_THRESHOLD) -> FieldStatistics:
    """The statistics of a field in V, of any shape with at least one cell.

    NaN makes minimum, maximum, mean and deviation NaN and counts as inactive. Raises `ValueError` for an empty field.
    """
    values = np.asarray(field, dtype=np.float64).ravel()
    mean, std = mean_and_std(values)
    cells = values.size
    active = int(np.count_nonzero(active_mask(values, threshold)))
    return FieldStatistics(
        minimum=float(np.minimum.reduce(values)),
        maximum=float(np.maximum.reduce(values)),
        mean=mean,
        std=std,
        active_fraction=active / cells,
        active_cells=active,
        cells=cells,
    )


def mean_and_std(field: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean and population standard deviation, exactly those of `field_statistics`, for less than half of its time.

    Takes a field of any shape with at least one cell, in any unit, which is theirs too. NaN, and infinities, make both
    not finite. Raises `ValueError` for an empty field.
    """
    values = np.asarray(field, dtype=np.float64).ravel()
    cells = values.size
    if cells == 0:
        raise ValueError("a field without cells has no statistics")
    mean = float(np.add.reduce(values)) / cells
    deviations = np.subtract(values, mean)
    np.multiply(deviations, deviations, out=deviations)
    return mean, math.sqrt(float(np.add.reduce(deviations)) / cells)
