"""Bounds on formulas of parameters: what every specification of a model has to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mfn_model._parameter import BoundViolation, Parameter, ParameterValue
from mfn_model.expressions import Expression, Name, evaluate_number, walk

__all__ = ["STABILITY_LIMIT", "Requirement"]

STABILITY_LIMIT = 0.25
"""Of a diffusion coefficient in cells² a step: beyond it the explicit five-point scheme amplifies the checkerboard
(R. Courant, K. Friedrichs, H. Lewy, Math. Ann. 100 (1928) 32–74)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A formula of parameters whose value must be finite and lie in an interval."""

    what: str
    """What the formula is, for instance `the diffusion coefficient of activator`."""
    expression: Expression
    minimum: float = -math.inf
    maximum: float = math.inf

    @property
    def bound(self) -> str:
        """The interval as mathematics, for instance `0 <= dt * d_u <= 0.25`."""
        lower = f"{self.minimum:g} <= " if math.isfinite(self.minimum) else ""
        upper = f" <= {self.maximum:g}" if math.isfinite(self.maximum) else ""
        return f"{lower}{self.expression}{upper}" if lower or upper else f"{self.expression} is finite"

    def holds(self, value: float) -> bool:
        """Whether this value keeps it."""
        return math.isfinite(value) and self.minimum <= value <= self.maximum

    def implied_by(self, parameters: Mapping[str, Parameter]) -> bool:
        """Whether the formula is one parameter whose own bounds keep it always."""
        if not isinstance(self.expression, Name):
            return False
        parameter = parameters[self.expression.name]
        return self.minimum <= parameter.minimum and parameter.maximum <= self.maximum

    def violation(self, values: Mapping[str, ParameterValue]) -> BoundViolation | None:
        """Why these parameters break it, if they do.

        Its field is the first parameter of the formula, and its remedy names all of them.
        """
        value = evaluate_number(self.expression, values)
        if self.holds(value):
            return None
        names = list(dict.fromkeys(node.name for node in walk(self.expression) if isinstance(node, Name)))
        message = (
            f"{self.what}, {self.expression}, is {value:.6g}; the bound is {self.bound}; change {' or '.join(names)}"
        )
        return BoundViolation(field=names[0], value=value, bound=self.bound, message=message)
