"""What goes into a field and out of it: the initial state, copies of species, edges, and rows of other bands."""

from __future__ import annotations

from typing import Any

from mfn_engine_numba._memory import (
    AT_LEVELS,
    AT_OUTSIDE,
    AT_ROWS,
    BOUNDARY,
    COLUMNS,
    CONSTANT,
    CONSTANT_SLOT,
    DIRICHLET,
    GRID,
    LANES,
    LEVEL_WORDS,
    LEVELS,
    NORMAL,
    NUMBERS_DRAWN,
    ORIGIN,
    OWN_FIRST,
    OWN_LAST,
    PITCH,
    RECIPE_FIRST,
    RECIPE_KIND,
    RECIPE_SECOND,
    RECIPE_SPECIES,
    RECIPE_WORDS,
    ROWS,
    SPECIES,
    UNIFORM,
)
from mfn_engine_numba._numba import compiled, row_kernel, shifted
from mfn_engine_numba._pcg64 import fill_normal, fill_uniform, integer_below, skip
from mfn_engine_numba._sweep import close_species, place

__all__ = ["copy_in", "copy_out", "copy_rows", "draw_state", "finish_rows"]


@row_kernel
def _fill_row(generator: Any, drawn: Any, columns: Any, normally: Any) -> None:
    """Draws a number for each column."""
    if normally:
        fill_normal(generator, drawn, columns)
    else:
        fill_uniform(generator, drawn, columns)


@row_kernel
def _lay_row(cells: Any, drawn: Any, columns: Any, lanes: Any, first: Any, second: Any) -> None:
    """Fills a row with `first + second * drawn`."""
    length = columns // lanes
    for lane in range(lanes):
        for index in range(length):
            cells[index * lanes + lane] = first + second * drawn[lane * length + index]


@compiled
def draw_state(
    book: Any, cells: Any, numbers: Any, generator: Any, recipe: Any, declared_species: Any, patches: Any
) -> None:
    """The initial state: species by species as the rows of the recipe say, then the patches.

    `patches` holds their number and side, and then the value of each species, NaN for one that they leave as it is.
    """
    columns, lanes = book[COLUMNS], book[LANES]
    drawn = shifted(numbers, book[NUMBERS_DRAWN])
    for declared in range(declared_species):
        at = declared * RECIPE_WORDS
        kind, species = recipe[at + RECIPE_KIND], int(recipe[at + RECIPE_SPECIES])
        first, second = recipe[at + RECIPE_FIRST], recipe[at + RECIPE_SECOND]
        if species < 0 and kind == CONSTANT:
            continue
        if species < 0 and kind == UNIFORM:
            skip(generator, columns * columns)
            continue
        if kind == UNIFORM:
            second -= first
        for row in range(book[ROWS]):
            if kind == CONSTANT:
                for column in range(columns):
                    drawn[column] = 0.0
            else:
                _fill_row(generator, drawn, columns, kind == NORMAL)
            if species >= 0:
                start = book[book[AT_ROWS] + row] + species * book[PITCH]
                _lay_row(shifted(cells, start), drawn, columns, lanes, first, second)
    side = int(patches[1])
    for _ in range(int(patches[0])):
        top = integer_below(generator, columns)
        left = integer_below(generator, columns)
        for species in range(book[SPECIES]):
            value = patches[2 + species]
            if value == value:
                for down in range(side):
                    start = book[book[AT_ROWS] + (top + down) % columns] + species * book[PITCH]
                    for along in range(side):
                        cells[start + place((left + along) % columns, columns, lanes)] = value


@compiled
def _hold_slot(book: Any, cells: Any, numbers: Any, slot: Any) -> None:
    for species in range(book[SPECIES]):
        first = slot + species * book[PITCH]
        outside = numbers[book[book[AT_OUTSIDE] + species]]
        cells[first - book[LANES]] = outside
        cells[first + book[COLUMNS] - 1 + book[LANES]] = outside


@compiled
def finish_rows(book: Any, cells: Any, numbers: Any) -> None:
    """Makes a state that was written cell by cell ready: its halos, and what lies beyond a dirichlet boundary."""
    columns, lanes = book[COLUMNS], book[LANES]
    if book[BOUNDARY] == DIRICHLET:
        for row in range(book[ROWS]):
            _hold_slot(book, cells, numbers, book[book[AT_ROWS] + row])
        for level in range(book[LEVELS]):
            for free in range(1, 4):
                _hold_slot(book, cells, numbers, book[book[AT_LEVELS] + level * LEVEL_WORDS + free])
        for species in range(book[SPECIES]):
            first = book[CONSTANT_SLOT] + species * book[PITCH]
            for cell in range(first - lanes, first + columns + lanes):
                cells[cell] = numbers[book[book[AT_OUTSIDE] + species]]
    for row in range(book[ROWS]):
        for species in range(book[SPECIES]):
            first = book[book[AT_ROWS] + row] + species * book[PITCH]
            close_species(cells, first, columns, lanes, book[BOUNDARY])


@compiled
def copy_out(book: Any, cells: Any, species: Any, values: Any, first: Any) -> None:
    """Copies one species of the rows that count into the matrix of the whole grid that begins at `values[first]`."""
    lanes = book[LANES]
    length = book[COLUMNS] // lanes
    for row in range(book[OWN_FIRST], book[OWN_LAST]):
        start = book[book[AT_ROWS] + row] + species * book[PITCH]
        target = first + (book[ORIGIN] + row) % book[GRID] * book[GRID]
        for lane in range(lanes):
            for index in range(length):
                values[target + lane * length + index] = cells[start + index * lanes + lane]


@compiled
def copy_in(book: Any, cells: Any, species: Any, values: Any) -> None:
    """Copies `values`, a matrix of the whole grid, into one species of every row here."""
    columns, lanes = book[COLUMNS], book[LANES]
    length = columns // lanes
    for row in range(book[ROWS]):
        start = book[book[AT_ROWS] + row] + species * book[PITCH]
        source = (book[ORIGIN] + row) % book[GRID]
        for lane in range(lanes):
            for index in range(length):
                cells[start + index * lanes + lane] = values[source, lane * length + index]


@compiled
def copy_rows(book: Any, cells: Any, first: Any, source: Any, source_cells: Any, source_first: Any, count: Any) -> None:
    """Copies rows of one band, halos included, to another one."""
    for row in range(count):
        for species in range(book[SPECIES]):
            target = book[book[AT_ROWS] + first + row] + species * book[PITCH]
            origin = source[source[AT_ROWS] + source_first + row] + species * book[PITCH]
            for cell in range(-book[LANES], book[COLUMNS] + book[LANES]):
                cells[target + cell] = source_cells[origin + cell]
