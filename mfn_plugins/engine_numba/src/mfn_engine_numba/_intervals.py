"""Interval arithmetic in compiled code: bounds that provably hold for what a kernel computes, rounding included.

Every function takes the least and the largest value of its operands and gives those of its result, widened by `slack`
relative to their size (R. E. Moore, "Interval Analysis", 1966). `DOUBLE` and `SINGLE` are slacks that cover the
rounding of a kernel of that precision and that of the bounds themselves. Where nothing can be said, not even that a
result is finite, the bounds are infinite, and so are those of everything that is computed from it.
"""

from __future__ import annotations

import math
from typing import Any, Final

from mfn_engine_numba._numba import compiled

__all__ = [
    "DOUBLE",
    "SINGLE",
    "absolute",
    "added",
    "divided",
    "exponential",
    "greater",
    "hyperbolic_tangent",
    "lesser",
    "multiplied",
    "negated",
    "root",
    "subtracted",
    "updated",
    "widened",
]

DOUBLE: Final = 2.0**-50
SINGLE: Final = 2.0**-21

_TINY: Final = 1e-30
"""Covers what is rounded below the normal numbers of either precision."""
_TRANSCENDENTAL: Final = 16.0
"""How many times the slack the error of exp and tanh is; implementations differ by some units in the last place."""
_UPDATE: Final = 8.0
"""The same for an update: that many operations on numbers of the size of the state."""


@compiled
def widened(low: Any, high: Any, slack: Any) -> Any:
    """A little more than [low, high]; everything, where one of them is NaN or as large as no kernel may become."""
    largest = 1e37 if slack > 1e-9 else 1e300
    if not (-largest < low <= high < largest):
        return -math.inf, math.inf
    return low - (abs(low) * slack + _TINY), high + (abs(high) * slack + _TINY)


@compiled
def negated(low: Any, high: Any, slack: Any) -> Any:
    """−x"""
    return -high, -low


@compiled
def added(low: Any, high: Any, other_low: Any, other_high: Any, slack: Any) -> Any:
    """x + y"""
    return widened(low + other_low, high + other_high, slack)


@compiled
def subtracted(low: Any, high: Any, other_low: Any, other_high: Any, slack: Any) -> Any:
    """x − y"""
    return widened(low - other_high, high - other_low, slack)


@compiled
def multiplied(low: Any, high: Any, other_low: Any, other_high: Any, slack: Any) -> Any:
    """x · y"""
    one, two, three, four = low * other_low, low * other_high, high * other_low, high * other_high
    if not math.isfinite(one + two + three + four):
        return -math.inf, math.inf
    return widened(min(min(one, two), min(three, four)), max(max(one, two), max(three, four)), slack)


@compiled
def divided(low: Any, high: Any, other_low: Any, other_high: Any, slack: Any) -> Any:
    """x / y"""
    if not (other_low > 0.0 or other_high < 0.0):
        return -math.inf, math.inf
    inverse_low, inverse_high = widened(1.0 / other_high, 1.0 / other_low, slack)
    return multiplied(low, high, inverse_low, inverse_high, slack)


@compiled
def absolute(low: Any, high: Any, slack: Any) -> Any:
    """|x|"""
    if not math.isfinite(high - low):
        return -math.inf, math.inf
    if low >= 0.0:
        return low, high
    if high <= 0.0:
        return -high, -low
    return 0.0, max(-low, high)


@compiled
def lesser(low: Any, high: Any, other_low: Any, other_high: Any, slack: Any) -> Any:
    """minimum(x, y)"""
    if not math.isfinite((high - low) + (other_high - other_low)):
        return -math.inf, math.inf
    return min(low, other_low), min(high, other_high)


@compiled
def greater(low: Any, high: Any, other_low: Any, other_high: Any, slack: Any) -> Any:
    """maximum(x, y)"""
    if not math.isfinite((high - low) + (other_high - other_low)):
        return -math.inf, math.inf
    return max(low, other_low), max(high, other_high)


@compiled
def root(low: Any, high: Any, slack: Any) -> Any:
    """√x; of a negative number it is NaN, of which nothing can be said."""
    if not low >= 0.0:
        return -math.inf, math.inf
    return widened(math.sqrt(low), math.sqrt(high), slack)


@compiled
def exponential(low: Any, high: Any, slack: Any) -> Any:
    """exp(x)"""
    if not math.isfinite(high - low):
        return -math.inf, math.inf
    return widened(math.exp(low), math.exp(high), _TRANSCENDENTAL * slack)


@compiled
def hyperbolic_tangent(low: Any, high: Any, slack: Any) -> Any:
    """tanh(x)"""
    if not math.isfinite(high - low):
        return -math.inf, math.inf
    return widened(math.tanh(low), math.tanh(high), _TRANSCENDENTAL * slack)


@compiled
def updated(low: Any, high: Any, beyond: Any, diffusion: Any, change_low: Any, change_high: Any, slack: Any) -> Any:
    """s + (D L(s) + R), where s lies in [low, high], R in the range of changes, and `beyond` lies beyond the edge.

    With D ≤ 1/4 diffusion replaces a value by a weighted mean of its neighbourhood: a maximum principle.
    """
    if not 0.0 <= diffusion <= 0.25:
        return -math.inf, math.inf
    least, largest = (min(low, beyond), max(high, beyond)) if diffusion > 0.0 else (low, high)
    size = max(abs(least), abs(largest)) + max(abs(change_low), abs(change_high))
    rounding = _UPDATE * slack * size
    return widened(least + change_low - rounding, largest + change_high + rounding, slack)
