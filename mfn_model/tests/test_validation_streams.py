"""The Mersenne twister's streams against published outputs and plain arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.validation._streams import TwisterStream, permutation

seeds = st.integers(0, 2**32 - 1)


def plain_words(seed: int, count: int) -> list[int]:
    """MT19937 written out, with its original seeding."""
    state = [seed]
    for place in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + place) % 2**32)
    words = []
    for number in range(count):
        place = number % 624
        if place == 0:
            for k in range(624):
                mixed = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7FFFFFFF)
                state[k] = state[(k + 397) % 624] ^ mixed >> 1 ^ (0x9908B0DF if mixed % 2 else 0)
        word = state[place]
        word ^= word >> 11
        word ^= word << 7 & 0x9D2C5680
        word ^= word << 15 & 0xEFC60000
        words.append(word ^ word >> 18)
    return words


def test_the_words_are_those_that_the_c_plus_plus_standard_requires() -> None:
    words = TwisterStream(5489).words(10_000)  # [rand.predef]: the default seed and the 10,000th word of mt19937
    assert int(words[0]) == 3499211612
    assert int(words[-1]) == 4123659995


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_words_are_those_of_the_algorithm_written_out(seed: int) -> None:
    assert TwisterStream(seed).words(1300).tolist() == plain_words(seed, 1300)


def test_only_the_lower_half_of_a_seed_counts() -> None:
    assert TwisterStream(7 + 2**40).words(5).tolist() == TwisterStream(7).words(5).tolist()


@given(seed=seeds, bound=st.sampled_from([0.5, 32**-0.5, 1.0]))
@settings(max_examples=30, deadline=None)
def test_uniform_numbers_come_from_the_lower_24_bits_row_by_row(seed: int, bound: float) -> None:
    numbers = TwisterStream(seed).uniform(-bound, bound, (3, 4))
    assert numbers.dtype == np.float32
    assert numbers.shape == (3, 4)
    exact = [
        float(Fraction(word % 2**24, 2**24) * Fraction(2.0 * bound) - Fraction(bound)) for word in plain_words(seed, 12)
    ]
    assert numbers.ravel().tolist() == pytest.approx(exact, abs=2e-7 * bound)
    assert (np.abs(numbers) <= np.float32(bound)).all()


def test_draws_of_all_kinds_share_one_stream() -> None:
    stream, words = TwisterStream(11), plain_words(11, 5)
    stream.uniform(0.0, 1.0, (2,))
    assert stream.integer() == (words[2] * 2**32 + words[3]) % 2**63
    assert stream.words(1).tolist() == [words[4]]


@given(seed=st.integers(0, 2**63 - 1), length=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_a_permutation_holds_every_place_once_and_depends_on_its_seed_only(seed: int, length: int) -> None:
    order = permutation(seed, length)
    assert sorted(order.tolist()) == list(range(length))
    assert order.tolist() == permutation(seed, length).tolist()


def test_permutations_are_uniform() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(6000):
        order = tuple(permutation(seed, 3).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert (
        sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 20.5
    )  # χ² with 5 degrees of freedom, p = 0.001
