"""Aggregates that look at each coordinate by itself: trimmed mean and medians."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfn_model.aggregation._krum import require_byzantine
from mfn_model.aggregation._rows import Check, GradientRows, Gradients, IntArray, column_spans, gradient_rows

__all__ = ["coordinate_median", "coordinate_trimmed_mean", "lower_median", "median_of"]


def coordinate_trimmed_mean(
    gradients: Gradients, *, byzantine: int, check: Check | None = None
) -> npt.NDArray[np.float64]:
    """The mean of each coordinate without its f smallest and f largest values, float64 [coordinates].

    D. Yin, Y. Chen, K. Ramchandran, P. Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical
    Rates", ICML 2018, with β = f / n. With f = `byzantine` wrong gradients of n >= 2 f + 1, each coordinate lies
    between the smallest and the largest honest value.

    Raises `ValueError` for too few gradients, and for such as are ragged, empty, NaN, infinite or beyond 1e140.

    >>> coordinate_trimmed_mean([[1.0], [2.0], [3.0], [900.0]], byzantine=1).tolist()
    [2.5]
    """
    rows = gradient_rows(gradients, check=check)
    require_byzantine("coordinate_trimmed_mean", byzantine, rows.clients, 2, 1)
    result = np.empty(rows.coordinates)
    for start, stop in column_spans(rows.coordinates, rows.clients):
        columns = rows.columns(rows.everyone(), start, stop)
        columns.sort(axis=1)
        result[start:stop] = np.add.reduce(columns[:, byzantine : rows.clients - byzantine], axis=1)
    result /= rows.clients - 2 * byzantine
    return result


def coordinate_median(gradients: Gradients, *, check: Check | None = None) -> npt.NDArray[np.float64]:
    """The median of each coordinate, float64 [coordinates]; for an even count the mean of the two in the middle.

    Yin et al., ICML 2018. As long as fewer than half of the gradients are wrong, each coordinate lies between the
    smallest and the largest honest value. Raises `ValueError` for gradients that `coordinate_trimmed_mean` refuses.
    """
    return median_of(gradient_rows(gradients, check=check))


def median_of(rows: GradientRows) -> npt.NDArray[np.float64]:
    """The median of each coordinate over all clients, [coordinates]."""
    low, high = (rows.clients - 1) // 2, rows.clients // 2
    result = np.empty(rows.coordinates)
    for start, stop in column_spans(rows.coordinates, rows.clients):
        columns = rows.columns(rows.everyone(), start, stop)
        columns.partition(sorted({low, high}), axis=1)
        result[start:stop] = (columns[:, low] + columns[:, high]) / 2.0
    return result


def lower_median(rows: GradientRows, clients: IntArray) -> npt.NDArray[np.float64]:
    """The lower median of each coordinate of these clients: for an even count the smaller of the two in the middle."""
    low = (len(clients) - 1) // 2
    result = np.empty(rows.coordinates)
    for start, stop in column_spans(rows.coordinates, len(clients)):
        columns = rows.columns(clients, start, stop)
        columns.partition(low, axis=1)
        result[start:stop] = columns[:, low]
    return result
