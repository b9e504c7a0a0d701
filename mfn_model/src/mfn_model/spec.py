"""What to simulate: model declarations, specifications checked against them, and the states that come out.

A `FieldSpec` names a model of the catalogue, a grid with its boundary, a seed and parameters. It is complete (defaults
are filled in), valid (an invalid one cannot be made), immutable, hashable and picklable, so it may serve as a cache
key or travel to another process.

>>> spec = FieldSpec(model="mycelium", grid_size=32, seed=7, parameters={"alpha": 0.12})
>>> spec["alpha"], spec["turing_enabled"]
(0.12, True)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from numbers import Integral
from typing import Any

import numpy as np

from mfn_model._catalogue import MODELS, UnknownModelError, get_model, register_model
from mfn_model._declaration import FieldModel
from mfn_model._parameter import (
    BoundViolation,
    Parameter,
    ParameterValue,
    SpecError,
    abbreviated,
    nearest,
)
from mfn_model._species import (
    Boundary,
    Constant,
    Initial,
    Kick,
    Noise,
    Normal,
    Patches,
    Species,
    Spike,
    Uniform,
    Update,
)
from mfn_model._state import Checkpoint, FieldState

__all__ = [
    "MAXIMUM_SEED",
    "MODELS",
    "BoundViolation",
    "Boundary",
    "Checkpoint",
    "Constant",
    "FieldModel",
    "FieldSpec",
    "FieldState",
    "Initial",
    "Kick",
    "Noise",
    "Normal",
    "Parameter",
    "ParameterValue",
    "ParameterValues",
    "Patches",
    "SpecError",
    "Species",
    "Spike",
    "Uniform",
    "UnknownModelError",
    "Update",
    "get_model",
    "register_model",
]

MAXIMUM_SEED = 2**63 - 1
"""The largest seed: what a signed 64-bit integer on any wire can carry."""


class ParameterValues(Mapping[str, ParameterValue]):
    """An immutable, hashable, picklable mapping of parameter names to values, in declared order."""

    __slots__ = ("_hash", "_settled_by", "_values")

    def __init__(self, items: Mapping[str, ParameterValue] | tuple[tuple[str, ParameterValue], ...] = ()) -> None:
        self._values = dict(items)
        self._hash: int | None = None
        self._settled_by: FieldModel | None = None
        """The declaration that has found them complete and within its bounds; they cannot change after that."""

    def __getitem__(self, name: str) -> ParameterValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._values.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"ParameterValues({self._values!r})"

    def __reduce__(self) -> tuple[type[ParameterValues], tuple[tuple[tuple[str, ParameterValue], ...]]]:
        return type(self), (tuple(self._values.items()),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One trajectory, fully determined: the same specification gives the same states on every correct backend.

    Raises `SpecError`, which lists every violation (of unknown parameters the first 20, and how many more there are),
    when the model is unknown, a parameter is unknown, of the wrong type, not finite or out of its bounds, the model
    does not know the boundary, or grid or seed are out of their bounds. A server that serves strangers sets
    narrower bounds on the grid; here it only has to exist.
    """

    model: str
    """A name of the catalogue, for instance `"mycelium"`."""
    grid_size: int
    """N, cells along each side, at least 1."""
    seed: int
    """0 … 2**63 − 1; seeds one PCG64 generator from which every draw comes."""
    parameters: Mapping[str, ParameterValue] = dataclass_field(default_factory=ParameterValues)
    """Parameters by name; those left out take the model's default."""
    boundary: str = ""
    """What lies beyond the edge, one of the model's boundaries. Empty: the model's own, which is then filled in."""

    def __post_init__(self) -> None:
        violations, settled = _examined(self.model, self.grid_size, self.seed, self.parameters, self.boundary)
        if violations:
            raise SpecError(violations)
        object.__setattr__(self, "boundary", self.boundary or self.declaration.boundary)
        object.__setattr__(self, "grid_size", int(self.grid_size))
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "parameters", settled)

    @staticmethod
    def violations(
        *,
        model: object,
        grid_size: object,
        seed: object,
        parameters: Mapping[str, Any] | None = None,
        boundary: object = "",
    ) -> tuple[BoundViolation, ...]:
        """Every reason why these arguments would be refused; empty when they make a specification."""
        return tuple(_examined(model, grid_size, seed, {} if parameters is None else parameters, boundary)[0])

    @property
    def declaration(self) -> FieldModel:
        """The declaration of the model."""
        return get_model(self.model)

    def __getitem__(self, name: str) -> ParameterValue:
        """The value of one parameter; raises `KeyError` for a name that the model does not declare."""
        return self.parameters[name]

    def number(self, name: str) -> float:
        """The value of a numeric parameter."""
        return float(self.parameters[name])

    def switch(self, name: str) -> bool:
        """The value of a switch."""
        return bool(self.parameters[name])

    def with_parameters(self, **changes: ParameterValue) -> FieldSpec:
        """The same specification with some parameters changed; checked as a new one."""
        return replace(self, parameters={**self.parameters, **changes})


def _examined(
    model: object, grid_size: object, seed: object, parameters: object, boundary: object
) -> tuple[list[BoundViolation], ParameterValues]:
    violations: list[BoundViolation] = []
    _examine_integer(violations, "grid_size", grid_size, 1, None)
    _examine_integer(violations, "seed", seed, 0, MAXIMUM_SEED)
    try:
        declaration = get_model(model)
    except UnknownModelError as error:
        violations.insert(
            0, BoundViolation(field="model", value=model, bound="a model of the catalogue", message=str(error))
        )
        return violations, ParameterValues()
    if not isinstance(boundary, str) or boundary not in ("", *declaration.boundaries):
        violations.append(_unknown_boundary(declaration, boundary))
    if not isinstance(parameters, Mapping):
        message = f"parameters must be a mapping of names to values, got {abbreviated(parameters)}"
        violations.append(BoundViolation(field="parameters", value=parameters, bound="a mapping", message=message))
        return violations, ParameterValues()
    if type(parameters) is ParameterValues and parameters._settled_by is declaration:
        return violations, parameters
    values, refused = declaration.normalised(parameters)
    violations.extend(refused)
    settled = ParameterValues(values)
    if not refused:
        settled._settled_by = declaration
    return violations, settled


def _unknown_boundary(declaration: FieldModel, boundary: object) -> BoundViolation:
    bound = "boundary is one of " + ", ".join(declaration.boundaries)
    message = (
        f"boundary {abbreviated(boundary)} is not one of model {declaration.name!r}; "
        f"{nearest(boundary if isinstance(boundary, str) else '', declaration.boundaries)}"
    )
    return BoundViolation(field="boundary", value=boundary, bound=bound, message=message)


def _examine_integer(
    violations: list[BoundViolation], name: str, value: object, minimum: int, maximum: int | None
) -> None:
    if type(value) is int and minimum <= value and (maximum is None or value <= maximum):
        return  # nearly always: every call of a server makes a specification
    bound = f"{minimum} <= {name}" if maximum is None else f"{minimum} <= {name} <= {maximum}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        problem = "must be an integer"
    elif int(value) < minimum or (maximum is not None and int(value) > maximum):
        problem = "is out of range"
    else:
        return
    message = f"{name} {problem}, got {abbreviated(value)}; the bound is {bound}"
    violations.append(BoundViolation(field=name, value=value, bound=bound, message=message))
