"""Trimmed mean and median of each coordinate."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from mfn_model.aggregation import coordinate_median, coordinate_trimmed_mean

sizes = st.tuples(st.integers(0, 6), st.integers(1, 8), st.integers(1, 6), st.integers(0, 2**32))


@given(case=sizes)
@settings(max_examples=100, deadline=None)
def test_both_equal_their_definitions_in_the_standard_library_and_scipy(case: tuple[int, int, int, int]) -> None:
    byzantine, more, dimension, seed = case
    gradients = np.random.default_rng(seed).normal(0.0, 1.0, (2 * byzantine + more, dimension))
    median = [statistics.median(column) for column in gradients.T.tolist()]
    assert coordinate_median(gradients).tolist() == pytest.approx(median, abs=1e-14)
    expected = trim_mean(
        gradients, (byzantine + 0.5) / len(gradients) if byzantine else 0.0
    )  # it truncates the product
    assert coordinate_trimmed_mean(gradients, byzantine=byzantine) == pytest.approx(expected, abs=1e-12)


@given(case=sizes, far=st.sampled_from([10.0, -1e6, 1e100]))
@settings(max_examples=100, deadline=None)
def test_wrong_gradients_up_to_the_breakdown_point_leave_every_coordinate_among_honest_values(
    case: tuple[int, int, int, int], far: float
) -> None:
    byzantine, more, dimension, seed = case
    generator = np.random.default_rng(seed)
    honest = generator.normal(0.0, 1.0, (byzantine + more, dimension))
    gradients = generator.permutation(np.concatenate((honest, np.full((byzantine, dimension), far))))
    for result in (coordinate_trimmed_mean(gradients, byzantine=byzantine), coordinate_median(gradients)):
        assert (honest.min(axis=0) - 1e-12 <= result).all()
        assert (result <= honest.max(axis=0) + 1e-12).all()


def test_one_wrong_gradient_more_breaks_them() -> None:
    gradients = np.array([[0.0]] * 3 + [[1000.0]] * 4)
    assert coordinate_median(gradients).tolist() == [1000.0]
    assert coordinate_trimmed_mean(gradients, byzantine=3).tolist() == [1000.0]
    assert coordinate_trimmed_mean(gradients[:-1], byzantine=2).tolist() == [500.0]


@given(case=sizes)
@settings(max_examples=50, deadline=None)
def test_results_do_not_depend_on_the_order_and_follow_translations(case: tuple[int, int, int, int]) -> None:
    byzantine, more, dimension, seed = case
    generator = np.random.default_rng(seed)
    gradients = generator.normal(0.0, 1.0, (2 * byzantine + more, dimension))
    shift = generator.normal(0.0, 10.0, dimension)
    shuffled = generator.permutation(gradients)
    trimmed, median = coordinate_trimmed_mean(gradients, byzantine=byzantine), coordinate_median(gradients)
    assert coordinate_trimmed_mean(shuffled, byzantine=byzantine).tobytes() == trimmed.tobytes()
    assert coordinate_median(shuffled).tobytes() == median.tobytes()
    assert coordinate_trimmed_mean(gradients + shift, byzantine=byzantine) == pytest.approx(trimmed + shift, abs=1e-12)
    assert coordinate_median(gradients + shift) == pytest.approx(median + shift, abs=1e-12)


def test_wide_gradients_are_handled_in_blocks_without_a_seam() -> None:
    gradients = np.random.default_rng(0).normal(0.0, 1.0, (9, 20_000))
    assert coordinate_median(gradients).tolist() == np.median(gradients, axis=0).tolist()
    expected = np.sort(gradients, axis=0)[2:7].mean(axis=0)
    assert coordinate_trimmed_mean(gradients, byzantine=2) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("byzantine", "message"),
    [(3, "= 7 gradients for byzantine 3, got 6; at most byzantine 2 fits"), (-1, "at least 0"), (True, "an integer")],
)
def test_counts_that_leave_nothing_are_refused(byzantine: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coordinate_trimmed_mean(np.eye(6), byzantine=byzantine)
