"""Gradients of several clients, checked once, read in blocks of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "LARGEST_VALUE",
    "Check",
    "FloatArray",
    "GradientRows",
    "Gradients",
    "IntArray",
    "column_spans",
    "gradient_rows",
]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.intp]
Gradients: TypeAlias = Sequence[npt.ArrayLike] | FloatArray
"""One gradient a client: a matrix [clients, coordinates], or a sequence of vectors of equal length."""

Check: TypeAlias = Callable[[], None]
"""Called now and then by who aggregates: what it raises ends that."""

LARGEST_VALUE: Final = 1e140
"""A gradient's values lie within ± this, so that no squared distance overflows."""

_STACKED_BYTES: Final = 32 * 2**20  # a sequence no larger becomes one matrix, which is read faster
_CHECKED_AT_ONCE: Final = 2**18
_BLOCK_VALUES: Final = 2**21  # 16 MiB of float64
_WIDEST: Final = 8192


class GradientRows:
    """An immutable view of the gradients, of shape [clients, coordinates].

    Large gradients stay where they are: a matrix is used as it is, the vectors of a sequence one by one. What is read
    comes as float64 in fresh memory, so that a caller may work in it. `check` is called before each block.
    """

    def __init__(self, rows: Sequence[FloatArray] | FloatArray, check: Check | None = None) -> None:
        self._matrix = rows if isinstance(rows, np.ndarray) else None
        self._rows = rows
        self.check: Check = _nothing if check is None else check
        self.clients = len(rows)
        self.coordinates = len(rows[0])

    def block(self, members: IntArray, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The coordinates `start` to `stop` of these clients, [members, stop − start], C-contiguous."""
        self.check()
        if self._matrix is not None:
            return np.ascontiguousarray(self._matrix[members, start:stop], dtype=np.float64)
        block = np.empty((len(members), stop - start))
        for number, member in enumerate(members):
            block[number] = self._rows[member][start:stop]
        return block

    def columns(self, members: IntArray, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The same by coordinate, [stop − start, members], C-contiguous: rows are many times faster to sort."""
        return np.ascontiguousarray(self.block(members, start, stop).T)

    def row(self, client: int) -> npt.NDArray[np.float64]:
        """One client's whole gradient."""
        return np.array(self._rows[client], dtype=np.float64)

    def everyone(self) -> IntArray:
        """The indices of all clients."""
        return np.arange(self.clients, dtype=np.intp)


def column_spans(coordinates: int, rows: int, width: int | None = None) -> Iterator[tuple[int, int]]:
    """Spans that cover the coordinates, each of `width`; by default a block of `rows` rows stays within 16 MiB."""
    step = width or min(_WIDEST, max(16, _BLOCK_VALUES // rows))
    for start in range(0, coordinates, step):
        yield start, min(start + step, coordinates)


def _nothing() -> None:
    """The check of who wants none."""


def gradient_rows(gradients: Gradients, dtype: npt.DTypeLike = np.float64, check: Check | None = None) -> GradientRows:
    """The gradients, checked; `check` is called before each block of them is read.

    With `dtype` float32 values are rounded to it first; with float64 a float32 array is kept as it is. Raises
    `ValueError`, with the index of the gradient, when there is none, one is empty, not a vector of real numbers or of
    another length than the first, or holds a value that is NaN or beyond ± `LARGEST_VALUE`.
    """
    wanted = np.dtype(dtype)
    if wanted not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise ValueError(f"dtype must be float64 or float32, got {wanted}")
    if isinstance(gradients, np.ndarray) and gradients.ndim == 2:
        if gradients.shape[0] and not gradients.shape[1]:
            raise ValueError("gradient 0 has no values; at least one is needed")
        rows: list[FloatArray] | FloatArray = _real(gradients, 0, wanted)
    else:
        rows = _vectors(gradients, wanted)
    if len(rows) == 0:
        raise ValueError("there are no gradients; at least one is needed")
    if isinstance(rows, list) and len(rows) * rows[0].nbytes <= _STACKED_BYTES:
        rows = np.stack(rows)
    _require_bounded(rows)
    return GradientRows(rows, check)


def _vectors(gradients: Sequence[npt.ArrayLike] | FloatArray, wanted: np.dtype[Any]) -> list[FloatArray]:
    rows: list[FloatArray] = []
    for index, values in enumerate(gradients):
        try:
            vector = np.asarray(values)
        except ValueError as error:
            raise ValueError(f"gradient {index} is not a vector of real numbers: {error}") from error
        if vector.ndim != 1:
            raise ValueError(f"gradient {index} must have one dimension, got {vector.ndim}")
        if not len(vector):
            raise ValueError(f"gradient {index} has no values; at least one is needed")
        if rows and len(vector) != len(rows[0]):
            raise ValueError(f"gradient {index} has {len(vector)} values where gradient 0 has {len(rows[0])}")
        rows.append(_real(vector, index, wanted))
    return rows


def _real(values: npt.NDArray[Any], index: int, wanted: np.dtype[Any]) -> FloatArray:
    """`values` as floating numbers, without a copy where they already are."""
    if values.dtype.kind not in "fiu":
        raise ValueError(f"gradient {index} must hold real numbers, got dtype {values.dtype}")
    if wanted == np.float64 and values.dtype == np.float32:
        return values
    with np.errstate(over="ignore"):  # what overflows float32 is refused as infinite, with its place
        return values.astype(wanted, copy=False)


def _require_bounded(rows: list[FloatArray] | FloatArray) -> None:
    at_once = max(1, _CHECKED_AT_ONCE // len(rows[0]))
    for first in range(0, len(rows), at_once):
        few = rows[first : first + at_once]
        for offset, values in enumerate([few] if isinstance(few, np.ndarray) else few):
            # NaN fails both comparisons, and the extremes need no array of truth values.
            lowest, highest = float(np.minimum.reduce(values, axis=None)), float(np.maximum.reduce(values, axis=None))
            if lowest >= -LARGEST_VALUE and highest <= LARGEST_VALUE:
                continue
            place = int(np.argmin(np.abs(values.astype(np.float64)) <= LARGEST_VALUE))
            row, position = divmod(place, values.shape[-1])
            raise ValueError(
                f"gradient {first + offset + row} holds {values.flat[place]} at position {position}; values must be "
                f"finite and within ±{LARGEST_VALUE:g}"
            )
