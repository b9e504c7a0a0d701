"""Several steps in one pass over a field: temporal blocking by a wavefront.

A sweep takes the field through `levels` steps. Level l follows level l − 1 at a distance of one row, so that a row is
advanced by all levels while it and its neighbours lie in the cache; a large field is then read from memory once in
`levels` steps. Every level starts one row further on than the one before and goes round: the row that it computes last
needs the row that it computed first as it was before, whose slot is therefore kept. No cell is computed twice, and
every cell is computed by the same operations as in single steps.

The functions of a model are given to `sweep_of`:

    update(cells, new, above, row, below, pitch, columns, lanes, boundary, numbers)
                                                                            the slot `new` from three others; whether
                                                                            its halo is closed
    kick(cells, slot, pitch, columns, numbers, counters)                    step 3 of the contract of a step
    confine(cells, slot, pitch, columns, counters)                          step 5; whether a number is not finite
    close(cells, slot, pitch, columns, lanes, boundary)                     `close_species` for every species
"""

from __future__ import annotations

import math
from typing import Any

from mfn_engine_numba._memory import (
    AT_COUNTERS,
    AT_EVENTS,
    AT_FIRST_EVENTS,
    AT_IGNORED,
    AT_LEVELS,
    AT_ROWS,
    AT_TALLY,
    BOUNDARY,
    BOUNDS_KNOWN,
    COLUMNS,
    CONSTANT_SLOT,
    CUT,
    DIRICHLET,
    EVENT_WORDS,
    GRID,
    LANES,
    LEVEL_WORDS,
    NEUMANN,
    NUMBERS_AMPLITUDES,
    NUMBERS_BOUNDS,
    ORIGIN,
    OWN_FIRST,
    OWN_LAST,
    PERIODIC,
    PITCH,
    ROWS,
    SPECIES,
)
from mfn_engine_numba._numba import (
    chosen,
    compiled,
    compiled_for,
    number_of_key,
    order_key,
    row_kernel,
    shift_line_down,
    shift_line_up,
    shifted,
)

__all__ = ["close_species", "count_not_finite", "examine", "place", "sweep_of"]


@compiled
def place(column: Any, columns: Any, lanes: Any) -> Any:
    """Where a cell stands in its row."""
    if lanes == 1:
        return column
    length = columns // lanes
    return column % length * lanes + column // length


@compiled
def close_species(cells: Any, first: Any, columns: Any, lanes: Any, boundary: Any) -> None:
    """Fills the halo of one species of a row; the cells beyond a dirichlet boundary stand there already."""
    last = first + columns - 1
    left, right = first - lanes, last + lanes
    if boundary == PERIODIC:
        before, after = cells[last], cells[first]
    elif boundary == NEUMANN:
        before, after = cells[first], cells[last]
    else:
        before, after = cells[left], cells[right]
    if lanes == 1:
        cells[left] = before
        cells[right] = after
    else:
        shift_line_up(shifted(cells, last - lanes + 1), shifted(cells, left), before)
        shift_line_down(shifted(cells, first), shifted(cells, last + 1), after)


@compiled
def _row_of_event(book: Any, plan: Any, event: Any) -> Any:
    """The row here that a spike falls into; in a band it may be none, a number beyond its rows."""
    row = plan[plan[AT_EVENTS] + event * EVENT_WORDS] - book[ORIGIN]
    return row + book[GRID] if row < 0 else row


@compiled
def _add_event(book: Any, cells: Any, slot: Any, plan: Any, amplitudes: Any, event: Any) -> None:
    """Adds a spike to a row; `plan` is the book that holds it."""
    at = plan[AT_EVENTS] + event * EVENT_WORDS
    cell = slot + plan[at + 2] * book[PITCH] + place(plan[at + 1], book[COLUMNS], book[LANES])
    cells[cell] += amplitudes[plan[NUMBERS_AMPLITUDES] + event]


@row_kernel
def _extreme_keys(cells: Any, columns: Any) -> Any:
    """The `order_key`s of the least and the largest of some cells."""
    least = largest = order_key(cells[0])
    for column in range(columns):
        key = order_key(cells[column])
        least = chosen(key < least, key, least)
        largest = chosen(key > largest, key, largest)
    return least, largest


@compiled
def _examine_row(book: Any, cells: Any, numbers: Any, slot: Any) -> None:
    """Widens the bounds by the extremes of a row; a NaN makes them NaN, and they stay so."""
    for species in range(book[SPECIES]):
        low, high = _extreme_keys(shifted(cells, slot + species * book[PITCH]), book[COLUMNS])
        least, largest = number_of_key(low), number_of_key(high)
        at = book[NUMBERS_BOUNDS] + 2 * species
        if not least >= numbers[at]:
            numbers[at] = least
        if not largest <= numbers[at + 1]:
            numbers[at + 1] = largest


