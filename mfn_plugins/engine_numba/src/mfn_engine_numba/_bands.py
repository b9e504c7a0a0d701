"""A field in bands of rows, one for each thread.

Every band holds copies of its neighbours' rows beside its own, as many as a sweep has steps. A sweep leaves the copies
worthless, one row more with each step, and the band's own rows right; then the bands exchange their rows. The rows that
two bands compute are computed by the same operations, and spikes and noise are drawn by one thread in the order of the
model, so that the numbers do not depend on the number of bands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import numpy as np

from mfn_engine_numba import _memory as at
from mfn_engine_numba._field import Field, Part, blueprint
from mfn_engine_numba._grid import FloatArray, IntArray, Words
from mfn_engine_numba._kernels import Kernels, Prepared
from mfn_engine_numba._whole import WholeGrid
from mfn_model import FieldSpec

__all__ = ["BandedGrid", "band_count"]

_LEVELS: Final = 8
_FEWEST_CELLS: Final = 65_536
"""Of a band: below, threads wait for each other longer than they save."""


def band_count(grid: int, threads: int) -> int:
    """How many bands a field is worth on so many threads; 1 means that it stays in one piece."""
    return max(1, min(threads, grid * grid // _FEWEST_CELLS, grid // (4 * _LEVELS)))


def _parts(grid: int, count: int, *, periodic: bool) -> list[Part]:
    edges = [grid * band // count for band in range(count + 1)]
    levels = max(1, min(_LEVELS, grid // 8))
    parts = []
    for first, last in itertools.pairwise(edges):
        above = levels if periodic else min(levels, first)
        below = levels if periodic else min(levels, grid - last)
        rows = above + last - first + below
        parts.append(
            Part(
                origin=(first - above) % grid,
                rows=rows,
                own_first=above,
                own_last=rows - below,
                levels=levels,
            )
        )
    return parts


class BandedGrid:
    """See `mfn_engine_numba._grid.Grid`. Band 0 keeps the accounts, draws and plans."""

    def __init__(self, spec: FieldSpec, prepared: Prepared, kernels: Kernels, count: int, threads: Executor) -> None:
        """`count` bands, all but one of which are advanced on `threads`, and one on the caller's."""
        dynamics = prepared.dynamics
        self._threads = threads
        self._kernel = kernels.kernel(spec.model, dynamics, banded=True)
        self._storing = prepared.storing
        self._exchange = kernels.storing(banded=True)
        self._side = spec.grid_size
        self._counters = len(dynamics.counters)
        self._noises = len(dynamics.noises)
        self._species = len(prepared.names)
        self._parts = _parts(spec.grid_size, count, periodic=spec.boundary == "periodic")
        self._fields = [
            Field(
                blueprint(dynamics, spec.boundary, spec.grid_size, kernels.precision, part),
                prepared.coefficients,
            )
            for part in self._parts
        ]
        self._jobs: IntArray = np.array([field.job for field in self._fields])
        self._copies = self._planned_copies(count)

    def _planned_copies(self, count: int) -> list[tuple[int, int, int, int, int]]:
        """Band, its first copied row, the band that owns these rows, its first of them, and how many."""
        copies = []
        for band, part in enumerate(self._parts):
            before, after = (band - 1) % count, (band + 1) % count
            above, below = part.own_first, part.rows - part.own_last
            if above:
                copies.append((band, 0, before, self._parts[before].own_last - above, above))
            if below:
                copies.append((band, part.own_last, after, self._parts[after].own_first, below))
        return copies

    def _each(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Does something with every band at the same time."""
        further = [self._threads.submit(work, self._jobs, band, *arguments) for band in range(1, len(self._fields))]
        try:
            work(self._jobs, 0, *arguments)
        finally:
            for each in further:
                each.result()

    @property
    def book(self) -> IntArray:
        """See `Grid`."""
        return self._fields[0].book

    def draw(self, prepared: Prepared, seed: int) -> None:
        """See `Grid`."""
        whole = WholeGrid(prepared)
        whole.draw(prepared, seed)
        self.load([whole.values(species) for species in range(self._species)], whole.words())

    def load(self, values: Sequence[FloatArray], words: Words) -> None:
        """See `Grid`."""
        self._fields[0].generator[:] = words
        for number, each in enumerate(values):
            self._storing.copy_in(self._jobs, number, each)
        self._changed()

    def _changed(self) -> None:
        self._storing.finish_rows(self._jobs)
        self.book[at.BOUNDS_KNOWN] = 0

    def advance(self, steps: int) -> None:
        """See `Grid`."""
        left = steps
        decision = np.zeros(3, dtype=np.int64)
        while left > 0:
            self._kernel.plan(self._jobs, left, decision)
            levels, checked, examined = decision.tolist()
            if not levels:
                self._each(self._exchange.look)
                self._gather_bounds()
                continue
            self._each(self._kernel.sweep, decision)
            if self._noises:
                for noise in range(self._noises):
                    for band in range(len(self._fields)):
                        self._exchange.add_noise(self._jobs, band, noise)
                self._each(self._kernel.finish)
            for copy in self._copies:
                self._exchange.copy_rows(self._jobs, *copy)
            if examined:
                self._gather_bounds()
            if checked:
                self._gather_tally()
            self._exchange.settle(self._jobs, levels, checked)
            if self.book[at.FAILED_STEP]:
                return
            left -= levels

    def _gather_bounds(self) -> None:
        found = []
        for field in self._fields:
            first = int(field.book[at.NUMBERS_BOUNDS])
            found.append(field.numbers[first : first + 2 * self._species].reshape(-1, 2))
        bounds = np.array(found)
        found[0][:, 0] = bounds[:, :, 0].min(axis=0)
        found[0][:, 1] = bounds[:, :, 1].max(axis=0)

    def _gather_tally(self) -> None:
        size = 2 * self._species * self._parts[0].levels
        mine = int(self.book[at.AT_TALLY])
        for field in self._fields[1:]:
            first = int(field.book[at.AT_TALLY])
            self.book[mine : mine + size] += field.book[first : first + size]

    def values(self, species: int) -> FloatArray:
        """See `Grid`."""
        copied = np.empty((self._side, self._side))
        self._storing.copy_out(self._jobs, species, copied)
        return copied

    def words(self) -> Words:
        """See `Grid`."""
        return self._fields[0].generator.copy()

    def adopt(self, coefficients: FloatArray) -> None:
        """See `Grid`."""
        for field in self._fields:
            field.numbers[: coefficients.size] = coefficients
        self._changed()

    def cell(self, row: int, column: int) -> float:
        """See `Grid`."""
        for field, part in zip(self._fields, self._parts, strict=True):
            here = (row - part.origin) % self._side
            if part.own_first <= here < part.own_last:
                return float(field.cells[field.place_of(here, column, 0)])
        raise IndexError(f"row {row} is in no band of {self._side} rows")

    def set_cell(self, row: int, column: int, value: float) -> float:
        """See `Grid`."""
        for field, part in zip(self._fields, self._parts, strict=True):
            here = (row - part.origin) % self._side
            if here < part.rows:
                field.cells[field.place_of(here, column, 0)] = value
        self._changed()
        return self.cell(row, column)

    def counters(self) -> list[int]:
        """See `Grid`."""
        total = np.zeros(self._counters, dtype=np.int64)
        for field in self._fields:
            first = int(field.book[at.AT_COUNTERS])
            total += field.book[first : first + self._counters]
        return [int(number) for number in total]

    def set_counters(self, values: Sequence[int]) -> None:
        """See `Grid`."""
        for number, field in enumerate(self._fields):
            first = int(field.book[at.AT_COUNTERS])
            field.book[first : first + self._counters] = 0 if number else values

    def tally(self) -> IntArray:
        """See `Grid`."""
        first = int(self.book[at.AT_TALLY])
        return self.book[first : first + 2 * self._species].reshape(-1, 2)
