"""The k largest numbers of each row, and a softmax over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["largest_columns", "softmax_of_selected"]

Array = npt.NDArray[Any]


def largest_columns(scores: Array, k: int) -> npt.NDArray[np.int64]:
    """[rows, min(k, columns)] of column indices, ascending: where the largest scores of each row stand.

    Of equal scores those with the lowest index come first. `scores` is [rows, columns] without NaN.
    """
    rows, columns = scores.shape
    if k >= columns:
        return np.broadcast_to(np.arange(columns, dtype=np.int64), (rows, columns))
    smallest_kept = np.partition(scores, columns - k, axis=1)[:, columns - k, np.newaxis]
    above = scores > smallest_kept
    equal = scores == smallest_kept
    room = k - np.count_nonzero(above, axis=1, keepdims=True)
    kept = above | (equal & (np.cumsum(equal, axis=1) <= room))
    return np.asarray(np.nonzero(kept)[1].reshape(rows, k), dtype=np.int64)


def softmax_of_selected(selected: Array, invalid: npt.NDArray[np.bool_]) -> Array:
    """Softmax along the rows of [rows, k] scores; a row that is `invalid`, or whose largest is not finite, is all 0."""
    largest = selected.max(axis=1, keepdims=True)
    defined = np.isfinite(largest) & ~invalid[:, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):  # only in rows that become 0
        powers = np.exp(np.where(defined, selected - largest, -np.inf))
    total = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / np.where(defined, total, 1.0), dtype=selected.dtype)
