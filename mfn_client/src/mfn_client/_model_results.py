"""The field models that a server knows."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Model", "ModelParameter", "ModelSpecies"]


@frozen(kw_only=True)
class ModelSpecies:
    """One quantity that a model carries at every cell."""

    name: str
    unit: str
    """SI symbol, or `1` for a dimensionless quantity."""
    description: str
    symbol: str
    """What equations call it."""
    when: str
    """The switch that must be on for it to exist; empty: it always does."""
    minimum: float | None
    """Least value that a step leaves; None: there is none."""
    maximum: float | None
    """Largest value that a step leaves; None: there is none."""
    initial: str
    """How it begins."""
    outside: str
    """What lies beyond a dirichlet boundary, a formula of parameters."""


@frozen(kw_only=True)
class ModelParameter:
    """A named constant of a model's equations."""

    name: str
    switch: bool
    """Whether it is on or off, sent as 1 or 0, and no number."""
    default: float
    unit: str
    description: str
    minimum: float | None
    """None: there is no bound."""
    maximum: float | None
    """None: there is no bound."""
    minimum_exclusive: bool
    """Whether the minimum itself is out of bounds."""
    maximum_exclusive: bool
    """Whether the maximum itself is out of bounds."""


@frozen(kw_only=True)
class Model:
    """A field model. Space is counted in cells, time in steps."""

    name: str
    """What calls say as `model`."""
    summary: str
    species: tuple[ModelSpecies, ...]
    """The field first."""
    parameters: tuple[ModelParameter, ...]
    boundaries: tuple[str, ...]
    """What may lie beyond the edge; the first where nothing is said."""
    equations: tuple[str, ...]
    """What a step does, line by line; L is the five-point Laplacian."""
    sequential: bool
    """Whether species are computed one after the other."""
    source: str
    instability: str
    """When its homogeneous state becomes unstable; empty where nothing is stated."""
    computed: bool
    """Whether an engine of the server runs it."""
    potential: bool
    """Whether its field is in volts, so that the methods that tell millivolts take it."""
