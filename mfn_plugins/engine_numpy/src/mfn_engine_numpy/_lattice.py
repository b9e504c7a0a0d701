"""Memory layout of periodic fields: every species padded by one cell on each side, all of them in one flat buffer.

In that layout the neighbours of a run of cells are four other runs of the same buffer, shifted by one cell or by one
row. A five-point stencil is then a handful of one-dimensional array operations without a copy. Runs that span several
rows also cover the padding between them; what is computed there means nothing and is overwritten by the next refresh.

Array operations write about twice as fast to memory that begins at a cache line. Therefore the first cell of each
species does, and so does the first cell of every row where rows are processed in blocks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "PaddedLattice", "aligned_zeros"]

FloatArray = npt.NDArray[np.float64]

CACHE_LINE_CELLS: Final = 8
"""Float64 numbers in a cache line of 64 bytes."""


def aligned_zeros(cells: int, *, first: int = 0) -> FloatArray:
    """A one-dimensional array of zeros in which cell `first` begins at a cache line."""
    memory = np.zeros(cells + CACHE_LINE_CELLS)
    start = -(memory.ctypes.data // memory.itemsize + first) % CACHE_LINE_CELLS
    return memory[start : start + cells]


def _whole_lines(cells: int) -> int:
    """`cells` rounded up to whole cache lines."""
    return -(-cells // CACHE_LINE_CELLS) * CACHE_LINE_CELLS


class PaddedLattice:
    """`species` fields of `side` × `side` float64 cells with their halo; all zero at first.

    The interior of species s is `interior(s)`. `halo` holds pairs of arrays: assigning to each first its second, in
    order, makes the padding periodic, which must be done before neighbours are read.
    """

    __slots__ = ("_cells", "_flat", "halo", "pitch", "plane", "side", "species")

    def __init__(self, side: int, species: int, *, align_rows: bool = False) -> None:
        self.side = side
        self.species = species
        self.pitch = _whole_lines(side + 2) if align_rows else side + 2
        """Cells from one row to the next."""
        rows = (side + 2) * self.pitch
        self.plane = _whole_lines(rows)
        """Cells from one species to the next."""
        self._flat: FloatArray = aligned_zeros(species * self.plane, first=self.pitch + 1)
        planes = self._flat.reshape(species, self.plane)[:, :rows]
        self._cells: FloatArray = planes.reshape(species, side + 2, self.pitch)
        self.halo = self._halo()

    def _halo(self) -> tuple[tuple[FloatArray, FloatArray], ...]:
        # NumPy copies its source first when it cannot rule out cheaply that source and target overlap, as it cannot for
        # pairs of rows of several species. These go through a buffer of ours; columns of one species it sees through.
        side, cells = self.side, self._cells
        inner = slice(1, side + 1)
        rows = np.empty((self.species, 2, side))
        opposite = slice(side, 0, 1 - side) if side > 1 else slice(1, 2)
        copies = [(rows, cells[:, opposite, inner]), (cells[:, 0 : side + 2 : side + 1, inner], rows)]
        for species in cells:
            copies += [(species[:, 0], species[:, side]), (species[:, side + 1], species[:, 1])]
        if self.pitch > side + 2:
            # Cells that only align the rows are nobody's neighbours, but what is computed there must not grow.
            copies.append((cells[:, :, side + 2 :], np.zeros(())))
        return tuple(copies)

    def interior(self, species: int) -> FloatArray:
        """[side, side] view of one species without its padding."""
        return self._cells[species, 1 : self.side + 1, 1 : self.side + 1]

    def run(self, species: int, first: int, last: int, *, shift: int = 0, count: int = 1) -> FloatArray:
        """One-dimensional view from the first cell of row `first` to the last cell of row `last − 1`.

        Rows count from 0 inside the padding. With `count` above 1 the run ends in the species `count − 1` further on.
        `shift` moves the view by as many cells, ±1 and ±`pitch` being the four neighbours.
        """
        start = species * self.plane + (first + 1) * self.pitch + 1
        stop = (species + count - 1) * self.plane + last * self.pitch + self.side + 1
        return self._flat[start + shift : stop + shift]
