"""NumPy's generator PCG64 inside compiled code: the same stream, bit for bit, as `numpy.random.Generator(PCG64)`.

The state lies in six uint64: upper and lower half of the 128-bit state, the same of the increment, whether half a
64-bit draw is left over from an `integers`, and that half. A generator is passed as a pointer to these.

PCG64 is a 128-bit linear congruential generator whose state is folded by XSL-RR (M. E. O'Neill, "PCG: a family of
simple fast space-efficient statistically good algorithms for random number generation", HMC-CS-2014-0905). Moving it
on by n draws at once takes log n products (F. B. Brown, Trans. Am. Nucl. Soc. 71 (1994) 202–203). Integers come from
32-bit halves by D. Lemire's method (ACM Trans. Model. Comput. Simul. 29 (2019) 3), normal numbers from the ziggurat of
256 layers (G. Marsaglia, W. W. Tsang, J. Stat. Softw. 5 (2000) 8). NumPy's tables of its layers are Numba's too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba.np.random import _constants as ziggurat

from mfn_engine_numba._numba import compiled, wide_product, with_sign_flipped

__all__ = [
    "STATE_WORDS",
    "fill_normal",
    "fill_uniform",
    "generator_state",
    "generator_words",
    "integer_below",
    "normal",
    "seed_generator",
    "skip",
    "uniform",
]

STATE_WORDS: Final = 6
"""uint64 numbers of a generator."""

_MULTIPLIER: Final = 0x2360ED051FC65DA44385DF649FCCF645
_UPPER: Final = np.uint64(_MULTIPLIER >> 64)
_LOWER: Final = np.uint64(_MULTIPLIER & 0xFFFFFFFFFFFFFFFF)
_FOURTH: Final = pow(_MULTIPLIER, 4, 2**128)
_FOURTH_UPPER: Final = np.uint64(_FOURTH >> 64)
_FOURTH_LOWER: Final = np.uint64(_FOURTH & 0xFFFFFFFFFFFFFFFF)
_FOURTH_SUM: Final = sum(pow(_MULTIPLIER, power, 2**128) for power in range(4)) % 2**128
_FOURTH_SUM_UPPER: Final = np.uint64(_FOURTH_SUM >> 64)
_FOURTH_SUM_LOWER: Final = np.uint64(_FOURTH_SUM & 0xFFFFFFFFFFFFFFFF)
_WIDTHS: Final = ziggurat.wi_double
_HEIGHTS: Final = ziggurat.fi_double
_INSIDE: Final = ziggurat.ki_double
_TAIL: Final = float(ziggurat.ziggurat_nor_r)
_TAIL_INVERSE: Final = float(ziggurat.ziggurat_nor_inv_r)
_WORD: Final = 0xFFFFFFFFFFFFFFFF
_POOL_MULTIPLIER: Final = np.uint64(0x931E8875)
_STATE_MULTIPLIER: Final = np.uint64(0x58F38DED)


def generator_words(state: Mapping[str, Any]) -> npt.NDArray[np.uint64]:
    """The six numbers for a `numpy.random.PCG64().state`.

    Raises `ValueError` for anything else.
    """
    try:
        whole, increment = int(state["state"]["state"]), int(state["state"]["inc"])
        left, half = int(state["has_uint32"]), int(state["uinteger"])
        kind = state["bit_generator"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the state of a PCG64 is needed: {type(error).__name__}: {error}") from error
    sound = kind == "PCG64" and 0 <= whole < 2**128 and 0 <= increment < 2**128 and left in (0, 1)
    if not sound or not 0 <= half < 2**32 or increment % 2 == 0:
        raise ValueError("the state of a PCG64 is needed: it names another generator, or its numbers are out of range")
    words = (whole >> 64, whole & _WORD, increment >> 64, increment & _WORD, left, half)
    return np.array(words, dtype=np.uint64)


def generator_state(words: npt.NDArray[np.uint64]) -> dict[str, Any]:
    """What `numpy.random.PCG64().state` would be."""
    upper, lower, increment_upper, increment_lower, left, half = (int(word) for word in words[:STATE_WORDS])
    return {
        "bit_generator": "PCG64",
        "state": {"state": upper << 64 | lower, "inc": increment_upper << 64 | increment_lower},
        "has_uint32": left,
        "uinteger": half,
    }


@compiled
def _product(upper: Any, lower: Any, other_upper: Any, other_lower: Any) -> Any:
    """Product of two 128-bit numbers, modulo 2^128."""
    high, low = wide_product(lower, other_lower)
    return high + upper * other_lower + lower * other_upper, low


@compiled
def _sum(upper: Any, lower: Any, other_upper: Any, other_lower: Any) -> Any:
    """Sum of two 128-bit numbers, modulo 2^128."""
    low = lower + other_lower
    return upper + other_upper + np.uint64(low < lower), low


@compiled
def _stepped(upper: Any, lower: Any, increment_upper: Any, increment_lower: Any) -> Any:
    """The state after the next draw."""
    upper, lower = _product(upper, lower, _UPPER, _LOWER)
    return _sum(upper, lower, increment_upper, increment_lower)


@compiled
def _stepped_by_four(upper: Any, lower: Any, plus_upper: Any, plus_lower: Any) -> Any:
    """The state after four draws; `plus` is the increment times `_FOURTH_SUM`."""
    upper, lower = _product(upper, lower, _FOURTH_UPPER, _FOURTH_LOWER)
    return _sum(upper, lower, plus_upper, plus_lower)


@compiled
def _folded(upper: Any, lower: Any) -> Any:
    """The 64 bits that a state stands for."""
    mixed = upper ^ lower
    turn = upper >> np.uint64(58)
    return (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & np.uint64(63)))


@compiled
def _word(generator: Any) -> Any:
    """The next 64 bits."""
    generator[0], generator[1] = _stepped(generator[0], generator[1], generator[2], generator[3])
    return _folded(generator[0], generator[1])


@compiled
def _unit(word: Any) -> Any:
    """A float64 in [0, 1) from the upper 53 bits of 64."""
    return np.float64(np.int64(word >> np.uint64(11))) * (1.0 / 9007199254740992.0)


@compiled
def uniform(generator: Any) -> Any:
    """`Generator.random()`: a float64 in [0, 1)."""
    return _unit(_word(generator))


@compiled
def fill_uniform(generator: Any, numbers: Any, count: Any) -> None:
    """`numbers[:count] = Generator.random(count)`; `numbers` is a pointer.

    Each state waits for the product that makes it of the one before. Four sequences of every fourth state wait at the
    same time.
    """
    increment_upper, increment_lower = generator[2], generator[3]
    plus_upper, plus_lower = _product(_FOURTH_SUM_UPPER, _FOURTH_SUM_LOWER, increment_upper, increment_lower)
    upper, lower = generator[0], generator[1]
    upper0, lower0 = _stepped(upper, lower, increment_upper, increment_lower)
    upper1, lower1 = _stepped(upper0, lower0, increment_upper, increment_lower)
    upper2, lower2 = _stepped(upper1, lower1, increment_upper, increment_lower)
    upper3, lower3 = _stepped(upper2, lower2, increment_upper, increment_lower)
    whole = count - count % 4
    for index in range(0, whole, 4):
        numbers[index] = _unit(_folded(upper0, lower0))
        numbers[index + 1] = _unit(_folded(upper1, lower1))
        numbers[index + 2] = _unit(_folded(upper2, lower2))
        numbers[index + 3] = _unit(_folded(upper3, lower3))
        upper, lower = upper3, lower3
        upper0, lower0 = _stepped_by_four(upper0, lower0, plus_upper, plus_lower)
        upper1, lower1 = _stepped_by_four(upper1, lower1, plus_upper, plus_lower)
        upper2, lower2 = _stepped_by_four(upper2, lower2, plus_upper, plus_lower)
        upper3, lower3 = _stepped_by_four(upper3, lower3, plus_upper, plus_lower)
    for index in range(whole, count):
        upper, lower = _stepped(upper, lower, increment_upper, increment_lower)
        numbers[index] = _unit(_folded(upper, lower))
    generator[0], generator[1] = upper, lower


@compiled
def _half_word(generator: Any) -> Any:
    """The next 32 bits; one draw of 64 bits serves two of these."""
    if generator[4] != np.uint64(0):
        generator[4] = np.uint64(0)
        return generator[5]
    drawn = _word(generator)
    generator[4] = np.uint64(1)
    generator[5] = drawn >> np.uint64(32)
    return drawn & np.uint64(0xFFFFFFFF)


@compiled
def integer_below(generator: Any, bound: Any) -> Any:
    """`Generator.integers(0, bound)` for 1 ≤ bound < 2^32, as an int64; nothing is drawn for bound 1."""
    if bound == 1:
        return np.int64(0)
    size = np.uint64(bound)
    product = _half_word(generator) * size
    rest = product & np.uint64(0xFFFFFFFF)
    if rest < size:
        threshold = (np.uint64(0x100000000) - size) % size
        while rest < threshold:
            product = _half_word(generator) * size
            rest = product & np.uint64(0xFFFFFFFF)
    return np.int64(product >> np.uint64(32))


@compiled
def _parts_of_normal(word: Any) -> Any:
    """Layer, distance and value of a normal number that is drawn, before it is known to lie below the curve."""
    layer = np.int64(word & np.uint64(0xFF))
    distance = (word >> np.uint64(9)) & np.uint64(0x000FFFFFFFFFFFFF)
    value = np.float64(np.int64(distance)) * _WIDTHS[layer]
    # A branch on the sign would be mispredicted half of the time.
    return layer, distance, with_sign_flipped(value, (word >> np.uint64(8)) & np.uint64(1))


@compiled
def _settled_normal(generator: Any, word: Any) -> Any:
    """`Generator.standard_normal()`, of which the first word is drawn already."""
    while True:
        layer, distance, value = _parts_of_normal(word)
        if distance < _INSIDE[layer]:
            return value
        if layer == 0:
            while True:
                beyond = -_TAIL_INVERSE * math.log1p(-uniform(generator))
                height = -math.log1p(-uniform(generator))
                if height + height > beyond * beyond:
                    if (distance >> np.uint64(8)) & np.uint64(1):
                        return -(_TAIL + beyond)
                    return _TAIL + beyond
        else:
            height = (_HEIGHTS[layer - 1] - _HEIGHTS[layer]) * uniform(generator) + _HEIGHTS[layer]
            if height < math.exp(-0.5 * value * value):
                return value
        word = _word(generator)


@compiled
def normal(generator: Any) -> Any:
    """`Generator.standard_normal()`."""
    return _settled_normal(generator, _word(generator))


@compiled
def fill_normal(generator: Any, numbers: Any, count: Any) -> None:
    """`numbers[:count] = Generator.standard_normal(count)`; `numbers` is a pointer."""
    upper, lower, increment_upper, increment_lower = generator[0], generator[1], generator[2], generator[3]
    for index in range(count):
        upper, lower = _stepped(upper, lower, increment_upper, increment_lower)
        word = _folded(upper, lower)
        layer, distance, value = _parts_of_normal(word)
        if distance >= _INSIDE[layer]:  # once in a hundred draws
            generator[0], generator[1] = upper, lower
            value = _settled_normal(generator, word)
            upper, lower = generator[0], generator[1]
        numbers[index] = value
    generator[0], generator[1] = upper, lower


@compiled
def skip(generator: Any, count: Any) -> Any:
    """`PCG64.advance(count)`: moves on by `count` draws of 64 bits, and forgets a half that is left over."""
    factor_upper, factor_lower = np.uint64(0), np.uint64(1)
    addend_upper, addend_lower = np.uint64(0), np.uint64(0)
    upper, lower = _UPPER, _LOWER
    plus_upper, plus_lower = generator[2], generator[3]
    left = np.uint64(count)
    while left > np.uint64(0):
        if left & np.uint64(1):
            factor_upper, factor_lower = _product(factor_upper, factor_lower, upper, lower)
            addend_upper, addend_lower = _product(addend_upper, addend_lower, upper, lower)
            addend_upper, addend_lower = _sum(addend_upper, addend_lower, plus_upper, plus_lower)
        next_upper, next_lower = _sum(upper, lower, np.uint64(0), np.uint64(1))
        plus_upper, plus_lower = _product(next_upper, next_lower, plus_upper, plus_lower)
        upper, lower = _product(upper, lower, upper, lower)
        left >>= np.uint64(1)
    upper, lower = _product(factor_upper, factor_lower, generator[0], generator[1])
    generator[0], generator[1] = _sum(upper, lower, addend_upper, addend_lower)

    generator[4] = np.uint64(0)
    generator[5] = np.uint64(0)


@compiled
def _hashed(value: Any, constant: Any, multiplier: Any) -> Any:
    """A 32-bit word mixed with a running constant, and the next constant."""
    mask = np.uint64(0xFFFFFFFF)
    mixed = value ^ constant
    constant = (constant * multiplier) & mask
    mixed = (mixed * constant) & mask
    return mixed ^ (mixed >> np.uint64(16)), constant


@compiled
def seed_generator(generator: Any, seed: Any) -> None:
    """Makes it that of `numpy.random.PCG64(seed)`, 0 ≤ seed < 2^63.

    NumPy spreads the seed over a pool of four words with hashes by M. E. O'Neill (`numpy.random.SeedSequence`).
    """
    mask = np.uint64(0xFFFFFFFF)
    entropy = np.uint64(seed)
    constant = np.uint64(0x43B0D7E5)
    pool0, constant = _hashed(entropy & mask, constant, _POOL_MULTIPLIER)
    pool1, constant = _hashed(entropy >> np.uint64(32), constant, _POOL_MULTIPLIER)
    pool2, constant = _hashed(np.uint64(0), constant, _POOL_MULTIPLIER)
    pool3, constant = _hashed(np.uint64(0), constant, _POOL_MULTIPLIER)
    pool = (pool0, pool1, pool2, pool3)
    for source in range(4):
        for target in range(4):
            if source != target:
                hashed, constant = _hashed(pool[source], constant, _POOL_MULTIPLIER)
                mixed = (pool[target] * np.uint64(0xCA01F9DD) - hashed * np.uint64(0x4973F715)) & mask
                mixed ^= mixed >> np.uint64(16)
                pool = _replaced(pool, target, mixed)
    constant = np.uint64(0x8B51F9DD)
    for index in range(4):
        low, constant = _hashed(pool[2 * index % 4], constant, _STATE_MULTIPLIER)
        high, constant = _hashed(pool[(2 * index + 1) % 4], constant, _STATE_MULTIPLIER)
        generator[index] = low | (high << np.uint64(32))
    first_upper, first_lower = generator[0], generator[1]
    increment_upper = (generator[2] << np.uint64(1)) | (generator[3] >> np.uint64(63))
    increment_lower = (generator[3] << np.uint64(1)) | np.uint64(1)
    upper, lower = _sum(increment_upper, increment_lower, first_upper, first_lower)
    generator[0], generator[1] = _stepped(upper, lower, increment_upper, increment_lower)
    generator[2], generator[3] = increment_upper, increment_lower
    generator[4], generator[5] = np.uint64(0), np.uint64(0)


@compiled
def _replaced(pool: Any, place: Any, word: Any) -> Any:
    """The four words, one of them another."""
    return (
        word if place == 0 else pool[0],
        word if place == 1 else pool[1],
        word if place == 2 else pool[2],
        word if place == 3 else pool[3],
    )
