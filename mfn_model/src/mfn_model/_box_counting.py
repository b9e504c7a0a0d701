"""Box counting over nested divisions of the grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import ByteMatrix, boolean_matrix, coarsened, coarsened_at
from mfn_model._divisions import Divisions, divisions, too_few_scales
from mfn_model._estimate import DimensionEstimate, fitted, undefined

__all__ = ["estimate_dimension"]


def estimate_dimension(mask: npt.ArrayLike, *, min_box: int = 2) -> DimensionEstimate:
    """Box-counting dimension of a mask of truth values, rows × columns, 0 … 2.

    A square of N × N cells is divided into b × b boxes with b = q, q², q³, …, where q is 3 for a grid whose side is a
    power of three and 2 for any other. Where b does not divide N, boxes are floor(N/b) or ceil(N/b) cells wide; ε is
    N/b. Every division refines the one before and covers the whole mask, so that counts grow by a factor of 1 … q²
    from one to the next: a full mask has dimension 2 for any N, and no mask has more. Boxes are at least `min_box`
    cells wide.

    In another rectangle the shorter side is divided like that of a square, and the longer one into the number of parts
    that makes the coarsest boxes as nearly square as whole numbers allow, times the same powers of q; ε is the
    geometric mean of the sides of a box. Everything said above holds.

    The divisions begin at the first cell and tile the grid, and so the torus that a periodic grid is: wrapping changes
    no count. Where the mask lies does, and with two boxes along the shorter side the largest are wider than most
    objects: on sets that do not fit the divisions the value is off by some hundredths. `offset_averaged_dimension`
    depends on neither.

    The value is undefined, with a reason, for an empty mask and for a grid too small for two scales (N below 8 at the
    default `min_box`). Raises `ValueError` when the mask is not a matrix or `min_box` is below 1.
    """
    if min_box < 1:
        raise ValueError(f"min_box must be at least 1, got {min_box}")
    matrix = boolean_matrix(mask)
    division = divisions(*matrix.shape, min_box)
    if (reason := _obstacle(matrix, division, min_box)) is not None:
        return undefined(reason)
    level = _finest(matrix, division)
    counts = [int(np.count_nonzero(level))]
    for _ in division.boxes[1:]:
        level = coarsened(level, division.factor, division.factor)
        counts.append(int(np.count_nonzero(level)))
    return fitted(division.scales, [math.log(count) for count in counts], counts=counts, bounds=(0.0, 2.0))


def _obstacle(matrix: ByteMatrix, division: Divisions, min_box: int) -> str | None:
    if not matrix.any():
        return "the mask is empty"
    if len(division.boxes) < 2:
        return too_few_scales(division, min_box)
    return None


def _finest(matrix: ByteMatrix, division: Divisions) -> ByteMatrix:
    (rows, columns), height, width = division.boxes[0], division.height, division.width
    if height % rows == 0 and width % columns == 0:
        return coarsened(matrix, height // rows, width // columns)
    return coarsened_at(
        matrix, [box * height // rows for box in range(rows)], [box * width // columns for box in range(columns)]
    )
