"""Box counting averaged over every position of the grid of boxes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import ByteMatrix, boolean_matrix
from mfn_model._divisions import grid_text
from mfn_model._estimate import DimensionEstimate, fitted, undefined

__all__ = ["offset_averaged_dimension"]


def offset_averaged_dimension(
    mask: npt.ArrayLike, *, min_box: int = 3, max_box: int | None = None, periodic: bool = False
) -> DimensionEstimate:
    """Box-counting dimension of a mask of truth values, rows × columns, by the mean count over all grid offsets.

    N(ε) is the number of boxes of ε × ε cells that hold a true cell, on average over the ε² positions in which a grid
    of such boxes can lie. That is the area of the mask dilated by a box, over ε²: the Minkowski sausage, whose growth
    defines the same dimension (K. Falconer, Fractal Geometry, 3rd ed., §2.1; B. Dubuc et al., Phys. Rev. A 39 (1989)
    1500–1512). The other way to be rid of the offset, the least count over offsets (K. Foroutan-pour, P. Dutilleul, D.
    L. Smith, Applied Mathematics and Computation 105 (1999) 195–210), is not taken: it favours whatever boxes happen
    to fit the set, and so keeps the steps from scale to scale that the mean smooths.

    Sizes ε run from `min_box` to `max_box` in steps of √2, rounded. By default the largest is an eighth of the shorter
    side, or `4 · min_box` where that is more and at most half the side.

    A box that the edge of the grid cuts counts by the share of its area inside: what lies beyond the edge is taken to
    be like what lies within, so that a full mask has 2 on any grid. With `periodic`, boxes go on at the opposite edge,
    and the value does not change when the mask is rolled.

    Cells count as points at their centres, without an area: with `periodic`, and otherwise `max_box` cells and more
    from the edge, a row of cells has 1 and a single cell 0 exactly. What lies along the edge itself has up to 0.3 more,
    since it is taken to go on beyond it. An oblique line that steps over corners has gaps for the smallest boxes, and
    0.97 to 1. Undefined, with a reason, for
    an empty mask and for a grid too small for two sizes. Raises `ValueError` when the mask is not a matrix, `min_box`
    is below 1, or `max_box` is below `min_box` or exceeds the shorter side.
    """
    matrix = boolean_matrix(mask)
    shorter = min(matrix.shape)
    if min_box < 1:
        raise ValueError(f"min_box must be at least 1, got {min_box}")
    if max_box is None:
        max_box = max(shorter // 8, min(4 * min_box, shorter // 2))
    elif not min_box <= max_box <= shorter:
        raise ValueError(
            f"max_box must lie between min_box, {min_box}, and the shorter side of the mask, {shorter}, got {max_box}"
        )
    if not matrix.any():
        return undefined("the mask is empty")
    sizes = _sizes(min_box, max_box)
    if len(sizes) < 2:
        return undefined(
            f"a grid of {grid_text(*matrix.shape)} has {len(sizes)} of the two box sizes needed, from {min_box} to "
            f"{max_box} cells"
        )
    means, level, before = [], matrix, 1
    for size in sizes:
        level, before = _grown(level, before, size, periodic=periodic), size
        area = float(np.count_nonzero(level)) if periodic else _area_inside(level, matrix.shape, size)
        means.append(math.log(area / size**2))
    return fitted(sizes, means)


def _sizes(least: int, most: int) -> list[int]:
    if most < least:
        return []
    steps = max(1, round(2 * math.log2(most / least)))
    return sorted({round(float(each)) for each in np.geomspace(least, most, steps + 1)})


def _grown(level: ByteMatrix, before: int, size: int, *, periodic: bool) -> ByteMatrix:
    """Which positions of a box of `size` cells hold a true cell, from those of a box of `before` cells.

    Positions run over the grid when it is periodic, and otherwise from size − 1 cells before it to its last cell. A
    larger box is the union of smaller ones that overlap, so that each doubling costs two passes.
    """
    while before < size:
        step = min(before, size - before)
        for axis in (0, 1):
            level = _united(level, step, axis, periodic=periodic)
        before += step
    return level


def _united(level: ByteMatrix, step: int, axis: int, *, periodic: bool) -> ByteMatrix:
    """At each position, whether the box there or the one `step` cells further along `axis` holds a true cell."""
    if periodic:
        return np.bitwise_or(level, np.roll(level, -step, axis=axis))
    shape = list(level.shape)
    shape[axis] += step
    united = np.zeros(shape, dtype=np.uint8)
    inner = [slice(None), slice(None)]
    inner[axis] = slice(0, level.shape[axis])
    united[tuple(inner)] = level
    inner[axis] = slice(step, None)
    united[tuple(inner)] |= level
    return united


def _area_inside(level: ByteMatrix, shape: tuple[int, ...], size: int) -> float:
    """The number of positions with a true cell, each by the share of its box inside the grid."""
    down, across = (_shares(length, size) for length in shape)
    return float(down @ _weighted_rows(level, across))


def _weighted_rows(level: ByteMatrix, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`level @ weights`, without a copy of the whole in float64: most weights are 1."""
    whole = np.flatnonzero(weights == 1.0)
    if whole.size == 0:
        return np.asarray(level @ weights)
    first, last = int(whole[0]), int(whole[-1]) + 1
    total = np.asarray(level[:, :first] @ weights[:first]) + level[:, last:] @ weights[last:]
    return np.asarray(total + np.count_nonzero(level[:, first:last], axis=1))


def _shares(length: int, size: int) -> npt.NDArray[np.float64]:
    """The share of a box inside `length` cells, by its position from 1 − size to length − 1."""
    positions = np.arange(1 - size, length)
    return np.asarray((np.minimum(positions + size, length) - np.maximum(positions, 0)) / size)
