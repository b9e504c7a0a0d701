"""The features of a field, named and in their fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

__all__ = ["FEATURE_NAMES", "FeatureVector", "area_unit", "feature_units"]

FEATURE_NAMES = (
    "D_box",
    "D_r2",
    "V_min",
    "V_max",
    "V_mean",
    "V_std",
    "V_skew",
    "V_kurt",
    "dV_mean",
    "dV_max",
    "T_stable",
    "E_trend",
    "f_active",
    "N_clusters_low",
    "N_clusters_med",
    "N_clusters_high",
    "max_cluster_size",
    "cluster_size_std",
)
"""The 18 features, in the order of `FeatureVector.as_array`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVector:
    """18 features of a field or of the history of one; static ones are of its last frame.

    Units are in `units`: V below stands for the unit of `FeatureConfig`, mV by default.
    """

    names: ClassVar[tuple[str, ...]] = FEATURE_NAMES

    D_box: float
    """Legacy box-counting dimension of the active cells; 0 where it is undefined."""
    D_r2: float
    """R² of its fit, 0 … 1; 0 where it is undefined."""
    V_min: float
    """Least value (V)."""
    V_max: float
    """Largest value (V)."""
    V_mean: float
    """Mean (V)."""
    V_std: float
    """Population standard deviation (V)."""
    V_skew: float
    """Skewness, m₃/σ³; 0 where values are equal but for rounding, in mV where σ ≤ 1e-10."""
    V_kurt: float
    """Excess kurtosis, m₄/σ⁴ − 3; 0 where the skewness is."""
    dV_mean: float  # noqa: N815 - ΔV, the name of the feature
    """Mean |ΔV| between frames, over all frames and cells (V/step); 0 for one frame."""
    dV_max: float  # noqa: N815 - ΔV, the name of the feature
    """Largest |ΔV| between frames (V/step); 0 for one frame."""
    T_stable: int
    """Frame at which a first run of quiet steps begins; the number of frames where there is none, 0 for one frame."""
    E_trend: float
    """Slope of Σ V² over the frames (V²/step); 0 for one frame."""
    f_active: float
    """Share of the cells above the low threshold, 0 … 1."""
    N_clusters_low: int
    """Clusters of cells above the low threshold."""
    N_clusters_med: int
    """Clusters of cells above the medium threshold."""
    N_clusters_high: int
    """Clusters of cells above the high threshold."""
    max_cluster_size: float
    """Area of the largest cluster above the low threshold; 0 without one."""
    cluster_size_std: float
    """Population standard deviation of the areas of those clusters; 0 for fewer than two."""
    units: tuple[str, ...]
    """One for each feature; `1` where it has none."""
    undefined: tuple[tuple[str, str], ...] = ()
    """Features that stand at 0 because they are undefined, each with the reason."""

    def as_array(self) -> npt.NDArray[np.float64]:
        """The features in their order, 18 float64."""
        return np.array([getattr(self, name) for name in self.names], dtype=np.float64)

    def as_dict(self) -> dict[str, float]:
        """The features by name, in their order."""
        return {name: getattr(self, name) for name in self.names}

    def __getitem__(self, name: str) -> float:
        """One feature; raises `KeyError` for a name that is none."""
        if name not in self.names:
            raise KeyError(name)
        value: float = getattr(self, name)
        return value


def feature_units(unit: str, length_unit: str) -> tuple[str, ...]:
    """The units of the 18 features."""
    squared = f"{unit}²/step" if unit != "1" else "1/step"
    each_step = f"{unit}/step"
    area = area_unit(length_unit)
    return ("1", "1", *(unit,) * 4, "1", "1", each_step, each_step, "steps", squared, *("1",) * 4, area, area)


def area_unit(length_unit: str) -> str:
    """`cells` for cells, otherwise the square of the unit."""
    return length_unit if length_unit == "cells" else f"{length_unit}²"
