"""Whether a model's numbers stay finite by construction, so that nobody need look at every step.

Where every species has a range, reactions are evaluated in interval arithmetic over all of it (R. E. Moore, Interval
Analysis, 1966): a bound on each change proves that no step from inside the ranges leads to NaN or infinity. A division
whose divisor may vanish, or a species without a range, leaves the question open; such a model is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from mfn_model.dynamics import Dynamics
from mfn_model.expressions import (
    Binary,
    Coefficient,
    Expression,
    Function,
    Name,
    Number,
    Power,
    Unary,
    reduce,
)

__all__ = ["Interval", "interval_of", "stays_finite"]

Interval = tuple[float, float]
"""A closed interval; (−inf, inf) where nothing is known, NaN included."""

_ANYTHING: Final[Interval] = (-math.inf, math.inf)
_LARGEST: Final = 1e150
"""Products of two numbers below it are finite."""
_SPIKE_DEVIATIONS: Final = 40.0
"""No normal number from 64 random bits lies further out."""


def stays_finite(dynamics: Dynamics, values: Sequence[float]) -> bool:
    """Whether every step from inside the ranges gives finite numbers; `values` are those of `Dynamics.values`."""
    box: dict[str, Interval] = {}
    for terms in dynamics.species:
        low, high = min(terms.minimum, values[terms.outside]), max(terms.maximum, values[terms.outside])
        for spike in dynamics.spikes:
            if spike.species == terms.name:
                reach = _SPIKE_DEVIATIONS * abs(values[spike.deviation])
                low += min(0.0, values[spike.mean] - reach)
                high += max(0.0, values[spike.mean] + reach)
        box[terms.symbol] = low, high
    if not all(_moderate(interval) for interval in box.values()):
        return False
    for terms in dynamics.species:
        if terms.reaction is None:
            continue
        change = interval_of(terms.reaction, box, values)
        if not _moderate(change):
            return False
        if dynamics.sequential:
            low, high = box[terms.symbol]
            box[terms.symbol] = min(low, low + change[0]), max(high, high + change[1])
    return True


def interval_of(expression: Expression, box: Mapping[str, Interval], values: Sequence[float]) -> Interval:
    """An interval that holds `expression` wherever its names lie in their intervals, but for rounding."""

    def combine(node: Expression, parts: tuple[Interval, ...]) -> Interval:
        match node:
            case Number(value=value):
                return _known(value, value)
            case Coefficient(index=index):
                return _known(values[index], values[index])
            case Name(name=name):
                return box[name]
            case Unary():
                return -parts[0][1], -parts[0][0]
            case Power(exponent=exponent):
                return _power(parts[0], exponent)
            case Binary(operator=operator):
                return _binary(operator, parts[0], parts[1])
            case Function(name=name):
                return _function(name, parts)
        raise TypeError(f"{node!r} is no expression")

    return reduce(expression, combine)


def _moderate(interval: Interval) -> bool:
    return interval[0] > -_LARGEST and interval[1] < _LARGEST


def _known(low: float, high: float) -> Interval:
    """The interval, or nothing known where an end of it is not finite."""
    return (low, high) if math.isfinite(low) and math.isfinite(high) else _ANYTHING


def _binary(operator: str, left: Interval, right: Interval) -> Interval:
    if _ANYTHING in (left, right):
        return _ANYTHING
    if operator == "+":
        return _known(left[0] + right[0], left[1] + right[1])
    if operator == "-":
        return _known(left[0] - right[1], left[1] - right[0])
    if operator == "/":
        if right[0] <= 0.0 <= right[1]:
            return _ANYTHING
        corners = [a / b for a, b in product(left, right)]
    else:
        corners = [a * b for a, b in product(left, right)]
    return _known(min(corners), max(corners))


def _power(base: Interval, exponent: int) -> Interval:
    result: Interval = (1.0, 1.0)
    for _ in range(exponent):
        result = _binary("*", result, base)
    return result


def _function(name: str, parts: Sequence[Interval]) -> Interval:
    low, high = parts[0]
    if _ANYTHING in parts:
        return _ANYTHING
    match name:
        case "abs":
            return (0.0, max(-low, high)) if low < 0.0 < high else (min(abs(low), abs(high)), max(abs(low), abs(high)))
        case "exp":
            return (math.exp(max(low, -745.0)), math.exp(high)) if high < 700.0 else _ANYTHING
        case "sqrt":
            return (math.sqrt(low), math.sqrt(high)) if low >= 0.0 else _ANYTHING
        case "tanh":
            return math.tanh(low), math.tanh(high)
        case "minimum":
            return min(low, parts[1][0]), min(high, parts[1][1])
        case "maximum":
            return max(low, parts[1][0]), max(high, parts[1][1])
    return _ANYTHING
