"""Every estimator on sets whose dimension is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.dimension import (
    DimensionEstimate,
    correlation_dimension,
    estimate_dimension,
    information_dimension,
    offset_averaged_dimension,
)

Mask = npt.NDArray[np.bool_]
Estimator = Callable[..., DimensionEstimate]

OVER_ALL_POSITIONS: tuple[Estimator, ...] = (
    offset_averaged_dimension,
    information_dimension,
    correlation_dimension,
)
EVERY: tuple[Estimator, ...] = (estimate_dimension, *OVER_ALL_POSITIONS)

LARGEST = {12: (6, 7), 20: (10, 9), 32: (12, 9), 64: (12, 17), 96: (12, 25), 200: (25, 51)}
"""By default, for each side: the largest square, and the side of the largest window."""

CARPET, TRIANGLE, KOCH = math.log(8) / math.log(3), math.log(3) / math.log(2), math.log(4) / math.log(3)


def powers(generator: Sequence[Sequence[float]], levels: int) -> npt.NDArray[np.float64]:
    """The Kronecker power of a matrix: a self-similar set of zeros and ones, or a multiplicative cascade."""
    result = np.ones((1, 1))
    for _ in range(levels):
        result = np.kron(np.array(generator), result)
    return result


@cache
def carpet(side: int) -> Mask:
    """Sierpinski's carpet, sampled at the centres of the cells; the finest holes are about as large as a cell."""
    places = (np.arange(side) + 0.5) / side
    mask = np.ones((side, side), dtype=bool)
    for level in range(1, round(math.log(side, 3)) + 1):
        middle = np.floor(places * 3**level).astype(int) % 3 == 1
        mask &= ~np.logical_and.outer(middle, middle)
    return mask


@cache
def triangle(side: int) -> Mask:
    """Sierpinski's triangle with equal sides, its base along the width, in the middle of the height."""
    corners = np.array([0.0, 1.0, 0.5 + math.sqrt(0.75) * 1j])
    points = np.array([0.5 + 0.3j])
    for _ in range(math.ceil(math.log2(side)) + 1):
        points = np.concatenate([(points + corner) / 2 for corner in corners])
    return plotted(points + 0.5j * (1 - math.sqrt(0.75)), side)


@cache
def koch(side: int) -> Mask:
    """Koch's curve from edge to edge."""
    points = np.array([0.0, 1.0], dtype=complex)
    for _ in range(math.ceil(math.log(side, 3)) + 1):
        begin, third = points[:-1], np.diff(points) / 3
        peak = third * np.exp(1j * math.pi / 3)
        parts = [begin, begin + third, begin + third + peak, begin + 2 * third]
        points = np.append(np.stack(parts, axis=1).ravel(), points[-1])
    return plotted(points + 0.35j, side)


@cache
def line(side: int, slope: float) -> Mask:
    """A straight line through the middle, one cell for each column."""
    columns = np.arange(side)
    rows = np.round(side / 2 + slope * (columns - side / 2)).astype(int)
    mask = np.zeros((side, side), dtype=bool)
    inside = (rows >= 0) & (rows < side)
    mask[rows[inside], columns[inside]] = True
    return mask


def plotted(points: npt.NDArray[np.complex128], side: int) -> Mask:
    mask = np.zeros((side, side), dtype=bool)
    rows, columns = (np.minimum((part * side).astype(int), side - 1) for part in (points.imag, points.real))
    mask[rows, columns] = True
    return mask


