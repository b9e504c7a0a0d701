"""A field in one piece, advanced by one thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfn_engine_numba import _memory as at
from mfn_engine_numba._field import Field
from mfn_engine_numba._grid import FloatArray, IntArray, Words, counters_of, tally_of
from mfn_engine_numba._kernels import Prepared

__all__ = ["WholeGrid"]


class WholeGrid:
    """See `mfn_engine_numba._grid.Grid`."""

    def __init__(self, prepared: Prepared) -> None:
        self._run = prepared.kernel.run
        self._storing = prepared.storing
        self._side = int(prepared.blueprint.book[at.GRID])
        self._counters = len(prepared.dynamics.counters)
        self._species = len(prepared.names)
        self._field = Field(prepared.blueprint, prepared.coefficients)
        self.prepared = prepared
        """What it was made for; the job names the place of its recipe."""
        self._field.job[at.JOB_RECIPE : at.JOB_RECIPE + 5] = prepared.drawing
        self.jobs: IntArray = self._field.job.reshape(1, at.JOB_WORDS)
        """Valid as long as this object is; it draws nothing and copies nothing."""

    @property
    def book(self) -> IntArray:
        """See `Grid`."""
        return self._field.book

    def draw(self, prepared: Prepared, seed: int) -> None:
        """See `Grid`."""
        job = self.jobs.copy()
        job[0, at.JOB_SEED], job[0, at.JOB_STEPS] = seed, 0
        self._run(job)

    def load(self, values: Sequence[FloatArray], words: Words) -> None:
        """See `Grid`."""
        self._field.generator[:] = words
        for number, each in enumerate(values):
            self._storing.copy_in(self.jobs, number, each)
        self._changed()

    def _changed(self) -> None:
        self._storing.finish_rows(self.jobs)
        self._field.book[at.BOUNDS_KNOWN] = 0

    def advance(self, steps: int) -> None:
        """See `Grid`."""
        self._field.job[at.JOB_STEPS] = steps
        self._run(self.jobs)

    def values(self, species: int) -> FloatArray:
        """See `Grid`."""
        copied = np.empty((self._side, self._side))
        self._storing.copy_out(self.jobs, species, copied)
        return copied

    def words(self) -> Words:
        """See `Grid`."""
        return self._field.generator.copy()

    def adopt(self, coefficients: FloatArray) -> None:
        """See `Grid`."""
        self._field.numbers[: coefficients.size] = coefficients
        self._changed()

    def cell(self, row: int, column: int) -> float:
        """See `Grid`."""
        return float(self._field.cells[self._field.place_of(row, column, 0)])

    def set_cell(self, row: int, column: int, value: float) -> float:
        """See `Grid`."""
        self._field.cells[self._field.place_of(row, column, 0)] = value
        self._changed()
        return self.cell(row, column)

    def counters(self) -> list[int]:
        """See `Grid`."""
        return counters_of(self._field.book, self._counters)

    def set_counters(self, values: Sequence[int]) -> None:
        """See `Grid`."""
        first = int(self._field.book[at.AT_COUNTERS])
        self._field.book[first : first + self._counters] = values

    def tally(self) -> IntArray:
        """See `Grid`."""
        return tally_of(self._field.book, self._species)
