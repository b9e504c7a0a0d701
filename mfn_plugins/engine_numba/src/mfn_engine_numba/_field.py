"""The memory of a field: cells, book, numbers and generator, and the job that gives compiled code their places.

Making it is part of every call, and calls are short. What depends on the model and the shape alone is made once, as a
`Blueprint`, and everything lies in one allocation.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mfn_engine_numba import _memory as at
from mfn_engine_numba._pcg64 import STATE_WORDS
from mfn_engine_numba._target import Precision
from mfn_model.dynamics import Dynamics

__all__ = ["Blueprint", "Field", "IntArray", "Part", "blueprint", "levels_for"]

IntArray = npt.NDArray[np.int64]

BOUNDARIES: Final = {"periodic": at.PERIODIC, "neumann": at.NEUMANN, "dirichlet": at.DIRICHLET}

_SMALL_FIELD: Final = 4_194_304
"""Bytes of a field that is worked at without reading memory, out of a processor's second and third cache."""
_FEW_LEVELS: Final = 2
_MANY_LEVELS: Final = 8


def levels_for(columns: int, rows: int, species: int, itemsize: int) -> int:
    """How many steps a sweep takes at once, so that the rows which it works at stay in the cache."""
    small = species * columns * rows * itemsize <= _SMALL_FIELD
    return min(_FEW_LEVELS if small else _MANY_LEVELS, rows)


@frozen(kw_only=True)
class Part:
    """The rows that a band holds: its own ones, and copies of its neighbours' on either side."""

    origin: int
    """The grid's row that is row 0 of the band."""
    rows: int
    own_first: int
    own_last: int
    """Counted from the band's row 0, exclusive."""
    levels: int


@frozen(kw_only=True, eq=False)
class Blueprint:
    """The memory of all fields of one model and shape."""

    book: IntArray
    """As it is at the start."""
    cells: int
    numbers: int
    """How many there are of each."""
    coefficients: int
    dtype: npt.DTypeLike
    offsets: IntArray
    """The addresses of a job, but for that at which the memory begins."""
    bytes: int


