"""What stands around the sweeps of a call: spikes are drawn, sweeps are planned, noise is added, accounts are kept.

Before each sweep the spikes of its steps are drawn, in the order of the steps. Interval arithmetic then tells for how
many steps no kick, no clipping and no number that is not finite is possible (`outlook`, generated from the model); so
many steps are taken by the update alone, and the bounds of the state are carried on from sweep to sweep. Where they
have become too wide, the state is looked at again. Where its own extremes promise fewer than `_FEWEST_QUIET` steps,
some are taken with every check, and more each time that the outlook stays poor. Whatever is chosen, the numbers are
the same.
"""

from __future__ import annotations

from typing import Any, Final

from mfn_engine_numba._memory import (
    AT_COUNTERS,
    AT_EVENTS,
    AT_FIRST_EVENTS,
    AT_IGNORED,
    AT_NOISES,
    AT_ROWS,
    AT_SPIKES,
    AT_TALLY,
    BOUNDARY,
    BOUNDS_KNOWN,
    COLUMNS,
    EVENT_WORDS,
    FAILED_STEP,
    GRID,
    GROWTH_EVENTS,
    LANES,
    LEVELS,
    NOISE_WORDS,
    NUMBERS_AMPLITUDES,
    NUMBERS_BOUNDS,
    NUMBERS_DRAWN,
    OWN_FIRST,
    OWN_LAST,
    PENDING,
    PITCH,
    ROWS,
    SPECIES,
    SPIKE_WORDS,
    SPIKES,
    STEP,
    WATCH,
    WATCH_LEFT,
)
from mfn_engine_numba._numba import compiled, compiled_for, row_kernel, shifted
from mfn_engine_numba._pcg64 import fill_normal, integer_below, normal, uniform
from mfn_engine_numba._sweep import count_not_finite

__all__ = ["add_noise", "confine_of", "draw_spikes", "find_failure", "plan_of", "settle_sweep"]

_FEWEST_QUIET: Final = 4
"""A shorter prospect of quiet costs more to establish than the checks do."""
_LONGEST_WATCH: Final = 16
"""Steps after which a state that was not quiet is looked at again at the latest."""


@compiled
def draw_spikes(book: Any, numbers: Any, generator: Any, level: Any) -> None:
    """Draws the spikes of one step, which become those of step `level` of the next sweep."""
    event = book[book[AT_FIRST_EVENTS] + level]
    for kind in range(book[SPIKES]):
        at = book[AT_SPIKES] + kind * SPIKE_WORDS
        if uniform(generator) < numbers[book[at + 1]]:
            place = book[AT_EVENTS] + event * EVENT_WORDS
            book[place] = integer_below(generator, book[GRID])
            book[place + 1] = integer_below(generator, book[GRID])
            book[place + 2] = book[at]
            amplitude = numbers[book[at + 2]] + numbers[book[at + 3]] * normal(generator)
            numbers[book[NUMBERS_AMPLITUDES] + event] = amplitude
            book[GROWTH_EVENTS] += 1
            event += 1
    book[book[AT_FIRST_EVENTS] + level + 1] = event


@compiled
def _foresee_spikes(book: Any, numbers: Any, level: Any) -> None:
    """Widens the bounds by the spikes of one step: each adds its amplitude to some cell."""
    for event in range(book[book[AT_FIRST_EVENTS] + level], book[book[AT_FIRST_EVENTS] + level + 1]):
        at = book[NUMBERS_BOUNDS] + 2 * book[book[AT_EVENTS] + event * EVENT_WORDS + 2]
        amplitude = numbers[book[NUMBERS_AMPLITUDES] + event]
        if amplitude < 0.0:
            numbers[at] += amplitude
        else:
            numbers[at + 1] += amplitude


