"""What every aggregation accepts as gradients, and what it refuses with the index of the gradient at fault."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model.aggregation import (
    balanced_hierarchical_krum,
    bulyan,
    coordinate_median,
    coordinate_trimmed_mean,
    geometric_median,
    hierarchical_krum,
    krum,
    multi_krum,
)
from mfn_model.aggregation._rows import column_spans, gradient_rows

AGGREGATORS: dict[str, Callable[..., Any]] = {
    "hierarchical_krum": partial(hierarchical_krum, num_clusters=3),
    "balanced_hierarchical_krum": lambda gradients: balanced_hierarchical_krum(
        gradients, byzantine=1, num_clusters=3, generator=np.random.default_rng(0)
    ),
    "krum": partial(krum, byzantine=1),
    "multi_krum": partial(multi_krum, byzantine=1),
    "bulyan": partial(bulyan, byzantine=1),
    "coordinate_trimmed_mean": partial(coordinate_trimmed_mean, byzantine=1),
    "coordinate_median": coordinate_median,
    "geometric_median": geometric_median,
}


def result_of(name: str, gradients: Any) -> npt.NDArray[Any]:
    result = AGGREGATORS[name](gradients)
    return np.asarray(result if isinstance(result, np.ndarray) else result.gradient)


def fifteen() -> npt.NDArray[np.float64]:
    return np.random.default_rng(1).normal(0.0, 1.0, (15, 4))


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_matrix_a_list_of_arrays_and_a_list_of_lists_are_the_same(name: str) -> None:
    gradients = fifteen()
    expected = result_of(name, gradients)
    assert result_of(name, list(gradients)).tobytes() == expected.tobytes()
    assert result_of(name, gradients.tolist()).tobytes() == expected.tobytes()
    assert result_of(name, np.asfortranarray(gradients)).tobytes() == expected.tobytes()
    single = gradients.astype(np.float32)
    assert result_of(name, single).tobytes() == result_of(name, single.astype(np.float64)).tobytes()
    assert result_of(name, list(single)).tobytes() == result_of(name, single).tobytes()


@pytest.mark.parametrize("name", AGGREGATORS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: [*rows[:3], rows[3][:2], *rows[4:]], "gradient 3 has 2 values where gradient 0 has 4"),
        (lambda rows: [*rows[:5], [], *rows[6:]], "gradient 5 has no values"),
        (lambda rows: [*rows[:14], [0.0, math.nan, 0.0, 0.0]], "gradient 14 holds nan at position 1"),
        (lambda rows: [[0.0, 0.0, 0.0, -math.inf], *rows[1:]], "gradient 0 holds -inf at position 3"),
        (
            lambda rows: [*rows[:7], [1e141, 0.0, 0.0, 0.0], *rows[8:]],
            r"gradient 7 holds 1e\+141 at position 0; val.*140",
        ),
        (lambda rows: [*rows[:2], ["a", "b", "c", "d"], *rows[3:]], "gradient 2 must hold real numbers"),
        (lambda rows: [*rows[:2], [1j, 0, 0, 0], *rows[3:]], "gradient 2 must hold real numbers, got dtype complex128"),
        (lambda rows: [*rows[:2], [rows[2]], *rows[3:]], "gradient 2 must have one dimension, got 2"),
        (lambda rows: [*rows[:2], 1.0, *rows[3:]], "gradient 2 must have one dimension, got 0"),
        (lambda rows: [*rows[:2], [[1.0], [1.0, 2.0]], *rows[3:]], "gradient 2 is not a vector of real numbers"),
        (lambda rows: [], "there are no gradients"),
        (lambda rows: np.empty((0, 4)), "there are no gradients"),
        (lambda rows: np.empty((15, 0)), "gradient 0 has no values"),
        (lambda rows: np.array(rows) + 0j, "must hold real numbers"),
        (lambda rows: np.where(np.arange(4) == 2, np.nan, rows), "gradient 0 holds nan at position 2"),
    ],
)
def test_gradients_at_fault_are_refused_with_their_index(
    name: str, spoil: Callable[[list[Any]], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AGGREGATORS[name](spoil(fifteen().tolist()))


def test_a_fault_far_inside_large_gradients_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.zeros((3000, 500))
    matrix[2741, 499] = math.inf
    with pytest.raises(ValueError, match="gradient 2741 holds inf at position 499"):
        gradient_rows(matrix)
    monkeypatch.setattr("mfn_model.aggregation._rows._STACKED_BYTES", 0)
    with pytest.raises(ValueError, match="gradient 2741 holds inf at position 499"):
        gradient_rows(list(matrix))


def test_what_overflows_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="gradient 1 holds inf at position 0"):
        gradient_rows([[1.0], [1e39]], np.float32)


def test_large_vectors_are_read_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfn_model.aggregation._rows._STACKED_BYTES", 0)
    vectors = list(fifteen())
    rows = gradient_rows(vectors)
    vectors[4][2] = 17.0  # seen only if nothing was copied
    assert rows.row(4)[2] == 17.0
    members = np.array([4, 1], dtype=np.intp)
    block = rows.block(members, 1, 4)
    assert block.tolist() == [vectors[4][1:4].tolist(), vectors[1][1:4].tolist()]
    block[...] = 0.0
    assert rows.row(4)[2] == 17.0


@pytest.mark.parametrize(("coordinates", "rows"), [(1, 1), (100_000, 1000), (7, 10**7), (8192, 1), (8193, 1)])
def test_spans_cover_every_coordinate_once_within_their_memory(coordinates: int, rows: int) -> None:
    spans = list(column_spans(coordinates, rows))
    assert [place for start, stop in spans for place in range(start, stop)] == list(range(coordinates))
    assert max(stop - start for start, stop in spans) <= max(16, 2**21 // rows)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_what_is_given_stays_as_it_was(name: str) -> None:
    gradients = fifteen()
    gradients.flags.writeable = False
    before = gradients.copy()
    result = result_of(name, gradients)
    assert not np.shares_memory(result, gradients)
    assert (gradients == before).all()
