"""The generator inside compiled code is NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_engine_numba import _pcg64 as pcg64
from mfn_engine_numba._numba import entry, float64_at, uint64_at

Words = npt.NDArray[np.uint64]

seeds = st.integers(0, 2**63 - 1)


@entry("void(uint64[::1], int64)")
def seed(words: Any, number: Any) -> None:
    pcg64.seed_generator(uint64_at(words.ctypes.data), number)


@entry("void(uint64[::1], int64, float64[::1], int64[::1])")
def draw(words: Any, kind: Any, numbers: Any, integers: Any) -> None:
    """Kind 0 and 1: uniform and normal numbers one by one; 2 and 3: at once; 4: integers below `integers[0]`."""
    generator, target = uint64_at(words.ctypes.data), float64_at(numbers.ctypes.data)
    if kind == 2:
        pcg64.fill_uniform(generator, target, numbers.size)
    elif kind == 3:
        pcg64.fill_normal(generator, target, numbers.size)
    else:
        for index in range(numbers.size):
            if kind == 0:
                numbers[index] = pcg64.uniform(generator)
            elif kind == 1:
                numbers[index] = pcg64.normal(generator)
            else:
                numbers[index] = pcg64.integer_below(generator, integers[0])


@entry("void(uint64[::1], int64)")
def skip(words: Any, count: Any) -> None:
    pcg64.skip(uint64_at(words.ctypes.data), count)


def seeded(number: int) -> Words:
    words = np.zeros(pcg64.STATE_WORDS, dtype=np.uint64)
    seed(words, number)
    return words


def drawn(words: Words, kind: int, count: int, below: int = 0) -> npt.NDArray[np.float64]:
    numbers = np.empty(count)
    draw(words, kind, numbers, np.array([below]))
    return numbers


@given(number=st.one_of(seeds, st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1])))
@settings(deadline=None)
def test_a_seed_gives_the_state_that_it_gives_numpy(number: int) -> None:
    assert pcg64.generator_state(seeded(number)) == np.random.PCG64(number).state


@pytest.mark.parametrize("at_once", [False, True])
def test_a_million_normal_numbers_are_those_of_numpy(at_once: bool) -> None:
    # Many enough for every layer of the ziggurat, and for its tail some hundred times.
    words, generator = seeded(1), np.random.default_rng(1)
    expected = generator.standard_normal(1_000_000)
    assert np.abs(expected).max() > 4.5
    assert np.array_equal(drawn(words, 3 if at_once else 1, expected.size), expected)
    assert pcg64.generator_state(words) == generator.bit_generator.state


@pytest.mark.parametrize("at_once", [False, True])
def test_uniform_numbers_are_those_of_numpy(at_once: bool) -> None:
    words, generator = seeded(2), np.random.default_rng(2)
    assert np.array_equal(drawn(words, 2 if at_once else 0, 10_000), generator.random(10_000))
    assert pcg64.generator_state(words) == generator.bit_generator.state


@pytest.mark.parametrize("below", [1, 2, 3, 7, 64, 1000, 2**31 + 5, 2**32 - 1])
def test_integers_are_those_of_numpy(below: int) -> None:
    # 2**31 + 5 refuses nearly half of what is drawn.
    words, generator = seeded(3), np.random.default_rng(3)
    assert drawn(words, 4, 501, below).tolist() == [generator.integers(0, below) for _ in range(501)]
    assert pcg64.generator_state(words) == generator.bit_generator.state


@given(
    number=seeds,
    draws=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), max_size=8),
)
@settings(deadline=None, max_examples=50)
def test_draws_of_every_kind_may_follow_each_other(number: int, draws: list[tuple[int, int]]) -> None:
    words, generator = seeded(number), np.random.default_rng(number)
    bits = generator.bit_generator
    assert isinstance(bits, np.random.PCG64)
    for kind, count in draws:
        if kind == 5:
            skip(words, count)
            bits.advance(count)
        elif kind == 4:
            assert drawn(words, 4, count, 64).tolist() == [generator.integers(0, 64) for _ in range(count)]
        else:
            expected = generator.standard_normal(count) if kind in (1, 3) else generator.random(count)
            assert np.array_equal(drawn(words, kind, count), expected)
    assert next_words(words) == [int(word) for word in bits.random_raw(3)]


def next_words(words: Words) -> list[int]:
    bits = np.random.PCG64()
    state: Any = pcg64.generator_state(words)
    bits.state = state
    return [int(word) for word in bits.random_raw(3)]


@given(number=seeds, count=st.integers(0, 2**40))
@settings(deadline=None)
def test_skipping_is_advancing(number: int, count: int) -> None:
    words, bits = seeded(number), np.random.PCG64(number)
    skip(words, count)
    bits.advance(count)
    assert pcg64.generator_state(words)["state"] == bits.state["state"]


def test_a_state_survives_the_way_there_and_back() -> None:
    generator = np.random.default_rng(4)
    generator.integers(0, 9)  # half of a draw is left over
    state = generator.bit_generator.state
    assert state["has_uint32"] == 1
    assert pcg64.generator_state(pcg64.generator_words(state)) == state


@pytest.mark.parametrize(
    "changes",
    [
        {"bit_generator": "MT19937"},
        {"state": {"state": -1, "inc": 1}},
        {"state": {"state": 2**128, "inc": 1}},
        {"state": {"state": 1, "inc": 2}},
        {"state": {"state": "x", "inc": 1}},
        {"state": {"state": 1}},
        {"state": None},
        {"has_uint32": 2},
        {"uinteger": 2**32},
    ],
)
def test_what_is_no_state_of_this_generator_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="state of a PCG64"):
        pcg64.generator_words({**np.random.PCG64(1).state, **changes})
