"""The source of a model's outlook: one step of interval arithmetic over the bounds of its species."""

from __future__ import annotations

import math
from typing import Final

from mfn_engine_numba._statements import Statements
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import Binary, Coefficient, Expression, Function, Name, Number, Power, Unary, reduce

__all__ = ["outlook_source"]

_INTERVALS: Final = {
    "+": "added",
    "-": "subtracted",
    "*": "multiplied",
    "/": "divided",
    "abs": "absolute",
    "exp": "exponential",
    "maximum": "greater",
    "minimum": "lesser",
    "sqrt": "root",
    "tanh": "hyperbolic_tangent",
}


class _Bounds:
    """Formulas as statements that compute bounds, `x_low` and `x_high` for a name `x`."""

    def __init__(self, body: Statements, species: dict[str, str]) -> None:
        self._body = body
        self.species = species
        """The name that stands for each symbol."""

    def of(self, expression: Expression) -> str:
        return reduce(expression, self._combine)

    def _bounded(self, text: str) -> str:
        name = self._body.name()
        self._body.add(f"{name}_low, {name}_high = interval.{text}")
        return name

    def _called(self, function: str, parts: tuple[str, ...]) -> str:
        operands = "".join(f"{part}_low, {part}_high, " for part in parts)
        return self._bounded(f"{function}({operands}SLACK)")

    def _constant(self, text: str) -> str:
        return self._bounded(f"widened({text}, {text}, SLACK)")

    def _combine(self, node: Expression, parts: tuple[str, ...]) -> str:
        match node:
            case Number(value=value):
                return self._constant(repr(value))
            case Name(name=name):
                return self.species[name]
            case Coefficient(index=index):
                return self._constant(f"c[{index}]")
            case Unary():
                return self._called("negated", parts)
            case Binary(operator=operator):
                return self._called(_INTERVALS[operator], parts)
            case Power(exponent=0):
                return self._constant("1.0")
            case Power(exponent=exponent):
                product = parts[0]
                for _ in range(exponent - 1):
                    product = self._called("multiplied", (product, parts[0]))
                return product
            case Function(name=name):
                return self._called(_INTERVALS[name], parts)


def outlook_source(dynamics: Dynamics, largest: float) -> str:
    """`outlook(book, c, bounds)`: takes the bounds one step further, by the update alone, and says whether it is alone.

    That is where no species can leave its range or exceed the threshold of a kick, and none can come near `largest`,
    beyond which a number is not finite.
    """
    body = Statements(4)
    species = list(enumerate(dynamics.species))
    bounds = _Bounds(body, {terms.symbol: f"s{number}" for number, terms in species})
    body.add("held = book[BOUNDARY] == DIRICHLET")
    for number, _ in species:
        body.add(f"s{number}_low, s{number}_high = bounds[{2 * number}], bounds[{2 * number + 1}]")
    # Half of the exponents: what lies within can still be squared, summed and scaled.
    inside = math.sqrt(largest)
    conditions = []
    for number, terms in species:
        old, new = f"s{number}", f"n{number}"
        change = "0.0, 0.0"
        if terms.reaction is not None:
            reaction = bounds.of(terms.reaction)
            change = f"{reaction}_low, {reaction}_high"
        if terms.diffusion is not None:
            body.add(f"beyond = c[{terms.outside}] if held else {old}_low")
            diffusion = f"beyond, c[{terms.diffusion}]"
        else:
            diffusion = f"{old}_low, 0.0"
        body.add(f"{new}_low, {new}_high = interval.updated({old}_low, {old}_high, {diffusion}, {change}, SLACK)")
        body.add(f"bounds[{2 * number}], bounds[{2 * number + 1}] = {new}_low, {new}_high")
        if dynamics.sequential:
            bounds.species[terms.symbol] = new
        low, high = max(terms.minimum, -inside), min(terms.maximum, inside)
        conditions.append(f"{low!r} <= {new}_low and {new}_high <= {high!r}")
    numbers = {terms.name: number for number, terms in species}
    conditions += [f"n{numbers[kick.species]}_high <= c[{kick.above}]" for kick in dynamics.kicks]
    lines = ["@compiled", "def outlook(book, c, bounds):", *body.lines]
    return "\n".join([*lines, f"    return {' and '.join(conditions)}"])
