"""The dimension that is taken first, on curves and gaskets wherever and at whatever angle they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model.dimension import (
    DimensionEstimate,
    estimate_dimension,
    information_dimension,
    offset_averaged_dimension,
)

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.complex128]

KOCH, TRIANGLE, CARPET = math.log(4) / math.log(3), math.log(3) / math.log(2), math.log(8) / math.log(3)


@cache
def koch(side: int) -> Points:
    """Vertices of Koch's curve from 0 to 1, by its turns, two to three of them in every cell that it passes."""
    turns = [0]
    while 3 ** (math.log(len(turns), 4)) < 3 * side:
        turns = [turn + more for turn in turns for more in (0, 1, -1, 0)]
    steps = np.exp(1j * math.pi / 3 * np.array(turns))
    vertices = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(vertices / abs(vertices[-1]))


@cache
def gasket(side: int) -> Points:
    """Points of Sierpinski's triangle with equal sides from 0 to 1, two and more in every cell that it passes."""
    digits = math.ceil(math.log2(side)) + 1
    corners, points = np.array([0.0, 1.0, 0.5 + 1j * math.sqrt(0.75)]), np.array([0.0 + 0.0j])
    for digit in range(1, digits + 1):
        points = (points[:, np.newaxis] + corners / 2**digit).ravel()
    return points


@cache
def sponge(side: int) -> Points:
    """Points of Sierpinski's carpet in the unit square, at least one in every cell of a grid of so many."""
    cells = 3 ** math.ceil(math.log(side, 3))
    places = (np.arange(cells) + 0.5) / cells
    mask = np.ones((cells, cells), dtype=bool)
    for level in range(1, round(math.log(cells, 3)) + 1):
        middle = np.floor(places * 3**level).astype(int) % 3 == 1
        mask &= ~np.logical_and.outer(middle, middle)
    rows, columns = np.nonzero(mask)
    return np.asarray((columns + 1j * rows) / cells)


@cache
def straight(side: int) -> Points:
    return np.asarray(np.linspace(0.0, 1.0, 8 * side) + 0j)


def drawn(points: Points, side: int, *, angle: float, size: float, right: float, down: float) -> Mask:
    """Turned, made `size` times as large as fits, and put at a share of the room that is left: cells with a point."""
    turned = points * np.exp(1j * angle)
    turned = turned - turned.real.min() - 1j * turned.imag.min()
    turned = turned * (size * (side - 1) / max(turned.real.max(), turned.imag.max()))
    rows = (turned.imag + down * (side - 1 - turned.imag.max())).astype(int)
    columns = (turned.real + right * (side - 1 - turned.real.max())).astype(int)
    mask = np.zeros((side, side), dtype=bool)
    mask[rows, columns] = True
    return mask


def placements(count: int, seed: int) -> list[dict[str, float]]:
    """One that fills the width, and random ones: half of them along the axes."""
    draw = np.random.default_rng(seed)
    found = [{"angle": 0.0, "size": 1.0, "right": 0.0, "down": 0.5}]
    for number in range(count):
        angle = float(draw.uniform(0.0, 2 * math.pi)) if number % 2 else 0.0
        size, right, down = (float(each) for each in draw.uniform([0.7, 0.0, 0.0], 1.0))
        found.append({"angle": angle, "size": size, "right": right, "down": down})
    return found


@pytest.mark.parametrize("side", [1000, 1024, 2048])
@pytest.mark.parametrize(
    ("shape", "dimension"),
    [(koch, KOCH), (gasket, TRIANGLE), (straight, 1.0)],
    ids=["Koch curve", "Sierpinski triangle", "line"],
)
def test_it_is_known_to_three_hundredths_wherever_a_set_lies(
    shape: Callable[[int], Points], dimension: float, side: int
) -> None:
    for placement in placements(12, side):
        estimate = estimate_dimension(drawn(shape(side), side, **placement))
        assert estimate.value == pytest.approx(dimension, abs=0.03), placement
        assert estimate.r_squared is not None
        assert estimate.r_squared > 0.999, placement


@pytest.mark.parametrize(("side", "tolerance"), [(64, 0.15), (256, 0.08)])
@pytest.mark.parametrize(("shape", "dimension"), [(koch, KOCH), (gasket, TRIANGLE), (straight, 1.0)])
def test_in_few_cells_it_is_off_by_what_is_said(
    shape: Callable[[int], Points], dimension: float, side: int, tolerance: float
) -> None:
    for placement in placements(30, side):
        found = estimate_dimension(drawn(shape(side), side, **placement)).value
        assert found == pytest.approx(dimension, abs=tolerance), placement


@pytest.mark.parametrize(("side", "tolerance"), [(64, 0.35), (256, 0.2), (1024, 0.1)])
def test_a_carpet_that_ends_inside_is_off_by_what_is_said_and_by_windows_half_of_that(
    side: int, tolerance: float
) -> None:
    worst: dict[Callable[..., DimensionEstimate], float] = {}
    for placement in placements(8, side):
        mask = drawn(sponge(side), side, **placement)
        for estimator in (estimate_dimension, offset_averaged_dimension, information_dimension):
            off = abs(float(estimator(mask).value or 0.0) - CARPET)
            assert off < tolerance, placement
            worst[estimator] = max(worst.get(estimator, 0.0), off)
    assert worst[estimate_dimension] > 0.03
    assert worst[information_dimension] < 0.6 * worst[estimate_dimension]


@pytest.mark.parametrize("side", [128, 243, 256, 400, 512, 729, 1000, 1024, 2187])
def test_carpets_have_their_dimension_on_any_grid(side: int) -> None:
    places = (np.arange(side) + 0.5) / side
    carpet = np.ones((side, side), dtype=bool)
    for level in range(1, round(math.log(side, 3)) + 1):
        middle = np.floor(places * 3**level).astype(int) % 3 == 1
        carpet &= ~np.logical_and.outer(middle, middle)
    tolerance = 0.02 if side >= 243 else 0.03
    assert estimate_dimension(carpet).value == pytest.approx(CARPET, abs=tolerance)
