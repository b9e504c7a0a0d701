"""Perimeter, compactness, entropy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_model.features import compactness, perimeter, value_entropy


def disc(radius: int) -> npt.NDArray[np.bool_]:
    row, column = np.indices((2 * radius + 9, 2 * radius + 9)) - (radius + 4)
    return row**2 + column**2 <= radius**2


@pytest.mark.parametrize(("radius", "tolerance"), [(20, 0.02), (100, 0.004), (300, 0.002)])
def test_a_disc_has_the_perimeter_of_a_circle(radius: int, tolerance: float) -> None:
    mask = disc(radius)
    assert perimeter(mask) == pytest.approx(2 * math.pi * radius, rel=tolerance)
    assert compactness(float(mask.sum()), perimeter(mask)) == pytest.approx(1.0, abs=2 * tolerance)


def test_a_square_is_five_per_cent_short_along_the_grid_and_at_an_angle() -> None:
    square = np.zeros((300, 300), dtype=bool)
    square[50:250, 50:250] = True
    assert perimeter(square) == pytest.approx(800 * math.pi / 8 * (1 + math.sqrt(2)), rel=0.005)
    row, column = np.abs(np.indices((300, 300)) - 150)
    assert perimeter(row + column <= 100) == pytest.approx(0.95 * 400 * math.sqrt(2), rel=0.01)


def test_a_hole_has_a_boundary_too() -> None:
    ring = disc(100)
    ring[104 - 30 : 104 + 31, 104 - 30 : 104 + 31] &= ~disc(30)[4:-4, 4:-4]
    assert perimeter(ring) == pytest.approx(perimeter(disc(100)) + perimeter(disc(30)), rel=0.002)


def test_the_edge_of_the_grid_is_a_boundary_unless_periodic() -> None:
    full = np.ones((40, 60), dtype=bool)
    assert perimeter(full) == pytest.approx(0.95 * 200, rel=0.01)
    assert perimeter(full, periodic=True) == 0.0
    mask = np.pad(disc(10), 3)
    for shift in ((0, 0), (17, 5)):
        rolled = np.roll(mask, shift, axis=(0, 1))
        assert perimeter(rolled, periodic=True) == pytest.approx(perimeter(mask))


@given(st.integers(0, 2**32), st.booleans())
def test_turning_or_mirroring_a_mask_keeps_its_perimeter(seed: int, periodic: bool) -> None:
    mask = np.random.default_rng(seed).random((9, 13)) < 0.4
    expected = perimeter(mask, periodic=periodic)
    for turned in (mask.T, mask[::-1], mask[:, ::-1], np.rot90(mask)):
        assert perimeter(turned, periodic=periodic) == pytest.approx(expected, abs=1e-9)
    # Across the boundary it goes as far one way as back.
    assert perimeter(~mask, periodic=True) == pytest.approx(perimeter(mask, periodic=True), abs=1e-9)


def test_an_empty_mask_has_neither_perimeter_nor_compactness() -> None:
    assert perimeter(np.zeros((5, 5))) == 0.0
    assert compactness(0.0, 0.0) == 0.0


def test_a_perimeter_needs_a_matrix() -> None:
    with pytest.raises(ValueError, match="a mask is a matrix"):
        perimeter(np.ones(4))


def test_equally_many_values_in_each_bin_have_the_largest_entropy() -> None:
    assert value_entropy(np.arange(256.0).repeat(3)) == pytest.approx(8.0, abs=1e-12)
    assert value_entropy(np.arange(64.0), bins=16) == pytest.approx(4.0, abs=1e-12)


def test_a_share_of_a_quarter_has_the_entropy_of_the_textbook() -> None:
    values = np.array([0.0, 1.0, 1.0, 1.0])
    assert value_entropy(values, bins=2) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3), abs=1e-12)


@given(st.integers(0, 2**32), st.sampled_from([2, 7, 256]))
def test_the_entropy_lies_between_none_and_that_of_all_bins_and_needs_no_unit(seed: int, bins: int) -> None:
    values = np.random.default_rng(seed).normal(size=(8, 9))
    entropy = value_entropy(values, bins)
    assert 0.0 <= entropy <= math.log2(bins)
    shares = np.histogram(values, bins=bins)[0] / values.size
    assert entropy == pytest.approx(-sum(share * math.log2(share) for share in shares if share), abs=0.1)
    assert value_entropy(values * 4.0, bins) == pytest.approx(entropy, abs=1e-12)


@pytest.mark.parametrize("values", [np.full((4, 4), 3.7), np.array([1e308]), np.zeros(5)])
def test_equal_values_have_no_entropy(values: npt.NDArray[np.float64]) -> None:
    assert value_entropy(values) == 0.0


def test_values_over_the_whole_range_of_float64_do_not_overflow() -> None:
    assert value_entropy(np.array([-1.7e308, 1.7e308]), 2) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "bins", "message"),
    [
        ([1.0], 1, "bins must be at least 2, got 1"),
        ([], 8, "no values have no entropy"),
        ([1.0, math.nan], 8, "values must be finite"),
        ([1.0, math.inf], 8, "values must be finite"),
    ],
)
def test_what_has_no_histogram_is_refused(values: list[float], bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value_entropy(values, bins)
