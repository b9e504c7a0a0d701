"""One step of the mycelium equations, compiled for a lattice into a flat list of array operations.

An operation is `(ufunc, left, right, out)` with every operand a ready view, so that a step is one loop that creates
nothing. The sums run in the order in which the model states them, and scalings moved elsewhere are by powers of two,
so that the results equal the plain evaluation bit for bit.

A lattice too large for the processor's cache is worked through in blocks of rows, so that the operations on a block
find it in the cache. The update is in place, but the upper neighbours of a block are the last row of the block before:
they are therefore summed before that block is updated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mfn_engine_numpy._lattice import FloatArray, PaddedLattice, aligned_zeros
from mfn_model.mycelium import ACTIVATOR_DIFFUSION, ACTIVATOR_RATE, INHIBITOR_DIFFUSION, INHIBITOR_RATE

__all__ = ["BLOCK_CELLS", "SINGLE_BLOCK_CELLS", "Operation", "compile_step"]

Operation = tuple[Callable[..., Any], FloatArray, FloatArray, FloatArray]

BLOCK_CELLS: Final = 8_192
"""Cells of a block of rows: three species and their scratch then take about 650 KiB."""
SINGLE_BLOCK_CELLS: Final = 2 * BLOCK_CELLS + BLOCK_CELLS // 2
"""Up to so many cells the whole lattice is one block, whose species are processed by common operations."""

add, subtract, multiply = np.add, np.subtract, np.multiply


def _constant(value: float) -> FloatArray:
    """A scalar operand as a zero-dimensional array, which an operation takes as it is."""
    array = np.array(value, dtype=np.float64)
    array.flags.writeable = False
    return array


_ONE = _constant(1.0)
_QUARTER = _constant(0.25)
_FOUR_ACTIVATOR_DIFFUSION = _constant(4.0 * ACTIVATOR_DIFFUSION)
_FOUR_INHIBITOR_DIFFUSION = _constant(4.0 * INHIBITOR_DIFFUSION)
_ACTIVATOR_RATE = _constant(ACTIVATOR_RATE)
_INHIBITOR_RATE = _constant(INHIBITOR_RATE)


def compile_step(
    side: int, species: int, four_alpha: FloatArray, block_cells: int | None = None
) -> tuple[PaddedLattice, tuple[Operation, ...]]:
    """A lattice, and the operations that diffuse its potential and let activator and inhibitor react.

    Species is 1 (the potential alone) or 3. `four_alpha` is a zero-dimensional array with four times the diffusion
    coefficient, which is read anew at every step. `block_cells` overrides the division into blocks. Kicks, noise and
    clipping are not part of it.
    """
    if block_cells is None and side * side <= SINGLE_BLOCK_CELLS:
        lattice = PaddedLattice(side, species)
        return lattice, _whole(lattice, four_alpha)
    lattice = PaddedLattice(side, species, align_rows=True)
    rows = max(1, (block_cells or BLOCK_CELLS) // lattice.pitch)
    return lattice, _in_blocks(lattice, four_alpha, rows)


def _whole(lattice: PaddedLattice, four_alpha: FloatArray) -> tuple[Operation, ...]:
    side, pitch, species = lattice.side, lattice.pitch, lattice.species
    everything = lattice.run(0, 0, side, count=species)
    change = aligned_zeros(everything.size)
    plane, cells = lattice.plane, lattice.run(0, 0, side).size
    changes = [change[s * plane : s * plane + cells] for s in range(species)]
    program: list[Operation] = [
        (
            add,
            lattice.run(0, 0, side, count=species, shift=-pitch),
            lattice.run(0, 0, side, count=species, shift=pitch),
            change,
        ),
        (add, change, lattice.run(0, 0, side, count=species, shift=-1), change),
        (add, change, lattice.run(0, 0, side, count=species, shift=1), change),
        (multiply, change, _QUARTER, change),
        (subtract, change, everything, change),
    ]
    values = [lattice.run(s, 0, side) for s in range(species)]
    return tuple(program + _updates(values, changes, aligned_zeros(cells), four_alpha))


def _in_blocks(lattice: PaddedLattice, four_alpha: FloatArray, rows: int) -> tuple[Operation, ...]:
    side, pitch, species = lattice.side, lattice.pitch, lattice.species
    blocks = -(-side // rows)
    edges = [side * block // blocks for block in range(blocks + 1)]
    longest = max(last - first for first, last in itertools.pairwise(edges)) * pitch
    # Two sets of scratch, used in turn: the sums of a block begin before the block above it is updated.
    scratch = [[aligned_zeros(longest) for _ in range(species)] for _ in range(2)]
    product = aligned_zeros(longest)

    program: list[Operation] = []
    pending: list[Operation] = []
    for block in range(blocks):
        first, last = edges[block], edges[block + 1]
        values = [lattice.run(s, first, last) for s in range(species)]
        cells = values[0].size
        changes = [array[:cells] for array in scratch[block % 2]]
        for s, change in enumerate(changes):
            above = lattice.run(s, first, last, shift=-pitch)
            program.append((add, above, lattice.run(s, first, last, shift=pitch), change))
        program += pending
        pending = []
        for s, (value, change) in enumerate(zip(values, changes, strict=True)):
            pending += [
                (add, change, lattice.run(s, first, last, shift=-1), change),
                (add, change, lattice.run(s, first, last, shift=1), change),
                (multiply, change, _QUARTER, change),
                (subtract, change, value, change),
            ]
        pending += _updates(values, changes, product[:cells], four_alpha)
    return tuple(program + pending)


def _updates(
    values: list[FloatArray], changes: list[FloatArray], product: FloatArray, four_alpha: FloatArray
) -> list[Operation]:
    """From a quarter of each Laplacian, in `changes`, to the new values; `product` is scratch."""
    updates: list[Operation] = [
        (multiply, changes[0], four_alpha, changes[0]),
        (add, values[0], changes[0], values[0]),
    ]
    if len(values) == 1:
        return updates
    _, activator, inhibitor = values
    _, activator_change, inhibitor_change = changes
    return [
        *updates,
        (multiply, activator_change, _FOUR_ACTIVATOR_DIFFUSION, activator_change),
        (subtract, _ONE, activator, product),
        (multiply, product, activator, product),
        (subtract, product, inhibitor, product),
        (multiply, product, _ACTIVATOR_RATE, product),
        (add, activator_change, product, activator_change),
        (add, activator, activator_change, activator),
        (multiply, inhibitor_change, _FOUR_INHIBITOR_DIFFUSION, inhibitor_change),
        (subtract, activator, inhibitor, product),
        (multiply, product, _INHIBITOR_RATE, product),
        (add, inhibitor_change, product, inhibitor_change),
        (add, inhibitor, inhibitor_change, inhibitor),
    ]
