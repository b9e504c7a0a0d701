"""The padded layout."""

from __future__ import annotations

import numpy as np
import pytest

from mfn_engine_numpy._lattice import PaddedLattice, aligned_zeros


def filled(
    side: int, species: int, boundary: str = "periodic", *, align_rows: bool
) -> tuple[PaddedLattice, list[np.ndarray]]:
    lattice = PaddedLattice(side, species, boundary, align_rows=align_rows)
    lattice.outside[:] = -1.0 - np.arange(species)
    values = [np.arange(side * side, dtype=float).reshape(side, side) + 1000 * s for s in range(species)]
    for s, each in enumerate(values):
        lattice.interior(s)[...] = each
    for target, source in lattice.halo:
        target[...] = source
    return lattice, values


@pytest.mark.parametrize("align_rows", [False, True])
@pytest.mark.parametrize("species", [1, 3])
@pytest.mark.parametrize("side", [1, 2, 3, 8, 13])
@pytest.mark.parametrize(("boundary", "mode"), [("periodic", "wrap"), ("neumann", "edge"), ("dirichlet", "constant")])
def test_shifted_runs_hold_the_neighbours_under_each_boundary(
    side: int, species: int, align_rows: bool, boundary: str, mode: str
) -> None:
    lattice, values = filled(side, species, boundary, align_rows=align_rows)
    for shift, down, right in ((-lattice.pitch, 0, 1), (lattice.pitch, 2, 1), (-1, 1, 0), (1, 1, 2)):
        for s in range(species):
            run = lattice.run(s, 0, side, shift=shift)
            found = np.append(run, np.zeros(lattice.pitch - side)).reshape(side, lattice.pitch)[:, :side]
            outside = {"constant_values": lattice.outside[s]} if boundary == "dirichlet" else {}
            padded = np.pad(values[s], 1, mode=mode, **outside)  # type: ignore[call-overload]  # a table of modes
            assert np.array_equal(found, padded[down : down + side, right : right + side])


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_refreshed_runs_have_the_extremes_of_the_field(boundary: str) -> None:
    lattice, values = filled(5, 3, boundary, align_rows=True)
    for s, each in enumerate(values):
        run = lattice.run(s, 0, 5)
        assert (run.min(), run.max()) == (each.min(), each.max())


def test_cells_that_only_align_rows_are_reset_by_each_refresh() -> None:
    lattice, values = filled(5, 3, align_rows=True)
    assert lattice.pitch == 8
    lattice.run(0, 0, 5, count=3)[...] = np.nan
    for s, each in enumerate(values):
        lattice.interior(s)[...] = each
    for target, source in lattice.halo:
        target[...] = source
    assert np.isfinite(lattice.run(0, 0, 5)).all()


def test_a_run_over_several_species_ends_with_the_last_one() -> None:
    lattice, values = filled(5, 3, align_rows=False)
    run = lattice.run(0, 0, 5, count=3)
    assert run[0] == values[0][0, 0]
    assert run[lattice.plane] == values[1][0, 0]
    assert run[-1] == values[2][4, 4]


def test_a_run_is_a_view() -> None:
    lattice, _ = filled(4, 1, align_rows=False)
    lattice.run(0, 1, 2)[0] = -1.0
    assert lattice.interior(0)[1, 0] == -1.0


def test_species_begin_at_cache_lines_and_rows_do_where_asked() -> None:
    lattice = PaddedLattice(13, 3)
    assert all(lattice.run(s, 0, 13).ctypes.data % 64 == 0 for s in range(3))
    lattice = PaddedLattice(13, 3, align_rows=True)
    assert all(lattice.run(s, row, 13).ctypes.data % 64 == 0 for s in range(3) for row in range(13))


@pytest.mark.parametrize("first", [0, 1, 7, 8, 67])
def test_aligned_memory_begins_a_cache_line_at_the_cell_asked_for(first: int) -> None:
    array = aligned_zeros(100, first=first)
    assert array.shape == (100,)
    assert not array.any()
    assert array[first:].ctypes.data % 64 == 0
