"""What an aggregation gives back: the gradient, and whose gradients entered it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfn_model.aggregation._rows import FloatArray, IntArray

__all__ = ["Aggregate", "HierarchicalAggregate", "indices", "others"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregate:
    """An aggregate of some of the gradients; clients are indices into those given."""

    gradient: FloatArray
    """[coordinates]."""
    accepted: tuple[int, ...]
    """Clients whose gradients entered the result, ascending."""
    rejected: tuple[int, ...]
    """All others, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HierarchicalAggregate:
    """An aggregate of representatives of clusters; clients are indices into the gradients given.

    `accepted`, `outvoted` and `sampled_out` hold every client once.
    """

    gradient: FloatArray
    """[coordinates]."""
    accepted: tuple[int, ...]
    """Clients whose gradients entered the result, ascending."""
    outvoted: tuple[int, ...]
    """Clients that were looked at and whose gradients did not enter it, ascending."""
    sampled_out: tuple[int, ...]
    """Clients that were not looked at, ascending."""
    representatives: tuple[int, ...]
    """The choice of each cluster that has a member, in the order of the clusters."""
    selected: tuple[int, ...]
    """The representatives that the second level chose, ascending."""

    @property
    def rejected(self) -> tuple[int, ...]:
        """`outvoted` and `sampled_out` together, ascending."""
        return tuple(sorted((*self.outvoted, *self.sampled_out)))


def indices(clients: IntArray) -> tuple[int, ...]:
    """Clients as numbers of Python."""
    return tuple(clients.tolist())


def others(total: int, clients: IntArray) -> tuple[int, ...]:
    """The clients of `total` that are not among `clients`, ascending."""
    left = np.ones(total, dtype=np.bool_)
    left[clients] = False
    return indices(np.flatnonzero(left))
