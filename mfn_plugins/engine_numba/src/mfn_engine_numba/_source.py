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

from mfn_engine_numba import _entries
from mfn_engine_numba._outlook_source import outlook_source
from mfn_engine_numba._statements import slot_pointers
from mfn_engine_numba._target import Precision, Target
from mfn_engine_numba._update_source import update_source
from mfn_model.dynamics import Dynamics

__all__ = ["kernel_source", "storing_source"]

CLAMPING: Final = "clamping_events"
"""The counter of confined cells."""


def kernel_source(dynamics: Dynamics, target: Target, *, banded: bool) -> str:
    """The module for the species, reactions and kicks of `dynamics`, in which every species exists."""
    precision = target.precision
    parts = (
        update_source(dynamics, target),
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


def _each(numbers: Iterable[int], name: str) -> str:
    """A name for each of these species."""
    return "".join(f"{name}{number}, " for number in numbers)


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
    call = f"    kick_cells({slot_pointers(involved)}columns, c, counters)"
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
    lines.append(f"    return confine_cells({slot_pointers(species)}columns, counters)")
    return "\n".join(lines)


def _close_source(dynamics: Dynamics) -> str:
    lines = ["@compiled", "def close(cells, slot, pitch, columns, lanes, boundary):"]
    for number in range(len(dynamics.species)):
        lines.append(f"    close_species(cells, slot + {number} * pitch, columns, lanes, boundary)")
    return "\n".join(lines)
