"""The memory of a field."""

from __future__ import annotations

import numpy as np
import pytest

from mfn_engine_numba import _memory as at
from mfn_engine_numba._bands import _parts, band_count
from mfn_engine_numba._field import Blueprint, Field, Part, blueprint, levels_for
from mfn_engine_numba._target import DOUBLE, SINGLE, Precision
from mfn_model import FieldSpec, mycelium_rd_spec


def plan_of(spec: FieldSpec, precision: Precision = DOUBLE, part: Part | None = None) -> Blueprint:
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    return blueprint(dynamics, spec.boundary, spec.grid_size, precision, part)


@pytest.mark.parametrize("precision", [DOUBLE, SINGLE])
@pytest.mark.parametrize("grid_size", [1, 2, 7, 8, 16, 40, 65])
def test_every_cell_has_a_place_of_its_own_that_begins_rows_at_cache_lines(
    grid_size: int, precision: Precision
) -> None:
    plan = plan_of(mycelium_rd_spec(grid_size=grid_size), precision)
    field = Field(plan, np.zeros(plan.coefficients))
    places = {
        field.place_of(row, column, species)
        for row in range(grid_size)
        for column in range(grid_size)
        for species in range(3)
    }
    assert len(places) == 3 * grid_size**2
    assert min(places) > 0
    assert max(places) < field.cells.size
    for row in range(grid_size):
        assert field.cells[field.place_of(row, 0, 1) :].ctypes.data % at.CACHE_LINE == 0


@pytest.mark.parametrize("grid_size", [8, 24, 64])
def test_neighbours_in_a_folded_row_are_whole_cache_lines_apart(grid_size: int) -> None:
    plan = plan_of(mycelium_rd_spec(grid_size=grid_size))
    field = Field(plan, np.zeros(plan.coefficients))
    length = grid_size // 8
    for column in range(grid_size - 1):
        step = field.place_of(0, column + 1, 0) - field.place_of(0, column, 0)
        assert step == (8 if (column + 1) % length else 1 - 8 * (length - 1))


def test_slots_do_not_overlap_and_every_one_is_in_use_or_free() -> None:
    plan = plan_of(mycelium_rd_spec(grid_size=20))
    book = plan.book
    rows, levels = int(book[at.ROWS]), int(book[at.LEVELS])
    table = book[book[at.AT_ROWS] :][:rows].tolist()
    states = book[book[at.AT_LEVELS] :][: levels * at.LEVEL_WORDS].reshape(levels, at.LEVEL_WORDS)
    slots = [*table, *states[:, 1:4].reshape(-1).tolist(), int(book[at.CONSTANT_SLOT])]
    assert len(set(slots)) == len(slots) == rows + 3 * levels + 1
    assert set(np.diff(sorted(slots)).tolist()) == {3 * int(book[at.PITCH])}
    assert max(slots) + 3 * int(book[at.PITCH]) - 8 <= plan.cells


def test_the_parts_of_the_memory_do_not_overlap() -> None:
    plan = plan_of(mycelium_rd_spec(grid_size=20))
    one, other = (Field(plan, np.arange(plan.coefficients, dtype=float)) for _ in range(2))
    one.cells[:] = 1.0
    one.generator[:] = 2
    assert np.array_equal(one.book, plan.book)
    assert np.array_equal(one.numbers[: plan.coefficients], np.arange(plan.coefficients))
    assert set(one.cells.tolist()) == {1.0}
    assert not set(range(one.job[0], one.job[0] + plan.bytes)) & set(range(other.job[0], other.job[0] + plan.bytes))
    assert [one.cells.ctypes.data, one.book.ctypes.data, one.numbers.ctypes.data, one.generator.ctypes.data] == one.job[
        :4
    ].tolist()


def test_a_sweep_takes_few_steps_where_the_field_is_small_and_never_more_than_there_are_rows() -> None:
    assert levels_for(64, 64, 3, 8) < levels_for(1024, 1024, 3, 8) <= 16
    assert levels_for(1, 1, 3, 8) == 1


# Bands.


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("grid_size", "count"), [(8, 2), (24, 3), (64, 2), (100, 3), (1024, 4)])
def test_every_row_belongs_to_one_band_and_its_surroundings_are_copied(
    grid_size: int, count: int, periodic: bool
) -> None:
    parts = _parts(grid_size, count, periodic=periodic)
    owners = [(part.origin + row) % grid_size for part in parts for row in range(part.own_first, part.own_last)]
    assert owners == list(range(grid_size))
    for number, part in enumerate(parts):
        assert part.rows <= grid_size
        above, below = part.own_first, part.rows - part.own_last
        assert above >= part.levels or (not periodic and number == 0)
        assert below >= part.levels or (not periodic and number == count - 1)


def test_small_fields_stay_in_one_piece() -> None:
    assert band_count(128, 8) == 1
    assert band_count(1024, 1) == 1
    assert band_count(1024, 4) == 4
    assert band_count(512, 64) <= 4
