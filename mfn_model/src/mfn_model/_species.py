"""What a model is made of beside its parameters: species, how they begin, and what happens to them at random.

Every formula is a text of the language of `mfn_model.expressions`, over parameters, and in a reaction over the symbols
of species as well. Nothing here is checked on its own: `FieldModel` checks it as a whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BOUNDARIES",
    "Boundary",
    "Constant",
    "Initial",
    "Kick",
    "Noise",
    "Normal",
    "Patches",
    "Species",
    "Spike",
    "Uniform",
    "Update",
]

Boundary = Literal["periodic", "neumann", "dirichlet"]
"""What lies beyond the edge: the opposite side (periodic), the cell at the edge itself, so that nothing flows
(neumann), or a constant (dirichlet)."""

BOUNDARIES: tuple[Boundary, ...] = ("periodic", "neumann", "dirichlet")

Update = Literal["simultaneous", "sequential"]
"""Whether reactions read the old values of all species (Jacobi), or the new ones of those declared before them
(Gauss–Seidel)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Every cell is drawn from N(mean, deviation²)."""

    mean: str = "0"
    deviation: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every cell is drawn from [low, high)."""

    low: str = "0"
    high: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Every cell has this value, and nothing is drawn."""

    value: str = "0"


Initial = Normal | Uniform | Constant
"""How a species begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Species:
    """One quantity that a model carries at every cell."""

    name: str
    unit: str
    """SI symbol, or `"1"` for a dimensionless quantity."""
    description: str
    when: str | None = None
    """The switch that must be on for this species to exist, or `None` when it always does."""
    symbol: str = ""
    """What formulas call it; empty: its name."""
    diffusion: str = ""
    """Coefficient D in cells² per step, a formula of parameters; empty: it does not diffuse."""
    reaction: str = ""
    """R, the change per step beside diffusion, a formula of symbols and parameters; empty: there is none."""
    outside: str = "0"
    """What lies beyond a dirichlet boundary, a formula of parameters."""
    minimum: float = -math.inf
    """Each step ends with this species confined to [minimum, maximum]."""
    maximum: float = math.inf
    counts_clamping: bool = False
    """Whether the cells that this changes are added to the counter `clamping_events`."""
    initial: Initial = Constant()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """At the start of a step, with `probability`, one random cell gains N(mean, deviation²): a growth event."""

    species: str
    """The name of the species."""
    probability: str
    mean: str
    deviation: str
    when: str | None = None
    """The switch that must be on, or `None`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kick:
    """After the update, `target` gains `amount` at every cell where `species` lies strictly above `above`."""

    species: str
    above: str
    target: str
    amount: str
    counter: str
    """The counter of `FieldState.counters` to which the number of such cells is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """After the kicks, every cell of `species` gains N(0, variance)."""

    species: str
    variance: str
    when: str | None = None
    """The switch that must be on, or `None`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Squares of the initial state in which species have given values, at random places.

    `count` and `side`, in cells, are formulas of parameters, rounded to whole numbers (a half to the even one). A patch
    that reaches beyond the edge goes on at the opposite one, and one that is wider than the grid fills it.
    """

    count: str
    side: str
    values: tuple[tuple[str, str], ...]
    """Pairs of a species' name and its value, a formula of parameters."""
