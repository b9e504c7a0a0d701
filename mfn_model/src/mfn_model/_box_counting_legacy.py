"""The box counting of earlier results, with its peculiarities."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import boolean_matrix, count_aligned_boxes
from mfn_model._estimate import DimensionEstimate, fitted, undefined

__all__ = ["box_counting_dimension_legacy", "box_counting_legacy", "legacy_box_sizes"]


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

    Kept for comparison with earlier results. Sizes are `legacy_box_sizes` of the shorter side; boxes are squares, and
    cells beyond the last whole box are left out, so that the value may exceed 2 (2.093 for a full 8 × 8 mask).
    Undefined, with a reason, when fewer than two sizes have a count, or no box fits at all. Raises `ValueError` when
    the mask is not a matrix, `num_scales` or `min_box` is below 1, or `max_box` exceeds the shorter side of the mask.
    """
    matrix = boolean_matrix(mask)
    sizes = legacy_box_sizes(min(matrix.shape), min_box, max_box, num_scales)
    counted = [
        (size, count) for size, count in zip(sizes, count_aligned_boxes(matrix, sizes), strict=True) if count > 0
    ]
    if sizes[0] > min(matrix.shape):
        rows, columns = matrix.shape
        return undefined(f"the smallest box, {sizes[0]} x {sizes[0]} cells, does not fit into {rows} x {columns}")
    if not counted:
        return undefined("no box holds a true cell")
    if len(counted) < 2:
        return undefined(f"boxes of one size only, {counted[0][0]}, hold a true cell; a fit needs two")
    counts = [count for _, count in counted]
    return fitted([size for size, _ in counted], [math.log(count) for count in counts], counts=counts)


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
