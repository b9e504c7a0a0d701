"""Box counting: the legacy numbers, and the estimator that has none of their faults."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model import box_counting_dimension_legacy, box_counting_legacy, estimate_dimension, legacy_box_sizes

RECORDED = json.loads((Path(__file__).parent / "data" / "box_counting.json").read_text())["masks"]

Mask = npt.NDArray[np.bool_]


def plainly_counted(mask: Mask, sizes: list[int]) -> list[int]:
    counts = []
    for size in sizes:
        boxes = len(mask) // size
        whole = mask[: boxes * size, : boxes * size]
        counts.append(int(whole.reshape(boxes, size, boxes, size).any(axis=(1, 3)).sum()) if boxes else 0)
    return counts


def self_similar(generator: list[list[int]], levels: int) -> Mask:
    mask = np.ones((1, 1), dtype=bool)
    for _ in range(levels):
        mask = np.kron(np.array(generator, dtype=bool), mask)
    return mask


def random_mask(side: int, density: float, seed: int) -> Mask:
    return np.random.default_rng(seed).random((side, side)) < density


masks = st.builds(random_mask, st.integers(1, 90), st.sampled_from([0.001, 0.01, 0.1, 0.5, 1.0]), st.integers(0, 2**32))


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"side {row['side']}, above {row['above']}")
def test_the_legacy_estimator_reproduces_recorded_dimensions(row: dict[str, Any]) -> None:
    mask = np.random.default_rng(row["seed"]).random((row["side"], row["side"])) > row["above"]
    assert box_counting_dimension_legacy(mask) == pytest.approx(row["dimension"], abs=1e-12)


@given(mask=masks, min_box=st.integers(1, 5), num_scales=st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_the_legacy_estimator_equals_a_polynomial_fit_of_plain_counts(
    mask: Mask, min_box: int, num_scales: int
) -> None:
    sizes = [size for size in legacy_box_sizes(len(mask), min_box, None, num_scales) if size <= len(mask)]
    counted = [(size, count) for size, count in zip(sizes, plainly_counted(mask, sizes), strict=True) if count]
    estimate = box_counting_legacy(mask, min_box, None, num_scales)
    if len(counted) < 2:
        assert estimate.value is None
        assert estimate.reason
        assert box_counting_dimension_legacy(mask, min_box, None, num_scales) == 0.0
        return
    assert estimate.scales == tuple(size for size, _ in counted)
    assert estimate.counts == tuple(count for _, count in counted)
    x = np.log([1.0 / size for size, _ in counted])
    y = np.log([count for _, count in counted])
    slope, intercept = np.polyfit(x, y, 1)
    assert estimate.value == pytest.approx(slope, abs=1e-12)
    total = np.sum((y - y.mean()) ** 2)
    if len({count for _, count in counted}) > 1:  # of equal counts the total is what rounding leaves
        expected = 1.0 - np.sum((y - intercept - slope * x) ** 2) / total
        assert estimate.r_squared == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("side", "sizes"),
    [(n, [2, 4, 7, 16, 32]) for n in (64, 96, 100, 128, 256, 512)]
    + [
        (1, [2]),
        (4, [2]),
        (5, [2]),
        (6, [2, 3]),
        (8, [2, 3, 4]),
        (10, [2, 3, 5]),
        (12, [2, 3, 4, 6]),
        (16, [2, 3, 5, 8]),
        (20, [2, 4, 6, 10]),
        (24, [2, 3, 4, 7, 12]),
        (32, [2, 3, 5, 9, 16]),
        (48, [2, 3, 6, 12, 24]),
        (50, [2, 3, 7, 13, 25]),
    ],
)
def test_legacy_box_sizes_are_truncated_not_rounded(side: int, sizes: list[int]) -> None:
    assert list(legacy_box_sizes(side)) == sizes


@pytest.mark.parametrize(("side", "dimension"), [(64, 1.9993), (32, 2.0342), (50, 2.0617), (8, 2.0931)])
def test_the_legacy_dimension_of_a_full_mask_is_off_two(side: int, dimension: float) -> None:
    assert box_counting_dimension_legacy(np.ones((side, side))) == pytest.approx(dimension, abs=5e-5)


def test_a_legacy_maximum_may_be_given() -> None:
    assert legacy_box_sizes(64, 2, 8, 3) == (2, 3, 8)
    assert legacy_box_sizes(64, 3, 24, 2) == (3, 24)
    assert legacy_box_sizes(64, 4, 2, 3) == (4,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_scales": 0}, "num_scales must be at least 1, got 0"),
        ({"min_box": 0}, "min_box must be at least 1, got 0"),
        ({"max_box": 17}, "max_box must be at most the side of the mask, 16, got 17"),
    ],
)
def test_bad_legacy_arguments_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        box_counting_dimension_legacy(np.ones((16, 16)), **arguments)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), ()])
def test_a_mask_that_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    for estimator in (box_counting_dimension_legacy, estimate_dimension):
        with pytest.raises(ValueError, match="a mask is a matrix, rows and columns, got shape"):
            estimator(np.ones(shape))


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0)])
def test_an_empty_array_has_no_dimension(shape: tuple[int, int]) -> None:
    assert box_counting_dimension_legacy(np.ones(shape)) == 0.0
    assert estimate_dimension(np.ones(shape)).value is None


@pytest.mark.parametrize(
    ("shape", "widest"),
    [
        ((64, 64), (4, 4)),
        ((64, 96), (4, 6)),
        ((96, 64), (6, 4)),
        ((1080, 1920), (16, 32)),
        ((100, 1000), (4, 40)),
        ((81, 108), (4, 6)),
        ((64, 70), (4, 4)),
        ((61, 83), (2, 3)),
    ],
)
def test_a_rectangle_is_divided_into_boxes_as_nearly_square_as_whole_numbers_allow(
    shape: tuple[int, int], widest: tuple[int, int]
) -> None:
    estimate = estimate_dimension(np.ones(shape, dtype=bool))
    assert estimate.value == pytest.approx(2.0, abs=1e-9)
    assert estimate.counts[-1] == widest[0] * widest[1]
    height, width = shape[0] / widest[0], shape[1] / widest[1]
    assert max(height / width, width / height) <= math.sqrt(1.5)
    assert estimate.scales[-1] == pytest.approx(math.sqrt(height * width))


def test_a_rectangle_gives_what_its_transpose_gives() -> None:
    mask = np.random.default_rng(3).random((70, 191)) < 0.02
    assert estimate_dimension(mask) == estimate_dimension(mask.T)
    assert box_counting_legacy(mask) == box_counting_legacy(mask.T)


def test_a_line_across_a_rectangle_has_dimension_one_either_way() -> None:
    across, down = np.zeros((120, 200), dtype=bool), np.zeros((120, 200), dtype=bool)
    across[33], down[:, 150] = True, True
    for line in (across, down):
        assert estimate_dimension(line).value == pytest.approx(1.0, abs=1e-9)


SIDES = st.one_of(st.integers(1, 70), st.integers(125, 140))
"""Masks of more than 128² cells are counted in another way."""


@given(height=SIDES, width=SIDES, density=st.sampled_from([0.0005, 0.01, 0.2, 1.0]))
@settings(max_examples=100, deadline=None)
def test_the_counts_over_a_rectangle_are_those_of_plain_boxes(height: int, width: int, density: float) -> None:
    mask = np.random.default_rng(height * 71 + width).random((height, width)) < density
    legacy = box_counting_legacy(mask)
    for size, count in zip(legacy.scales, legacy.counts, strict=True):
        side = int(size)
        whole = mask[: height // side * side, : width // side * side]
        assert count == whole.reshape(height // side, side, width // side, side).any(axis=(1, 3)).sum()
    estimate = estimate_dimension(mask)
    if estimate.value is not None:
        assert 0.0 <= estimate.value <= 2.0
        for finer, coarser in itertools.pairwise(estimate.entropies):
            assert -1e-12 <= finer - coarser <= math.log(4) + 1e-12


def test_the_interval_is_that_of_least_squares_and_student() -> None:
    from scipy import stats

    estimate = estimate_dimension(random_mask(100, 0.004, 5))
    x, y = -np.log(estimate.scales), estimate.entropies
    line = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * line.stderr
    assert estimate.counts == tuple(round(math.exp(entropy)) for entropy in y)
    assert estimate.standard_error == pytest.approx(line.stderr, rel=1e-9)
    assert estimate.interval == pytest.approx((line.slope - half, line.slope + half), rel=1e-9)


def test_two_scales_have_a_dimension_but_no_interval() -> None:
    estimate = estimate_dimension(random_mask(8, 0.3, 1))
    assert len(estimate.scales) == 2
    assert estimate.value is not None
    assert (estimate.standard_error, estimate.interval) == (None, None)
    value, half = estimate.line(3.0)
    assert math.isfinite(value)
    assert half is None


def test_the_band_is_narrowest_in_the_middle_of_the_scales_and_meets_the_line_s_definition() -> None:
    from scipy import stats

    estimate = estimate_dimension(random_mask(256, 0.001, 5))
    x, y = -np.log(estimate.scales), np.array(estimate.entropies)
    n = len(x)
    slope, intercept = np.polyfit(x, y, 1)
    residual = math.sqrt(np.sum((y - intercept - slope * x) ** 2) / (n - 2))
    for scale in (1.0, 5.0, 60.0, 500.0):
        at = -math.log(scale)
        half = (
            stats.t.ppf(0.975, n - 2) * residual * math.sqrt(1 / n + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))
        )
        assert estimate.line(scale) == pytest.approx((intercept + slope * at, half), rel=1e-8)
    middle = math.exp(-x.mean())
    widths = [estimate.line(scale)[1] for scale in (middle / 8, middle, middle * 8)]
    assert widths[1] == min(widths)


def test_there_is_no_line_without_a_dimension_or_a_scale() -> None:
    with pytest.raises(ValueError, match="an undefined dimension has no line: the mask is empty"):
        estimate_dimension(np.zeros((16, 16))).line(2.0)
    with pytest.raises(ValueError, match=r"scale must be positive and finite, got 0\.0"):
        estimate_dimension(np.ones((16, 16))).line(0.0)


@pytest.mark.parametrize("side", [8, 9, 10, 13, 17, 27, 32, 50, 64, 81, 96, 100, 127, 250, 256, 1000])
def test_a_full_mask_has_dimension_two_on_any_grid(side: int) -> None:
    estimate = estimate_dimension(np.ones((side, side), dtype=bool))
    assert estimate.value == pytest.approx(2.0, abs=1e-9)
    assert estimate.r_squared == 1.0


@pytest.mark.parametrize(
    ("generator", "levels", "dimension", "tolerance"),
    [
        ([[1, 0], [1, 1]], 8, math.log(3) / math.log(2), 0.03),
        ([[1, 1, 1], [1, 0, 1], [1, 1, 1]], 5, math.log(8) / math.log(3), 0.02),
        ([[0, 1, 0], [1, 1, 1], [0, 1, 0]], 6, math.log(5) / math.log(3), 0.05),
        ([[1, 0, 1], [0, 0, 0], [1, 0, 1]], 5, math.log(4) / math.log(3), 0.03),
    ],
    ids=["Sierpinski triangle", "Sierpinski carpet", "Vicsek fractal", "Cantor dust"],
)
def test_self_similar_sets_have_their_known_dimension(
    generator: list[list[int]], levels: int, dimension: float, tolerance: float
) -> None:
    estimate = estimate_dimension(self_similar(generator, levels))
    assert estimate.value == pytest.approx(dimension, abs=tolerance)
    assert estimate.r_squared == pytest.approx(1.0, abs=0.003)


def test_a_carpet_on_a_grid_that_does_not_fit_is_still_close() -> None:
    carpet = self_similar([[1, 1, 1], [1, 0, 1], [1, 1, 1]], 6)[:512, :512]
    assert estimate_dimension(carpet).value == pytest.approx(math.log(8) / math.log(3), abs=0.03)


def test_a_line_has_dimension_one_and_a_point_zero() -> None:
    line, point = np.zeros((100, 100), dtype=bool), np.zeros((100, 100), dtype=bool)
    line[37] = True
    point[99, 99] = True
    assert estimate_dimension(line).value == pytest.approx(1.0, abs=1e-9)
    estimate = estimate_dimension(point)
    assert estimate.value == 0.0
    assert set(estimate.counts) == {1}
    assert estimate.r_squared == 1.0


@given(mask=masks, min_box=st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_the_dimension_lies_between_zero_and_two(mask: Mask, min_box: int) -> None:
    estimate = estimate_dimension(mask, min_box=min_box)
    if estimate.value is None:
        assert estimate.reason
        assert estimate.r_squared is None
        assert not mask.any() or len(mask) < max(4 * min_box, 2)
        return
    assert estimate.reason is None
    assert 0.0 <= estimate.value <= 2.0
    assert estimate.r_squared is not None
    assert 0.0 <= estimate.r_squared <= 1.0
    assert min(estimate.scales) >= min_box


def joined_cell_by_cell(mask: Mask, above: tuple[bool, bool]) -> Mask:
    """Pairs on the torus that touch at a corner alone, joined by the cell above or below: falling ones, rising ones."""
    height, width = mask.shape
    joined = mask.copy()
    for row, column in itertools.product(range(height), range(width)):
        below, beside = (row + 1) % height, (column + 1) % width
        square = mask[np.ix_([row, below], [column, beside])].tolist()
        if square == [[True, False], [False, True]]:
            joined[(row, beside) if above[0] else (below, column)] = True
        elif square == [[False, True], [True, False]]:
            joined[(row, column) if above[1] else (below, beside)] = True
    return joined


@given(
    shape=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    density=st.sampled_from([0.02, 0.1, 0.5]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_counts_are_means_over_every_position_of_plain_boxes_on_the_torus(
    shape: tuple[int, int], density: float, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < density
    estimate = estimate_dimension(mask)
    if estimate.value is None:
        return
    shorter, longer = sorted(shape)
    parts = min((2, 3, 4, 5), key=lambda each: abs(math.log(each * shorter / (2 * longer))))
    for scale, entropy in zip(estimate.scales, estimate.entropies, strict=True):
        across = round(math.sqrt(shorter * longer * 2 / parts) / scale)
        along = across * parts // 2
        assert scale == pytest.approx(math.sqrt(shorter / across * longer / along))
        rows, columns = (across, along) if shape[0] <= shape[1] else (along, across)
        tops = [box * shape[0] // rows for box in range(rows)]
        lefts = [box * shape[1] // columns for box in range(columns)]
        counts = []
        for above in itertools.product((True, False), repeat=2):
            either = joined_cell_by_cell(mask, above)
            for shift in itertools.product(range(shape[0]), range(shape[1])):
                strips = np.logical_or.reduceat(np.roll(either, shift, axis=(0, 1)), tops, axis=0)
                counts.append(np.logical_or.reduceat(strips, lefts, axis=1).sum())
        assert entropy == pytest.approx(math.log(np.mean(counts)), abs=1e-9)


@given(mask=masks, down=st.integers(-50, 50), right=st.integers(-50, 50))
@settings(max_examples=60, deadline=None)
def test_rolling_transposing_and_turning_a_mask_changes_nothing(mask: Mask, down: int, right: int) -> None:
    estimate = estimate_dimension(mask)
    for same in (np.roll(mask, (down, right), axis=(0, 1)), mask.T, mask[::-1], mask[:, ::-1], np.rot90(mask)):
        assert estimate_dimension(same) == estimate


@pytest.mark.parametrize("side", [32, 64, 81, 100, 250, 1024])
def test_a_diagonal_has_dimension_one_and_no_gaps_at_its_corners(side: int) -> None:
    diagonal = np.eye(side, dtype=bool)
    for line in (diagonal, diagonal[::-1], np.roll(diagonal, 3, axis=1)):
        assert estimate_dimension(line).value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("side", "widths"),
    [
        (8, [2, 4]),
        (64, [2, 4, 8, 16]),
        (128, [4, 8, 16, 32]),
        (256, [4, 8, 16, 32]),
        (512, [4, 8, 16, 32]),
        (1024, [4, 8, 16, 32, 64]),
        (96, [3, 6, 12, 24]),
    ],
)
def test_the_scales_are_neither_those_of_single_cells_nor_those_of_the_whole(side: int, widths: list[int]) -> None:
    assert list(estimate_dimension(np.eye(side, dtype=bool)).scales) == widths


def test_an_empty_mask_has_no_dimension() -> None:
    estimate = estimate_dimension(np.zeros((64, 64), dtype=bool))
    assert (estimate.value, estimate.reason) == (None, "the mask is empty")
    assert (estimate.scales, estimate.counts, estimate.r_squared) == ((), (), None)


def test_a_grid_too_small_for_two_scales_has_no_dimension() -> None:
    estimate = estimate_dimension(np.ones((7, 7), dtype=bool))
    assert estimate.value is None
    assert estimate.reason == "a grid of 7 cells has 1 of the two scales needed at box sizes from 2 cells"


def test_a_box_below_one_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="min_box must be at least 1, got 0"):
        estimate_dimension(np.ones((16, 16)), min_box=0)


def test_any_layout_and_type_of_mask_is_understood() -> None:
    mask = random_mask(40, 0.2, 7)
    for same in (mask.astype(float) * 3.5, np.asfortranarray(mask), mask.tolist(), np.pad(mask, 1)[1:-1, 1:-1]):
        assert estimate_dimension(same) == estimate_dimension(mask)
        assert box_counting_legacy(same) == box_counting_legacy(mask)


def test_the_mask_is_left_as_it_was() -> None:
    mask = random_mask(64, 0.3, 1)
    kept = mask.copy()
    estimate_dimension(mask)
    box_counting_dimension_legacy(mask)
    assert np.array_equal(mask, kept)
