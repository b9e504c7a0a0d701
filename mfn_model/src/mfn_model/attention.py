"""Sparse attention: every position attends to the k positions whose keys fit its query best.

With q, k, v the linear projections of the input, the scores are S = q kᵀ/√d (A. Vaswani et al., Attention Is All You
Need, 2017, §3.2.1); in each row only the k largest count, softmax runs over these, and the values are mixed by it. Ties
go to the lowest index, so that exactly k entries of each row count, or all where the sequence is shorter. A row with a
score that is NaN, or whose largest score is infinite, has no weights: its positions get the output bias alone.

`sparse_attention` computes the whole matrix of scores, as earlier results did; `multi_head_sparse_attention` does so
for each of several heads, each with a part of the channels; `blocked_sparse_attention` gives the results of both and
never holds that matrix. Weight matrices are arguments; nothing here is trained.

>>> import numpy as np
>>> identity = AttentionWeights.without_bias(query=np.eye(2), key=np.eye(2), value=np.eye(2), out=np.eye(2))
>>> x = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
>>> sparse_attention(x, identity, top_k=1).tolist()  # the first and third fit the third best, the second itself
[[3.0, 0.0], [0.0, 1.0], [3.0, 0.0]]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, refuse
from mfn_model._top_k import largest_columns, softmax_of_selected

__all__ = [
    "DEFAULT_TOP_K",
    "AttentionWeights",
    "attention_pattern",
    "blocked_sparse_attention",
    "multi_head_sparse_attention",
    "sparse_attention",
]

Array = npt.NDArray[Any]
Pattern = tuple[npt.NDArray[np.int64], Array]
Mix = Callable[[Array, Array, Array], Array]

DEFAULT_TOP_K: Final = 4
"""Positions to which each one attends."""

_PROJECTIONS = ("query", "key", "value", "out")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttentionWeights:
    """Four linear maps x ↦ x Wᵀ + b over d channels; arrays are copied, made read-only and of one dtype.

    That is float32 where all are float32, and float64 otherwise. Raises `ValueError` that lists every matrix that is
    not [d, d] and every bias that is not [d], with d ≥ 1 that of `query`.
    """

    query: Array
    key: Array
    value: Array
    out: Array
    query_bias: Array
    key_bias: Array
    value_bias: Array
    out_bias: Array

    def __post_init__(self) -> None:
        names = [*_PROJECTIONS, *(f"{name}_bias" for name in _PROJECTIONS)]
        arrays = {name: np.asarray(getattr(self, name)) for name in names}
        dtype = _common_dtype(*arrays.values())
        d = arrays["query"].shape[0] if arrays["query"].ndim else 0
        problems = [] if d >= 1 else ["query must be a matrix of at least one channel"]
        for name, array in arrays.items():
            expected = (d,) if name.endswith("_bias") else (d, d)
            if array.shape != expected:
                problems.append(f"{name} must have shape {list(expected)}, got {list(array.shape)}")
        refuse(problems)
        for name, array in arrays.items():
            copied = np.array(array, dtype=dtype)
            copied.flags.writeable = False
            object.__setattr__(self, name, copied)

    @classmethod
    def without_bias(
        cls, *, query: npt.ArrayLike, key: npt.ArrayLike, value: npt.ArrayLike, out: npt.ArrayLike
    ) -> AttentionWeights:
        """The maps x ↦ x Wᵀ."""
        matrix = np.asarray(query)
        zero = np.zeros(matrix.shape[:1], dtype=_common_dtype(matrix))
        return cls(
            query=matrix,
            key=np.asarray(key),
            value=np.asarray(value),
            out=np.asarray(out),
            query_bias=zero,
            key_bias=zero,
            value_bias=zero,
            out_bias=zero,
        )

    @property
    def channels(self) -> int:
        """d, the channels of each position."""
        return int(self.query.shape[0])


def sparse_attention(x: npt.ArrayLike, weights: AttentionWeights, *, top_k: int = DEFAULT_TOP_K) -> Array:
    """Attention of one head, over all channels, to the `top_k` ≥ 1 best positions.

    `x` is [n, d] or [batch, n, d] with n ≥ 1; the result has that shape, in float32 if input and weights are, in
    float64 otherwise. Holds the [n, n] scores of one sequence at a time. Raises `ValueError` for shapes that do not fit
    the weights and a `top_k` below 1.
    """
    return multi_head_sparse_attention(x, weights, heads=1, top_k=top_k)


def multi_head_sparse_attention(
    x: npt.ArrayLike, weights: AttentionWeights, *, heads: int, top_k: int = DEFAULT_TOP_K
) -> Array:
    """The same with `heads` heads, each with d/heads consecutive channels, its own scores and its own best positions.

    Scores are divided by √(d/heads). With one head it is `sparse_attention`. Raises `ValueError` also where `heads` is
    below 1 or does not divide d.
    """
    mix = partial(_mixed_densely, top_k=top_k)
    return _attended(x, weights, heads, top_k, mix)


def blocked_sparse_attention(
    x: npt.ArrayLike, weights: AttentionWeights, *, heads: int = 1, top_k: int = DEFAULT_TOP_K, block: int = 256
) -> Array:
    """What `multi_head_sparse_attention` gives, evaluated in blocks of `block` ≥ 1 queries and as many keys.

    Beside the projections, of the size of `x`, it holds O(block · (block + top_k · d/heads)) numbers and never the
    [n, n] scores. The scores of a block are rounded differently from those of the whole matrix: results agree to
    rounding, and positions whose scores are as close as that may be chosen differently. Shapes and errors are those of
    `multi_head_sparse_attention`.
    """
    refuse(integer_problems("block", block, 1))
    mix = partial(_mixed_in_blocks, top_k=top_k, block=block)
    return _attended(x, weights, heads, top_k, mix)


def attention_pattern(
    x: npt.ArrayLike, weights: AttentionWeights, *, top_k: int = DEFAULT_TOP_K
) -> tuple[npt.NDArray[np.int64], Array]:
    """Who attends to whom in `sparse_attention`: for a sequence [n, d], two arrays of shape [n, min(top_k, n)].

    The first holds the positions that count, ascending; the second their weights, which add up to 1 in each row, or are
    all 0 in a row without weights. Raises `ValueError` as `sparse_attention` does, and for a batch.
    """
    if np.ndim(x) != 2:
        raise ValueError(f"a pattern is that of one sequence [n, d], got shape {np.shape(x)}")
    sequence = _checked(x, weights, 1, top_k)[0]
    return _dense_pattern(
        _projected(sequence, weights.query, weights.query_bias),
        _projected(sequence, weights.key, weights.key_bias),
        top_k,
    )


def _checked(x: npt.ArrayLike, weights: AttentionWeights, heads: int, top_k: int) -> Array:
    """The input as [batch, n, d]."""
    problems = integer_problems("heads", heads, 1) + integer_problems("top_k", top_k, 1)
    values = np.asarray(x)
    d = weights.channels
    if values.ndim not in (2, 3) or values.shape[-1] != d or values.shape[-2] < 1:
        problems.append(f"x must have shape [n, {d}] or [batch, n, {d}] with n at least 1, got {list(values.shape)}")
    if not problems and d % heads:
        problems.append(f"heads must divide the {d} channels, got {heads}")
    refuse(problems)
    return values.astype(_common_dtype(values, weights.query), copy=False).reshape(-1, *values.shape[-2:])


def _common_dtype(*arrays: Array) -> np.dtype[Any]:
    return np.dtype(np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64)


def _projected(x: Array, matrix: Array, bias: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite in the input has its rule in the scores
        return np.asarray(x @ matrix.T + bias, dtype=x.dtype)


def _attended(x: npt.ArrayLike, weights: AttentionWeights, heads: int, top_k: int, mix: Mix) -> Array:
    sequences = _checked(x, weights, heads, top_k)
    results = np.empty_like(sequences)
    for result, sequence in zip(results, sequences, strict=True):
        q = _projected(sequence, weights.query, weights.query_bias)
        k = _projected(sequence, weights.key, weights.key_bias)
        v = _projected(sequence, weights.value, weights.value_bias)
        mixed = np.empty_like(v)
        width = weights.channels // heads
        for first in range(0, weights.channels, width):
            channels = slice(first, first + width)
            mixed[:, channels] = mix(q[:, channels], k[:, channels], v[:, channels])
        result[:] = _projected(mixed, weights.out, weights.out_bias)
    return results.reshape(np.shape(x))


def _mixed_densely(q: Array, k: Array, v: Array, *, top_k: int) -> Array:
    return _mixed(v, *_dense_pattern(q, k, top_k))


def _dense_pattern(q: Array, k: Array, top_k: int) -> Pattern:
    scores, invalid = _scores(q, k)
    columns = largest_columns(scores, top_k)
    return columns, softmax_of_selected(np.take_along_axis(scores, columns, axis=1), invalid)


def _mixed_in_blocks(q: Array, k: Array, v: Array, *, top_k: int, block: int) -> Array:
    mixed = np.empty_like(v)
    for first in range(0, len(q), block):
        rows = slice(first, first + block)
        mixed[rows] = _mixed(v, *_streamed_pattern(q[rows], k, top_k, block))
    return mixed


def _streamed_pattern(q: Array, k: Array, top_k: int, block: int) -> Pattern:
    """The pattern of some queries: the best so far, ascending by index, compete with the next block of keys."""
    columns = np.empty((len(q), 0), dtype=np.int64)
    selected = np.empty((len(q), 0), dtype=q.dtype)
    invalid = np.zeros(len(q), dtype=np.bool_)
    for first in range(0, len(k), block):
        scores, invalid_here = _scores(q, k[first : first + block])
        here = np.broadcast_to(np.arange(first, first + scores.shape[1], dtype=np.int64), scores.shape)
        columns, selected = np.hstack([columns, here]), np.hstack([selected, scores])
        best = largest_columns(selected, top_k)
        columns, selected = np.take_along_axis(columns, best, axis=1), np.take_along_axis(selected, best, axis=1)
        invalid |= invalid_here
    return columns, softmax_of_selected(selected, invalid)


def _scores(q: Array, k: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """[queries, keys] scores, −∞ instead of NaN, and which queries have such a score."""
    with np.errstate(invalid="ignore", over="ignore"):
        scores = np.asarray((q @ k.T) / math.sqrt(q.shape[1]), dtype=q.dtype)
    missing = np.isnan(scores)
    scores[missing] = -np.inf
    return scores, missing.any(axis=1)


def _mixed(values: Array, columns: npt.NDArray[np.int64], shares: Array) -> Array:
    """Σ share · value over the selected positions; what has no share adds nothing, be it NaN."""
    chosen = np.where(shares[:, :, np.newaxis] > 0.0, values[columns], np.zeros((), dtype=values.dtype))
    return np.asarray(np.einsum("ik,ikc->ic", shares, chosen), dtype=values.dtype)
