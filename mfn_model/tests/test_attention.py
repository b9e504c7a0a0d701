"""Sparse top-k attention, plain and in blocks."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model._top_k import largest_columns
from mfn_model.attention import (
    AttentionWeights,
    attention_pattern,
    blocked_sparse_attention,
    multi_head_sparse_attention,
    sparse_attention,
)

Array = npt.NDArray[Any]


def random_weights(d: int, seed: int = 0, dtype: Any = np.float64) -> AttentionWeights:
    generator = np.random.default_rng(seed)
    matrices = {name: generator.normal(size=(d, d)).astype(dtype) for name in ("query", "key", "value", "out")}
    biases = {f"{name}_bias": generator.normal(size=d).astype(dtype) for name in matrices}
    return AttentionWeights(**matrices, **biases)


def identity_weights(d: int, **biases: Array) -> AttentionWeights:
    zero = np.zeros(d)
    all_biases = {"query_bias": zero, "key_bias": zero, "value_bias": zero, "out_bias": zero, **biases}
    return AttentionWeights(query=np.eye(d), key=np.eye(d), value=np.eye(d), out=np.eye(d), **all_biases)


def cell_by_cell(x: Array, weights: AttentionWeights, heads: int, top_k: int) -> Array:
    """The definition, one position and one score at a time."""
    n, d = x.shape
    width = d // heads
    q, k, v = (x @ getattr(weights, name).T + getattr(weights, f"{name}_bias") for name in ("query", "key", "value"))
    mixed = np.zeros((n, d))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(n):
            scores = [float(np.dot(q[i, part], k[j, part])) / math.sqrt(width) for j in range(n)]
            chosen = sorted(range(n), key=lambda j: (-scores[j], j))[:top_k]
            powers = {j: math.exp(scores[j] - max(scores)) for j in chosen}
            for j, power in powers.items():
                mixed[i, part] += power / sum(powers.values()) * v[j, part]
    return mixed @ weights.out.T + weights.out_bias


@given(
    n=st.integers(1, 8),
    width=st.integers(1, 3),
    heads=st.integers(1, 3),
    top_k=st.integers(1, 9),
    block=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_all_evaluations_equal_the_definition(
    n: int, width: int, heads: int, top_k: int, block: int, seed: int
) -> None:
    d = width * heads
    x, weights = np.random.default_rng(seed).normal(size=(n, d)), random_weights(d, seed)
    expected = cell_by_cell(x, weights, heads, top_k)
    tolerance = {"rel": 1e-9, "abs": 1e-9}
    assert multi_head_sparse_attention(x, weights, heads=heads, top_k=top_k) == pytest.approx(expected, **tolerance)
    blocked = blocked_sparse_attention(x, weights, heads=heads, top_k=top_k, block=block)
    assert blocked == pytest.approx(expected, **tolerance)
    if heads == 1:
        assert sparse_attention(x, weights, top_k=top_k) == pytest.approx(expected, **tolerance)


def test_heads_choose_their_own_positions() -> None:
    x = np.random.default_rng(3).normal(size=(9, 6))
    weights = random_weights(6, 3)
    one, three = (multi_head_sparse_attention(x, weights, heads=heads, top_k=2) for heads in (1, 3))
    assert np.abs(one - three).max() > 1e-3


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 2**32))
@settings(deadline=None)
def test_each_position_attends_to_exactly_k(n: int, top_k: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    positions, shares = attention_pattern(x, random_weights(3, seed), top_k=top_k)
    assert positions.shape == shares.shape == (n, min(top_k, n))
    dense = np.zeros((n, n))
    np.put_along_axis(dense, positions, shares, axis=1)
    assert np.count_nonzero(dense, axis=1).tolist() == [min(top_k, n)] * n
    assert dense.sum(axis=1) == pytest.approx(np.ones(n))
    assert (np.diff(positions, axis=1) > 0).all()


@given(
    st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(st.integers(-2, 2), min_size=n, max_size=n), min_size=1)),
    st.integers(1, 7),
)
def test_the_largest_of_each_row_are_found_and_ties_go_to_the_lowest_index(rows: list[list[int]], k: int) -> None:
    found = largest_columns(np.array(rows, dtype=np.float64), k)
    for row, columns in zip(rows, found, strict=True):
        assert columns.tolist() == sorted(sorted(range(len(row)), key=lambda j: (-row[j], j))[:k])


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), min_size=1, max_size=12),
    st.integers(1, 6),
    st.integers(1, 6),
)
@settings(deadline=None, max_examples=60)
def test_ties_are_resolved_alike_in_blocks(rows: list[tuple[int, int]], top_k: int, block: int) -> None:
    x = np.array(rows, dtype=np.float64)  # small integers: scores are equal exactly where they should be
    # The position itself as a value shows who was chosen.
    weights = AttentionWeights.without_bias(
        query=np.diag([1.0, 1.0, 0.0]), key=np.diag([1.0, 1.0, 0.0]), value=np.diag([0.0, 0.0, 1.0]), out=np.eye(3)
    )
    numbered = np.column_stack([x, np.arange(1.0, len(x) + 1.0)])
    expected = sparse_attention(numbered, weights, top_k=top_k)
    assert blocked_sparse_attention(numbered, weights, top_k=top_k, block=block) == pytest.approx(expected, rel=1e-13)
    for i, row in enumerate(x):
        scores = x @ row
        chosen = sorted(range(len(x)), key=lambda j: (-scores[j], j))[:top_k]
        assert attention_pattern(numbered, weights, top_k=top_k)[0][i].tolist() == sorted(chosen)


def test_a_sequence_of_one_position_attends_to_itself() -> None:
    x, weights = np.array([[0.3, -0.2]]), random_weights(2)
    value = x @ weights.value.T + weights.value_bias
    expected = value @ weights.out.T + weights.out_bias
    assert sparse_attention(x, weights) == pytest.approx(expected, rel=1e-14)


def test_a_batch_is_its_sequences() -> None:
    x, weights = np.random.default_rng(1).normal(size=(3, 7, 4)), random_weights(4)
    for evaluate in (sparse_attention, blocked_sparse_attention):
        together = evaluate(x, weights)
        assert together.shape == x.shape
        for one, expected in zip(x, together, strict=True):
            assert np.array_equal(evaluate(one, weights), expected)


@pytest.mark.parametrize("evaluate", [sparse_attention, blocked_sparse_attention])
def test_an_empty_batch_has_an_empty_result(evaluate: Any) -> None:
    assert evaluate(np.zeros((0, 3, 2)), random_weights(2)).shape == (0, 3, 2)


@pytest.mark.parametrize("evaluate", [sparse_attention, blocked_sparse_attention])
def test_single_precision_stays_single_only_where_everything_is(evaluate: Any) -> None:
    x, weights = np.random.default_rng(2).normal(size=(20, 4)), random_weights(4)
    single = random_weights(4, dtype=np.float32)
    result = evaluate(x.astype(np.float32), single)
    assert result.dtype == np.float32
    assert evaluate(x, single).dtype == evaluate(x.astype(np.float32), weights).dtype == np.float64
    assert result == pytest.approx(evaluate(x, weights), rel=1e-3, abs=1e-4)
    assert evaluate(np.arange(8).reshape(2, 4), weights).dtype == np.float64


def test_scores_however_large_do_not_overflow() -> None:
    x = np.array([[1e150, 0.0], [0.0, 1e150], [1.0, 1.0]])
    result = sparse_attention(x, identity_weights(2), top_k=2)
    assert result[:2] == pytest.approx(x[:2], rel=1e-12)  # scores of 1e300
    assert result[2] == pytest.approx(np.array([5e149, 5e149]), rel=1e-12)  # a tie


@pytest.mark.parametrize("evaluate", [sparse_attention, blocked_sparse_attention])
def test_positions_whose_scores_are_nan_get_the_bias_alone(evaluate: Any) -> None:
    weights = identity_weights(2, out_bias=np.array([5.0, 7.0]))
    spoiled = np.array([[1.0, 0.0], [np.nan, 0.0], [0.0, 1.0]])  # its key spoils a score of every row
    assert evaluate(spoiled, weights).tolist() == [[5.0, 7.0]] * 3


@pytest.mark.parametrize("evaluate", [sparse_attention, blocked_sparse_attention])
def test_positions_whose_largest_score_is_infinite_get_the_bias_alone(evaluate: Any) -> None:
    weights = identity_weights(1, out_bias=np.array([5.0]))
    result = evaluate(np.array([[1e200], [1e200], [0.5]]), weights, top_k=1)
    assert result[:2].tolist() == [[5.0], [5.0]]  # 1e400 is infinite
    assert result[2] == pytest.approx([1e200 + 5.0])


@pytest.mark.parametrize("block", [1, 2, 64])
def test_a_score_of_minus_infinity_is_chosen_last_and_has_no_share(block: int) -> None:
    weights = AttentionWeights.without_bias(query=[[1.0]], key=[[1.0]], value=[[1.0]], out=[[1.0]])
    x = np.array([[1.0], [-1e308], [2.0]]) * np.array([[1e100], [1.0], [1e100]])
    for result in (blocked_sparse_attention(x, weights, top_k=3, block=block), sparse_attention(x, weights, top_k=3)):
        # The second position scores −∞ with the others, and +∞ with itself, which leaves it without weights.
        assert result.ravel().tolist() == [2e100, 0.0, 2e100]


def test_blocks_never_hold_the_matrix_of_scores() -> None:
    n, d = 2500, 8
    x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    weights = random_weights(d, dtype=np.float32)
    tracemalloc.start()
    blocked_sparse_attention(x, weights, block=128, heads=2)
    blocked_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocked_peak < 1_500_000  # the scores of one head alone are 25 MB


@pytest.mark.parametrize("evaluate", [sparse_attention, blocked_sparse_attention])
def test_a_value_that_is_not_chosen_adds_nothing_even_if_it_is_infinite(evaluate: Any) -> None:
    first, second = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    weights = AttentionWeights.without_bias(query=first, key=first, value=1e10 * second, out=second)
    x = np.array([[1.0, 3.0], [-1.0, 1e300]])  # the value of the second overflows, its key and query do not
    result = evaluate(x, weights, top_k=1)
    assert result[0].tolist() == [0.0, 3e10]
    assert not np.isfinite(result[1]).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"x": np.zeros((3, 5))}, r"x must have shape \[n, 4\] or \[batch, n, 4\] with n at least 1, got \[3, 5\]"),
        ({"x": np.zeros((0, 4))}, r"got \[0, 4\]"),
        ({"x": np.zeros(4)}, r"got \[4\]"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_k": 2.0}, r"top_k must be an integer, got 2\.0"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"heads": 3}, "heads must divide the 4 channels, got 3"),
        ({"block": 0}, "block must be at least 1, got 0"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(arguments: dict[str, Any], named: str) -> None:
    complete = {"x": np.zeros((3, 4)), "weights": random_weights(4), **arguments}
    with pytest.raises(ValueError, match=named):
        blocked_sparse_attention(**complete)
    if "block" not in arguments:
        with pytest.raises(ValueError, match=named):
            multi_head_sparse_attention(**{"heads": 1, **complete})


def test_a_pattern_is_that_of_one_sequence() -> None:
    with pytest.raises(ValueError, match=r"one sequence \[n, d\], got shape \(1, 3, 4\)"):
        attention_pattern(np.zeros((1, 3, 4)), random_weights(4))


def test_weights_of_other_shapes_are_refused_all_at_once() -> None:
    zero = np.zeros(2)
    with pytest.raises(ValueError, match="must have shape") as caught:
        AttentionWeights(
            query=np.eye(2),
            key=np.eye(3),
            value=np.eye(2),
            out=np.eye(2),
            query_bias=zero,
            key_bias=zero,
            value_bias=np.zeros(1),
            out_bias=zero,
        )
    assert str(caught.value) == "key must have shape [2, 2], got [3, 3]; value_bias must have shape [2], got [1]"
    with pytest.raises(ValueError, match="at least one channel"):
        AttentionWeights.without_bias(query=np.zeros((0, 0)), key=np.eye(1), value=np.eye(1), out=np.eye(1))


def test_weights_are_copies_that_cannot_be_written_to() -> None:
    matrix = np.eye(2)
    weights = AttentionWeights.without_bias(query=matrix, key=matrix, value=matrix, out=matrix)
    matrix[0, 0] = 9.0
    assert weights.query[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        weights.query[0, 0] = 9.0
