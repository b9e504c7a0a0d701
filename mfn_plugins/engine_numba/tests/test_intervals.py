"""Bounds hold for whatever lies within the bounds of the operands."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mfn_engine_numba import _intervals as interval
from mfn_engine_numba._numba import entry
from mfn_model.stencil import laplacian


@entry("UniTuple(float64, 2)(int64, float64[::1], float64)")
def bounds(operation: Any, operands: Any, slack: Any) -> Any:
    a, b = operands[0], operands[1]
    c, d = operands[2], operands[3]
    if operation == 0:
        return interval.added(a, b, c, d, slack)
    if operation == 1:
        return interval.subtracted(a, b, c, d, slack)
    if operation == 2:
        return interval.multiplied(a, b, c, d, slack)
    if operation == 3:
        return interval.divided(a, b, c, d, slack)
    if operation == 4:
        return interval.lesser(a, b, c, d, slack)
    if operation == 5:
        return interval.greater(a, b, c, d, slack)
    if operation == 6:
        return interval.negated(a, b, slack)
    if operation == 7:
        return interval.absolute(a, b, slack)
    if operation == 8:
        return interval.root(a, b, slack)
    if operation == 9:
        return interval.exponential(a, b, slack)
    if operation == 10:
        return interval.hyperbolic_tangent(a, b, slack)
    return interval.widened(a, b, slack)


@entry("UniTuple(float64, 2)(float64, float64, float64, float64, float64, float64)")
def updated(low: Any, high: Any, beyond: Any, diffusion: Any, change_low: Any, change_high: Any) -> Any:
    return interval.updated(low, high, beyond, diffusion, change_low, change_high, interval.DOUBLE)


OPERATIONS: list[Callable[..., Any]] = [
    np.add,
    np.subtract,
    np.multiply,
    np.divide,
    np.minimum,
    np.maximum,
    lambda x, y: -x,
    lambda x, y: abs(x),
    lambda x, y: np.sqrt(x),
    lambda x, y: np.exp(x),
    lambda x, y: np.tanh(x),
]
NAMES = [
    "added",
    "subtracted",
    "multiplied",
    "divided",
    "lesser",
    "greater",
    "negated",
    "absolute",
    "root",
    "exp",
    "tanh",
]

numbers = st.one_of(st.floats(-10, 10), st.floats(-1e300, 1e300), st.floats(allow_nan=False, allow_infinity=False))
fractions = st.floats(0.0, 1.0)


@pytest.mark.parametrize("operation", range(len(OPERATIONS)), ids=NAMES)
@pytest.mark.parametrize("precision", [np.float64, np.float32])
@given(ends=st.tuples(numbers, numbers, numbers, numbers), at=st.tuples(fractions, fractions))
@settings(deadline=None, max_examples=60)
def test_an_operation_stays_within_its_bounds(
    operation: int, precision: Any, ends: tuple[float, ...], at: tuple[float, float]
) -> None:
    with np.errstate(all="ignore"):
        rounded = [float(precision(end)) for end in ends]
        assume(all(map(math.isfinite, rounded)))
        a, b, c, d = (*sorted(rounded[:2]), *sorted(rounded[2:]))
        x = precision(min(max(a + at[0] * (b - a), a), b)) if math.isfinite(b - a) else precision(a)
        y = precision(min(max(c + at[1] * (d - c), c), d)) if math.isfinite(d - c) else precision(d)
        assume(a <= x <= b)
        assume(c <= y <= d)
        slack = interval.DOUBLE if precision is np.float64 else interval.SINGLE
        low, high = bounds(operation, np.array([a, b, c, d]), slack)
        result = float(OPERATIONS[operation](x, y))
    if math.isfinite(low) and math.isfinite(high):
        assert low <= result <= high
    else:
        assert (low, high) == (-math.inf, math.inf) or operation in (6, 7)


@pytest.mark.parametrize("operation", range(len(OPERATIONS)), ids=NAMES)
def test_what_is_computed_from_the_unknown_is_unknown(operation: int) -> None:
    for operands in ([-math.inf, math.inf, 1.0, 2.0], [1.0, 2.0, -math.inf, math.inf]):
        if operation >= 6 and operands[0] == 1.0:
            continue  # it has one operand
        low, high = bounds(operation, np.array(operands), interval.DOUBLE)
        assert math.isinf(high - low)


@pytest.mark.parametrize(
    ("operation", "operands"), [(3, [1.0, 2.0, -1.0, 1.0]), (3, [1.0, 2.0, 0.0, 1.0]), (8, [-1.0, 4.0, 0, 0])]
)
def test_what_may_not_be_finite_is_unknown(operation: int, operands: list[float]) -> None:
    assert bounds(operation, np.array(operands), interval.DOUBLE) == (-math.inf, math.inf)


@pytest.mark.parametrize(("slack", "largest"), [(interval.DOUBLE, 1e300), (interval.SINGLE, 1e37)])
def test_what_may_overflow_is_unknown(slack: float, largest: float) -> None:
    assert math.isinf(bounds(2, np.array([0.0, largest, 0.0, 10.0]), slack)[1])
    assert math.isfinite(bounds(2, np.array([0.0, largest / 100, 0.0, 10.0]), slack)[1])


@given(
    values=st.lists(st.floats(-2.0, 3.0), min_size=9, max_size=9),
    changes=st.lists(st.floats(-0.5, 0.5), min_size=9, max_size=9),
    diffusion=st.floats(0.0, 0.25),
    beyond=st.floats(-2.0, 3.0),
)
@settings(deadline=None)
def test_an_update_stays_within_its_bounds(
    values: list[float], changes: list[float], diffusion: float, beyond: float
) -> None:
    field, change = np.array(values).reshape(3, 3), np.array(changes).reshape(3, 3)
    low, high = updated(field.min(), field.max(), beyond, diffusion, change.min(), change.max())
    new = field + (diffusion * laplacian(field, "dirichlet", beyond) + change)
    assert low <= new.min() <= new.max() <= high
    assert high - low <= max(field.max(), beyond) - min(field.min(), beyond) + change.max() - change.min() + 1e-12


def test_nothing_is_promised_where_diffusion_is_no_weighted_mean() -> None:
    assert updated(0.0, 1.0, 0.0, 0.26, 0.0, 0.0) == (-math.inf, math.inf)
    assert updated(0.0, 1.0, 0.0, math.nan, 0.0, 0.0) == (-math.inf, math.inf)
