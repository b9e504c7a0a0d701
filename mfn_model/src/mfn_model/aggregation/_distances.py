"""Distances between gradients, and the gradients whose nearest neighbours are nearest.

A score is the sum of a gradient's smallest distances to others. Which scores are lowest is decided as if every
distance were summed up directly, from differences of coordinates, which is exact to a few ulp and the same for (i, j)
and (j, i). That is slow, so that a matrix product is asked first: |x − y|² = |x|² + |y|² − 2 x·y loses digits, but how
many is known (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §3.1), which gives each score an
interval. Only gradients whose intervals overlap at the edge of the choice are summed up directly. Thus the choice is
that of the direct way, always, at a cost that is mostly the product's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model.aggregation._rows import GradientRows, IntArray, column_spans

__all__ = ["lowest_scores", "squared_distances"]

Float64Array = npt.NDArray[np.float64]

_WIDTH: Final = 1024  # of a block whose squares are summed: one for all calls, so that equal pairs give equal bits
_TILE_VALUES: Final = 2**16  # half a MiB of differences, which stays in the cache
_MATRIX_VALUES: Final = 2**22  # 32 MiB of distances at a time
_COMPANY: Final = 4096  # members whose coordinates are read at a time
_DIRECT_WORK: Final = 2**18  # coordinates of all pairs; below it the product does not pay
_UNIT_ROUNDOFF: Final = 2.0**-53
_UNDERFLOW: Final = 1e-300  # more than what squares lose that are too small for float64
_CENTRE_ROWS: Final = 9


def lowest_scores(rows: GradientRows, members: IntArray, *, neighbours: int, squared: bool, keep: int) -> IntArray:
    """Positions in `members`, ascending, of the `keep` gradients with the lowest scores; ties go to the first.

    A score is the sum of the `neighbours` smallest distances to other members, `squared` or not. There must be
    0 <= neighbours < len(members) and 1 <= keep <= len(members). Needs about 200 MiB at most beside the gradients.
    """
    count = len(members)
    if keep == count or neighbours == 0:
        return np.arange(keep, dtype=np.intp)
    everyone = np.arange(count, dtype=np.intp)
    if count * count * rows.coordinates <= _DIRECT_WORK:
        return _lowest(everyone, _scores(rows, members, everyone, neighbours, squared), keep)
    lower, upper = _score_bounds(rows, members, neighbours, squared)
    # The score at the edge, the keep-th lowest, lies between these two.
    edge_low, edge_high = np.partition(lower, keep - 1)[keep - 1], np.partition(upper, keep - 1)[keep - 1]
    sure = everyone[upper < edge_low]
    unsure = everyone[(lower <= edge_high) & ~(upper < edge_low)]
    if len(sure) + len(unsure) > keep:
        unsure = _lowest(unsure, _scores(rows, members, unsure, neighbours, squared), keep - len(sure))
    return np.sort(np.concatenate((sure, unsure)))


def squared_distances(rows: GradientRows, members: IntArray) -> Float64Array:
    """Squared distances of all pairs of `members`, summed up directly; symmetric, with zeros on the diagonal."""
    count = len(members)
    distances = np.zeros((count, count))
    for start, stop in column_spans(rows.coordinates, count, _WIDTH):
        block = rows.block(members, start, stop)
        for number in range(count - 1):
            _add_squares(distances[number, number + 1 :], block[number + 1 :], block[number])
    distances += distances.T
    return distances


def _scores(rows: GradientRows, members: IntArray, chosen: IntArray, neighbours: int, squared: bool) -> Float64Array:
    """The scores of the members at these positions, by direct sums."""
    count = len(members)
    at_once = max(1, _MATRIX_VALUES // count)
    if len(chosen) == count <= at_once:
        return _summed(squared_distances(rows, members), neighbours, squared)
    scores = np.empty(len(chosen))
    for first in range(0, len(chosen), at_once):
        few = chosen[first : first + at_once]
        distances = np.zeros((len(few), count))
        for start, stop in column_spans(rows.coordinates, count, _WIDTH):
            own = rows.block(members[few], start, stop)
            for low in range(0, count, _COMPANY):
                others = rows.block(members[low : low + _COMPANY], start, stop)
                for number in range(len(few)):
                    _add_squares(distances[number, low : low + len(others)], others, own[number])
        scores[first : first + len(few)] = _summed(distances, neighbours, squared)
    return scores


def _add_squares(sums: Float64Array, others: Float64Array, own: Float64Array) -> None:
    """Adds to `sums` the squared distances of each row of `others` to `own`, a few rows at a time."""
    tile = max(1, _TILE_VALUES // len(own))
    for first in range(0, len(others), tile):
        differences = others[first : first + tile] - own
        np.multiply(differences, differences, out=differences)
        sums[first : first + tile] += np.add.reduce(differences, axis=1)


def _summed(squares: Float64Array, neighbours: int, squared: bool) -> Float64Array:
    """The sum of each row's smallest values but one, its distance to itself; works in `squares`."""
    distances = squares if squared else np.sqrt(squares, out=squares)
    if neighbours + 1 < distances.shape[1]:
        distances.partition(neighbours, axis=1)
    nearest = np.sort(distances[:, : neighbours + 1], axis=1)
    return np.asarray(np.add.reduce(nearest[:, 1:], axis=1))


