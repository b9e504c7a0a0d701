"""Dimensions of a mask: box counting, information and correlation dimension.

Each estimator fits a line to what it counts at several scales ε and gives a `DimensionEstimate`: the slope, R², the
standard error and its 95 % interval, the points, or the reason why there is none.

| estimator | order | what it counts |
| --- | --- | --- |
| `estimate_dimension` | 0 | boxes with a true cell, over nested divisions of the grid in every position on the torus |
| `offset_averaged_dimension` | 0 | the same with squares of more sizes, and edges at which the mask ends |
| `information_dimension` | 1 | the mass in a box around a cell, in the mean of its logarithm; of a mask, or weighted |
| `correlation_dimension` | 2 | the same, in the mean |
| `box_counting_legacy` | 0 | boxes as earlier results counted them, with their peculiarities |

A set that is alike everywhere has one dimension, whatever the order; otherwise it falls as the order rises.

>>> import numpy as np
>>> round(estimate_dimension(np.ones((50, 50), dtype=bool)).value, 3)
2.0
>>> round(box_counting_dimension_legacy(np.ones((50, 50), dtype=bool)), 3)
2.062
>>> carpet = np.ones((1, 1), dtype=bool)
>>> for _ in range(5):
...     carpet = np.kron(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool), carpet)
>>> round(estimate_dimension(carpet).value, 2), round(information_dimension(carpet).value, 2)
(1.9, 1.88)
"""

from __future__ import annotations

from mfn_model._box_counting import estimate_dimension
from mfn_model._box_counting_legacy import box_counting_dimension_legacy, box_counting_legacy, legacy_box_sizes
from mfn_model._correlation import correlation_dimension
from mfn_model._estimate import DimensionEstimate
from mfn_model._information import information_dimension
from mfn_model._offset_averaging import offset_averaged_dimension

__all__ = [
    "DimensionEstimate",
    "box_counting_dimension_legacy",
    "box_counting_legacy",
    "correlation_dimension",
    "estimate_dimension",
    "information_dimension",
    "legacy_box_sizes",
    "offset_averaged_dimension",
]
