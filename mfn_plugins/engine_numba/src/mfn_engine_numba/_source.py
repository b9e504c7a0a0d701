"""The source of a model's kernel, generated from its declaration.

Five functions depend on the model: `update` computes a row of every species from the rows around it, `kick` and
`confine` finish a row where that is needed, `outlook` foresees by interval arithmetic whether it will be, and `close`
fills the halo of a row. They are generated as the source of a module. Each operation of a declared formula becomes one
statement, in the order in which the formula computes it, so that the results are those of the plain evaluation bit for
bit.

The text depends on the structure of a model alone. Coefficients, switches that leave the species as they are, spikes,
noise, grid and boundary are data: see `mfn_engine_numba._memory`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from mfn_engine_numba import _entries
from mfn_engine_numba._memory import CACHE_LINE
from mfn_engine_numba._outlook_source import outlook_source
from mfn_engine_numba._statements import Statements
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import Binary, Coefficient, Expression, Function, Name, Number, Power, Unary, reduce

__all__ = ["DOUBLE", "SINGLE", "Precision", "Target", "kernel_source", "storing_source"]

CLAMPING: Final = "clamping_events"
"""The counter of confined cells."""

_FUNCTIONS: Final = {
    "abs": "abs",
    "exp": "math.exp",
    "maximum": "greater",
    "minimum": "lesser",
    "sqrt": "math.sqrt",
    "tanh": "math.tanh",
}


@frozen(kw_only=True)
class Precision:
    """The numbers that a kernel computes with."""

    name: str
    """Numba's and NumPy's name of the type."""
    bytes: int
    slack: str
    """The name of its slack in `mfn_engine_numba._intervals`."""
    largest: float
    """The largest finite number."""

    @property
    def lanes(self) -> int:
        """Numbers in a cache line."""
        return CACHE_LINE // self.bytes

    def literal(self, value: float) -> str:
        """A constant in this precision."""
        return f"{self.name}({value!r})"


DOUBLE: Final = Precision(name="float64", bytes=8, slack="DOUBLE", largest=1.7976931348623157e308)
SINGLE: Final = Precision(name="float32", bytes=4, slack="SINGLE", largest=3.4028234663852886e38)


@frozen(kw_only=True)
class Target:
    """What a module is generated for."""

    precision: Precision
    fused: bool
    """Whether the processor has a fused multiply-add."""
    identity: str
    """Stands for everything else that compiled code depends on; one line, written into the module."""
    kept: bool
    """Whether compiled code is kept on disk."""


def kernel_source(dynamics: Dynamics, target: Target, *, banded: bool) -> str:
    """The module for the species, reactions and kicks of `dynamics`, in which every species exists."""
    precision = target.precision
    parts = (
        _update_source(dynamics, precision, target.fused),
        _kick_source(dynamics, precision),
        _confine_source(dynamics, precision),
        _close_source(dynamics),
        outlook_source(dynamics, precision.largest),
    )
    entries = _entries.BANDED if banded else _entries.WHOLE
    return "\n\n".join([_header(target), *(part + "\n" for part in parts), entries])


def storing_source(target: Target, *, banded: bool) -> str:
    """The module for what goes into fields and out of them, whatever their model."""
    return _header(target) + (_entries.BANDED_STORING if banded else _entries.STORING)


def _header(target: Target) -> str:
    precision = target.precision
    return _entries.HEADER.format(
        identity=target.identity,
        entry="kept_entry" if target.kept else "entry",
        precision=precision.name,
        slack=precision.slack,
        largest=precision.literal(precision.largest),
        lanes=precision.lanes,
    )


class _Formulas:
    """Formulas of one step as statements."""

    def __init__(self, dynamics: Dynamics, precision: Precision) -> None:
        self.body = Statements(12)
        self.coefficients: set[int] = set()
        self.species = {terms.symbol: f"s{number}" for number, terms in enumerate(dynamics.species)}
        """The name that stands for each symbol."""
        self._precision = precision

    def of(self, expression: Expression) -> str:
        return reduce(expression, self._combine)

    def coefficient(self, index: int) -> str:
        self.coefficients.add(index)
        return f"c{index}"

    def _combine(self, node: Expression, parts: tuple[str, ...]) -> str:
        match node:
            case Number(value=value):
                return self._precision.literal(value)
            case Name(name=name):
                return self.species[name]
            case Coefficient(index=index):
                return self.coefficient(index)
            case Unary():
                return self.body.compute(f"-{parts[0]}")
            case Binary(operator=operator):
                return self.body.compute(f"{parts[0]} {operator} {parts[1]}")
            case Power(exponent=0):
                return self._precision.literal(1.0)
            case Power(exponent=exponent):
                product = parts[0]
                for _ in range(exponent - 1):
                    product = self.body.compute(f"{product} * {parts[0]}")
                return product
            case Function(name=name):
                return self.body.compute(f"{_FUNCTIONS[name]}({', '.join(parts)})")


def _update_source(dynamics: Dynamics, precision: Precision, fused: bool) -> str:
    species = range(len(dynamics.species))
    formulas = _Formulas(dynamics, precision)
    body = formulas.body
    for number, terms in enumerate(dynamics.species):
        changes = []
        if terms.diffusion is not None:
            total = body.compute(f"above{number}[i] + below{number}[i]")
            total = body.compute(f"{total} + l{number}")
            total = body.compute(f"{total} + r{number}")
            # Four times a number is exact, so that both forms round once, and alike.
            last = f"fused(MINUS_FOUR, s{number}, {total})" if fused else f"{total} - FOUR * s{number}"
            changes.append(body.compute(f"{formulas.coefficient(terms.diffusion)} * {body.compute(last)}"))
        if terms.reaction is not None:
            changes.append(formulas.of(terms.reaction))
        if len(changes) == 2:
            changes = [body.compute(f"{changes[0]} + {changes[1]}")]
        body.add(f"n{number} = s{number} + {changes[0]}" if changes else f"n{number} = s{number}")
        if dynamics.sequential:
            formulas.species[terms.symbol] = f"n{number}"
    for number in species:
        body.add(f"new{number}[i] = n{number}")

    lines = ["@row_kernel", f"def update_cells({_each(species, 'new')}above, row, below, pitch, columns, lanes, c):"]
    for number in species:
        lines.append(f"    above{number} = shifted(above, {number} * pitch)")
        lines.append(f"    left{number} = shifted(row, {number} * pitch - lanes)")
        lines.append(f"    below{number} = shifted(below, {number} * pitch)")
    lines += [f"    c{index} = {precision.name}(c[{index}])" for index in sorted(formulas.coefficients)]
    lines += ["    if lanes == LANES:", "        for i in range(columns):"]
    for number in species:
        lines.append(f"            l{number} = left{number}[i]")
        lines.append(f"            s{number} = left{number}[i + LANES]")
        lines.append(f"            r{number} = left{number}[i + 2 * LANES]")
    lines += [*body.lines, "    else:"]
    # A cell is the right neighbour first and then the cell itself: one load less.
    lines += [f"        s{number} = left{number}[1]" for number in species]
    lines.append("        for i in range(columns):")
    for number in species:
        lines.append(f"            l{number} = left{number}[i]")
        lines.append(f"            r{number} = left{number}[i + 2]")
    lines += [*body.lines, *(f"            s{number} = r{number}" for number in species), "", ""]
    lines += ["@compiled", "def update(cells, new, above, row, below, pitch, columns, lanes, c):"]
    lines.append("    above, row, below = shifted(cells, above), shifted(cells, row), shifted(cells, below)")
    lines.append(f"    update_cells({_slots(species, 'new')}above, row, below, pitch, columns, lanes, c)")
    return "\n".join(lines)


def _each(numbers: Iterable[int], name: str) -> str:
    """A name for each of these species."""
    return "".join(f"{name}{number}, " for number in numbers)


def _slots(numbers: Iterable[int], slot: str = "slot") -> str:
    """Pointers to these species of a slot."""
    return "".join(f"shifted(cells, {slot} + {number} * pitch), " for number in numbers)


def _kick_source(dynamics: Dynamics, precision: Precision) -> str:
    head = ["@compiled", "def kick(cells, slot, pitch, columns, c, counters):"]
    if not dynamics.kicks:
        return "\n".join([*head, "    pass"])
    numbers = {terms.name: number for number, terms in enumerate(dynamics.species)}
    involved = sorted({numbers[name] for kick in dynamics.kicks for name in (kick.species, kick.target)})
    lines = ["@row_kernel", f"def kick_cells({_each(involved, 'cells')}columns, c, counters):"]
    body = [f"        s{number} = cells{number}[i]" for number in involved]
    last = []
    for index, kick in enumerate(dynamics.kicks):
        target = numbers[kick.target]
        lines.append(f"    above{index} = {precision.name}(c[{kick.above}])")
        lines.append(f"    amount{index} = {precision.name}(c[{kick.amount}])")
        lines.append(f"    count{index} = int64(0)")
        body.append(f"        kicked = s{numbers[kick.species]} > above{index}")
        body.append(f"        s{target} = chosen(kicked, s{target} + amount{index}, s{target})")
        body.append(f"        count{index} += int64(kicked)")
        last.append(f"    counters[{dynamics.counters.index(kick.counter)}] += count{index}")
    for number in sorted({numbers[kick.target] for kick in dynamics.kicks}):
        body.append(f"        cells{number}[i] = s{number}")
    call = f"    kick_cells({_slots(involved)}columns, c, counters)"
    return "\n".join([*lines, "    for i in range(columns):", *body, *last, "", "", *head, call])


def _confine_source(dynamics: Dynamics, precision: Precision) -> str:
    species = range(len(dynamics.species))
    lines = ["@row_kernel", f"def confine_cells({_each(species, 'cells')}columns, counters):"]
    lines += ["    strange = int64(0)", "    count = int64(0)", "    for i in range(columns):"]
    for number, terms in enumerate(dynamics.species):
        lines.append(f"        s{number} = b{number} = cells{number}[i]")
        for comparison, value in (("<", terms.minimum), (">", terms.maximum)):
            if math.isfinite(value):
                literal = precision.literal(value)
                lines.append(f"        b{number} = chosen(b{number} {comparison} {literal}, {literal}, b{number})")
        if terms.bounded:
            lines.append(f"        cells{number}[i] = b{number}")
        if terms.bounded and terms.counts_clamping:
            lines.append(f"        count += int64(b{number} != s{number})")
        lines.append(f"        strange |= int64(not (abs(b{number}) <= LARGEST))")
    if any(terms.counts_clamping for terms in dynamics.species):
        lines.append(f"    counters[{dynamics.counters.index(CLAMPING)}] += count")
    lines += ["    return strange", "", ""]
    lines += ["@compiled", "def confine(cells, slot, pitch, columns, counters):"]
    lines.append(f"    return confine_cells({_slots(species)}columns, counters)")
    return "\n".join(lines)


def _close_source(dynamics: Dynamics) -> str:
    lines = ["@compiled", "def close(cells, slot, pitch, columns, lanes, boundary):"]
    for number in range(len(dynamics.species)):
        lines.append(f"    close_species(cells, slot + {number} * pitch, columns, lanes, boundary)")
    return "\n".join(lines)
