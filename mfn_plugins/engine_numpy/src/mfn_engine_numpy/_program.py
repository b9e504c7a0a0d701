"""One step of the equations, compiled for a lattice into a flat list of array operations.

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

from mfn_engine_numpy._equations import Coefficients
from mfn_engine_numpy._lattice import FloatArray, PaddedLattice, aligned_zeros

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


class _Update:
    """From a quarter of each Laplacian to the new values."""

    def __init__(self, coefficients: Coefficients, sequential: bool) -> None:
        self._of = coefficients
        self._sequential = sequential

    def operations(self, values: list[FloatArray], changes: list[FloatArray], product: FloatArray) -> list[Operation]:
        """The update of one run; `changes` holds the quarters, `product` is scratch."""
        diffused: list[Operation] = [
            (multiply, changes[0], self._of.four_alpha, changes[0]),
            (add, values[0], changes[0], values[0]),
        ]
        if len(values) == 1:
            return diffused
        _, activator, inhibitor = values
        _, activator_change, inhibitor_change = changes
        activation: list[Operation] = [
            (multiply, activator_change, self._of.four_activator_diffusion, activator_change),
            (subtract, _ONE, activator, product),
            (multiply, product, activator, product),
            (subtract, product, inhibitor, product),
            (multiply, product, self._of.activator_rate, product),
            (add, activator_change, product, activator_change),
        ]
        inhibition: list[Operation] = [
            (multiply, inhibitor_change, self._of.four_inhibitor_diffusion, inhibitor_change),
            (subtract, activator, inhibitor, product),
            (multiply, product, self._of.inhibitor_rate, product),
            (add, inhibitor_change, product, inhibitor_change),
        ]
        grown: list[Operation] = [(add, activator, activator_change, activator)]
        reacted = [*activation, *grown, *inhibition] if self._sequential else [*activation, *inhibition, *grown]
        return [*diffused, *reacted, (add, inhibitor, inhibitor_change, inhibitor)]


def compile_step(
    side: int,
    species: int,
    coefficients: Coefficients,
    *,
    sequential: bool = True,
    boundary: str = "periodic",
    block_cells: int | None = None,
) -> tuple[PaddedLattice, tuple[Operation, ...]]:
    """A lattice, and the operations that diffuse its potential and let activator and inhibitor react.

    Species is 1 (the potential alone) or 3. `coefficients` are read anew at every step. `sequential` is that of
    `mfn_engine_numpy._equations.Equations`, `boundary` that of the lattice. `block_cells` overrides the division into
    blocks. Kicks, noise and clipping are not part of it.
    """
    update = _Update(coefficients, sequential)
    if block_cells is None and side * side <= SINGLE_BLOCK_CELLS:
        lattice = PaddedLattice(side, species, boundary)
        return lattice, _whole(lattice, update)
    lattice = PaddedLattice(side, species, boundary, align_rows=True)
    rows = max(1, (block_cells or BLOCK_CELLS) // lattice.pitch)
    return lattice, _in_blocks(lattice, update, rows)


def _whole(lattice: PaddedLattice, update: _Update) -> tuple[Operation, ...]:
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
    return tuple(program + update.operations(values, changes, aligned_zeros(cells)))


def _in_blocks(lattice: PaddedLattice, update: _Update, rows: int) -> tuple[Operation, ...]:
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
        pending += update.operations(values, changes, product[:cells])
    return tuple(program + pending)
