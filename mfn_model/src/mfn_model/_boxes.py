"""Counting the boxes of a mask that hold at least one true cell.

Masks are handled as contiguous uint8 matrices. A matrix is coarsened by OR over blocks; counts for larger boxes start
from the coarsest matrix that is already there and whose boxes they unite, so that the full mask is read once or twice.
Small masks are handled as one long integer of a bit for each cell instead, since there the arithmetic of integers costs
less than a call of NumPy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["ByteMatrix", "boolean_matrix", "coarsened", "count_aligned_boxes"]

ByteMatrix = npt.NDArray[np.uint8]

_words = {2: np.uint16, 4: np.uint32, 8: np.uint64}
"""Unsigned words that span 2, 4 or 8 cells of a row: comparing one with 0 tests all of its cells at once."""

_FEW_CELLS = 128 * 128
"""In more cells than these, counting by matrices is faster."""


def boolean_matrix(mask: npt.ArrayLike) -> ByteMatrix:
    """The mask as contiguous uint8 of zeros and ones; raises `ValueError` when it is not a matrix."""
    matrix = np.asarray(mask)
    if matrix.ndim != 2:
        raise ValueError(f"a mask is a matrix, rows and columns, got shape {matrix.shape}")
    return np.ascontiguousarray(matrix, dtype=np.bool_).view(np.uint8)


def coarsened(matrix: ByteMatrix, height: int, width: int) -> ByteMatrix:
    """OR over aligned blocks of `height` × `width` cells of the top-left part that holds whole blocks."""
    rows = _rows_united(matrix, height)
    blocks, columns = matrix.shape[1] // width, matrix.shape[1]
    if width == 1:
        return rows
    word = _words.get(width)
    if word is not None and columns % width == 0:
        return _matrix(np.not_equal(rows.view(word), 0).view(np.uint8))
    rows = np.ascontiguousarray(rows[:, : blocks * width].T)
    return _matrix(np.bitwise_or.reduce(rows.reshape(blocks, width, rows.shape[1]), axis=1).T)


def _rows_united(matrix: ByteMatrix, height: int) -> ByteMatrix:
    if height == 1:
        return matrix
    blocks = matrix.shape[0] // height
    rows = blocks * height
    if height == 2:
        return np.bitwise_or(matrix[0:rows:2], matrix[1:rows:2])
    return _matrix(np.bitwise_or.reduce(matrix[:rows].reshape(blocks, height, matrix.shape[1]), axis=1))


def _matrix(values: npt.NDArray[np.uint8]) -> ByteMatrix:
    return np.ascontiguousarray(values)


def count_aligned_boxes(matrix: ByteMatrix, sizes: Sequence[int]) -> list[int]:
    """For each box size, ascending, the number of aligned square boxes that hold a true cell.

    Cells beyond the last whole box are left out; a size beyond the mask counts 0.
    """
    if matrix.size <= _FEW_CELLS:
        return _count_in_bits(matrix, sizes)
    side = min(matrix.shape)
    levels: list[tuple[int, ByteMatrix]] = [(1, matrix)]
    counts = []
    for size in sizes:
        if size > side:
            counts.append(0)
            continue
        finer, level = next(each for each in reversed(levels) if size % each[0] == 0)
        # The finer level may hold boxes beyond the last whole box of this size; coarsening drops them as well, since
        # floor(floor(n / finer) / (size / finer)) = floor(n / size).
        level = coarsened(level, size // finer, size // finer)
        levels.append((size, level))
        counts.append(int(np.count_nonzero(level)))
    return counts


def _count_in_bits(matrix: ByteMatrix, sizes: Sequence[int]) -> list[int]:
    """As `count_aligned_boxes`: bit `row * columns + column` of a number stands for a cell.

    `united` holds, for every cell, whether the box of `window` cells on each side that begins there has a true one.
    Boxes that reach beyond a row run on in the next one; no whole box does.
    """
    rows, columns = matrix.shape
    united = int.from_bytes(np.packbits(matrix, bitorder="little").tobytes(), "little")
    window = 1
    counts = []
    for size in sizes:
        while 2 * window <= size:
            united |= united >> window
            united |= united >> window * columns
            window *= 2
        boxes, rest = united, size - window
        if rest:  # two windows that overlap cover the box, since it is smaller than two
            boxes |= boxes >> rest
            boxes |= boxes >> rest * columns
        counts.append((boxes & _corners(rows, columns, size)).bit_count())
    return counts


@lru_cache(maxsize=128)
def _corners(rows: int, columns: int, size: int) -> int:
    """The first cells of all whole boxes, as bits."""
    row = sum(1 << column * size for column in range(columns // size))
    return sum(row << index * size * columns for index in range(rows // size))
