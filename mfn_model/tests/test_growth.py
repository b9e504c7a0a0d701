"""Iterated function systems: the draws, the orbit, exponents, dimensions and bounds."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model import estimate_dimension
from mfn_model._orbit import followed, followed_in_segments, orbit
from mfn_model.growth import (
    AffineTransform,
    GrowthConfig,
    NotContractiveError,
    UnboundedOrbitError,
    generate_ifs,
    grow,
    ifs_lyapunov_exponents,
    occupied_cells,
    play_chaos_game,
    require_bounded,
    similarity_dimension,
    validate_contraction,
    validate_dimension_range,
)

RECORDED = json.loads((Path(__file__).parent / "data" / "iterated_function_systems.json").read_text())["systems"]

TRIANGLE = [AffineTransform.similarity(ratio=0.5, e=e, f=f) for e, f in ((0.0, 0.0), (0.5, 0.0), (0.25, 0.5))]
FERN_STEM = AffineTransform(a=0.0, b=0.0, c=0.0, d=0.16)

affine = st.builds(AffineTransform, **{name: st.floats(-0.9, 0.9) for name in "abcdef"})


def one_draw_at_a_time(
    generator: np.random.Generator, points: int, transforms: int, scale: tuple[float, float], reach: float
) -> tuple[npt.NDArray[np.float64], float]:
    maps = []
    for _ in range(transforms):
        s, phi = generator.uniform(*scale), generator.uniform(0.0, 2.0 * np.pi)
        e, f = generator.uniform(-reach, reach), generator.uniform(-reach, reach)
        maps.append((s * math.cos(phi), -s * math.sin(phi), s * math.sin(phi), s * math.cos(phi), e, f))
    x = y = total = 0.0
    visited = []
    for _ in range(points):
        a, b, c, d, e, f = maps[int(generator.integers(0, transforms))]
        x, y = a * x + b * y + e, c * x + d * y + f
        visited.append((x, y))
        total += math.log(abs(a * d - b * c))
    return np.array(visited), total / points


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"seed {row['seed']}")
def test_recorded_systems_are_reproduced(row: dict[str, Any]) -> None:
    attractor = generate_ifs(row["seed"], points=row["points"], transforms=row["transforms"])
    assert attractor.lyapunov_legacy == pytest.approx(row["rate"], rel=1e-12)
    assert attractor.points[-1] == pytest.approx(row["last_point"], rel=1e-12)


@given(
    seed=st.integers(0, 2**32),
    points=st.integers(1, 300),
    transforms=st.integers(1, 9),
    low=st.floats(0.01, 0.98),
    reach=st.floats(0.0, 2.0),
)
@settings(deadline=None)
def test_draws_orbit_and_rate_equal_those_of_one_call_a_draw_to_the_last_bit(
    seed: int, points: int, transforms: int, low: float, reach: float
) -> None:
    scale = (low, min(0.99, low + 0.3))
    plain, ours = np.random.default_rng(seed), np.random.default_rng(seed)
    visited, rate = one_draw_at_a_time(plain, points, transforms, scale, reach)
    attractor = generate_ifs(ours, points=points, transforms=transforms, scale_range=scale, translation_range=reach)
    assert np.array_equal(attractor.points, visited)
    assert attractor.lyapunov_legacy == rate
    assert ours.bit_generator.state == plain.bit_generator.state  # whoever draws next draws the same


@pytest.mark.parametrize("points", [10_000, 70_001])
def test_a_long_orbit_is_that_of_the_plain_loop_to_the_last_bit(points: int) -> None:
    attractor = generate_ifs(3, points=points)
    assert np.array_equal(attractor.points, one_draw_at_a_time(np.random.default_rng(3), points, 4, (0.2, 0.5), 1.0)[0])


def test_segments_that_have_forgotten_their_start_are_the_orbit() -> None:
    attractor = generate_ifs(8, points=9_999)
    found = followed_in_segments(attractor.transforms, attractor.choices, (0.25, -0.5))
    assert found is not None
    assert np.array_equal(found, followed(attractor.transforms, attractor.choices, (0.25, -0.5)))


def test_maps_that_do_not_forget_are_followed_by_the_plain_loop() -> None:
    turns = [AffineTransform.similarity(ratio=1.0, angle=angle, e=0.1) for angle in (0.3, 2.0)]
    slow = [AffineTransform.similarity(ratio=0.9999, angle=angle, e=0.1) for angle in (0.3, 2.0)]
    choices = np.random.default_rng(1).integers(0, 2, size=5000)
    for transforms in (turns, slow):
        assert followed_in_segments(transforms, choices) is None
        assert np.array_equal(orbit(transforms, choices), followed(transforms, choices))


def test_segments_that_did_not_meet_are_noticed() -> None:
    # On average these contract; for thousands of steps in a row, though, only the map that does not is chosen.
    transforms = [AffineTransform.similarity(ratio=0.01), AffineTransform.similarity(ratio=1.0, angle=1.0, e=1.0)]
    choices = np.ones(5000, dtype=np.int64)
    assert followed_in_segments(transforms, choices) is None
    assert np.array_equal(orbit(transforms, choices), followed(transforms, choices))


def test_an_orbit_cannot_be_written_to() -> None:
    attractor = generate_ifs(1, points=10)
    with pytest.raises(ValueError, match="read-only"):
        attractor.points[0, 0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        attractor.choices[0] = 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"points": 0}, "points must be at least 1, got 0"),
        ({"points": 10.0}, "points must be an integer, got 10.0"),
        ({"transforms": True}, "transforms must be an integer, got True"),
        ({"translation_range": math.nan}, "translation_range must be at least 0 and finite, got nan"),
        ({"scale_range": (0.0, 0.5)}, "the lower end of scale_range must be above 0 and below 1, got 0.0"),
        ({"scale_range": (0.5, 0.2)}, "the lower end of scale_range must be at most the upper, got 0.5 and 0.2"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        generate_ifs(**{"seed": 0, **arguments})
    assert str(caught.value) == named
    assert not isinstance(caught.value, NotContractiveError)


def test_ratios_that_reach_one_are_refused_by_a_type_of_their_own() -> None:
    with pytest.raises(
        NotContractiveError, match=r"the upper end of scale_range must be above 0 and below 1, got 1\.0"
    ):
        generate_ifs(0, scale_range=(0.2, 1.0))


def test_a_chaos_game_without_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one transform, got none"):
        play_chaos_game([], 0)
    with pytest.raises(ValueError, match=r"a must be finite, got nan; f must be finite, got inf"):
        AffineTransform(a=math.nan, b=0.0, c=0.0, d=0.0, f=math.inf)


def test_both_exponents_of_similarities_are_the_mean_logarithm_of_their_ratios() -> None:
    ratios = (0.5, 0.3, 0.25)
    maps = [AffineTransform.similarity(ratio=ratio, angle=3.0 * ratio) for ratio in ratios]
    choices = np.random.default_rng(2).integers(0, 3, size=5000)
    expected = math.log(math.prod(ratios)) / 3.0
    assert ifs_lyapunov_exponents(maps, choices) == pytest.approx((expected, expected), abs=1e-13)


def test_the_legacy_rate_is_near_the_sum_of_both_exponents() -> None:
    attractor = generate_ifs(42, points=100_000)
    exponents = ifs_lyapunov_exponents(attractor.transforms, attractor.choices)
    assert attractor.lyapunov_legacy == pytest.approx(sum(exponents), abs=0.02)
    assert exponents[0] == pytest.approx(attractor.lyapunov_legacy / 2.0, abs=0.01)


def test_the_exponents_of_diagonal_maps_are_those_of_their_axes() -> None:
    maps = [AffineTransform(a=0.9, b=0.0, c=0.0, d=0.2), AffineTransform(a=0.6, b=0.0, c=0.0, d=-0.3)]
    choices = np.tile([0, 1], 10_000)
    expected = ((math.log(0.9) + math.log(0.6)) / 2.0, (math.log(0.2) + math.log(0.3)) / 2.0)
    assert ifs_lyapunov_exponents(maps, choices) == pytest.approx(expected, abs=1e-4)


@given(maps=st.lists(affine, min_size=1, max_size=4), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_exponents_agree_with_matrix_products(maps: list[AffineTransform], seed: int) -> None:
    if min(abs(each.determinant) for each in maps) < 1e-6:
        maps = [AffineTransform.similarity(ratio=0.5)]
    choices = np.random.default_rng(seed).integers(0, len(maps), size=400)
    frame, sums = np.linalg.qr(np.array([[math.cos(1.0), 0.3], [math.sin(1.0), 0.7]]))[0], np.zeros(2)
    for index in choices:
        frame, triangle = np.linalg.qr(maps[index].matrix @ frame)
        sums += np.log(np.abs(np.diagonal(triangle)))
    along = sums / len(choices)
    largest, smallest = ifs_lyapunov_exponents(maps, choices)
    assert largest - smallest == pytest.approx(abs(along[0] - along[1]), abs=1e-9)
    expected_sum = sum(math.log(abs(np.linalg.det(each.matrix))) for each in maps) / len(maps)
    assert largest + smallest == pytest.approx(expected_sum, abs=1e-9)


def test_a_map_onto_a_line_makes_the_smaller_exponent_minus_infinity() -> None:
    halving = AffineTransform.similarity(ratio=0.5)
    largest, smallest = ifs_lyapunov_exponents([FERN_STEM, halving], np.tile([0, 1], 500))
    assert smallest == -math.inf
    assert largest == pytest.approx((math.log(0.16) + math.log(0.5)) / 2.0, abs=1e-2)


def test_maps_whose_product_vanishes_have_no_finite_exponent() -> None:
    nilpotent = AffineTransform(a=0.0, b=1.0, c=0.0, d=0.0)
    assert ifs_lyapunov_exponents([nilpotent], np.zeros(2, dtype=np.int64)) == (-math.inf, -math.inf)


@pytest.mark.parametrize(
    ("maps", "choices", "named"),
    [
        ([], [0], "need at least one transform"),
        (TRIANGLE, [], "at least one integer"),
        (TRIANGLE, [0.5], "at least one integer"),
        (TRIANGLE, [0, 3], "choices must be from 0 to 2, got 0 to 3"),
        (TRIANGLE, [-1], "choices must be from 0 to 2, got -1 to -1"),
    ],
)
def test_exponents_of_nothing_are_refused(maps: Any, choices: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ifs_lyapunov_exponents(maps, np.array(choices))


@pytest.mark.parametrize(
    ("ratios", "dimension"),
    [
        ([0.5], 0.0),
        ([1 / 3, 1 / 3], math.log(2.0) / math.log(3.0)),  # Cantor's set
        ([0.5] * 3, math.log(3.0) / math.log(2.0)),  # Sierpinski's triangle
        ([1 / 3] * 8, math.log(8.0) / math.log(3.0)),  # Sierpinski's carpet
        ([0.5] * 8, 3.0),  # overlapping in the plane
        ([0.5, 0.25], math.log2((1.0 + math.sqrt(5.0)) / 2.0)),  # u + u² = 1
    ],
)
def test_the_similarity_dimension_of_known_sets_is_theirs(ratios: list[float], dimension: float) -> None:
    maps = [AffineTransform.similarity(ratio=ratio, angle=index) for index, ratio in enumerate(ratios)]
    assert similarity_dimension(maps) == pytest.approx(dimension, abs=1e-12)


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=12))
def test_the_similarity_dimension_solves_its_equation(ratios: list[float]) -> None:
    maps = [AffineTransform.similarity(ratio=ratio) for ratio in ratios]
    dimension = similarity_dimension(maps)
    assert sum(ratio**dimension for ratio in ratios) == pytest.approx(1.0, abs=1e-9)


def test_a_similarity_dimension_needs_contracting_similarities() -> None:
    with pytest.raises(ValueError, match="transform 1 is not a similarity"):
        similarity_dimension([TRIANGLE[0], AffineTransform(a=0.5, b=0.0, c=0.0, d=0.4)])
    with pytest.raises(ValueError, match="the ratio of transform 0 must be above 0 and below 1, got 1"):
        similarity_dimension([AffineTransform.similarity(ratio=1.0)])
    with pytest.raises(ValueError, match=r"the ratio of transform 0 must be above 0 and below 1, got 0\.0"):
        similarity_dimension([AffineTransform.similarity(ratio=0.0)])
    with pytest.raises(ValueError, match="got none"):
        similarity_dimension([])


@given(affine)
def test_norm_and_determinant_are_those_of_the_matrix(each: AffineTransform) -> None:
    assert each.norm == pytest.approx(float(np.linalg.norm(each.matrix, 2)), abs=1e-12)
    assert each.determinant == pytest.approx(float(np.linalg.det(each.matrix)), abs=1e-12)


def test_a_reflection_has_a_ratio_and_a_shear_has_none() -> None:
    assert AffineTransform(a=0.6, b=0.8, c=0.8, d=-0.6).ratio == pytest.approx(1.0)
    assert AffineTransform(a=0.5, b=0.1, c=0.0, d=0.5).ratio is None


def test_a_map_may_shrink_areas_and_stretch_a_direction() -> None:
    stretching = AffineTransform(a=1.9, b=0.0, c=0.0, d=0.5)
    assert validate_contraction([stretching])
    assert stretching.norm == pytest.approx(1.9)
    assert not validate_contraction([*TRIANGLE, AffineTransform.similarity(ratio=1.0)])


def test_the_chaos_game_fills_the_triangle_of_sierpinski() -> None:
    points = play_chaos_game(TRIANGLE, 5, points=60_000).points[50:]
    value = estimate_dimension(occupied_cells(points, 256)).value
    assert value == pytest.approx(math.log(3.0) / math.log(2.0), abs=0.05)
    # The middle triangle is empty: no point has all of its barycentric coordinates below 1/2.
    second, third = points[:, 0] - 0.5 * points[:, 1], points[:, 1]
    assert (np.maximum.reduce([second, third, 1.0 - second - third]) >= 0.5 - 1e-9).all()


def test_cells_lie_over_the_smallest_square_and_rows_run_along_y() -> None:
    cells = occupied_cells(np.array([[1.0, 2.0], [3.0, 2.0], [1.0, 4.0], [2.1, 3.1]]), 4)
    assert [tuple(each) for each in np.argwhere(cells)] == [(0, 0), (0, 3), (2, 2), (3, 0)]


def test_points_that_coincide_occupy_one_cell() -> None:
    assert np.count_nonzero(occupied_cells(np.full((5, 2), 7.5), 8)) == 1


def test_cells_do_not_depend_on_the_unit_of_the_points() -> None:
    points = generate_ifs(4, points=2000).points
    assert np.array_equal(occupied_cells(points, 32), occupied_cells(points * 1024.0, 32))


@pytest.mark.parametrize(
    ("points", "side", "named"),
    [
        (np.zeros((3, 2)), 3, "side must be at least 4 cells, got 3"),
        (np.zeros((0, 2)), 8, "points must be finite and at least one"),
        (np.array([[0.0, np.nan]]), 8, "points must be finite"),
        (np.zeros((3, 3)), 8, r"points must have shape \[n, 2\], got \(3, 3\)"),
    ],
)
def test_points_without_a_place_on_a_grid_are_refused(points: Any, side: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        occupied_cells(points, side)


def test_growth_reports_what_was_measured() -> None:
    growth = grow(GrowthConfig(points=20_000), seed=7)
    metrics = growth.metrics
    points = growth.attractor.points
    assert metrics.points_generated == len(points) == 20_000
    assert metrics.points_bounded
    assert metrics.max_point_distance == pytest.approx(max(math.hypot(x, y) for x, y in points), rel=1e-12)
    assert metrics.is_contractive
    assert metrics.lyapunov_exponent == generate_ifs(7, points=20_000).lyapunov_legacy
    assert metrics.fractal_dimension == growth.dimension.value
    assert metrics.dimension_r_squared == growth.dimension.r_squared
    assert metrics.dimension_r_squared > 0.98
    assert growth.exponents[0] == pytest.approx(
        sum(math.log(each.ratio or 0.0) for each in growth.attractor.transforms) / 4.0, abs=1e-12
    )
    assert np.array_equal(growth.cells, occupied_cells(points, 256))


def test_growth_without_a_dimension_reports_zero_and_the_reason() -> None:
    growth = grow(GrowthConfig(min_box_size=300), side=16)
    assert growth.dimension.value is None
    assert growth.dimension.reason
    assert (growth.metrics.fractal_dimension, growth.metrics.dimension_r_squared) == (0.0, 0.0)


def test_an_orbit_that_reaches_the_limit_is_an_error_with_its_first_point() -> None:
    config = GrowthConfig(points=100_000, transforms=2, scale_min=0.9999, scale_max=0.9999, translation_range=2.0)
    with pytest.raises(UnboundedOrbitError, match="lower the scale or the translation range") as caught:
        grow(config, seed=0)
    orbit_of_it = generate_ifs(0, points=100_000, transforms=2, scale_range=(0.9999, 0.9999), translation_range=2.0)
    distances = np.abs(orbit_of_it.points).max(axis=1)
    assert caught.value.index == int(np.argmax(distances >= 100.0))
    assert max(abs(caught.value.x), abs(caught.value.y)) >= 100.0
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_orbit_that_is_no_longer_finite_is_found() -> None:
    points = play_chaos_game([AffineTransform.similarity(ratio=3.0, e=1.0)], 0, points=6000).points
    require_bounded(points[:3])
    with pytest.raises(UnboundedOrbitError) as caught:
        require_bounded(points, bound=1e300)
    assert caught.value.index == int(np.argmax(points[:, 0] >= 1e300))
    with pytest.raises(UnboundedOrbitError, match="point 1 is"):
        require_bounded(np.array([[0.0, 0.0], [np.nan, 0.0]]))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"points": 999}, ["points must be from 1000 to 100000, got 999"]),
        ({"points": 100_001}, ["points must be from 1000 to 100000, got 100001"]),
        ({"transforms": 1}, ["transforms must be from 2 to 8, got 1"]),
        ({"transforms": 9}, ["transforms must be from 2 to 8, got 9"]),
        ({"num_scales": 2}, ["num_scales must be from 3 to 10, got 2"]),
        ({"num_scales": 11}, ["num_scales must be from 3 to 10, got 11"]),
        ({"min_box_size": 0}, ["min_box_size must be at least 1, got 0"]),
        (
            {"translation_range": 2.1, "scale_min": math.inf},
            [
                "the lower end of scale_min, scale_max must be above 0 and below 1, got inf",
                "translation_range must be at least 0 and at most 2, got 2.1",
            ],
        ),
    ],
)
def test_a_growth_out_of_its_bounds_is_refused_with_everything_that_is_wrong(
    arguments: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        GrowthConfig(**arguments)
    assert str(caught.value).split("; ") == named


def test_a_growth_at_its_bounds_is_allowed() -> None:
    GrowthConfig(points=1000, transforms=2, num_scales=3, min_box_size=1, translation_range=0.0, scale_min=0.5)
    GrowthConfig(points=100_000, transforms=8, num_scales=10, translation_range=2.0, scale_max=0.999)
    with pytest.raises(NotContractiveError):
        GrowthConfig(scale_max=1.0)


def test_dimensions_are_held_against_both_ranges() -> None:
    assert [validate_dimension_range(value) for value in (-0.1, 0.0, 2.0, 2.1, math.nan)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    biological = [validate_dimension_range(value, biological=True) for value in (1.39, 1.4, 1.9, 1.91)]
    assert biological == [False, True, True, False]
