"""What a field model says about itself: its species, its parameters with their bounds, and its source."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np

__all__ = ["BoundViolation", "Boundary", "FieldModel", "Parameter", "ParameterValue", "SpecError", "Species", "nearest"]

Boundary = Literal["periodic", "neumann", "dirichlet"]
"""What lies beyond the edge: the opposite side (periodic), the cell at the edge itself, so that nothing flows
(neumann), or a constant (dirichlet)."""

ParameterValue = float | bool
"""A parameter's value: a Python `float`, or a Python `bool` for a switch."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the closest known name, or the list of known names when none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
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
class Species:
    """One quantity that a model carries at every cell."""

    name: str
    unit: str
    """SI symbol, or `"1"` for a dimensionless quantity."""
    description: str
    when: str | None = None
    """The switch that must be on for this species to exist, or `None` when it always does."""


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


def abbreviated(value: object, limit: int = 80) -> str:
    """`repr(value)` cut to `limit` characters; never raises, however strange the value."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a value's own repr may raise anything, and the text is only shown
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldModel:
    """The declaration of a field model; it holds no code, so that any backend may implement it.

    A model is known by `name`: a backend that implements the equations cited in `source` says so in its
    `supports`. Space is counted in cells and time in steps.
    """

    name: str
    summary: str
    species: tuple[Species, ...]
    """The field first, then the further species in the order in which a step computes them."""
    parameters: tuple[Parameter, ...]
    clamp: tuple[float, float]
    """The interval, in the unit of the first species, to which each step confines the field."""
    boundary: Boundary
    """The boundary of a specification that names none."""
    source: str
    """Where the equations are from, or where they are stated."""
    further_boundaries: tuple[Boundary, ...] = ()
    """What else a specification may ask for."""

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) != len(names):
            raise ValueError(f"model {self.name!r} declares a parameter twice: {', '.join(names)}")
        if not self.species:
            raise ValueError(f"model {self.name!r} declares no species; it needs at least the field")
        for parameter in self.parameters:
            default = parameter.normalised(parameter.default)
            if isinstance(default, BoundViolation):
                raise ValueError(f"model {self.name!r} has an invalid default: {default.message}")

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Every boundary that a specification may have, the default first."""
        return (self.boundary, *self.further_boundaries)

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; raises `SpecError` with the nearest name when there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise SpecError([self._unknown(name, None)])

    def normalised(
        self, values: Mapping[str, Any]
    ) -> tuple[tuple[tuple[str, ParameterValue], ...], tuple[BoundViolation, ...]]:
        """Every parameter in declared order with defaults filled in, and every violation found on the way."""
        settled: list[tuple[str, ParameterValue]] = []
        violations: list[BoundViolation] = []
        for parameter in self.parameters:
            outcome = parameter.normalised(values.get(parameter.name, parameter.default))
            if isinstance(outcome, BoundViolation):
                violations.append(outcome)
            else:
                settled.append((parameter.name, outcome))
        known = {parameter.name for parameter in self.parameters}
        violations.extend(self._unknown(name, values[name]) for name in values if name not in known)
        return tuple(settled), tuple(violations)

    def _unknown(self, name: object, value: object) -> BoundViolation:
        known = [parameter.name for parameter in self.parameters]
        shown = abbreviated(name)
        return BoundViolation(
            field=name if isinstance(name, str) else shown,
            value=value,
            bound=f"a parameter of model {self.name!r}",
            message=f"model {self.name!r} has no parameter {shown}; {nearest(str(name), known)}",
        )
