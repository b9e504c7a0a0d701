"""Memory layout of fields: every species padded by one cell on each side, all of them in one flat buffer.

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
    order, makes the padding what lies beyond the edge, which must be done before neighbours are read.
    """

    __slots__ = ("_cells", "_flat", "boundary", "halo", "outside", "pitch", "plane", "side", "species")

    def __init__(self, side: int, species: int, boundary: str = "periodic", *, align_rows: bool = False) -> None:
        self.side = side
        self.species = species
        self.boundary = boundary
        """`"periodic"`, `"neumann"` or `"dirichlet"`, as `mfn_model.stencil.laplacian` defines them."""
        self.outside: FloatArray = np.zeros(species)
        """For each species, what lies beyond a dirichlet boundary; the halo reads it anew each time."""
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
        side, cells = self.side, self._cells
        copies = self._constant_edges() if self.boundary == "dirichlet" else self._copied_edges()
        if self.pitch > side + 2:
            # Cells that only align the rows are nobody's neighbours, but what is computed there must not grow. With
            # the value of a true cell they do not widen the extremes of a run either.
            copies += [(species[:, side + 2 :], species[1, 1, ...]) for species in cells]
        return tuple(copies)

    def _copied_edges(self) -> list[tuple[FloatArray, FloatArray]]:
        """From the opposite side, or from the cell at the edge itself."""
        # NumPy copies its source first when it cannot rule out cheaply that source and target overlap, as it cannot for
        # pairs of rows of several species. These go through a buffer of ours; columns of one species it sees through.
        side, cells = self.side, self._cells
        inner = slice(1, side + 1)
        rows = np.empty((self.species, 2, side))
        if side == 1:
            sources = slice(1, 2)
        else:
            sources = slice(1, side + 1, side - 1) if self.boundary == "neumann" else slice(side, 0, 1 - side)
        left, right = (1, side) if self.boundary == "neumann" else (side, 1)
        copies = [(rows, cells[:, sources, inner]), (cells[:, 0 : side + 2 : side + 1, inner], rows)]
        for species in cells:
            copies += [(species[:, 0], species[:, left]), (species[:, side + 1], species[:, right])]
        return copies

    def _constant_edges(self) -> list[tuple[FloatArray, FloatArray]]:
        last = self.side + 1
        constant = self.outside[:, np.newaxis, np.newaxis]
        cells = self._cells
        return [(cells[:, 0 : last + 1 : last], constant), (cells[:, :, 0 : last + 1 : last], constant)]

    def interior(self, species: int) -> FloatArray:
        """[side, side] view of one species without its padding."""
        return self._cells[species, 1 : self.side + 1, 1 : self.side + 1]

    def padded(self, species: int) -> FloatArray:
        """[side + 2, side + 2] view of one species with its padding."""
        return self._cells[species, :, : self.side + 2]

    def run(self, species: int, first: int, last: int, *, shift: int = 0, count: int = 1) -> FloatArray:
        """One-dimensional view from the first cell of row `first` to the last cell of row `last − 1`.

        Rows count from 0 inside the padding. With `count` above 1 the run ends in the species `count − 1` further on.
        `shift` moves the view by as many cells, ±1 and ±`pitch` being the four neighbours.
        """
        start = species * self.plane + (first + 1) * self.pitch + 1
        stop = (species + count - 1) * self.plane + last * self.pitch + self.side + 1
        return self._flat[start + shift : stop + shift]