def blueprint(
    dynamics: Dynamics, boundary: str, grid: int, precision: Precision, part: Part | None = None
) -> Blueprint:
    """The memory of a field of `dynamics`, in which every species exists; of one band where a part is given."""
    line, species = precision.lanes, len(dynamics.species)
    cut = part is not None
    if part is None:
        levels = levels_for(grid, grid, species, precision.bytes)
        part = Part(origin=0, rows=grid, own_first=0, own_last=grid, levels=levels)
    pitch = (-(-grid // line) + 2) * line
    slots = part.rows + 3 * part.levels + 1
    sections = {
        at.AT_COUNTERS: len(dynamics.counters),
        at.AT_IGNORED: len(dynamics.counters),
        at.AT_SPIKES: at.SPIKE_WORDS * len(dynamics.spikes),
        at.AT_NOISES: at.NOISE_WORDS * len(dynamics.noises),
        at.AT_OUTSIDE: species,
        at.AT_FIRST_EVENTS: part.levels + 1,
        at.AT_EVENTS: at.EVENT_WORDS * len(dynamics.spikes) * part.levels,
        at.AT_TALLY: 2 * species * part.levels,
        at.AT_LEVELS: at.LEVEL_WORDS * part.levels,
        at.AT_ROWS: part.rows,
    }
    book = np.zeros(at.HEADER + sum(sections.values()), dtype=np.int64)
    start = at.HEADER
    for section, words in sections.items():
        book[section] = start
        start += words

    book[[at.COLUMNS, at.ROWS, at.GRID, at.ORIGIN]] = grid, part.rows, grid, part.origin
    book[[at.OWN_FIRST, at.OWN_LAST, at.CUT, at.LEVELS]] = part.own_first, part.own_last, cut, part.levels
    book[[at.SPECIES, at.PITCH, at.LANES]] = species, pitch, line if grid % line == 0 else 1
    book[[at.BOUNDARY, at.WATCH]] = BOUNDARIES[boundary], 1
    book[[at.SPIKES, at.NOISES]] = len(dynamics.spikes), len(dynamics.noises)
    numbers = {terms.name: number for number, terms in enumerate(dynamics.species)}
    spikes = [(numbers[each.species], each.probability, each.mean, each.deviation) for each in dynamics.spikes]
    noises = [(numbers[each.species], each.deviation) for each in dynamics.noises]
    outside = [terms.outside for terms in dynamics.species]
    firsts = line + species * pitch * np.arange(slots)
    free = np.zeros((part.levels, at.LEVEL_WORDS), dtype=np.int64)
    free[:, 1:4] = firsts[part.rows : -1].reshape(part.levels, 3)
    for section, values in (
        (at.AT_SPIKES, np.array(spikes, dtype=np.int64)),
        (at.AT_NOISES, np.array(noises, dtype=np.int64)),
        (at.AT_OUTSIDE, np.array(outside, dtype=np.int64)),
        (at.AT_ROWS, firsts[: part.rows]),
        (at.AT_LEVELS, free),
    ):
        book[book[section] : book[section] + values.size] = values.reshape(-1)
    book[at.CONSTANT_SLOT] = firsts[-1]

    coefficients = len(dynamics.coefficients)
    book[at.NUMBERS_BOUNDS] = coefficients
    book[at.NUMBERS_AMPLITUDES] = coefficients + 2 * species
    book[at.NUMBERS_DRAWN] = coefficients + 2 * species + len(dynamics.spikes) * part.levels
    number_count = int(book[at.NUMBERS_DRAWN]) + grid
    cells = slots * species * pitch
    sizes = (cells * precision.bytes, book.nbytes, number_count * 8, STATE_WORDS * 8)
    places = np.cumsum([0, *(-(-size // at.CACHE_LINE) * at.CACHE_LINE for size in sizes)])
    return Blueprint(
        book=book,
        cells=cells,
        numbers=number_count,
        coefficients=coefficients,
        dtype=np.dtype(precision.name),
        offsets=np.array(places[: len(sizes)], dtype=np.int64),
        bytes=int(places[-1]),
    )


class Field:
    """Memory after a blueprint. Its cells are whatever was in memory before; `generator` is zero."""

    __slots__ = ("_memory", "book", "cells", "generator", "job", "numbers")

    def __init__(self, plan: Blueprint, coefficients: npt.NDArray[np.float64]) -> None:
        memory = np.empty(plan.bytes + at.CACHE_LINE, dtype=np.uint8)
        address = int(memory.__array_interface__["data"][0])
        shift = -address % at.CACHE_LINE
        self._memory = memory
        _, book, numbers, generator = (plan.offsets + shift).tolist()
        self.cells: npt.NDArray[Any] = np.frombuffer(memory, plan.dtype, plan.cells, shift)
        """Every slot, one after the other."""
        self.book: IntArray = np.frombuffer(memory, np.int64, plan.book.size, book)
        self.book[:] = plan.book
        self.numbers: npt.NDArray[np.float64] = np.frombuffer(memory, np.float64, plan.numbers, numbers)
        self.numbers[: plan.coefficients] = coefficients
        self.generator: npt.NDArray[np.uint64] = np.frombuffer(memory, np.uint64, STATE_WORDS, generator)
        self.job: IntArray = np.zeros(at.JOB_WORDS, dtype=np.int64)
        """Valid as long as this object is; of no steps."""
        self.job[: plan.offsets.size] = plan.offsets
        self.job[: plan.offsets.size] += address + shift
        self.job[at.JOB_SEED] = -1

    def place_of(self, row: int, column: int, species: int) -> int:
        """Where a cell stands in `cells`."""
        book = self.book
        columns, lanes = int(book[at.COLUMNS]), int(book[at.LANES])
        length = columns // lanes
        place = column % length * lanes + column // length if lanes > 1 else column
        return int(book[int(book[at.AT_ROWS]) + row]) + species * int(book[at.PITCH]) + place
