"""Krum, Multi-Krum and Bulyan: gradients that have many others near them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, refuse
from mfn_model.aggregation._distances import lowest_scores, squared_distances
from mfn_model.aggregation._results import Aggregate, indices, others
from mfn_model.aggregation._rows import (
    Check,
    GradientRows,
    Gradients,
    IntArray,
    column_spans,
    gradient_rows,
)

__all__ = ["bulyan", "krum", "mean_of", "multi_krum", "require_byzantine"]


def krum(gradients: Gradients, *, byzantine: int, check: Check | None = None) -> Aggregate:
    """The gradient with the smallest sum of squared distances to its n − f − 2 nearest others.

    P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer, "Machine Learning with Adversaries: Byzantine Tolerant
    Gradient Descent", NIPS 2017. Of n gradients, [n, coordinates], f = `byzantine` may be anything, where
    n >= 2 f + 3. Of equal sums the first client's wins. The result is that client's gradient, float64. `check` is
    called before each block of work, and may raise; so it is by every function of this package that takes one.

    Raises `ValueError` for too few gradients, and for such as are ragged, empty, NaN, infinite or beyond 1e140.

    >>> krum([[0.0], [0.1], [0.2], [0.1], [9.0]], byzantine=1).accepted
    (1,)
    """
    rows = gradient_rows(gradients, check=check)
    require_byzantine("krum", byzantine, rows.clients, 2, 3)
    chosen = lowest_scores(rows, rows.everyone(), neighbours=rows.clients - byzantine - 2, squared=True, keep=1)
    return Aggregate(gradient=rows.row(int(chosen[0])), accepted=indices(chosen), rejected=others(rows.clients, chosen))


def multi_krum(
    gradients: Gradients, *, byzantine: int, keep: int | None = None, check: Check | None = None
) -> Aggregate:
    """The mean of the `keep` gradients with the smallest sums that `krum` compares, float64 [coordinates].

    The m-Krum of the same paper: with 1 it is Krum, and the more it keeps the less the result varies. By default, and
    at most, it keeps n − f − 2, as many as each sum counts. Bounds and errors as for `krum`.
    """
    rows = gradient_rows(gradients, check=check)
    require_byzantine("multi_krum", byzantine, rows.clients, 2, 3)
    most = rows.clients - byzantine - 2
    kept = most if keep is None else keep
    refuse(integer_problems("keep", kept, 1, most))
    chosen = lowest_scores(rows, rows.everyone(), neighbours=most, squared=True, keep=kept)
    return Aggregate(gradient=mean_of(rows, chosen), accepted=indices(chosen), rejected=others(rows.clients, chosen))


def bulyan(gradients: Gradients, *, byzantine: int, check: Check | None = None) -> Aggregate:
    """Krum repeated until n − 2 f gradients are chosen, then the mean of the n − 4 f values nearest to their median.

    E. M. El Mhamdi, R. Guerraoui, S. Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML
    2018, over Krum. It bounds what a wrong gradient can do in any one coordinate, where Krum bounds the distance only,
    and needs n >= 4 f + 3. Each choice counts the nearest n' − f − 2 of the n' gradients left, and one at least; of
    equal sums the one nearest to all of them wins. The result is float64 [coordinates]; `accepted` are the chosen, of
    each of which some coordinates entered it. Takes time as n³ and memory as n² beside a pass over all pairs.

    Raises `ValueError` as `krum` does.
    """
    rows = gradient_rows(gradients, check=check)
    require_byzantine("bulyan", byzantine, rows.clients, 4, 3)
    chosen = _repeatedly_chosen(rows, byzantine, rows.clients - 2 * byzantine)
    result = np.empty(rows.coordinates)
    for start, stop in column_spans(rows.coordinates, len(chosen)):
        columns = rows.columns(chosen, start, stop)
        columns.sort(axis=1)
        result[start:stop] = _mean_near_median(columns, len(chosen) - 2 * byzantine)
    return Aggregate(gradient=result, accepted=indices(chosen), rejected=others(rows.clients, chosen))


def require_byzantine(name: str, byzantine: int, clients: int, factor: int, offset: int) -> None:
    """Raises `ValueError`, which tells the greatest f that fits, unless `clients` >= `factor` f + `offset`."""
    refuse(integer_problems("byzantine", byzantine, 0))
    if clients < factor * byzantine + offset:
        most = (clients - offset) // factor
        remedy = f"at most byzantine {most} fits" if most >= 0 else f"at least {offset} gradients are needed"
        raise ValueError(
            f"{name} needs {factor} * byzantine + {offset} = {factor * byzantine + offset} gradients for "
            f"byzantine {byzantine}, got {clients}; {remedy}"
        )


def mean_of(rows: GradientRows, clients: IntArray) -> npt.NDArray[np.float64]:
    """The mean gradient of these clients."""
    result = np.empty(rows.coordinates)
    for start, stop in column_spans(rows.coordinates, len(clients)):
        np.add.reduce(rows.block(clients, start, stop), axis=0, out=result[start:stop])
    result /= len(clients)
    return result


def _repeatedly_chosen(rows: GradientRows, f: int, wanted: int) -> IntArray:
    """The clients that Krum chooses one after the other, each from those left, ascending."""
    squares = squared_distances(rows, rows.everyone())
    left = np.arange(len(squares), dtype=np.intp)
    chosen: list[int] = []
    while len(chosen) < wanted:
        rows.check()
        neighbours = min(max(1, len(left) - f - 2), len(left) - 1)
        ascending = np.sort(squares[np.ix_(left, left)], axis=1)
        sums = np.add.reduce(ascending[:, 1 : neighbours + 1], axis=1)
        # Two that are each other's only neighbour tie always; all distances tell them apart.
        tied = np.flatnonzero(sums == sums.min())
        best = int(tied[np.argmin(np.add.reduce(ascending[tied], axis=1))])
        chosen.append(int(left[best]))
        left = np.delete(left, best)
    return np.array(sorted(chosen), dtype=np.intp)


def _mean_near_median(columns: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """The mean of the `count` values of each row nearest to the row's median; rows are sorted."""
    size = columns.shape[1]
    median = (columns[:, (size - 1) // 2] + columns[:, size // 2]) / 2.0
    # The nearest values lie side by side, from `first` on.
    starts = size - count + 1
    reach = np.maximum(median[:, np.newaxis] - columns[:, :starts], columns[:, count - 1 :] - median[:, np.newaxis])
    first = np.argmin(reach, axis=1)
    picked = np.take_along_axis(columns, first[:, np.newaxis] + np.arange(count), axis=1)
    return np.asarray(np.add.reduce(picked, axis=1) / count)
