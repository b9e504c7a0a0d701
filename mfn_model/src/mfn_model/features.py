"""Features of a field: 18 in a fixed order, five more, and what is odd about them.

>>> import numpy as np
>>> field = np.full((64, 64), -0.070)
>>> field[16:48, 16:48] = -0.055
>>> features = extract_features(field)
>>> features.V_max, features.f_active, features.N_clusters_low, features.max_cluster_size
(-55.0, 0.25, 1, 1024.0)
>>> dict(zip(features.names, features.units))["max_cluster_size"]
'cells'
>>> feature_warnings(features)
()
>>> print(*feature_warnings(extract_features(np.full((8, 8), -0.070))), sep="\\n")
D_box is undefined and stands at 0: no box holds a true cell
D_r2 is undefined and stands at 0: no box holds a true cell
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfn_model._accumulation import FeatureAccumulator, Masks
from mfn_model._components import component_sizes
from mfn_model._extended_features import EXTENDED_FEATURE_NAMES, ExtendedFeatures, extended_features
from mfn_model._feature_config import FeatureConfig
from mfn_model._feature_ranges import FeatureWarning, feature_warnings
from mfn_model._feature_vector import FEATURE_NAMES, FeatureVector
from mfn_model._shape import compactness, perimeter, value_entropy

__all__ = [
    "EXTENDED_FEATURE_NAMES",
    "FEATURE_NAMES",
    "ExtendedFeatures",
    "FeatureAccumulator",
    "FeatureConfig",
    "FeatureVector",
    "FeatureWarning",
    "Masks",
    "compactness",
    "component_sizes",
    "extended_features",
    "extract_features",
    "feature_warnings",
    "perimeter",
    "value_entropy",
]


def extract_features(
    field: npt.ArrayLike, config: FeatureConfig | None = None, *, masks: Masks | None = None
) -> FeatureVector:
    """The 18 features of a field [rows, columns], or of a history [frames, rows, columns]; in V unless configured.

    What is not about change is of the last frame. Of a single field, what is about change is 0. Thresholds are strict:
    a cell is active above the low one. A dimension that is undefined is 0, as in earlier results, and stands in
    `undefined` with its reason; `feature_warnings` tells it. Skewness and kurtosis of equal values are 0.

    `masks` are used instead of the thresholds, as in `FeatureAccumulator.features`, which gives the same features for
    frames that come one by one.

    Raises `ValueError` for another number of axes, no cells or frames, masked arrays, values that are NaN, infinite or
    too large for their squares, and a `max_box` beyond the shorter side.
    """
    frames = np.asanyarray(field)  # a masked array stays one, and is refused
    if frames.ndim not in (2, 3) or frames.size == 0:
        raise ValueError(
            f"a field has rows and columns, a history frames before them, and neither is empty; got {frames.shape}"
        )
    accumulator = FeatureAccumulator(config)
    for frame in frames if frames.ndim == 3 else [frames]:
        accumulator.add(frame)
    return accumulator.features(masks)
