"""A field model: the complete declaration of its dynamics, from which every engine runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from mfn_model._derivation import derive, ill_bounded
from mfn_model._parameter import (
    LONGEST_NAME,
    BoundViolation,
    Parameter,
    ParameterValue,
    SpecError,
    abbreviated,
    nearest,
)
from mfn_model._requirements import Requirement
from mfn_model._species import Boundary, Kick, Noise, Patches, Species, Spike, Update
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import Expression

__all__ = ["FieldModel"]

NAMES_TOLD = 20
"""Unknown parameters that are told one by one: each is compared with those that there are, which takes a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldModel:
    """The declaration of a field model; it holds no code, so that any backend can run it.

    Space is counted in cells and time in steps. What a step does with the declared parts, and in which order, is stated
    in `mfn_model.dynamics`, the initial state in `mfn_model.initial`, the language of formulas in
    `mfn_model.expressions`. A declaration is immutable, hashable and picklable.

    Raises `ValueError`, with every problem that it has, when the declaration contradicts itself.
    """

    name: str
    """1 to 64 of a-z, 0-9 and _, beginning with a letter."""
    summary: str
    species: tuple[Species, ...]
    """The field first, then the further species in the order in which a step computes them."""
    parameters: tuple[Parameter, ...]
    boundary: Boundary
    """The boundary of a specification that names none."""
    source: str
    """Where the equations are from, or where they are stated."""
    further_boundaries: tuple[Boundary, ...] = ()
    """What else a specification may ask for."""
    update: Update = "simultaneous"
    spikes: tuple[Spike, ...] = ()
    kicks: tuple[Kick, ...] = ()
    noises: tuple[Noise, ...] = ()
    draws_absent_species: bool = False
    """Whether the initial state draws species that are switched off too, and forgets them."""
    patches: Patches | None = None
    steady_state: tuple[str, ...] = ()
    """The homogeneous steady state in closed form, a formula of parameters for each species; empty: none is known."""
    instability: str = ""
    """For a reader: when the steady state becomes unstable, and to what; `linear_stability` computes its own answer."""
    dynamics: Dynamics = dataclass_field(init=False, repr=False, compare=False)
    """The same in the form that engines compile."""
    steady_expressions: tuple[Expression, ...] = dataclass_field(init=False, repr=False, compare=False)
    """`steady_state`, parsed."""
    _requirements: tuple[Requirement, ...] = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if unusable := ill_bounded(self.parameters):
            raise ValueError(f"model {abbreviated(self.name)} " + "; ".join(unusable))
        derived, problems = derive(self)
        defaults, refused = self._settled({})
        problems += tuple(f"has an invalid default: {violation.message}" for violation in refused)
        if not problems:
            broken = (requirement.violation(dict(defaults)) for requirement in derived.requirements)
            problems = tuple(f"has invalid defaults: {violation.message}" for violation in broken if violation)
        if problems:
            raise ValueError(f"model {abbreviated(self.name)} " + "; ".join(problems))
        object.__setattr__(self, "dynamics", derived.dynamics)
        object.__setattr__(self, "steady_expressions", derived.steady_state)
        object.__setattr__(self, "_requirements", derived.requirements)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Every boundary that a specification may have, the default first."""
        return (self.boundary, *self.further_boundaries)

    @property
    def clamp(self) -> tuple[float, float]:
        """The interval, in the unit of the first species, to which each step confines the field; may be infinite."""
        return (self.species[0].minimum, self.species[0].maximum)

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; raises `SpecError` with the nearest name when there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise SpecError([self._unknown(name, None)])

    def present(self, parameters: Mapping[str, ParameterValue]) -> tuple[Species, ...]:
        """The species that exist under these parameters, the field first."""
        return tuple(each for each in self.species if each.when is None or parameters[each.when])

    def normalised(
        self, values: Mapping[str, Any]
    ) -> tuple[tuple[tuple[str, ParameterValue], ...], tuple[BoundViolation, ...]]:
        """Every parameter in declared order with defaults filled in, and every violation found on the way.

        Where each parameter keeps its own bounds, what is made of them is examined as well, for instance whether a
        product that is a diffusion coefficient is one with which the explicit scheme is stable.
        """
        settled, violations = self._settled(values)
        if not violations and self._requirements:
            numbers = dict(settled)
            broken = (requirement.violation(numbers) for requirement in self._requirements)
            violations = tuple(violation for violation in broken if violation is not None)
        return settled, violations

    def _settled(
        self, values: Mapping[str, Any]
    ) -> tuple[tuple[tuple[str, ParameterValue], ...], tuple[BoundViolation, ...]]:
        settled: list[tuple[str, ParameterValue]] = []
        violations: list[BoundViolation] = []
        for parameter in self.parameters:
            outcome = parameter.normalised(values.get(parameter.name, parameter.default))
            if isinstance(outcome, BoundViolation):
                violations.append(outcome)
            else:
                settled.append((parameter.name, outcome))
        known = {parameter.name for parameter in self.parameters}
        violations.extend(self._unknowns([name for name in values if name not in known], values))
        return tuple(settled), tuple(violations)

    def _unknowns(self, names: Sequence[object], values: Mapping[Any, Any]) -> Iterator[BoundViolation]:
        """One violation for each of the first `NAMES_TOLD` names, and one for all the others."""
        for name in names[:NAMES_TOLD]:
            yield self._unknown(name, values[name])
        more = len(names) - NAMES_TOLD
        if more > 0:
            yield BoundViolation(
                field="parameters",
                value=len(values),
                bound=f"parameters of model {self.name!r}",
                message=f"and {more} more names that model {self.name!r} does not have; leave them out",
            )

    def _unknown(self, name: object, value: object) -> BoundViolation:
        known = [parameter.name for parameter in self.parameters]
        shown = abbreviated(name)
        return BoundViolation(
            field=name if isinstance(name, str) and len(name) <= LONGEST_NAME else shown,
            value=value,
            bound=f"a parameter of model {self.name!r}",
            message=f"model {self.name!r} has no parameter {shown}; {nearest(str(name), known)}",
        )