def _lowest(positions: IntArray, scores: Float64Array, keep: int) -> IntArray:
    return np.sort(positions[np.argsort(scores, kind="stable")[:keep]])


def _score_bounds(
    rows: GradientRows, members: IntArray, neighbours: int, squared: bool
) -> tuple[Float64Array, Float64Array]:
    """An interval for each member's score that holds what direct sums would give."""
    count = len(members)
    lower, upper = np.empty(count), np.empty(count)
    at_once = max(1, _MATRIX_VALUES // count)
    for first in range(0, count, at_once):
        last = min(first + at_once, count)
        squares, norms, terms = _product_squares(rows, members, first, last)
        # Rounding of the norms, of the product and of their sum, for the centred coordinates and for these themselves.
        share = (2 * (terms + 8) + 16) * _UNIT_ROUNDOFF
        error = norms[first:last, np.newaxis] + norms
        np.multiply(error, 2 * share, out=error)
        error += _UNDERFLOW
        # What rounding does to a direct sum of squares, its root and their sum.
        slack = 2 * (_WIDTH + rows.coordinates // _WIDTH + count + 16) * _UNIT_ROUNDOFF
        own = np.arange(last - first)
        squares += error
        np.maximum(squares, 0.0, out=squares)
        squares[own, own + first] = 0.0
        bound = squares.copy()
        upper[first:last] = _summed(bound, neighbours, squared) * (1.0 + slack)
        squares -= 2 * error
        np.maximum(squares, 0.0, out=squares)
        squares[own, own + first] = 0.0
        lower[first:last] = _summed(squares, neighbours, squared) * (1.0 - slack)
    return lower, upper


def _product_squares(
    rows: GradientRows, members: IntArray, first: int, last: int
) -> tuple[Float64Array, Float64Array, int]:
    """Squared distances of some members to all by a matrix product, all squared norms, and the longest sum within.

    Coordinates are taken relative to the median of a few members, which keeps the norms, and so the error, small.
    """
    count = len(members)
    some = members[np.linspace(0, count - 1, min(1 + count // 20, _CENTRE_ROWS)).astype(np.intp)]
    product, norms = np.zeros((last - first, count)), np.zeros(count)
    terms = 0
    for number, (start, stop) in enumerate(column_spans(rows.coordinates, count)):
        block = rows.block(members, start, stop)
        block -= np.median(rows.block(some, start, stop), axis=0)
        product += block[first:last] @ block.T
        norms += np.einsum("ij,ij->i", block, block)
        terms = max(terms, stop - start) + (number > 0)
    np.multiply(product, -2.0, out=product)
    product += norms
    product += norms[first:last, np.newaxis]
    return product, norms, terms
