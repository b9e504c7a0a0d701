"""Sizes of the connected components of a mask.

A component is made of runs, the stretches of true cells within a row. Runs that touch are united until nothing changes:
every run points at one before it, pointers are followed to their ends, and what still touches is united again, which
takes a number of rounds that grows as the logarithm of the runs (after Y. Shiloach, U. Vishkin, J. Algorithms 3 (1982)
57–67).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import boolean_matrix

__all__ = ["component_sizes"]

Indices = npt.NDArray[np.intp]


def component_sizes(mask: npt.ArrayLike, *, connectivity: int = 4, periodic: bool = False) -> Indices:
    """The number of cells of each connected component of a mask, rows × columns, in the order of their first cells.

    Two true cells are connected when they share an edge, and with a `connectivity` of 8 also when they share a corner.
    With `periodic` the first row is next to the last one, and the first column to the last one. The array is empty for
    an empty mask. Raises `ValueError` when the mask is not a matrix or `connectivity` is neither 4 nor 8.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, got {connectivity}")
    matrix = boolean_matrix(mask)
    height, width = matrix.shape
    # One false column at the end keeps the last run of a row apart from the first of the next.
    stride = width + 1
    flat = np.zeros(height * stride + 1, dtype=np.int8)
    flat[1:].reshape(height, stride)[:, :width] = matrix
    steps = np.diff(flat)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    if starts.size == 0:
        return np.zeros(0, dtype=np.intp)
    reach = 0 if connectivity == 4 else 1
    every = np.arange(starts.size)
    touching = [_touching(starts + stride, ends + stride, every, starts, ends, every, reach)]
    if periodic:
        touching += _across_edges(starts, ends, height, width, reach)
    first = np.concatenate([pair[0] for pair in touching])
    second = np.concatenate([pair[1] for pair in touching])
    roots = _united(starts.size, first, second)
    sizes = np.bincount(roots, weights=ends - starts, minlength=starts.size)
    return np.asarray(sizes[roots == every], dtype=np.intp)


def _touching(
    starts: Indices,
    ends: Indices,
    names: Indices,
    other_starts: Indices,
    other_ends: Indices,
    others: Indices,
    reach: int,
) -> tuple[Indices, Indices]:
    """Pairs of runs of two ascending lists that overlap, with a reach of 1 also those that meet at a corner."""
    low = np.searchsorted(ends, other_starts - reach, side="right")
    high = np.searchsorted(starts, other_ends + reach, side="left")
    counts = np.maximum(high - low, 0)
    second = np.repeat(np.arange(other_starts.size), counts)
    before = np.cumsum(counts) - counts
    first = np.arange(second.size) - before[second] + low[second]
    return names[first], others[second]


def _across_edges(starts: Indices, ends: Indices, height: int, width: int, reach: int) -> list[tuple[Indices, Indices]]:
    """Pairs of runs that touch across the edges of the grid."""
    stride = width + 1
    rows = starts // stride
    bottom, top = np.flatnonzero(rows == height - 1), np.flatnonzero(rows == 0)
    shift = (height - 1) * stride
    pairs = [_touching(starts[bottom] - shift, ends[bottom] - shift, bottom, starts[top], ends[top], top, reach)]
    at_left, at_right = np.full(height, -1), np.full(height, -1)
    left, right = np.flatnonzero(starts % stride == 0), np.flatnonzero(ends % stride == width)
    at_left[rows[left]], at_right[rows[right]] = left, right
    for offset in range(-reach, reach + 1):
        beside = np.roll(at_left, offset)
        both = (at_right >= 0) & (beside >= 0)
        pairs.append((at_right[both], beside[both]))
    return pairs


def _united(count: int, first: Indices, second: Indices) -> Indices:
    """For each of `count` runs, the first run of its component."""
    root = np.arange(count)
    while True:
        a, b = root[first], root[second]
        apart = a != b
        if not apart.any():
            return root
        first, second = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        # Both are ends of their pointers, and a pointer leads to a smaller number: no circle arises.
        root[second] = first
        while not np.array_equal(further := root[root], root):
            root = further
