"""Snapshots of a simulated field."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfn_model._restorable import problems_of

if TYPE_CHECKING:
    from mfn_model.spec import FieldSpec

__all__ = ["Checkpoint", "FieldState"]

FloatArray = npt.NDArray[np.float64]


def _read_only(array: npt.ArrayLike) -> FloatArray:
    """The array itself, made read-only, when nobody else can write its float64 memory; a read-only copy otherwise."""
    result = np.asarray(array, dtype=np.float64)
    flags = result.flags
    if not flags.c_contiguous or not (flags.owndata or _in_read_only_memory(result)):
        result = np.array(result, dtype=np.float64, order="C")
        flags = result.flags
    flags.writeable = False
    return result


def _in_read_only_memory(view: FloatArray) -> bool:
    """Whether this is a part of an array that owns its memory and is read-only."""
    whole = view.base
    return isinstance(whole, np.ndarray) and whole.flags.owndata and not whole.flags.writeable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldState:
    """The state of a field after `step` steps; nothing that happens later changes it.

    An array given to the constructor is taken over and made read-only if it owns its memory, taken as it is if it is a
    part of a read-only array that does, and copied otherwise.
    Raises `ValueError` when the field is not a square matrix, a species has another shape, or a count is below 0.
    """

    step: int
    """Steps done since the initial state, at least 0."""
    field: FloatArray
    """[N, N] float64 in the unit of the model's first species, which it is; C order, read-only."""
    species: Mapping[str, FloatArray] = dataclass_field(default_factory=dict)
    """The further species by name, each [N, N] float64 and read-only, for instance activator and inhibitor."""
    growth_events: int = 0
    """Spikes that were added to the field so far, at least 0."""
    counters: Mapping[str, int] = dataclass_field(default_factory=dict)
    """Further event counts by name, since the initial state, each at least 0."""

    def __post_init__(self) -> None:
        array = _read_only(self.field)
        if array.ndim != 2 or array.shape[0] != array.shape[1]:
            raise ValueError(f"a field is a square matrix, got shape {array.shape}")
        further = {name: _read_only(each) for name, each in self.species.items()}
        for name, each in further.items():
            if each.shape != array.shape:
                raise ValueError(f"species {name!r} has shape {each.shape}, the field has {array.shape}")
        for name, count in (("step", self.step), ("growth_events", self.growth_events), *self.counters.items()):
            if count < 0:
                raise ValueError(f"{name} must be at least 0, got {count}")
        object.__setattr__(self, "field", array)
        object.__setattr__(self, "species", MappingProxyType(further))
        object.__setattr__(self, "counters", MappingProxyType(dict(self.counters)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _field_state, (
            self.step,
            self.field,
            dict(self.species),
            self.growth_events,
            dict(self.counters),
        )

    @property
    def grid_size(self) -> int:
        """N, the number of cells along each side."""
        return int(self.field.shape[0])


def _field_state(
    step: int,
    field: FloatArray,
    species: dict[str, FloatArray],
    growth_events: int,
    counters: dict[str, int],
) -> FieldState:
    return FieldState(step=step, field=field, species=species, growth_events=growth_events, counters=counters)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """All that a backend needs to go on from a state as if it had never stopped; picklable."""

    spec: FieldSpec
    """The specification in force at that step, which steering may have changed since the start."""
    state: FieldState
    generator: Mapping[str, Any]
    """`numpy.random.BitGenerator.state` at that step; treat it as opaque."""

    def __post_init__(self) -> None:
        if self.state.grid_size != self.spec.grid_size:
            raise ValueError(f"the state has grid size {self.state.grid_size}, its specification {self.spec.grid_size}")
        object.__setattr__(self, "generator", copy.deepcopy(dict(self.generator)))

    def require_restorable(self) -> None:
        """What `restore` of a backend does first: refuse what no session has written.

        Raises `ValueError`, with every problem: other species than those of the specification, a value that is not
        finite, a count below 0 or above 2⁶², a generator that is no PCG64.
        """
        problems = list(problems_of(self))
        if problems:
            raise ValueError("; ".join(problems))
