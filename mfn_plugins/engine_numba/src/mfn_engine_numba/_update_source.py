"""The source of `update`, which computes a row of every species from the rows around it.

Two forms are generated. One computes cell by cell, which the compiler vectorises. The other computes a folded row line
by line (see `mfn_engine_numba._lines`), and closes the halo of a periodic row while its lines are at hand. Each
operation of a declared formula becomes one statement in both, in the order in which the formula computes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from mfn_engine_numba._statements import Statements, slot_pointers
from mfn_engine_numba._target import Precision, Target
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import Binary, Coefficient, Expression, Function, Name, Number, Power, Unary, reduce, walk

__all__ = ["update_source"]

_FUNCTIONS: Final = {
    "abs": "abs",
    "exp": "math.exp",
    "maximum": "greater",
    "minimum": "lesser",
    "sqrt": "math.sqrt",
    "tanh": "math.tanh",
}
_LINE_FUNCTIONS: Final = {
    "abs": "line_absolute",
    "maximum": "line_greater",
    "minimum": "line_lesser",
    "sqrt": "line_root",
}
"""Others have no form of their own for lines."""

_LINE_OPERATORS: Final = {"+": "line_sum", "-": "line_difference", "*": "line_product", "/": "line_quotient"}


class _Arithmetic(Protocol):
    """How operations are written down."""

    def literal(self, value: float) -> str:
        """A constant."""
        ...

    def operation(self, operator: str, left: str, right: str) -> str:
        """`+`, `-`, `*` or `/`."""
        ...

    def negative(self, value: str) -> str:
        """A change of sign."""
        ...

    def function(self, name: str, arguments: Iterable[str]) -> str:
        """A function of formulas."""
        ...

    def less_four(self, cell: str, total: str) -> str:
        """`total - 4 * cell`."""
        ...


class _Cells:
    """Of numbers."""

    def __init__(self, precision: Precision, fused: bool) -> None:
        self._precision = precision
        self._fused = fused

    def literal(self, value: float) -> str:
        return self._precision.literal(value)

    def operation(self, operator: str, left: str, right: str) -> str:
        return f"{left} {operator} {right}"

    def negative(self, value: str) -> str:
        return f"-{value}"

    def function(self, name: str, arguments: Iterable[str]) -> str:
        return f"{_FUNCTIONS[name]}({', '.join(arguments)})"

    def less_four(self, cell: str, total: str) -> str:
        # Four times a number is exact, so that both forms round once, and alike.
        return f"fused(MINUS_FOUR, {cell}, {total})" if self._fused else f"{total} - FOUR * {cell}"


class _Lines:
    """Of lines, with constants that are spread once for a row."""

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self.constants: dict[str, str] = {"MINUS_FOUR": "k0"}

    def literal(self, value: float) -> str:
        return self.constants.setdefault(self._precision.literal(value), f"k{len(self.constants)}")

    def operation(self, operator: str, left: str, right: str) -> str:
        return f"{_LINE_OPERATORS[operator]}({left}, {right})"

    def negative(self, value: str) -> str:
        return f"line_negative({value})"

    def function(self, name: str, arguments: Iterable[str]) -> str:
        return f"{_LINE_FUNCTIONS[name]}({', '.join(arguments)})"

    def less_four(self, cell: str, total: str) -> str:
        return f"line_fused(k0, {cell}, {total})"


class _Step:
    """The formulas of one step as statements."""

    def __init__(self, dynamics: Dynamics, arithmetic: _Arithmetic, body: Statements) -> None:
        self.coefficients: set[int] = set()
        self._species = {terms.symbol: f"s{number}" for number, terms in enumerate(dynamics.species)}
        """The name that stands for each symbol."""
        self._arithmetic = arithmetic
        self._body = body

    def write(self, dynamics: Dynamics, above: str, below: str) -> None:
        """Statements that make `n0`, `n1` … of the cells `s0`, … and of their neighbours on all sides.

        Those on the left and the right are `l0`, … and `r0`, …; `above` and `below` give those of a species.
        """
        of, compute = self._arithmetic.operation, self._body.compute
        for number, terms in enumerate(dynamics.species):
            changes = []
            if terms.diffusion is not None:
                total = compute(of("+", above.format(number), below.format(number)))
                total = compute(of("+", total, f"l{number}"))
                total = compute(of("+", total, f"r{number}"))
                bent = compute(self._arithmetic.less_four(f"s{number}", total))
                changes.append(compute(of("*", self._coefficient(terms.diffusion), bent)))
            if terms.reaction is not None:
                changes.append(reduce(terms.reaction, self._combine))
            if len(changes) == 2:
                changes = [compute(of("+", changes[0], changes[1]))]
            self._body.add(f"n{number} = {of('+', f's{number}', changes[0]) if changes else f's{number}'}")
            if dynamics.sequential:
                self._species[terms.symbol] = f"n{number}"

    def _coefficient(self, index: int) -> str:
        self.coefficients.add(index)
        return f"c{index}"

    def _combine(self, node: Expression, parts: tuple[str, ...]) -> str:
        arithmetic, compute = self._arithmetic, self._body.compute
        match node:
            case Number(value=value):
                return arithmetic.literal(value)
            case Name(name=name):
                return self._species[name]
            case Coefficient(index=index):
                return self._coefficient(index)
            case Unary():
                return compute(arithmetic.negative(parts[0]))
            case Binary(operator=operator):
                return compute(arithmetic.operation(operator, parts[0], parts[1]))
            case Power(exponent=0):
                return arithmetic.literal(1.0)
            case Power(exponent=exponent):
                product = parts[0]
                for _ in range(exponent - 1):
                    product = compute(arithmetic.operation("*", product, parts[0]))
                return product
            case Function(name=name):
                return compute(arithmetic.function(name, parts))


def update_source(dynamics: Dynamics, target: Target) -> str:
    """`update` for the species of `dynamics`; it gives whether it has closed the halo of the row, too."""
    lines = target.lines and _fit_for_lines(dynamics)
    parts = [_cells_source(dynamics, target, folded=not lines)]
    if lines:
        parts.append(_lines_source(dynamics, target.precision))
    body = ["@inlined" if lines else "@compiled"]
    body.append("def update(cells, new, above, row, below, pitch, columns, lanes, boundary, c):")
    if lines:
        body.append("    if lanes == LANES:")
        body.append("        update_lines(cells, new, above, row, below, pitch, columns, boundary, c)")
        body.append("        return boundary == PERIODIC")
    body.append("    above, row, below = shifted(cells, above), shifted(cells, row), shifted(cells, below)")
    slots = slot_pointers(range(len(dynamics.species)), "new")
    body.append(f"    update_cells({slots}above, row, below, pitch, columns, lanes, c)")
    body.append("    return False")
    return "\n\n\n".join([*parts, "\n".join(body)])


def _fit_for_lines(dynamics: Dynamics) -> bool:
    """Whether all functions of its formulas have a form for lines."""
    reactions = [terms.reaction for terms in dynamics.species if terms.reaction is not None]
    return all(
        not isinstance(node, Function) or node.name in _LINE_FUNCTIONS for each in reactions for node in walk(each)
    )


def _cells_source(dynamics: Dynamics, target: Target, *, folded: bool) -> str:
    """Cell by cell; `folded`: also in folded rows."""
    species, precision = range(len(dynamics.species)), target.precision
    body = Statements(8)
    step = _Step(dynamics, _Cells(precision, target.fused), body)
    step.write(dynamics, "above{}[i]", "below{}[i]")
    for number in species:
        body.add(f"new{number}[i] = n{number}")

    new = "".join(f"new{number}, " for number in species)
    text = ["@row_kernel", f"def update_cells({new}above, row, below, pitch, columns, lanes, c):"]
    for number in species:
        text.append(f"    above{number} = shifted(above, {number} * pitch)")
        text.append(f"    left{number} = shifted(row, {number} * pitch - lanes)")
        text.append(f"    below{number} = shifted(below, {number} * pitch)")
    text += [f"    c{index} = {precision.name}(c[{index}])" for index in sorted(step.coefficients)]
    if folded:
        text += ["    if lanes == LANES:", "        for i in range(columns):"]
        for number in species:
            text.append(f"            l{number} = left{number}[i]")
            text.append(f"            s{number} = left{number}[i + LANES]")
            text.append(f"            r{number} = left{number}[i + 2 * LANES]")
        text += [f"    {line}" for line in body.lines]
        text.append("        return")
    # A cell is the right neighbour first and then the cell itself: one load less.
    text += [f"    s{number} = left{number}[1]" for number in species]
    text.append("    for i in range(columns):")
    for number in species:
        text.append(f"        l{number} = left{number}[i]")
        text.append(f"        r{number} = left{number}[i + 2]")
    text += [*body.lines, *(f"        s{number} = r{number}" for number in species)]
    return "\n".join(text)


def _lines_source(dynamics: Dynamics, precision: Precision) -> str:
    """Line by line, in folded rows."""
    species = range(len(dynamics.species))
    body = Statements(8)
    arithmetic = _Lines(precision)
    step = _Step(dynamics, arithmetic, body)
    step.write(dynamics, "line_at(above{}, i)", "line_at(below{}, i)")

    text = ["@inlined", "def update_lines(cells, new, above, row, below, pitch, columns, boundary, c):"]
    for number in species:
        text += [f"    {each}{number} = shifted(cells, {each} + {number} * pitch)" for each in ("new", "above", "row")]
        text.append(f"    below{number} = shifted(cells, below + {number} * pitch)")
    text += [f"    c{index} = spread({precision.name}(c[{index}]))" for index in sorted(step.coefficients)]
    text += [f"    {name} = spread({constant})" for constant, name in arithmetic.constants.items()]
    for number in species:
        text += [f"    l{number} = line_at(row{number}, -LANES)", f"    s{number} = line_at(row{number}, 0)"]
    text.append("    for i in range(0, columns, LANES):")
    text += [f"        r{number} = line_at(row{number}, i + LANES)" for number in species]
    text += body.lines
    text += [f"        put_line(new{number}, i, n{number})" for number in species]
    # The right neighbours are the next line, and the line itself is its left ones.
    for number in species:
        text += [f"        l{number} = s{number}", f"        s{number} = r{number}"]
    text.append("    if boundary == PERIODIC:")
    for number in species:
        text.append(f"        put_line(new{number}, -LANES, turned_up(line_at(new{number}, columns - LANES)))")
        text.append(f"        put_line(new{number}, columns, turned_down(line_at(new{number}, 0)))")
    return "\n".join(text)
