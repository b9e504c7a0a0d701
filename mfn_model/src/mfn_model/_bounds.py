"""Scalar arguments held against their bounds: a message for each that is out, raised all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np

__all__ = ["integer_problems", "number_problems", "refuse"]


def number_problems(
    name: str,
    value: object,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    unit: str = "",
    minimum_exclusive: bool = False,
    maximum_exclusive: bool = False,
) -> list[str]:
    """Why `value` is no finite number within these bounds: a list of no message or one."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return [f"{name} must be a number, got {value!r}"]
    number = float(value)
    low = number > minimum if minimum_exclusive else number >= minimum
    high = number < maximum if maximum_exclusive else number <= maximum
    if math.isfinite(number) and low and high:
        return []
    bounds = []
    if minimum > -math.inf:
        bounds.append(f"{'above' if minimum_exclusive else 'at least'} {minimum:g}")
    if maximum < math.inf:
        bounds.append(f"{'below' if maximum_exclusive else 'at most'} {maximum:g}")
    if bounds and unit:
        bounds[-1] += f" {unit}"
    if minimum == -math.inf or maximum == math.inf:
        bounds.append("finite")
    return [f"{name} must be {' and '.join(bounds)}, got {number!r}"]


def integer_problems(name: str, value: object, minimum: int, maximum: int | None = None) -> list[str]:
    """Why `value` is no integer from `minimum` to `maximum`: a list of no message or one."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        return [f"{name} must be an integer, got {value!r}"]
    if int(value) < minimum or (maximum is not None and int(value) > maximum):
        bound = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        return [f"{name} must be {bound}, got {int(value)}"]
    return []


def refuse(problems: Sequence[str]) -> None:
    """Raises one `ValueError` with all messages, if there are any."""
    if problems:
        raise ValueError("; ".join(problems))
