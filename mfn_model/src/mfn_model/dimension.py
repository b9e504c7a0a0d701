"""Box-counting dimension of a square mask.

The dimension is the slope of ln N(ε) against ln(1/ε), where N(ε) is the number of boxes of side ε that hold a true
cell (K. Falconer, Fractal Geometry, 3rd ed., §2.1). There are two estimators. `estimate_dimension` is the one to
use. `box_counting_dimension_legacy` reproduces the numbers of earlier results, with their peculiarities.

>>> import numpy as np
>>> round(estimate_dimension(np.ones((50, 50), dtype=bool)).value, 3)
2.0
>>> round(box_counting_dimension_legacy(np.ones((50, 50), dtype=bool)), 3)
2.062
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import boolean_matrix, coarsened, coarsened_at, count_aligned_boxes

__all__ = [
    "DimensionEstimate",
    "box_counting_dimension_legacy",
    "box_counting_legacy",
    "estimate_dimension",
    "legacy_box_sizes",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionEstimate:
    """A dimension with the fit that it comes from, or the reason why there is none."""

    value: float | None
    """The slope, or `None` when it is undefined."""
    reason: str | None
    """Why `value` is `None`; `None` when there is a value."""
    r_squared: float | None
    """Coefficient of determination of the fit, 0 … 1; 1 where all counts are equal, since a flat line meets them."""
    scales: tuple[float, ...]
    """Box sizes in cells, ascending."""
    counts: tuple[int, ...]
    """Boxes with a true cell, one for each scale."""


def estimate_dimension(mask: npt.ArrayLike, *, min_box: int = 2) -> DimensionEstimate:
    """Box-counting dimension of a square mask of truth values, 0 … 2.

    The grid is divided into b × b boxes with b = q, q², q³, …, where q is 3 for a grid whose side is a power of three
    and 2 for any other. Where b does not divide N, boxes are floor(N/b) or ceil(N/b) cells wide; ε is N/b. Every
    division refines the one before and covers the whole mask, so that counts grow by a factor of 1 … q² from one to
    the next: a full mask has dimension 2 for any N, and no mask has more. Boxes are at least `min_box` cells wide.

    The value is undefined, with a reason, for an empty mask and for a grid too small for two scales (N below 8 at the
    default `min_box`). Raises `ValueError` when the mask is not a square matrix or `min_box` is below 1.
    """
    if min_box < 1:
        raise ValueError(f"min_box must be at least 1, got {min_box}")
    matrix = boolean_matrix(mask)
    n = matrix.shape[0]
    if not matrix.any():
        return _undefined("the mask is empty")
    factor, divisions = _divisions(n, min_box)
    if len(divisions) < 2:
        return _undefined(
            f"a grid of {n} cells has {len(divisions)} of the two scales needed at box sizes from {min_box} cells"
        )
    finest = divisions[0]
    if n % finest == 0:
        level = coarsened(matrix, n // finest)
    else:
        level = coarsened_at(matrix, [box * n // finest for box in range(finest)])
    counts = [int(np.count_nonzero(level))]
    for _ in divisions[1:]:
        level = coarsened(level, factor)
        counts.append(int(np.count_nonzero(level)))
    estimate = _fit([n / boxes for boxes in divisions], counts)
    assert estimate.value is not None
    return replace(estimate, value=min(2.0, max(0.0, estimate.value)))  # only rounding can lie outside


def box_counting_dimension_legacy(
    mask: npt.ArrayLike, min_box: int = 2, max_box: int | None = None, num_scales: int = 5
) -> float:
    """The dimension by `box_counting_legacy`, with 0.0 where it is undefined."""
    value = box_counting_legacy(mask, min_box, max_box, num_scales).value
    return 0.0 if value is None else value


def box_counting_legacy(
    mask: npt.ArrayLike, min_box: int = 2, max_box: int | None = None, num_scales: int = 5
) -> DimensionEstimate:
    """Box counting with geometrically spaced sizes truncated to integers, from the top-left corner.

    Kept for comparison with earlier results. Sizes are `legacy_box_sizes`; cells beyond the last whole box are left
    out, so that the value may exceed 2 (2.093 for a full 8 × 8 mask). Undefined when fewer than two sizes have a
    count. Raises `ValueError` when the mask is not a square matrix, `num_scales` or `min_box` is below 1, or
    `max_box` exceeds the mask.
    """
    matrix = boolean_matrix(mask)
    sizes = legacy_box_sizes(matrix.shape[0], min_box, max_box, num_scales)
    counted = [
        (size, count) for size, count in zip(sizes, count_aligned_boxes(matrix, sizes), strict=True) if count > 0
    ]
    if not counted:
        return _undefined("no box holds a true cell")
    if len(counted) < 2:
        return _undefined(f"boxes of one size only, {counted[0][0]}, hold a true cell; a fit needs two")
    return _fit([size for size, _ in counted], [count for _, count in counted])


@lru_cache(maxsize=256)
def legacy_box_sizes(side: int, min_box: int = 2, max_box: int | None = None, num_scales: int = 5) -> tuple[int, ...]:
    """Box sizes of the legacy estimator for a mask of `side` cells, ascending.

    They run geometrically from `min_box` to `max_box` (by default min_box · 2^(num_scales − 1), at most half the side)
    and are truncated, not rounded: for a side of 64 they are 2, 4, 7, 16, 32, since the third comes out as 7.99….
    """
    if num_scales < 1:
        raise ValueError(f"num_scales must be at least 1, got {num_scales}")
    if min_box < 1:
        raise ValueError(f"min_box must be at least 1, got {min_box}")
    if max_box is None:
        max_box = min(min_box * 2 ** (num_scales - 1), side // 2 if side >= 4 else side)
    elif max_box > side:
        raise ValueError(f"max_box must be at most the side of the mask, {side}, got {max_box}")
    max_box = max(max_box, min_box)
    sizes = np.geomspace(min_box, max_box, num_scales).astype(np.int64)
    return tuple(int(size) for size in np.unique(sizes))


def _undefined(reason: str) -> DimensionEstimate:
    return DimensionEstimate(value=None, reason=reason, r_squared=None, scales=(), counts=())


def _fit(scales: Sequence[float], counts: Sequence[int]) -> DimensionEstimate:
    """Least-squares line through (ln 1/ε, ln N), in deviations from the means."""
    x = [-math.log(scale) for scale in scales]
    y = [math.log(count) for count in counts]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    dx = [each - mean_x for each in x]
    dy = [each - mean_y for each in y]
    slope = math.fsum(p * q for p, q in zip(dx, dy, strict=True)) / math.fsum(p * p for p in dx)
    total = math.fsum(q * q for q in dy)
    residual = math.fsum((q - slope * p) ** 2 for p, q in zip(dx, dy, strict=True))
    r_squared = 1.0 if counts.count(counts[0]) == len(counts) else min(1.0, max(0.0, 1.0 - residual / total))
    return DimensionEstimate(
        value=slope,
        reason=None,
        r_squared=r_squared,
        scales=tuple(float(scale) for scale in scales),
        counts=tuple(counts),
    )


@lru_cache(maxsize=256)
def _divisions(side: int, min_box: int) -> tuple[int, tuple[int, ...]]:
    """The refining factor q, and the boxes along a side from the finest division to the coarsest."""
    thirds = _powers(3, side // min_box)
    if len(thirds) >= 2 and 3 ** round(math.log(side, 3)) == side:
        return 3, thirds
    return 2, _powers(2, side // min_box)


def _powers(base: int, limit: int) -> tuple[int, ...]:
    """The powers of `base` from the first up to `limit`, descending."""
    powers = []
    power = base
    while power <= limit:
        powers.append(power)
        power *= base
    return tuple(reversed(powers))