def plan_of(outlook: Any) -> Any:
    """The compiled planning of a model's sweeps."""

    @compiled_for(outlook)
    def plan_sweep(book: Any, numbers: Any, generator: Any, left: Any) -> Any:
        """Draws the spikes of the next steps, at most `left`, and decides about the next sweep.

        Gives the number of its steps, 0 for none, because the bounds of the state must be found first; whether it must
        be done with all checks; and whether the state is to be looked at in its last step.
        """
        levels = min(left, book[LEVELS])
        drawn = book[PENDING]
        if not book[WATCH_LEFT]:
            if not book[BOUNDS_KNOWN]:
                return 0, 0, 0
            fresh = book[BOUNDS_KNOWN] == 2
            level = 0
            while level < levels:
                if level >= drawn:
                    draw_spikes(book, numbers, generator, level)
                    drawn = level + 1
                _foresee_spikes(book, numbers, level)
                if not outlook(book, numbers, shifted(numbers, book[NUMBERS_BOUNDS])):
                    break
                level += 1
            book[BOUNDS_KNOWN] = 1 if level == levels else 0
            if level == levels or level >= _FEWEST_QUIET:
                book[PENDING] = drawn - level
                book[WATCH] = 1
                return level, 0, level < levels
            if not fresh:
                book[PENDING] = drawn
                return 0, 0, 0
            book[WATCH_LEFT] = max(level + 1, book[WATCH])
            book[WATCH] = min(_LONGEST_WATCH, 2 * book[WATCH_LEFT])
        levels = min(levels, book[WATCH_LEFT])
        for further in range(drawn, levels):
            draw_spikes(book, numbers, generator, further)
        book[PENDING] = max(drawn, levels) - levels
        book[WATCH_LEFT] -= levels
        return levels, 1, book[WATCH_LEFT] == 0

    return plan_sweep


@compiled
def settle_sweep(book: Any, numbers: Any, levels: Any) -> None:
    """Closes the accounts of a sweep; spikes that are drawn already become those of the first steps of the next."""
    book[STEP] += levels
    if book[PENDING]:
        starts = book[AT_FIRST_EVENTS]
        first, last = book[starts + levels], book[starts + levels + book[PENDING]]
        for event in range(first, last):
            source = book[AT_EVENTS] + event * EVENT_WORDS
            target = book[AT_EVENTS] + (event - first) * EVENT_WORDS
            for index in range(EVENT_WORDS):
                book[target + index] = book[source + index]
            at = book[NUMBERS_AMPLITUDES] + event
            numbers[at - first] = numbers[at]
        for level in range(1, book[PENDING] + 1):
            book[starts + level] = book[starts + levels + level] - first


@compiled
def find_failure(book: Any, levels: Any) -> None:
    """Notes the first step of a sweep, the last one of which is `STEP`, after which a number was not finite."""
    words = 2 * book[SPECIES]
    for level in range(levels):
        for index in range(words):
            if book[book[AT_TALLY] + level * words + index]:
                book[FAILED_STEP] = book[STEP] - levels + level + 1
                for kept in range(words):
                    book[book[AT_TALLY] + kept] = book[book[AT_TALLY] + level * words + kept]
                return


@row_kernel
def _fill_row(generator: Any, drawn: Any, columns: Any) -> None:
    fill_normal(generator, drawn, columns)


@row_kernel
def _add_row(cells: Any, drawn: Any, columns: Any, lanes: Any, deviation: Any) -> None:
    length = columns // lanes
    for lane in range(lanes):
        for index in range(length):
            cells[index * lanes + lane] += deviation * drawn[lane * length + index]


@compiled
def add_noise(book: Any, cells: Any, numbers: Any, generator: Any, noise: Any) -> None:
    """Adds one noise to every cell of one species in the rows that count, drawn in row-major order."""
    at = book[AT_NOISES] + noise * NOISE_WORDS
    deviation = numbers[book[at + 1]]
    drawn = shifted(numbers, book[NUMBERS_DRAWN])
    for row in range(book[OWN_FIRST], book[OWN_LAST]):
        start = book[book[AT_ROWS] + row] + book[at] * book[PITCH]
        _fill_row(generator, drawn, book[COLUMNS])
        _add_row(shifted(cells, start), drawn, book[COLUMNS], book[LANES], deviation)


def confine_of(confine: Any, close: Any) -> Any:
    """The compiled end of a step with noise."""

    @compiled_for(confine)
    def confine_all(book: Any, cells: Any) -> None:
        """Step 5 of the contract, for every row, with the halo that follows from it."""
        for row in range(book[ROWS]):
            slot = book[book[AT_ROWS] + row]
            own = book[OWN_FIRST] <= row < book[OWN_LAST]
            counters = shifted(book, book[AT_COUNTERS] if own else book[AT_IGNORED])
            if confine(cells, slot, book[PITCH], book[COLUMNS], counters) and own:
                count_not_finite(book, cells, slot, 0)
            close(cells, slot, book[PITCH], book[COLUMNS], book[LANES], book[BOUNDARY])

    return confine_all
