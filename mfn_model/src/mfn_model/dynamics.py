"""The dynamics of a model as engines compile them, and the contract of a step.

Space is counted in cells, time in steps. L is the five-point Laplacian at unit spacing (`mfn_model.stencil`): the sum
((upper + lower) + left) + right of the neighbours minus four times the cell, under the boundary of the specification.
A step consists of the following, in this order. All arithmetic is float64, each operation is rounded once, and formulas
are evaluated in the order in which they are written (`mfn_model.expressions`).

1. Spikes, as declared. Each draws one uniform number u (`Generator.random()`), at every step. Where u < probability it
   draws a row, then a column (`Generator.integers(0, N)` each), then an amplitude (`Generator.normal(mean,
   deviation)`), adds it to that cell, and counts one growth event.
2. Update. Each species s becomes s + change, where change is

       (D · L(s)) + R    with diffusion and reaction,
       D · L(s)          with diffusion alone,
       R                 with a reaction alone;

   a species with neither stays. L is always of the values after 1. So is what R reads where the update is simultaneous
   (Jacobi). Where it is sequential (Gauss–Seidel), R reads the new values of the species declared before, and the
   values after 1 of the species itself and of those declared later. Nothing is confined yet.
3. Kicks, as declared. Where the species lies strictly above the threshold, the target gains the amount, and the number
   of those cells is added to the kick's counter. A kick sees what the kicks before it did.
4. Noise, as declared: each draws one normal number for every cell in row-major order, N(0, deviation²), and adds it.
5. Every species is confined to [minimum, maximum] as `numpy.clip` does. The cells that this changes are added to the
   counter `clamping_events` where the species says so.

What a switch turns off is left out, with its draws; a kick is left out where its species or its target is absent. The
initial state, and its draws, are in `mfn_model.initial`. A state that is no longer finite after step 5 ends the
trajectory with `mfn_model.NumericalInstabilityError`. Only the resulting numbers are prescribed: an engine may compute
them in any way that gives the same ones.

Numbers that depend on parameters alone stand in one table, `Dynamics.coefficients`. An engine compiles a step once from
the structure, evaluates the table with `Dynamics.values`, and evaluates it anew when a parameter changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from mfn_model._parameter import ParameterValue
from mfn_model.expressions import Expression, evaluate_number

__all__ = ["Dynamics", "KickTerms", "NoiseTerms", "SpeciesTerms", "SpikeTerms"]

Terms = TypeVar("Terms", "SpeciesTerms", "SpikeTerms", "NoiseTerms")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeciesTerms:
    """One species; numbers of type int are indices into the table of coefficients."""

    name: str
    symbol: str
    """The `Name` by which reactions refer to it."""
    when: str | None
    diffusion: int | None
    """D, cells²/step, from 0 to 1/4."""
    reaction: Expression | None
    """R, over the symbols of species and `Coefficient` nodes; every `Name` in it is a symbol."""
    outside: int
    minimum: float
    maximum: float
    counts_clamping: bool

    @property
    def bounded(self) -> bool:
        """Whether step 5 can change it."""
        return self.minimum > -float("inf") or self.maximum < float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeTerms:
    """One kind of spike."""

    species: str
    """The name of the species."""
    when: str | None
    probability: int
    mean: int
    deviation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KickTerms:
    """One kind of kick."""

    species: str
    above: int
    target: str
    amount: int
    counter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseTerms:
    """Noise of one species."""

    species: str
    when: str | None
    deviation: int
    """The square root of the declared variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """The steps of a model, parsed, with everything that depends on parameters alone in one table."""

    species: tuple[SpeciesTerms, ...]
    sequential: bool
    """Whether the update is sequential (Gauss–Seidel)."""
    spikes: tuple[SpikeTerms, ...]
    kicks: tuple[KickTerms, ...]
    noises: tuple[NoiseTerms, ...]
    counters: tuple[str, ...]
    """Every key of `FieldState.counters`, whatever is switched off: those of kicks, then `clamping_events` if any."""
    coefficients: tuple[Expression, ...]
    """Formulas of parameters; the same table, whatever is switched off."""

    def values(self, parameters: Mapping[str, ParameterValue]) -> tuple[float, ...]:
        """The table for these parameters, those of a specification; all of it finite then."""
        return tuple(evaluate_number(expression, parameters) for expression in self.coefficients)

    def switched(self, parameters: Mapping[str, ParameterValue]) -> Dynamics:
        """What these parameters leave switched on: the species that exist, and what happens to them."""

        def on(terms: tuple[Terms, ...]) -> tuple[Terms, ...]:
            return tuple(each for each in terms if each.when is None or parameters[each.when])

        species = on(self.species)
        names = {each.name for each in species}
        return replace(
            self,
            species=species,
            spikes=tuple(each for each in on(self.spikes) if each.species in names),
            kicks=tuple(each for each in self.kicks if each.species in names and each.target in names),
            noises=tuple(each for each in on(self.noises) if each.species in names),
        )
