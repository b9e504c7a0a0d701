"""Gradients that arrive in pieces."""

from __future__ import annotations

import itertools
import math
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.aggregation import GradientAccumulator, GradientBudgetError

CLIENT_BYTES = 512


def add_endlessly(collected: GradientAccumulator, clients: int, values: list[float]) -> None:
    for number in itertools.count():
        collected.add(number % clients, values)


@given(
    lengths=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
    single=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_pieces_in_any_interleaving_give_whole_gradients(lengths: list[list[int]], seed: int, single: bool) -> None:
    generator = np.random.default_rng(seed)
    coordinates = max(1, max(sum(pieces) for pieces in lengths))
    queues: dict[int, list[Any]] = {}
    for client, pieces in enumerate(lengths):
        values = generator.normal(0.0, 1.0, coordinates).astype(np.float32 if single else np.float64)
        queues[client] = np.split(values, np.cumsum(pieces))
    expected = {client: np.concatenate(queue) for client, queue in queues.items()}
    collected = GradientAccumulator(max_bytes=10_000, dtype=np.float32 if single else np.float64)
    first_piece: list[int] = []
    while queues:
        client = int(generator.choice(list(queues)))
        piece = queues[client].pop(0)
        collected.add(client, piece, last=not queues[client])
        first_piece += [client] if client not in first_piece else []
        if not queues[client]:
            del queues[client]
    assert collected.clients == tuple(first_piece)
    assert collected.coordinates == coordinates
    for client, gradient in zip(first_piece, collected.gradients(), strict=True):
        assert gradient.tobytes() == expected[client].tobytes()
        assert not gradient.flags.writeable
    assert collected.used_bytes == len(expected) * (coordinates * (4 if single else 8) + CLIENT_BYTES)


def test_the_bound_holds_and_what_is_refused_changes_nothing() -> None:
    collected = GradientAccumulator(max_bytes=2 * CLIENT_BYTES + 80)
    collected.add("a", [1.0] * 6)
    collected.add("b", [2.0] * 3)
    with pytest.raises(
        GradientBudgetError, match=r"client 'a' would bring the gradients to 1112 bytes; the bound is 1104"
    ) as caught:
        collected.add("a", [3.0] * 2, last=True)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.client, caught.value.needed, caught.value.max_bytes) == ("a", 1112, 1104)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(GradientBudgetError):
        collected.add("c", [])
    assert collected.used_bytes == 2 * CLIENT_BYTES + 72
    collected.add("a", [3.0], last=True)
    assert collected.used_bytes == 2 * CLIENT_BYTES + 80
    assert collected.discard("b")
    assert [gradient.tolist() for gradient in collected.gradients()] == [[1.0] * 6 + [3.0]]


def test_memory_stays_near_what_is_charged_however_small_the_pieces_are() -> None:
    tracemalloc.start()
    try:
        collected = GradientAccumulator(max_bytes=2**18)
        with pytest.raises(GradientBudgetError):
            add_endlessly(collected, clients=100, values=[0.5])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2**18 - 8 <= collected.used_bytes <= 2**18
    assert held <= 2**18 * 9 // 8


def test_clients_without_values_fill_the_bound_too() -> None:
    tracemalloc.start()
    try:
        collected = GradientAccumulator(max_bytes=2**20)
        with pytest.raises(GradientBudgetError):
            add_endlessly(collected, clients=10**6, values=[])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(collected.incomplete) == 2**20 // CLIENT_BYTES
    assert held <= 2**20


def test_lengths_must_agree() -> None:
    collected = GradientAccumulator(max_bytes=10_000)
    collected.add("first", [1.0, 2.0, 3.0], last=True)
    collected.add("long", [1.0, 2.0])
    with pytest.raises(ValueError, match="client 'long' has 4 values or more where 3 are expected"):
        collected.add("long", [3.0, 4.0])
    with pytest.raises(ValueError, match="client 'long' has 2 values where 3 are expected"):
        collected.add("long", [], last=True)
    collected.add("long", [5.0], last=True)
    with pytest.raises(ValueError, match="client 'long' is complete already"):
        collected.add("long", [])
    assert [gradient.tolist() for gradient in collected.gradients()] == [[1.0, 2.0, 3.0], [1.0, 2.0, 5.0]]


