"""Statistics of a potential field."""

from __future__ import annotations

import numpy as np
import pytest

from mfn_model import active_mask, field_statistics, mean_and_std


@pytest.mark.parametrize("shape", [(64, 64), (33, 33), (1, 1), (5, 7), (4096,)])
def test_the_statistics_agree_with_numpy(shape: tuple[int, ...]) -> None:
    field = np.random.default_rng(2).normal(-0.070, 0.005, shape)
    statistics = field_statistics(field)
    assert statistics.minimum == field.min()
    assert statistics.maximum == field.max()
    assert statistics.mean == pytest.approx(field.mean(), rel=1e-14)
    assert statistics.std == pytest.approx(field.std(), rel=1e-14)
    assert statistics.active_cells == np.count_nonzero(field > -0.060)
    assert statistics.active_fraction == statistics.active_cells / field.size
    assert statistics.cells == field.size


def test_the_moments_alone_are_the_same_to_the_bit() -> None:
    field = np.random.default_rng(4).normal(-0.070, 0.005, (37, 37))
    statistics = field_statistics(field)
    assert mean_and_std(field) == (statistics.mean, statistics.std)
    assert not np.isfinite(mean_and_std(np.array([[np.nan, 0.0]]))).any()
    with pytest.raises(ValueError, match="without cells"):
        mean_and_std(np.empty((0, 0)))


def test_millivolts_are_a_thousand_times_the_volts() -> None:
    statistics = field_statistics(np.array([[-0.07, 0.01], [0.02, -0.09]]))
    assert statistics.minimum_mv == statistics.minimum * 1000.0
    assert statistics.maximum_mv == statistics.maximum * 1000.0
    assert statistics.mean_mv == statistics.mean * 1000.0
    assert statistics.std_mv == statistics.std * 1000.0


def test_a_cell_at_the_threshold_is_not_active() -> None:
    field = np.array([[-0.060, np.nextafter(-0.060, 0.0)], [-0.061, 0.0]])
    assert active_mask(field).tolist() == [[False, True], [False, True]]
    assert field_statistics(field).active_fraction == 0.5
    assert field_statistics(field, threshold=-0.0605).active_cells == 3


def test_a_uniform_field_has_no_deviation() -> None:
    assert field_statistics(np.full((8, 8), -0.070)).std == pytest.approx(0.0, abs=1e-17)


def test_nan_shows_in_the_result() -> None:
    statistics = field_statistics(np.array([[np.nan, 0.0], [0.0, 0.0]]))
    assert np.isnan([statistics.minimum, statistics.maximum, statistics.mean, statistics.std]).all()
    assert statistics.active_cells == 3


def test_a_view_is_understood_and_left_as_it_was() -> None:
    owner = np.random.default_rng(3).normal(size=(10, 10))
    kept = owner.copy()
    assert field_statistics(owner[1:-1, 1:-1].T).mean == pytest.approx(owner[1:-1, 1:-1].mean(), rel=1e-14)
    assert np.array_equal(owner, kept)


def test_a_field_without_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="without cells"):
        field_statistics(np.empty((0, 0)))
