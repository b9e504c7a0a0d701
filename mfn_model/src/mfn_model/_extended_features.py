"""Features beyond the 18: further dimensions, entropy and shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from mfn_model._accumulation import checked_values
from mfn_model._correlation import correlation_dimension
from mfn_model._estimate import DimensionEstimate
from mfn_model._feature_config import FeatureConfig
from mfn_model._information import information_dimension
from mfn_model._shape import compactness, perimeter, value_entropy

__all__ = ["EXTENDED_FEATURE_NAMES", "ExtendedFeatures", "extended_features"]

EXTENDED_FEATURE_NAMES = ("D_correlation", "D_information", "H_entropy", "L_perimeter", "compactness")
"""The further features, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedFeatures:
    """Five features of one field beyond the 18; `None` for what is undefined."""

    names: ClassVar[tuple[str, ...]] = EXTENDED_FEATURE_NAMES

    correlation: DimensionEstimate
    """The correlation dimension of the active cells, with its fit."""
    information: DimensionEstimate
    """The information dimension of the active cells, with its fit."""
    H_entropy: float
    """Shannon entropy of the histogram of the values (bits)."""
    L_perimeter: float
    """Length of the boundary of the active cells; 0 without any."""
    compactness: float | None
    """4π · area / perimeter² of the active cells, 1 for a disc; `None` without a boundary."""
    units: tuple[str, ...]
    """One for each feature; `1` where it has none."""

    @property
    def D_correlation(self) -> float | None:  # noqa: N802 - the name of the feature
        """The correlation dimension of the active cells."""
        return self.correlation.value

    @property
    def D_information(self) -> float | None:  # noqa: N802 - the name of the feature
        """The information dimension of the active cells."""
        return self.information.value

    def as_dict(self) -> dict[str, float | None]:
        """The features by name, in their order."""
        return {name: getattr(self, name) for name in self.names}

    def as_array(self) -> npt.NDArray[np.float64]:
        """The features in their order, 5 float64; NaN for what is undefined."""
        return np.array([np.nan if value is None else value for value in self.as_dict().values()], dtype=np.float64)


def extended_features(
    field: npt.ArrayLike, config: FeatureConfig | None = None, *, mask: npt.ArrayLike | None = None
) -> ExtendedFeatures:
    """Correlation and information dimension, entropy, perimeter and compactness of one field, rows × columns.

    The active cells are those above the low threshold, or `mask`. The entropy is that of all values, over
    `entropy_bins` bins from the least to the largest. Raises `ValueError` when the field is not a matrix with at least
    one cell or holds NaN or infinite values, or the mask has another shape.
    """
    config = FeatureConfig() if config is None else config
    values = checked_values(field, config.factor)
    active = values > config.threshold_low if mask is None else np.asarray(mask, dtype=np.bool_)
    if active.shape != values.shape:
        raise ValueError(f"a mask has the shape of the field, {values.shape}, got {active.shape}")
    boundary = perimeter(active, periodic=config.periodic)
    return ExtendedFeatures(
        correlation=correlation_dimension(active, periodic=config.periodic),
        information=information_dimension(active, periodic=config.periodic),
        H_entropy=value_entropy(values, config.entropy_bins),
        L_perimeter=boundary * config.cell_length,
        compactness=compactness(int(np.count_nonzero(active)), boundary) if boundary > 0.0 else None,
        units=("1", "1", "bits", config.length_unit, "1"),
    )
