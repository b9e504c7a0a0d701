"""One step of a model's update, compiled for a lattice into a flat list of array operations.

An operation is `(function, left, right, out)` with every operand a ready view, so that a step is one loop that creates
nothing. The sums run in the order in which the model states them, and scalings moved elsewhere are by powers of two,
so that the results equal the plain evaluation bit for bit.

A lattice too large for the processor's cache is worked through in blocks of rows, so that the operations on a block
find it in the cache. The update is in place, but the upper neighbours of a block are the last row of the block before:
they are therefore summed before that block is updated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from attrs import frozen

from mfn_engine_numpy._formula import Function3, Instruction, Operand, Registers, compile_formula, copy_operand
from mfn_engine_numpy._lattice import FloatArray, PaddedLattice, aligned_zeros
from mfn_model.dynamics import Dynamics, SpeciesTerms

__all__ = ["BLOCK_CELLS", "SINGLE_BLOCK_CELLS", "Block", "Operation", "Program", "Table", "compile_step", "passes"]

Operation = tuple[Function3, Any, Any, Any]

BLOCK_CELLS: Final = 24_576
"""Cells of a block of rows: three species and their scratch then take about 2 MiB. With fewer, starting operations
takes longer than a second cache of 1 MiB saves; with more, little is gained."""
SINGLE_BLOCK_CELLS: Final = 65_536
"""Up to so many cells the whole lattice is one block, whose species are processed by common operations."""

add, subtract, multiply = np.add, np.subtract, np.multiply

_LAPLACIAN_PASSES: Final = 5
_NOISE_PASSES: Final = 75
"""Drawing a normal number takes as long as so many additions."""


def constant(value: float) -> FloatArray:
    """A scalar operand as a zero-dimensional array, which an operation takes as it is."""
    array = np.array(value, dtype=np.float64)
    array.flags.writeable = False
    return array


_QUARTER: Final = constant(0.25)


class Table:
    """The numbers of a model that depend on parameters: zero-dimensional arrays that operations read anew each time."""

    __slots__ = ("_diffusing", "coefficients", "four_diffusion")

    def __init__(self, dynamics: Dynamics) -> None:
        self._diffusing = [terms.diffusion for terms in dynamics.species]
        self.coefficients: list[FloatArray] = [np.zeros(()) for _ in dynamics.coefficients]
        self.four_diffusion: list[FloatArray] = [np.zeros(()) for _ in dynamics.species]
        """Four times the coefficient of each species, because programs work on a quarter of the Laplacian."""

    def adopt(self, values: Sequence[float]) -> None:
        """Take these values, those of `Dynamics.values`, from the next operation on."""
        for array, value in zip(self.coefficients, values, strict=True):
            array[...] = value
        for array, index in zip(self.four_diffusion, self._diffusing, strict=True):
            array[...] = 0.0 if index is None else 4.0 * values[index]


@frozen(kw_only=True)
class Block:
    """A run of rows that is updated as a whole before the next one."""

    first: int
    last: int
    """Rows `first` … `last − 1`."""


@frozen(kw_only=True)
class Program:
    """The operations of one step."""

    lattice: PaddedLattice
    operations: tuple[Operation, ...]


@frozen(kw_only=True)
class _Code:
    """The update, not yet bound to memory; from a quarter of each Laplacian to the new values."""

    instructions: tuple[Instruction, ...]
    registers: int


@lru_cache(maxsize=64)
def _compiled(species: tuple[SpeciesTerms, ...], sequential: bool) -> _Code:
    symbols = {terms.symbol: place for place, terms in enumerate(species)}
    registers = Registers.none()
    instructions: list[Instruction] = []
    pending: list[tuple[int, Operand]] = []

    def apply(place: int, change: Operand) -> None:
        own = Operand("species", place)
        instructions.append(Instruction(add, own, change, own))
        registers.give(change)

    for place, terms in enumerate(species):
        change: Operand | None = None
        if terms.diffusion is not None:
            change = Operand("laplacian", place)
            instructions.append(Instruction(multiply, change, Operand("four_diffusion", place), change))
        if terms.reaction is not None:
            reaction = compile_formula(terms.reaction, symbols, registers, instructions)
            if change is not None:
                instructions.append(Instruction(add, change, reaction, change))
                registers.give(reaction)
            elif reaction.kind == "species" and not sequential:
                # It may be updated before its old value is added here.
                change = registers.take()
                instructions.append(Instruction(copy_operand, reaction, reaction, change))
            else:
                change = reaction
        if change is None:
            continue
        if sequential:
            apply(place, change)
        else:
            pending.append((place, change))
    for place, change in pending:
        apply(place, change)
    return _Code(instructions=tuple(instructions), registers=registers.count)


def passes(dynamics: Dynamics) -> int:
    """How often a step goes over the cells of one species, about: what a step costs, in additions a cell."""
    code = _compiled(dynamics.species, dynamics.sequential)
    diffusing = sum(1 for terms in dynamics.species if terms.diffusion is not None)
    bounded = sum(1 for terms in dynamics.species if terms.bounded)
    work = len(code.instructions) + _LAPLACIAN_PASSES * diffusing + 2 * bounded + len(dynamics.kicks)
    return max(1, work + _NOISE_PASSES * len(dynamics.noises))


def compile_step(
    dynamics: Dynamics,
    table: Table,
    side: int,
    *,
    boundary: str = "periodic",
    block_cells: int | None = None,
    settle: Callable[[PaddedLattice, Block], Sequence[Operation]],
) -> Program:
    """A lattice, and the operations that diffuse its species and let them react.

    `dynamics` is `Dynamics.switched`; `table` is read anew at every step; `boundary` is that of the lattice.
    `block_cells` overrides the division into blocks. `settle` gives, for each block, the operations that follow as soon
    as the block is updated.
    """
    code = _compiled(dynamics.species, dynamics.sequential)
    diffusing = [place for place, terms in enumerate(dynamics.species) if terms.diffusion is not None]
    count = len(dynamics.species)
    if block_cells is None and side * side <= SINGLE_BLOCK_CELLS:
        lattice = PaddedLattice(side, count, boundary)
        return _whole(lattice, code, table, diffusing, settle)
    lattice = PaddedLattice(side, count, boundary, align_rows=True)
    rows = max(1, (block_cells or BLOCK_CELLS) // lattice.pitch)
    return _in_blocks(lattice, code, table, diffusing, rows, settle)


def _bound(
    code: _Code,
    table: Table,
    values: Sequence[FloatArray],
    laplacians: Sequence[FloatArray],
    registers: Sequence[FloatArray],
) -> list[Operation]:
    def memory(operand: Operand) -> FloatArray:
        place = int(operand.value)
        match operand.kind:
            case "species":
                return values[place]
            case "laplacian":
                return laplacians[place]
            case "register":
                return registers[place]
            case "coefficient":
                return table.coefficients[place]
            case "four_diffusion":
                return table.four_diffusion[place]
            case _:
                return constant(operand.value)

    return [(each.function, memory(each.left), memory(each.right), memory(each.out)) for each in code.instructions]


def _whole(
    lattice: PaddedLattice,
    code: _Code,
    table: Table,
    diffusing: Sequence[int],
    settle: Callable[[PaddedLattice, Block], Sequence[Operation]],
) -> Program:
    side, pitch, plane = lattice.side, lattice.pitch, lattice.plane
    cells = lattice.run(0, 0, side).size
    change = aligned_zeros(lattice.run(0, 0, side, count=lattice.species).size)
    operations: list[Operation] = []
    for first, count in _groups(diffusing):
        values = lattice.run(first, 0, side, count=count)
        sums = change[first * plane : first * plane + values.size]
        above = lattice.run(first, 0, side, count=count, shift=-pitch)
        below = lattice.run(first, 0, side, count=count, shift=pitch)
        left = lattice.run(first, 0, side, count=count, shift=-1)
        right = lattice.run(first, 0, side, count=count, shift=1)
        operations += [
            (add, above, below, sums),
            (add, sums, left, sums),
            (add, sums, right, sums),
            (multiply, sums, _QUARTER, sums),
            (subtract, sums, values, sums),
        ]
    operations += _bound(
        code,
        table,
        [lattice.run(s, 0, side) for s in range(lattice.species)],
        [change[s * plane : s * plane + cells] for s in range(lattice.species)],
        [aligned_zeros(cells) for _ in range(code.registers)],
    )
    operations += settle(lattice, Block(first=0, last=side))
    return Program(lattice=lattice, operations=tuple(operations))


def _groups(places: Sequence[int]) -> list[tuple[int, int]]:
    """First and number of the runs of consecutive places."""
    groups: list[tuple[int, int]] = []
    for place in places:
        if groups and groups[-1][0] + groups[-1][1] == place:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((place, 1))
    return groups


def _in_blocks(
    lattice: PaddedLattice,
    code: _Code,
    table: Table,
    diffusing: Sequence[int],
    rows: int,
    settle: Callable[[PaddedLattice, Block], Sequence[Operation]],
) -> Program:
    side, pitch, species = lattice.side, lattice.pitch, lattice.species
    number = -(-side // rows)
    edges = [side * block // number for block in range(number + 1)]
    blocks = [Block(first=first, last=last) for first, last in itertools.pairwise(edges)]
    longest = max(block.last - block.first for block in blocks) * pitch
    # Two sets of sums, used in turn: those of a block begin before the block above it is updated.
    scratch = [[aligned_zeros(longest) for _ in range(species)] for _ in range(2)]
    registers = [aligned_zeros(longest) for _ in range(code.registers)]

    operations: list[Operation] = []
    pending: list[Operation] = []
    for turn, block in enumerate(blocks):
        first, last = block.first, block.last
        values = [lattice.run(s, first, last) for s in range(species)]
        cells = values[0].size
        sums = [array[:cells] for array in scratch[turn % 2]]
        for s in diffusing:
            above = lattice.run(s, first, last, shift=-pitch)
            operations.append((add, above, lattice.run(s, first, last, shift=pitch), sums[s]))
        operations += pending
        pending = []
        for s in diffusing:
            pending += [
                (add, sums[s], lattice.run(s, first, last, shift=-1), sums[s]),
                (add, sums[s], lattice.run(s, first, last, shift=1), sums[s]),
                (multiply, sums[s], _QUARTER, sums[s]),
                (subtract, sums[s], values[s], sums[s]),
            ]
        pending += _bound(code, table, values, sums, [array[:cells] for array in registers])
        pending += settle(lattice, block)
    return Program(lattice=lattice, operations=tuple(operations + pending))