def name(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("estimator", OVER_ALL_POSITIONS, ids=name)
@pytest.mark.parametrize("side", [512, 729, 1000, 1024])
@pytest.mark.parametrize(
    ("shape", "dimension", "tolerance"),
    [(carpet, CARPET, 0.02), (triangle, TRIANGLE, 0.03), (koch, KOCH, 0.03)],
    ids=["carpet", "triangle", "Koch curve"],
)
def test_fractals_have_their_dimension_on_grids_that_do_not_fit_them(
    estimator: Estimator, side: int, shape: Callable[[int], Mask], dimension: float, tolerance: float
) -> None:
    estimate = estimator(shape(side))
    assert estimate.value == pytest.approx(dimension, abs=tolerance)
    assert estimate.r_squared is not None
    assert estimate.r_squared > 0.999
    assert len(estimate.scales) >= 8
    assert estimate.interval is not None
    assert estimate.interval[1] - estimate.interval[0] < 0.05


@pytest.mark.parametrize("side", [512, 1024])
def test_nested_boxes_find_the_carpet_and_the_triangle_as_well(side: int) -> None:
    assert estimate_dimension(carpet(side)).value == pytest.approx(CARPET, abs=0.02)
    assert estimate_dimension(triangle(side)).value == pytest.approx(TRIANGLE, abs=0.03)


@pytest.mark.parametrize("estimator", EVERY, ids=name)
def test_a_set_that_fits_the_grid_has_its_dimension(estimator: Estimator) -> None:
    assert estimator(powers([[1, 0], [1, 1]], 9) > 0).value == pytest.approx(TRIANGLE, abs=0.03)
    assert estimator(powers([[1, 1, 1], [1, 0, 1], [1, 1, 1]], 6) > 0).value == pytest.approx(CARPET, abs=0.02)


@pytest.mark.parametrize("estimator", EVERY, ids=name)
@pytest.mark.parametrize("shape", [(512, 512), (729, 729), (600, 800), (97, 1024), (40, 40)])
def test_a_full_grid_has_dimension_two(estimator: Estimator, shape: tuple[int, int]) -> None:
    assert estimator(np.ones(shape, dtype=bool)).value == pytest.approx(2.0, abs=1e-9)


@pytest.mark.parametrize("estimator", EVERY, ids=name)
def test_a_row_and_a_column_have_dimension_one(estimator: Estimator) -> None:
    for side in (512, 777):
        row = np.zeros((side, side), dtype=bool)
        row[side // 3] = True
        assert estimator(row).value == pytest.approx(1.0, abs=1e-9)
        assert estimator(row.T).value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("slope", [0.1, 0.3, 0.7])
def test_an_oblique_line_has_dimension_one(slope: float) -> None:
    for estimator in (information_dimension, correlation_dimension):
        assert estimator(line(1024, slope)).value == pytest.approx(1.0, abs=0.01)
    # The gaps between cells that meet at a corner tell at the smallest boxes alone.
    assert offset_averaged_dimension(line(1024, slope)).value == pytest.approx(1.0, abs=0.04)
    assert offset_averaged_dimension(line(1024, slope), min_box=16).value == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("estimator", EVERY, ids=name)
def test_a_single_cell_has_dimension_zero(estimator: Estimator) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[30, 31] = True
    estimate = estimator(mask)
    assert estimate.value == pytest.approx(0.0, abs=1e-12)
    assert estimate.r_squared == 1.0


@pytest.mark.parametrize("estimator", OVER_ALL_POSITIONS, ids=name)
def test_rolling_a_periodic_mask_changes_nothing(estimator: Estimator) -> None:
    mask = np.random.default_rng(4).random((48, 64)) < 0.1
    expected = estimator(mask, periodic=True)
    for shift in ((1, 0), (0, 7), (23, -11)):
        rolled = estimator(np.roll(mask, shift, axis=(0, 1)), periodic=True)
        assert rolled.entropies == pytest.approx(expected.entropies, abs=1e-12)
    assert estimator(mask).entropies != pytest.approx(expected.entropies, abs=1e-6)


@pytest.mark.parametrize("estimator", EVERY, ids=name)
def test_an_empty_mask_has_no_dimension_and_says_why(estimator: Estimator) -> None:
    estimate = estimator(np.zeros((64, 64), dtype=bool))
    assert (estimate.value, estimate.reason) == (None, "the mask is empty")
    assert (estimate.scales, estimate.entropies, estimate.interval, estimate.r_squared) == ((), (), None, None)


@pytest.mark.parametrize("estimator", EVERY, ids=name)
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 500)])
def test_a_grid_too_small_for_a_fit_has_no_dimension_and_says_why(estimator: Estimator, shape: tuple[int, int]) -> None:
    estimate = estimator(np.ones(shape, dtype=bool))
    assert estimate.value is None
    assert estimate.reason is not None
    assert estimate.reason.startswith(f"a grid of {shape[0]}")
    assert "of the two " in estimate.reason


