"""A parameter of a model, and the reasons for which a value is refused."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np

__all__ = ["LONGEST_NAME", "BoundViolation", "Parameter", "ParameterValue", "SpecError", "abbreviated", "nearest"]

LONGEST_NAME = 80
"""Characters of a name that is compared and shown; no name of the catalogue comes near it."""

ParameterValue = float | bool
"""A parameter's value: a Python `float`, or a Python `bool` for a switch."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"did you mean 'x'?"` for the closest known name, or the list of known names when none is close.

    A name of more than `LONGEST_NAME` characters is close to none: to compare takes the longer, the longer it is.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6) if len(name) <= LONGEST_NAME else []
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(repr(each) for each in known) if known else "there are none"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundViolation:
    """One reason why a field specification is refused."""

    field: str
    """The argument or parameter at fault, for instance `"alpha"` or `"grid_size"`."""
    value: object
    """What was given."""
    bound: str
    """The rule that it breaks, for instance `"0 < alpha <= 0.25"`."""
    message: str
    """Field, value, bound and remedy in one lower-case clause."""


class SpecError(ValueError):
    """A field specification that breaks one or more bounds; `violations` holds every one of them."""

    def __init__(self, violations: Iterable[BoundViolation]) -> None:
        self.violations: tuple[BoundViolation, ...] = tuple(violations)
        super().__init__("; ".join(violation.message for violation in self.violations))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[BoundViolation, ...]]]:
        return type(self), (self.violations,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A named constant of a model's equations, with the interval in which the model is defined."""

    name: str
    default: ParameterValue
    unit: str
    description: str
    minimum: float = -math.inf
    maximum: float = math.inf
    minimum_exclusive: bool = False
    maximum_exclusive: bool = False
    kind: Literal["float", "bool"] = "float"

    @property
    def bound(self) -> str:
        """The interval as mathematics, for instance `0 < alpha <= 0.25`."""
        if self.kind == "bool":
            return f"{self.name} is true or false"
        lower = f"{self.minimum:g} {'<' if self.minimum_exclusive else '<='} "
        upper = f" {'<' if self.maximum_exclusive else '<='} {self.maximum:g}"
        return (
            (lower if math.isfinite(self.minimum) else "") + self.name + (upper if math.isfinite(self.maximum) else "")
        )

    def normalised(self, value: object) -> ParameterValue | BoundViolation:
        """`value` as a Python `float` or `bool`, or the violation that refuses it.

        Numbers of any real type are taken for a `float`, switches only from a real boolean: 1 is not true.
        """
        if self.kind == "bool":
            if isinstance(value, (bool, np.bool_)):
                return bool(value)
            return self._violation(value, "must be true or false")
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
            return self._violation(value, "must be a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            return self._violation(value, "must be finite")
        below = number <= self.minimum if self.minimum_exclusive else number < self.minimum
        above = number >= self.maximum if self.maximum_exclusive else number > self.maximum
        if below or above:
            return self._violation(value, "is out of range")
        return number

    def _violation(self, value: object, problem: str) -> BoundViolation:
        message = f"{self.name} {problem}, got {abbreviated(value)}; the bound is {self.bound}"
        return BoundViolation(field=self.name, value=value, bound=self.bound, message=message)


def abbreviated(value: object, limit: int = LONGEST_NAME) -> str:
    """`repr(value)` cut to `limit` characters; never raises, however strange the value."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a value's own repr may raise anything, and the text is only shown
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"
