"""From a declaration to its dynamics, with every problem found on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from mfn_model._parameter import Parameter, abbreviated, nearest
from mfn_model._requirements import STABILITY_LIMIT, Requirement
from mfn_model._species import BOUNDARIES, Constant, Initial, Normal, Species, Uniform
from mfn_model.dynamics import Dynamics, KickTerms, NoiseTerms, SpeciesTerms, SpikeTerms
from mfn_model.expressions import (
    Binary,
    Expression,
    ExpressionError,
    Function,
    Number,
    evaluate_number,
    hoist,
    is_name,
    parse,
)

if TYPE_CHECKING:
    from mfn_model._declaration import FieldModel

__all__ = ["Derived", "derive", "ill_bounded"]

CLAMPING_COUNTER = "clamping_events"

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""As a call, a configuration and a file name have it."""

_ZERO = Number(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What follows from a declaration."""

    dynamics: Dynamics
    requirements: tuple[Requirement, ...]
    """Those that the bounds of the parameters do not imply."""
    steady_state: tuple[Expression, ...]


def derive(model: FieldModel) -> tuple[Derived, tuple[str, ...]]:
    """What follows from a declaration, and every problem that it has; with problems, the first result is worthless."""
    derivation = _Derivation(model)
    derived = derivation.derived()
    return derived, tuple(derivation.problems)


def ill_bounded(parameters: Iterable[Parameter]) -> tuple[str, ...]:
    """The bounds that are no numbers, without which nothing else can be said of a declaration."""
    return tuple(
        f"has the parameter {each.name!r} with the {end} {abbreviated(bound)}; give a number such as 0.5"
        for each in parameters
        for end, bound in (("minimum", each.minimum), ("maximum", each.maximum))
        if not _is_number(bound)
    )


def _names_a_model(name: object) -> bool:
    return isinstance(name, str) and _MODEL_NAME.fullmatch(name) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class _Derivation:
    def __init__(self, model: FieldModel) -> None:
        self.problems: list[str] = []
        self._model = model
        self._parameters = {parameter.name: parameter for parameter in model.parameters}
        self._switches = {parameter.name for parameter in model.parameters if parameter.kind == "bool"}
        self._species = {species.name: species for species in model.species}
        self._symbols = {species.symbol or species.name: species for species in model.species}
        self._table: list[Expression] = []
        self._requirements: list[Requirement] = []

    def derived(self) -> Derived:
        model = self._model
        self._check_names()
        self._check_boundaries()
        species = tuple(self._species_terms(each) for each in model.species)
        spikes = tuple(
            SpikeTerms(
                species=self._known(f"spike of {each.species!r}", each.species),
                when=self._switch(f"spike of {each.species!r}", each.when),
                probability=self._coefficient(f"the probability of spikes of {each.species}", each.probability, 0, 1),
                mean=self._coefficient(f"the mean of spikes of {each.species}", each.mean),
                deviation=self._coefficient(f"the deviation of spikes of {each.species}", each.deviation, 0),
            )
            for each in model.spikes
        )
        kicks = tuple(
            KickTerms(
                species=self._known(f"kick of {each.target!r}", each.species),
                above=self._coefficient(f"the threshold of kicks of {each.target}", each.above),
                target=self._known(f"kick by {each.species!r}", each.target),
                amount=self._coefficient(f"the amount of kicks of {each.target}", each.amount),
                counter=self._counter(f"kick of {each.target!r}", each.counter),
            )
            for each in model.kicks
        )
        noises = tuple(
            NoiseTerms(
                species=self._known(f"noise of {each.species!r}", each.species),
                when=self._switch(f"noise of {each.species!r}", each.when),
                deviation=self._deviation(f"the variance of the noise of {each.species}", each.variance),
            )
            for each in model.noises
        )
        self._check_patches()
        counters = dict.fromkeys(kick.counter for kick in kicks)
        if any(each.counts_clamping for each in model.species):
            counters[CLAMPING_COUNTER] = None
        steady = self._steady_state()
        return Derived(
            dynamics=Dynamics(
                species=species,
                sequential=model.update == "sequential",
                spikes=spikes,
                kicks=kicks,
                noises=noises,
                counters=tuple(counters),
                coefficients=tuple(self._table),
            ),
            requirements=tuple(self._requirements),
            steady_state=steady,
        )

    # Names.

    def _check_names(self) -> None:
        model = self._model
        if not _names_a_model(model.name):
            self.problems.append(
                "has a name that nobody can call it by; take 1 to 64 of a-z, 0-9 and _, beginning with a letter"
            )
        names = [parameter.name for parameter in model.parameters]
        if len(set(names)) != len(names):
            self.problems.append(f"declares a parameter twice: {', '.join(names)}")
        for plural, known in (("name", self._species), ("symbol", self._symbols)):
            if len(known) != len(model.species):
                each = [getattr(species, plural) or species.name for species in model.species]
                self.problems.append(f"gives two species the same {plural}: {', '.join(each)}")
        words = [("parameter", name) for name in names] + [("symbol", symbol) for symbol in self._symbols]
        self.problems.extend(
            f"has the {kind} {name!r}, which no formula can name; take ASCII letters, digits and _ and no reserved word"
            for kind, name in words
            if not is_name(name)
        )
        shared = sorted(self._symbols.keys() & self._parameters.keys())
        if shared:
            self.problems.append(f"uses a name for a species and for a parameter: {', '.join(shared)}")
        if not model.species:
            self.problems.append("declares no species; it needs at least the field")
        elif model.species[0].when is not None:
            self.problems.append(f"can switch its field off: species {model.species[0].name!r} must always exist")
        if model.update not in ("simultaneous", "sequential"):
            self.problems.append(f"has the update {model.update!r}; it is 'simultaneous' or 'sequential'")

    def _check_boundaries(self) -> None:
        boundaries = self._model.boundaries
        self.problems.extend(
            f"has the boundary {each!r}; {nearest(str(each), BOUNDARIES)}"
            for each in boundaries
            if each not in BOUNDARIES
        )
        if len(set(boundaries)) != len(boundaries):
            self.problems.append(f"names a boundary twice: {', '.join(boundaries)}")

    def _known(self, where: str, name: str) -> str:
        if name not in self._species:
            self.problems.append(f"{where}: there is no species {name!r}; {nearest(str(name), self._species)}")
        return name

    def _switch(self, where: str, name: str | None) -> str | None:
        if name is not None and name not in self._switches:
            self.problems.append(f"{where}: there is no switch {name!r}; {nearest(str(name), self._switches)}")
        return name

    def _counter(self, where: str, name: str) -> str:
        if not is_name(name) or name in ("growth_events", CLAMPING_COUNTER):
            self.problems.append(f"{where}: {name!r} cannot be a counter of its own; take another name")
        return name

    # Formulas.

    def _species_terms(self, species: Species) -> SpeciesTerms:
        name = species.name
        minimum, maximum = (
            self._end(f"the {end} of {name}", value)
            for end, value in (("minimum", species.minimum), ("maximum", species.maximum))
        )
        if not minimum <= maximum:
            self.problems.append(f"species {name!r}: the range [{minimum:g}, {maximum:g}] is empty; exchange its ends")
        what = f"the diffusion coefficient of {name}"
        diffusion = None if species.diffusion == "" else self._coefficient(what, species.diffusion, 0, STABILITY_LIMIT)
        self._check_initial(name, species.initial)
        return SpeciesTerms(
            name=name,
            symbol=species.symbol or name,
            when=self._switch(f"species {name!r}", species.when),
            diffusion=diffusion,
            reaction=None if species.reaction == "" else self._reaction(species),
            outside=self._coefficient(f"the value of {name} beyond the edge", species.outside),
            minimum=minimum,
            maximum=maximum,
            counts_clamping=species.counts_clamping,
        )

    def _end(self, what: str, value: float) -> float:
        if _is_number(value):
            return float(value)
        self.problems.append(f"{what} is a number such as 0.5, got {abbreviated(value)}")
        return 0.0

    def _reaction(self, species: Species) -> Expression:
        what = f"the reaction of {species.name}"
        tree = self._formula(what, species.reaction, self._symbols)
        for symbol in sorted(tree.names & self._symbols.keys()):
            other = self._symbols[symbol]
            if other.when not in (None, species.when):
                self.problems.append(f"{what}: {symbol} exists only with the switch {other.when!r}; so must this one")
        known = len(self._table)
        hoisted = hoist(tree, frozenset(self._symbols), self._table)
        for part in self._table[known:]:
            self._require(Requirement(what=f"a part of {what}", expression=part))
        return hoisted

    def _check_initial(self, name: str, initial: Initial) -> None:
        what = f"the initial {name}"
        match initial:
            case Normal(mean=mean, deviation=deviation):
                self._parameter_formula(f"the mean of {what}", mean)
                self._parameter_formula(f"the deviation of {what}", deviation, 0)
            case Uniform(low=low, high=high):
                ends = [self._parameter_formula(f"an end of {what}", text) for text in (low, high)]
                self._require(
                    Requirement(what=f"the width of {what}", expression=Binary("-", ends[1], ends[0]), minimum=0)
                )
            case Constant(value=value):
                self._parameter_formula(what, value)
            case _:
                self.problems.append(f"{what} is a Normal, a Uniform or a Constant, got {abbreviated(initial)}")

    def _check_patches(self) -> None:
        patches = self._model.patches
        if patches is None:
            return
        self._parameter_formula("the number of patches", patches.count, 0, 1_000_000)
        self._parameter_formula("the side of patches", patches.side, 1, 1_000_000)
        for name, value in patches.values:
            self._known("patches", name)
            self._parameter_formula(f"the value of {name} in patches", value)
        names = [name for name, _ in patches.values]
        if len(set(names)) != len(names):
            self.problems.append(f"patches: a species has two values: {', '.join(names)}")

    def _steady_state(self) -> tuple[Expression, ...]:
        texts = self._model.steady_state
        if texts and len(texts) != len(self._model.species):
            self.problems.append(f"has {len(texts)} steady values for {len(self._species)} species; give each its own")
        return tuple(self._formula("the steady state", text, ()) for text in texts)

    def _coefficient(self, what: str, text: str, minimum: float | None = None, maximum: float | None = None) -> int:
        return self._index(self._parameter_formula(what, text, minimum, maximum))

    def _deviation(self, what: str, variance: str) -> int:
        return self._index(Function("sqrt", (self._parameter_formula(what, variance, 0),)))

    def _index(self, expression: Expression) -> int:
        if expression not in self._table:
            self._table.append(expression)
        return self._table.index(expression)

    def _parameter_formula(
        self, what: str, text: str, minimum: float | None = None, maximum: float | None = None
    ) -> Expression:
        expression = self._formula(what, text, ())
        bounds = {name: float(end) for name, end in (("minimum", minimum), ("maximum", maximum)) if end is not None}
        self._require(Requirement(what=what, expression=expression, **bounds))
        return expression

    def _formula(self, what: str, text: str, symbols: Iterable[str]) -> Expression:
        if not isinstance(text, str):
            example = f"{text}" if _is_number(text) else "0.2"
            self.problems.append(f'{what} is a text such as "{example}", got {abbreviated(text)}')
            return _ZERO
        try:
            expression = parse(text)
        except ExpressionError as error:
            self.problems.append(f"{what}: {error}")
            return _ZERO
        problems = list(self._unknown(what, text, expression.names, tuple(symbols)))
        self.problems.extend(problems)
        return _ZERO if problems else expression

    def _unknown(self, what: str, text: str, names: Iterable[str], symbols: Sequence[str]) -> Iterator[str]:
        known = [*symbols, *(name for name in self._parameters if name not in self._switches)]
        for name in sorted(names):
            if name in self._switches:
                yield f"{what}: {name} in {text!r} is a switch and no number"
            elif name in self._symbols and not symbols:
                yield f"{what}: {name} in {text!r} is a species; only parameters may stand here"
            elif name not in known:
                yield f"{what}: there is no {name!r} in {text!r}; {nearest(name, known)}"

    def _require(self, requirement: Requirement) -> None:
        if requirement.expression.names:
            if not requirement.implied_by(self._parameters):
                self._requirements.append(requirement)
        elif not requirement.holds(evaluate_number(requirement.expression, {})):
            self.problems.append(f"{requirement.what}: {requirement.expression} breaks {requirement.bound}")
