"""Krum, Multi-Krum and Bulyan against their definitions, and the properties that they are used for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.aggregation import Aggregate, bulyan, krum, multi_krum

Matrix = npt.NDArray[np.float64]
Aggregator = Callable[..., Aggregate]

ALL = [(krum, 2), (multi_krum, 2), (bulyan, 4)]  # with the factor of f in the number of gradients needed


def scores_by_definition(gradients: Matrix, byzantine: int) -> list[float]:
    scores = []
    for own, gradient in enumerate(gradients):
        to_others = sorted(math.dist(gradient, other) ** 2 for i, other in enumerate(gradients) if i != own)
        scores.append(math.fsum(to_others[: max(1, len(gradients) - byzantine - 2)]))
    return scores


def bulyan_by_definition(gradients: Matrix, byzantine: int) -> tuple[Matrix, list[int]]:
    left, chosen = list(range(len(gradients))), list[int]()
    while len(chosen) < len(gradients) - 2 * byzantine:
        scores = np.array(scores_by_definition(gradients[left], byzantine))
        tied = np.flatnonzero(scores <= scores.min() * (1.0 + 1e-12))
        totals = [sum(math.dist(gradients[left[i]], gradients[other]) ** 2 for other in left) for i in tied]
        chosen.append(left.pop(int(tied[int(np.argmin(totals))])))
    picked = gradients[chosen]
    result = []
    for column in picked.T:
        nearest = sorted(column, key=lambda value: abs(value - np.median(column)))
        result.append(np.mean(nearest[: len(chosen) - 2 * byzantine]))
    return np.array(result), sorted(chosen)


cases = st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(1, 5), st.integers(0, 2**32))


@given(case=cases)
@settings(max_examples=150, deadline=None)
def test_krum_and_multi_krum_keep_the_lowest_scores_of_the_definition(case: tuple[int, int, int, int]) -> None:
    byzantine, more, dimension, seed = case
    gradients = np.random.default_rng(seed).normal(0.0, 1.0, (2 * byzantine + 3 + more, dimension))
    scores = np.array(scores_by_definition(gradients, byzantine))
    ranked = np.argsort(scores, kind="stable")
    if len(scores) > 3 or byzantine:  # with a single neighbour the nearest two tie but for rounding
        chosen = krum(gradients, byzantine=byzantine)
        assert scores[chosen.accepted[0]] == pytest.approx(scores.min(), rel=1e-12)
        assert chosen.gradient.tolist() == gradients[chosen.accepted[0]].tolist()
    keep = 1 + seed % (len(gradients) - byzantine - 2)
    several = multi_krum(gradients, byzantine=byzantine, keep=keep)
    assert len(several.accepted) == keep
    assert sorted(scores[list(several.accepted)]) == pytest.approx(sorted(scores[ranked[:keep]]), rel=1e-12)
    assert several.gradient == pytest.approx(gradients[list(several.accepted)].mean(axis=0), abs=1e-12)


@given(byzantine=st.integers(0, 3), more=st.integers(0, 6), dimension=st.integers(1, 4), seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_bulyan_equals_its_definition(byzantine: int, more: int, dimension: int, seed: int) -> None:
    gradients = np.random.default_rng(seed).normal(0.0, 1.0, (4 * byzantine + 3 + more, dimension))
    result = bulyan(gradients, byzantine=byzantine)
    expected, chosen = bulyan_by_definition(gradients, byzantine)
    assert list(result.accepted) == chosen
    assert result.gradient == pytest.approx(expected, abs=1e-12)


def test_squared_and_plain_distances_choose_differently() -> None:
    # From a: 1, 1, 12 (sum 14, squares 146). From b: 5, 5, 5 (sum 15, squares 75), by three far apart helpers of b.
    a_group = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]
    plain = [math.dist(a_group[0], other) for other in (*a_group[1:], [0.0, 12.0, 0.0])]
    assert (sum(plain), sum(distance**2 for distance in plain)) == (14.0, 146.0)
    b, helpers = [0.0, 12.0, 0.0], [[5.0, 12.0, 0.0], [-5.0, 12.0, 0.0], [0.0, 12.0, 5.0]]
    gradients = np.array([*a_group, b, *helpers])
    # Seven gradients, f = 2: three neighbours count.
    assert krum(gradients, byzantine=2).accepted == (3,)


@pytest.mark.parametrize(("aggregate", "factor"), ALL)
@given(byzantine=st.integers(0, 4), more=st.integers(0, 6), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_results_follow_permutations_and_translations(
    aggregate: Aggregator, factor: int, byzantine: int, more: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    count = factor * byzantine + 4 + more  # one more than needed: with one neighbour two gradients always tie
    gradients = generator.normal(0.0, 1.0, (count, 3))
    before = aggregate(gradients, byzantine=byzantine)
    order = generator.permutation(count)
    after = aggregate(gradients[order], byzantine=byzantine)
    assert after.gradient == pytest.approx(before.gradient, abs=1e-12)
    assert sorted(order[list(after.accepted)].tolist()) == list(before.accepted)
    shift = generator.normal(0.0, 100.0, 3)
    moved = aggregate(gradients + shift, byzantine=byzantine)
    assert moved.gradient == pytest.approx(before.gradient + shift, abs=1e-9)


@pytest.mark.parametrize(("aggregate", "factor"), ALL)
@given(
    byzantine=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    distance=st.sampled_from([5.0, 1e3, 1e12, 1e100]),
    alike=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_as_many_wrong_gradients_as_promised_stay_without_influence(
    aggregate: Aggregator, factor: int, byzantine: int, seed: int, distance: float, alike: bool
) -> None:
    generator = np.random.default_rng(seed)
    gradients = generator.normal(0.0, 0.01, (factor * byzantine + 3, 4))
    wrong = generator.choice(len(gradients), size=byzantine, replace=False)
    gradients[wrong] = distance if alike else distance * (1.0 + generator.random((byzantine, 4)))
    result = aggregate(gradients, byzantine=byzantine)
    assert np.abs(result.gradient).max() < 0.1


def test_bulyan_withstands_a_lie_in_one_coordinate_that_krum_lets_pass() -> None:
    generator = np.random.default_rng(1)
    gradients = generator.normal(0.0, 1.0, (23, 10_000))
    mean = gradients[5:].mean(axis=0)
    gradients[:5] = mean
    gradients[:5, 0] = 20.0  # far in this coordinate, near in the distance, which is about 100 between honest ones
    assert abs(krum(gradients, byzantine=5).gradient[0]) > 10.0
    assert abs(bulyan(gradients, byzantine=5).gradient[0]) < 3.0


def test_equal_sums_go_to_the_first_client() -> None:
    square = np.array(list(itertools.product([0.0, 1.0], repeat=2)) * 2)
    assert krum(square, byzantine=0).accepted == (0,)
    assert krum(square[::-1], byzantine=0).accepted == (0,)
    assert multi_krum(np.ones((9, 2)), byzantine=1, keep=3).accepted == (0, 1, 2)


def test_accepted_and_rejected_hold_every_client_once() -> None:
    gradients = np.random.default_rng(0).normal(0.0, 1.0, (23, 4))
    for result in (
        krum(gradients, byzantine=5),
        multi_krum(gradients, byzantine=5),
        bulyan(gradients, byzantine=5),
    ):
        assert sorted((*result.accepted, *result.rejected)) == list(range(23))
    assert len(multi_krum(gradients, byzantine=5).accepted) == 16
    assert len(bulyan(gradients, byzantine=5).accepted) == 13


@pytest.mark.parametrize(("aggregate", "factor"), ALL)
def test_too_few_gradients_are_refused_with_what_would_fit(aggregate: Aggregator, factor: int) -> None:
    needed = factor * 3 + 3
    assert aggregate(np.eye(needed), byzantine=3).gradient.shape == (needed,)
    with pytest.raises(ValueError, match=rf"= {needed} gradients for byzantine 3, got {needed - 1}; at most byz.* 2 "):
        aggregate(np.eye(needed - 1), byzantine=3)
    with pytest.raises(ValueError, match="got 2; at least 3 gradients are needed"):
        aggregate(np.eye(2), byzantine=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"byzantine": -1}, "byzantine must be at least 0, got -1"),
        ({"byzantine": 1.0}, "byzantine must be an integer, got 1.0"),
        ({"byzantine": 1, "keep": 0}, "keep must be from 1 to 4, got 0"),
        ({"byzantine": 1, "keep": 5}, "keep must be from 1 to 4, got 5"),
    ],
)
def test_counts_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multi_krum(np.eye(7), **arguments)
