"""Perimeter and compactness of a mask, entropy of values."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import ByteMatrix, boolean_matrix

__all__ = ["compactness", "perimeter", "value_entropy"]


def perimeter(mask: npt.ArrayLike, *, periodic: bool = False) -> float:
    """Length of the boundary of a mask, rows × columns, in cells.

    By Crofton's formula in four directions: P = π/8 · (n₀ + n₉₀ + (n₄₅ + n₁₃₅)/√2), where n counts the steps between
    neighbouring cells in a direction that lead from a true to a false one or back (D. Legland, K. Kiêu, M.-F. Devaux,
    Image Anal. Stereol. 26 (2007) 83–92). It is right on average over directions: a disc comes out 2 % too long at a
    radius of 20 cells and 0.3 % at 100, a square with sides along the grid or at 45° 5 % too short, whereas counting
    cell edges makes any disc 27 % too long. Holes have a boundary too. The edge of the grid is a
    boundary of the true cells at it, unless it is `periodic`. Raises `ValueError` when the mask is not a matrix.
    """
    matrix = boolean_matrix(mask)
    if not periodic:
        matrix = np.pad(matrix, 1)
    straight = _changes(matrix, 0, 1, periodic) + _changes(matrix, 1, 0, periodic)
    oblique = _changes(matrix, 1, 1, periodic) + _changes(matrix, 1, -1, periodic)
    return math.pi / 8 * (straight + oblique / math.sqrt(2))


def compactness(area: float, boundary: float) -> float:
    """4π · area / perimeter², which is 1 for a disc and less for any other shape; 0 for an area without a boundary.

    Of a few cells, whose perimeter is underestimated, it may exceed 1. Area and perimeter are in a unit and its square.
    """
    return 4.0 * math.pi * area / boundary**2 if boundary > 0.0 else 0.0


def value_entropy(values: npt.ArrayLike, bins: int = 256) -> float:
    """Shannon entropy of the histogram of values of any shape, in bits, 0 … log₂ bins.

    The bins are equally wide, from the least value to the largest; equal values have an entropy of 0. It depends on
    the number of bins, so that entropies are comparable for one number only (C. E. Shannon, Bell Syst. Tech. J. 27
    (1948) 379–423). Raises `ValueError` when there are no values, one of them is not finite, or `bins` is below 2.
    """
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}")
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0:
        raise ValueError("no values have no entropy; give at least one")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite; replace NaN and infinities")
    least, most = float(array.min()), float(array.max())
    # Halves, since the difference of large values of different sign would overflow.
    span = most / 2 - least / 2
    if span <= 0.0:
        return 0.0
    places = np.minimum((array / 2 - least / 2) / span * bins, bins - 1).astype(np.intp)
    shares = np.bincount(places, minlength=bins) / array.size
    shares = shares[shares > 0]
    return max(0.0, -float(np.sum(shares * np.log2(shares))))


def _changes(matrix: ByteMatrix, down: int, right: int, periodic: bool) -> int:
    """Pairs of neighbours in one direction of which one is true."""
    if periodic:
        return int(np.count_nonzero(matrix != np.roll(matrix, (-down, -right), axis=(0, 1))))
    height, width = matrix.shape
    one = matrix[: height - down, max(0, -right) : width - max(0, right)]
    other = matrix[down:, max(0, right) : width + min(0, right)]
    return int(np.count_nonzero(one != other))