@compiled
def _forget_bounds(book: Any, numbers: Any) -> None:
    """Bounds of nothing, to be widened row by row."""
    for species in range(book[SPECIES]):
        at = book[NUMBERS_BOUNDS] + 2 * species
        numbers[at] = math.inf
        numbers[at + 1] = -math.inf
    book[BOUNDS_KNOWN] = 2


@compiled
def examine(book: Any, cells: Any, numbers: Any) -> None:
    """Finds the least and the largest value of every species in the rows that count."""
    _forget_bounds(book, numbers)
    for row in range(book[OWN_FIRST], book[OWN_LAST]):
        _examine_row(book, cells, numbers, book[book[AT_ROWS] + row])


@compiled
def count_not_finite(book: Any, cells: Any, slot: Any, level: Any) -> None:
    """Counts, for one step of a sweep, the NaN and the infinities of each species in a row."""
    for species in range(book[SPECIES]):
        at = book[AT_TALLY] + 2 * (level * book[SPECIES] + species)
        first = slot + species * book[PITCH]
        for column in range(book[COLUMNS]):
            value = cells[first + column]
            if value != value:
                book[at] += 1
            elif math.isinf(value):
                book[at + 1] += 1


def sweep_of(update: Any, kick: Any, confine: Any, close: Any) -> Any:
    """The compiled sweep of a model."""

    @compiled_for(update)
    def sweep(
        book: Any, cells: Any, numbers: Any, plan: Any, amplitudes: Any, levels: Any, checked: Any, examined: Any
    ) -> None:
        """Takes a field through `levels` steps, at most as many as the book has room for and the field has rows.

        The spikes are those of the book `plan` with its numbers `amplitudes`. `checked` is 0 where nothing can happen
        in these steps but the update, 1 where kicks, ranges and finiteness must be seen to, 2 for the kicks alone.
        With `examined` the extremes of the state are its bounds afterwards.
        """
        rows, columns, pitch, lanes = book[ROWS], book[COLUMNS], book[PITCH], book[LANES]
        boundary, constant = book[BOUNDARY], book[CONSTANT_SLOT]
        held = boundary == DIRICHLET
        wraps = boundary == PERIODIC and not book[CUT]
        table, states = book[AT_ROWS], book[AT_LEVELS]
        own_first, own_last = book[OWN_FIRST], book[OWN_LAST]
        starts = plan[AT_FIRST_EVENTS]
        if examined:
            _forget_bounds(book, numbers)
        for event in range(plan[starts], plan[starts + 1]):
            row = _row_of_event(book, plan, event)
            if row < rows:
                _add_event(book, cells, book[table + row], plan, amplitudes, event)
                close(cells, book[table + row], pitch, columns, lanes, boundary)

        for time in range(rows + 2 * (levels - 1)):
            for level in range(max(0, (time - rows + 2) // 2), min(levels - 1, time // 2) + 1):
                done = time - 2 * level
                row = time - level
                if row >= rows:
                    row -= rows
                    if row >= rows:
                        row -= rows
                state = states + level * LEVEL_WORDS
                old = book[table + row]
                if done == 0:
                    above = book[table + (row - 1 if row > 0 else rows - 1)]
                    new = book[state + 2]
                    book[state + 4] = old
                elif done == 1:
                    above = book[state]
                    new = book[state + 3]
                else:
                    above = book[state]
                    new = book[state + 1]
                    book[state + 1] = above
                book[state] = old
                if done < rows - 1:
                    below = book[table + (row + 1 if row + 1 < rows else 0)]
                else:
                    below = book[state + 4]
                    if rows > 1:
                        book[state + 3] = below
                    book[state + 2] = old
                if not wraps:
                    if row == 0:
                        above = constant if held else old
                    if row == rows - 1:
                        below = constant if held else old
                book[table + row] = new

                closed = update(cells, new, above, old, below, pitch, columns, lanes, boundary, numbers)
                own = own_first <= row < own_last
                if checked:
                    closed = False
                    counters = shifted(book, book[AT_COUNTERS] if own else book[AT_IGNORED])
                    kick(cells, new, pitch, columns, numbers, counters)
                    if checked == 1 and confine(cells, new, pitch, columns, counters) and own:
                        count_not_finite(book, cells, new, level)
                if level + 1 < levels:
                    for event in range(plan[starts + level + 1], plan[starts + level + 2]):
                        if _row_of_event(book, plan, event) == row:
                            closed = False
                            _add_event(book, cells, new, plan, amplitudes, event)
                elif examined and own:
                    _examine_row(book, cells, numbers, new)
                if not closed:
                    close(cells, new, pitch, columns, lanes, boundary)

    return sweep
