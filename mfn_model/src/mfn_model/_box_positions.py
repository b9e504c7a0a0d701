"""Mean counts of boxes over every position in which divisions of a torus can lie."""

from __future__ import annotations

import numpy as np

from mfn_model._boxes import ByteMatrix
from mfn_model._divisions import Divisions

__all__ = ["mean_counts"]


def mean_counts(matrix: ByteMatrix, division: Divisions) -> list[float]:
    """For each division, the number of its boxes that hold a true cell, as a mean over all positions.

    The mask is taken as a torus, and the division is shifted by every number of cells along both sides. A box of h × w
    cells comes to lie everywhere once, so that its share is A(h, w), the positions at which such a box holds a true
    cell, over the number of cells. Boxes along a side of N cells in b parts are floor(N/b) cells wide, but N mod b of
    them, which have one cell more. Every position by itself has counts that fall by a factor of 1 … 4 from a division
    to the next coarser one, and so do the means. The matrix has cells, and `division` is of its shape.
    """
    height, width = matrix.shape
    level, before = matrix, (1, 1)
    means = []
    for rows, columns in division.boxes:
        size = height // rows, width // columns
        for axis in (0, 1):
            level = _grown(level, before[axis], size[axis], axis)
        before = size
        taller, wider = height % rows, width % columns
        total = (rows - taller) * (columns - wider) * _occupied(level)
        if taller:
            tall = _united(level, 1, 0)
            total += taller * (columns - wider) * _occupied(tall)
            if wider:
                total += taller * wider * _occupied(_united(tall, 1, 1))
        if wider:
            total += (rows - taller) * wider * _occupied(_united(level, 1, 1))
        means.append(total / (height * width))
    return means


def _occupied(level: ByteMatrix) -> int:
    return int(np.count_nonzero(level.view(np.bool_)))


def _grown(level: ByteMatrix, before: int, size: int, axis: int) -> ByteMatrix:
    """At each position, whether a box of `size` cells along `axis` holds a true cell, from boxes of `before` cells."""
    while before < size:
        step = min(before, size - before)
        level = _united(level, step, axis)
        before += step
    return level


def _united(level: ByteMatrix, step: int, axis: int) -> ByteMatrix:
    """At each position, whether the box there or the one `step` cells further along `axis` holds a true cell."""
    united = np.empty_like(level)
    if axis == 0:
        np.bitwise_or(level[:-step], level[step:], out=united[:-step])
        np.bitwise_or(level[-step:], level[:step], out=united[-step:])
    else:
        np.bitwise_or(level[:, :-step], level[:, step:], out=united[:, :-step])
        np.bitwise_or(level[:, -step:], level[:, :step], out=united[:, -step:])
    return united
