"""How the fields of a sweep are measured: in the unit of their model, at three thresholds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mfn_model import get_model

if TYPE_CHECKING:
    from mfn_model.features import FeatureConfig

__all__ = ["feature_config", "feature_units"]

Thresholds = tuple[float, float, float]

SHARES = (0.25, 0.5, 0.75)
"""Where the thresholds of a model lie that is not in volts, in the range that its field is confined to, or in 0 to 1
where that is infinite."""


def feature_config(model: str, thresholds: Thresholds | None) -> FeatureConfig:
    """The configuration for a model.

    A field in volts is measured in millivolts at −60, −50 and −40 mV unless thresholds are given, and any other one
    in its own unit at the quarters of its range.

    Args:
        model: of the catalogue.
        thresholds: in mV or in the unit of the model; rising.

    Raises:
        ValueError: the thresholds do not rise, or lie beyond −100 to 50 mV.
    """
    from mfn_model.features import FeatureConfig

    declaration = get_model(model)
    species = declaration.species[0]
    if species.unit == "V":
        if thresholds is None:
            return FeatureConfig()
        low, medium, high = thresholds
        return FeatureConfig(threshold_low=low, threshold_medium=medium, threshold_high=high)
    if thresholds is None:
        bottom, top = declaration.clamp
        if not (math.isfinite(bottom) and math.isfinite(top)):
            bottom, top = 0.0, 1.0
        low, medium, high = (bottom + share * (top - bottom) for share in SHARES)
    else:
        low, medium, high = thresholds
    return FeatureConfig(unit=species.unit, factor=1.0, threshold_low=low, threshold_medium=medium, threshold_high=high)


def feature_units(config: FeatureConfig) -> dict[str, str]:
    """The unit of each feature by its name; `1` where it has none."""
    import numpy as np

    from mfn_model.features import extract_features

    features = extract_features(np.zeros((2, 2)), config)
    return dict(zip(features.names, features.units, strict=True))
