"""The choice by a matrix product is that of direct sums, always."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mfn_model.aggregation import _distances
from mfn_model.aggregation._distances import lowest_scores, squared_distances
from mfn_model.aggregation._rows import gradient_rows

Matrix = npt.NDArray[np.float64]


def near_ties(seed: int, count: int, dimension: int) -> Matrix:
    """Points of a lattice with differences near rounding, some far away, some equal, far from the origin."""
    generator = np.random.default_rng(seed)
    points = generator.integers(-2, 3, size=(count, dimension)).astype(np.float64)
    points += generator.choice([0.0, 1e-15, 1e-12, 1e-7], size=(count, 1)) * generator.normal(size=(count, dimension))
    points[generator.random(count) < 0.2] *= generator.choice([1e3, 1e8, 1e120])
    return np.asarray(points + generator.choice([0.0, 1.0, 1e6]))


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(2, 40),
    dimension=st.integers(1, 8),
    squared=st.booleans(),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_the_product_chooses_what_direct_sums_choose(
    seed: int, count: int, dimension: int, squared: bool, data: st.DataObject
) -> None:
    neighbours = data.draw(st.integers(1, count - 1))
    keep = data.draw(st.integers(1, count))
    rows = gradient_rows(near_ties(seed, count, dimension))
    chosen = []
    for direct_work in (0, 2**60):  # by the product first, by direct sums alone
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_distances, "_DIRECT_WORK", direct_work)
            chosen.append(
                lowest_scores(rows, rows.everyone(), neighbours=neighbours, squared=squared, keep=keep).tolist()
            )
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == keep


def test_the_product_alone_decides_where_scores_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gradient_rows(np.random.default_rng(0).normal(0.0, 1.0, (60, 5000)))
    direct = squared_distances(rows, rows.everyone())
    expected = int(np.argmin(np.sort(np.sqrt(direct), axis=1)[:, 1:41].sum(axis=1)))
    monkeypatch.setattr(_distances, "_scores", None)  # direct sums would fail
    assert lowest_scores(rows, rows.everyone(), neighbours=40, squared=False, keep=1).tolist() == [expected]


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gradient_rows(near_ties(3, 50, 40))
    everyone = rows.everyone()
    whole = lowest_scores(rows, everyone, neighbours=30, squared=True, keep=7).tolist()
    monkeypatch.setattr(_distances, "_MATRIX_VALUES", 170)
    monkeypatch.setattr(_distances, "_TILE_VALUES", 64)
    assert lowest_scores(rows, everyone, neighbours=30, squared=True, keep=7).tolist() == whole


@pytest.mark.parametrize("coordinates", [1, 3, 1024, 1025, 5000])
def test_direct_distances_are_exact_to_rounding_symmetric_and_the_same_in_any_company(coordinates: int) -> None:
    points = np.random.default_rng(coordinates).normal(0.0, 1.0, (20, coordinates))
    rows = gradient_rows(points)
    all_pairs = squared_distances(rows, rows.everyone())
    assert np.sqrt(all_pairs) == pytest.approx(cdist(points, points), rel=1e-13, abs=1e-300)
    assert (all_pairs == all_pairs.T).all()
    few = np.array([17, 2, 11], dtype=np.intp)
    assert squared_distances(rows, few).tobytes() == np.ascontiguousarray(all_pairs[np.ix_(few, few)]).tobytes()
    scores = _distances._scores(rows, rows.everyone(), few, 19, True)
    assert scores == pytest.approx(all_pairs[few].sum(axis=1), rel=1e-13)
    assert scores.tolist() == _distances._scores(rows, rows.everyone(), rows.everyone(), 19, True)[few].tolist()


def test_distances_too_small_for_their_squares_are_told_apart_as_direct_sums_tell_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = np.random.default_rng(0).normal(0.0, 1e-161, (10, 5))
    rows = gradient_rows(points)
    direct = lowest_scores(rows, rows.everyone(), neighbours=5, squared=False, keep=3).tolist()
    monkeypatch.setattr(_distances, "_DIRECT_WORK", 0)
    assert lowest_scores(rows, rows.everyone(), neighbours=5, squared=False, keep=3).tolist() == direct
