"""The geometric median: known points, optimality, convergence from bad starts, and how far lies move it."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mfn_model.aggregation import NotConvergedError, geometric_median

Matrix = npt.NDArray[np.float64]


def total(gradients: Matrix, point: Matrix) -> float:
    return math.fsum(math.dist(gradient, point) for gradient in gradients)


def test_the_fermat_point_of_a_triangle_sees_its_sides_under_equal_angles() -> None:
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]])
    point = geometric_median(corners, tolerance=1e-12).gradient
    rays = (corners - point) / np.linalg.norm(corners - point, axis=1)[:, np.newaxis]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        assert math.degrees(math.acos(rays[first] @ rays[second])) == pytest.approx(120.0, abs=1e-6)


def test_a_corner_of_120_degrees_or_more_is_the_median_exactly() -> None:
    corner = [0.1, 0.2]
    result = geometric_median([corner, [10.1, 0.5], [-9.9, 0.5]])
    assert result.gradient.tolist() == corner
    assert result.excess == 0.0
    right_at_the_bound = [[0.0, 0.0], [1.0, 0.0], [-0.5, math.sqrt(0.75)]]
    assert geometric_median(right_at_the_bound).gradient.tolist() == [0.0, 0.0]


def test_the_crossing_of_the_diagonals_is_the_median_of_a_convex_quadrilateral() -> None:
    corners = np.array([[0.0, 0.0], [6.0, 0.0], [8.0, 4.0], [1.0, 5.0]])  # diagonals: y = x / 2, y = 6 − x
    assert geometric_median(corners, tolerance=1e-13).gradient == pytest.approx([4.0, 2.0], abs=1e-7)


def test_a_corner_inside_the_triangle_of_the_others_is_their_median() -> None:
    assert geometric_median([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [2.0, 2.5]]).gradient.tolist() == [2.0, 2.5]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([3.0], 3.0, 3.0),
        ([1.0, 5.0], 1.0, 5.0),
        ([1.0, 2.0, 9.0], 2.0, 2.0),
        ([4.0] * 5, 4.0, 4.0),
        ([0, 1, 2, 3], 1, 2),
    ],
)
def test_on_a_line_it_is_a_median(values: list[float], low: float, high: float) -> None:
    for direction in (np.array([1.0]), np.array([3.0, -4.0]) / 5.0):
        result = geometric_median([value * direction for value in values])
        assert low - 1e-9 <= result.gradient @ direction <= high + 1e-9
        assert result.iterations < 100


@given(seed=st.integers(0, 2**32), count=st.integers(1, 12), dimension=st.integers(1, 4), lattice=st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_point_is_nearer_to_all_by_more_than_the_proven_excess(
    seed: int, count: int, dimension: int, lattice: bool
) -> None:
    generator = np.random.default_rng(seed)
    gradients = generator.normal(0.0, 2.0, (count, dimension))
    if lattice:  # points that coincide, lie on lines, and are hit by the iteration
        gradients = np.round(gradients)
    result = geometric_median(gradients, tolerance=1e-10)
    reached = total(gradients, result.gradient)
    assert 0.0 <= result.excess <= 1e-10
    candidates = [*gradients, gradients.mean(axis=0), np.median(gradients, axis=0)]
    candidates.append(
        minimize(lambda point: total(gradients, point), gradients.mean(axis=0), method="Nelder-Mead", tol=1e-10).x
    )
    assert reached <= min(total(gradients, candidate) for candidate in candidates) * (1.0 + 1e-9) + 1e-12


@pytest.mark.parametrize("beyond", [1e-1, 1e-3, 1e-6, 0.0, -1e-4])
def test_a_median_near_a_gradient_is_reached_soon(beyond: float) -> None:
    # Two unit vectors whose sum is 1 + beyond long pull that much harder than the gradient at the origin holds.
    angle = math.acos((1.0 + beyond) ** 2 / 2.0 - 1.0)
    gradients = np.array([[0.0, 0.0], [1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    result = geometric_median(gradients)
    assert result.iterations < 60
    assert (np.linalg.norm(result.gradient) < 1e-15) == (beyond <= 0.0)


@given(
    seed=st.integers(0, 2**32), honest=st.integers(3, 20), far=st.sampled_from([1e2, 1e6, 1e100]), alike=st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_fewer_than_half_move_it_by_a_bounded_distance_however_far_they_are(
    seed: int, honest: int, far: float, alike: bool
) -> None:
    generator = np.random.default_rng(seed)
    right = generator.normal(0.0, 1.0, (honest, 3))
    wrong = (honest - 1) // 2
    lies = far * (np.ones((wrong, 3)) if alike else generator.normal(size=(wrong, 3)))
    moved = geometric_median(np.concatenate((right, lies))).gradient
    # H. Lopuhaä, P. Rousseeuw, Ann. Stat. 19 (1991) 229–248, theorem 2.2: 2 n / (n − 2 f) radii around any centre.
    total_count = honest + wrong
    radius = np.linalg.norm(right, axis=1).max()
    assert np.linalg.norm(moved) <= 2.0 * total_count / (total_count - 2 * wrong) * radius


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_it_follows_permutations_translations_rotations_and_scales(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gradients = generator.normal(0.0, 1.0, (9, 3))
    result = geometric_median(gradients, tolerance=1e-13).gradient
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    shift = generator.normal(0.0, 100.0, 3)
    moved = generator.permutation(gradients) @ rotation * 7.0 + shift
    assert geometric_median(moved, tolerance=1e-13).gradient == pytest.approx(result @ rotation * 7.0 + shift, abs=1e-5)


def test_gradients_far_from_the_origin_lose_no_more_than_their_last_digits() -> None:
    gradients = np.random.default_rng(0).normal(0.0, 1.0, (20, 4))
    near = geometric_median(gradients).gradient
    far = geometric_median(gradients + 1e8).gradient
    assert far - 1e8 == pytest.approx(near, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-140, 1e-20, 1e20, 1e139])
def test_the_scale_of_the_gradients_does_not_matter(scale: float) -> None:
    gradients = np.random.default_rng(3).normal(0.0, 1.0, (7, 3))
    result = geometric_median(gradients * scale)
    assert result.gradient / scale == pytest.approx(geometric_median(gradients).gradient, abs=1e-6)


def test_gradients_apart_by_less_than_can_be_squared_still_end_somewhere_among_them() -> None:
    gradients = np.random.default_rng(3).normal(0.0, 1e-159, (7, 3))
    result = geometric_median(gradients, tolerance=0.5)
    assert (np.abs(result.gradient) <= np.abs(gradients).max(axis=0)).all()


def test_wide_gradients_are_handled_in_blocks_without_a_seam() -> None:
    gradients = np.random.default_rng(0).normal(0.0, 1.0, (6, 20_000))
    result = geometric_median(gradients)
    pull = (result.gradient - gradients) / np.linalg.norm(result.gradient - gradients, axis=1)[:, np.newaxis]
    assert np.linalg.norm(pull.sum(axis=0)) < 1e-7


def test_too_few_iterations_are_an_error_that_says_how_far_it_came() -> None:
    gradients = np.random.default_rng(0).normal(0.0, 1.0, (9, 3))
    with pytest.raises(NotConvergedError, match="after 3 iterations, more than the tolerance of 1e-12") as caught:
        geometric_median(gradients, tolerance=1e-12, max_iterations=3)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.iterations, error.tolerance, str(error)) == (3, 1e-12, str(caught.value))
    assert 1e-12 < error.excess < 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must be above 0 and finite, got 0.0"),
        ({"tolerance": math.nan}, "tolerance must be"),
        ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        geometric_median([[1.0], [2.0]], **arguments)
