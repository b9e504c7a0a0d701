"""Aggregation of gradients from clients of whom some may be wrong, by mistake or on purpose (Byzantine).

>>> import numpy as np
>>> gradients = np.random.default_rng(1).normal(1.0, 0.1, size=(10, 4))
>>> gradients[7:] = -1000.0
>>> [bool(abs(aggregate - 1.0).max() < 0.3) for aggregate in (
...     multi_krum(gradients, byzantine=3).gradient,
...     coordinate_trimmed_mean(gradients, byzantine=3),
...     geometric_median(gradients).gradient,
... )]
[True, True, True]

| function | what wrong gradients cannot do | needs of n gradients, f of them wrong |
| --- | --- | --- |
| `krum`, `multi_krum` | be chosen far from the others | n >= 2 f + 3 |
| `bulyan` | that, nor move one coordinate far | n >= 4 f + 3 |
| `coordinate_trimmed_mean`, `coordinate_median` | move a coordinate beyond the honest values | n >= 2 f + 1 |
| `geometric_median` | move the result without bound | n >= 2 f + 1 |
| `balanced_hierarchical_krum` | be chosen far from the others, at a cost of n² / clusters | see there |
| `hierarchical_krum` | kept for its numbers, with no such guarantee | |

Gradients are a matrix [clients, coordinates] or a sequence of vectors; `GradientAccumulator` collects those that
arrive in pieces.
"""

from mfn_model.aggregation._accumulator import GradientAccumulator, GradientBudgetError
from mfn_model.aggregation._coordinatewise import coordinate_median, coordinate_trimmed_mean
from mfn_model.aggregation._geometric import GeometricMedian, NotConvergedError, geometric_median
from mfn_model.aggregation._hierarchy import balanced_hierarchical_krum, hierarchical_krum, most_borne
from mfn_model.aggregation._krum import bulyan, krum, multi_krum
from mfn_model.aggregation._results import Aggregate, HierarchicalAggregate
from mfn_model.aggregation._rows import LARGEST_VALUE, Check, Gradients

__all__ = [
    "LARGEST_VALUE",
    "Aggregate",
    "Check",
    "GeometricMedian",
    "GradientAccumulator",
    "GradientBudgetError",
    "Gradients",
    "HierarchicalAggregate",
    "NotConvergedError",
    "balanced_hierarchical_krum",
    "bulyan",
    "coordinate_median",
    "coordinate_trimmed_mean",
    "geometric_median",
    "hierarchical_krum",
    "krum",
    "most_borne",
    "multi_krum",
]