def test_a_length_that_is_known_is_held_from_the_first_piece_on() -> None:
    collected = GradientAccumulator(max_bytes=10_000, coordinates=2)
    with pytest.raises(ValueError, match="client 1 has 3 values or more where 2 are expected"):
        collected.add(1, [1.0, 2.0, 3.0])
    assert collected.incomplete == ()
    assert collected.used_bytes == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, math.nan], "client 'a' holds nan at position 3"),
        ([math.inf], "client 'a' holds inf at position 2"),
        ([1e141], r"client 'a' holds 1e\+141 at position 2; values must be finite and within ±1e\+140"),
        ([[1.0]], "client 'a' must have one dimension, got 2"),
        (["x"], "client 'a' must be real numbers"),
        ([1j], "client 'a' must be real numbers, got dtype complex128"),
    ],
)
def test_values_at_fault_are_refused_with_client_and_position(values: Any, message: str) -> None:
    collected = GradientAccumulator(max_bytes=10_000)
    collected.add("a", [1.0, 2.0])
    with pytest.raises(ValueError, match=message):
        collected.add("a", values)
    collected.add("a", [3.0], last=True)
    assert collected.gradients()[0].tolist() == [1.0, 2.0, 3.0]


def test_incomplete_gradients_are_named_and_can_be_discarded() -> None:
    collected = GradientAccumulator(max_bytes=10_000)
    for client in range(7):
        collected.add(client, [1.0])
    collected.add("whole", [1.0, 2.0], last=True)
    assert collected.clients == ("whole",)
    with pytest.raises(ValueError, match="clients 0, 1, 2, 3, 4 and 2 more are incomplete"):
        collected.gradients()
    for missing in collected.incomplete:
        assert collected.discard(missing)
    assert not collected.discard(0)
    assert collected.used_bytes == CLIENT_BYTES + 16
    assert len(collected.gradients()) == 1


def test_the_length_is_forgotten_with_the_last_complete_gradient_unless_it_was_asked_for() -> None:
    collected = GradientAccumulator(max_bytes=10_000)
    collected.add("a", [1.0, 2.0], last=True)
    collected.add("b", [3.0, 4.0], last=True)
    assert collected.discard("a")
    with pytest.raises(ValueError, match="has 3 values where 2 are expected"):
        collected.add("c", [1.0, 2.0, 3.0], last=True)
    assert collected.discard("b")
    assert collected.coordinates is None
    collected.add("c", [1.0, 2.0, 3.0], last=True)
    assert collected.coordinates == 3
    asked = GradientAccumulator(max_bytes=10_000, coordinates=2)
    asked.add("a", [1.0, 2.0], last=True)
    assert asked.discard("a")
    assert asked.coordinates == 2


def test_an_empty_gradient_cannot_be_completed() -> None:
    collected = GradientAccumulator(max_bytes=10_000)
    with pytest.raises(ValueError, match="client 'a' has no values; at least one is needed"):
        collected.add("a", [], last=True)
    assert collected.used_bytes == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_bytes": 0}, "max_bytes must be at least 1, got 0"),
        ({"max_bytes": 1, "coordinates": 0}, "coordinates must be at least 1, got 0"),
        ({"max_bytes": 1, "dtype": np.int32}, "dtype must be float64 or float32, got int32"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientAccumulator(**arguments)


def test_what_overflows_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="client 'a' holds inf at position 0"):
        GradientAccumulator(max_bytes=10_000, dtype=np.float32).add("a", [1e39])