@pytest.mark.parametrize("estimator", EVERY, ids=name)
@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), ()])
def test_what_is_no_matrix_is_refused(estimator: Estimator, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matrix, rows and columns, got shape"):
        estimator(np.ones(shape))


@pytest.mark.parametrize("estimator", EVERY, ids=name)
def test_the_mask_is_left_as_it_was_and_its_layout_does_not_matter(estimator: Estimator) -> None:
    mask = np.random.default_rng(1).random((60, 80)) < 0.3
    kept = mask.copy()
    expected = estimator(mask)
    assert np.array_equal(mask, kept)
    for same in (np.asfortranarray(mask), np.pad(mask, 1)[1:-1, 1:-1]):
        assert estimator(same) == expected


shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(shape=shapes, density=st.sampled_from([0.02, 0.3, 1.0]), min_box=st.integers(1, 4), periodic=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_offset_average_is_the_mean_over_every_position_of_a_grid_of_boxes(
    shape: tuple[int, int], density: float, min_box: int, periodic: bool
) -> None:
    height, width = shape
    mask = np.random.default_rng(height * 41 + width).random(shape) < density
    estimate = offset_averaged_dimension(mask, min_box=min_box, periodic=periodic)
    if estimate.value is None:
        assert estimate.reason
        return
    for scale, entropy in zip(estimate.scales, estimate.entropies, strict=True):
        size, total = int(scale), 0.0
        for top in range(0 if periodic else 1 - size, height):
            for left in range(0 if periodic else 1 - size, width):
                rows, columns = np.arange(top, top + size), np.arange(left, left + size)
                if periodic:
                    total += mask[np.ix_(rows % height, columns % width)].any()
                    continue
                rows = rows[(rows >= 0) & (rows < height)]
                columns = columns[(columns >= 0) & (columns < width)]
                total += mask[np.ix_(rows, columns)].any() * rows.size * columns.size / size**2
        assert entropy == pytest.approx(math.log(total / size**2), abs=1e-9)


@given(
    shape=st.tuples(st.integers(9, 40), st.integers(9, 40)),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    periodic=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_correlation_and_information_count_the_pairs_that_a_tree_of_points_finds(
    shape: tuple[int, int], density: float, periodic: bool
) -> None:
    from scipy.spatial import KDTree

    height, width = shape
    mask = np.random.default_rng(height * 41 + width).random(shape) < density
    correlation = correlation_dimension(mask, periodic=periodic)
    information = information_dimension(mask, periodic=periodic)
    if correlation.value is None:
        assert information.reason == correlation.reason
        return
    points = np.argwhere(mask).astype(float)
    tree = KDTree(points, boxsize=shape if periodic else None)
    margin = 0 if periodic else (int(correlation.scales[-1]) - 1) // 2
    edges = np.array(shape) - 1 - margin
    centres = points[np.all((points >= margin) & (points <= edges), axis=1)]
    for scale, second, first in zip(correlation.scales, correlation.entropies, information.entropies, strict=True):
        near = tree.query_ball_point(centres, (scale - 1) / 2 + 0.25, p=np.inf, return_length=True) / len(points)
        assert second == pytest.approx(-math.log(near.mean()), abs=1e-12)
        assert first == pytest.approx(-np.log(near).mean(), abs=1e-12)


def test_a_sample_of_the_centres_is_near_to_all_of_them_and_the_same_for_one_seed() -> None:
    mask = triangle(512)
    for estimator in (correlation_dimension, information_dimension):
        drawn = estimator(mask, centres=2000, seed=1)
        assert drawn == estimator(mask, centres=2000, seed=1)
        assert drawn != estimator(mask, centres=2000, seed=2)
        assert drawn.value == pytest.approx(estimator(mask).value, abs=0.01)


CASCADE = [[0.4, 0.3], [0.2, 0.1]]


def test_a_cascade_has_its_information_dimension_and_that_of_its_support_is_higher() -> None:
    weights = powers(CASCADE, 9)
    shares = np.ravel(CASCADE)
    expected = -np.sum(shares * np.log2(shares))
    assert information_dimension(weights, periodic=True).value == pytest.approx(expected, abs=0.01)
    assert information_dimension(weights > 0, periodic=True).value == pytest.approx(2.0, abs=1e-9)


def test_weights_need_no_unit() -> None:
    weights = powers(CASCADE, 6)
    expected = information_dimension(weights, periodic=True).entropies
    for factor in (1e-300, 1e300):
        found = information_dimension(weights * factor, periodic=True).entropies
        assert found == pytest.approx(expected, rel=1e-9)


def test_equal_weights_are_a_full_mask() -> None:
    assert information_dimension(np.full((64, 64), 0.3)).value == pytest.approx(2.0, abs=1e-9)


def test_a_cell_of_next_to_no_weight_beside_heavy_ones_keeps_a_finite_logarithm() -> None:
    weights = np.zeros((64, 64))
    weights[:2], weights[32, 32] = 1e18, 1.0
    assert information_dimension(weights).value is not None


def test_all_weights_zero_have_no_dimension() -> None:
    assert information_dimension(np.zeros((32, 32))).reason == "all weights are zero"


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_weight_that_is_none_is_refused_with_its_place(wrong: float) -> None:
    weights = np.ones((16, 16))
    weights[3, 5] = wrong
    with pytest.raises(ValueError, match=r"a weight is finite and not negative, got .* at \(3, 5\)"):
        information_dimension(weights)


def test_weights_whose_sum_overflows_are_refused() -> None:
    with pytest.raises(ValueError, match="the sum of the weights exceeds the largest float64"):
        information_dimension(np.full((16, 16), 1e308))


def test_no_centre_far_enough_from_the_edge_is_said_and_can_be_helped() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[3] = True
    estimate = correlation_dimension(mask)
    assert estimate.reason == "no true cell lies 8 cells or more from the edge; lower max_reach"
    assert correlation_dimension(mask, max_reach=3).value == pytest.approx(1.0, abs=1e-9)
    assert correlation_dimension(mask, periodic=True).value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_reach": 0}, "min_reach must be at least 1, got 0"),
        ({"centres": 0}, "centres must be at least 1, got 0"),
        ({"max_reach": 1}, "max_reach must lie between min_reach, 2, and 15, so that a window fits"),
        ({"max_reach": 16}, "max_reach must lie between min_reach, 2, and 15, so that a window fits"),
    ],
)
def test_windows_that_cannot_be_are_refused(arguments: dict[str, int], message: str) -> None:
    for estimator in (correlation_dimension, information_dimension):
        with pytest.raises(ValueError, match=message):
            estimator(np.ones((32, 40), dtype=bool), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_box": 0}, "min_box must be at least 1, got 0"),
        ({"max_box": 2}, "max_box must lie between min_box, 3, and the shorter side of the mask, 32, got 2"),
        ({"max_box": 33}, "max_box must lie between min_box, 3, and the shorter side of the mask, 32, got 33"),
    ],
)
def test_box_sizes_that_cannot_be_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        offset_averaged_dimension(np.ones((32, 40), dtype=bool), **arguments)


@pytest.mark.parametrize("side", LARGEST)
def test_the_largest_scale_is_an_eighth_of_the_side_and_more_where_that_gives_few(side: int) -> None:
    full = np.ones((side, side), dtype=bool)
    square, window = LARGEST[side]
    assert offset_averaged_dimension(full).scales[-1] == square
    for estimator in (information_dimension, correlation_dimension):
        assert estimator(full).scales[-1] == window
