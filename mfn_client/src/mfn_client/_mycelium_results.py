"""What calls of package `mycelium` return."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import cmp_using, field, frozen

__all__ = ["FederatedAggregate", "RunHistory", "RunUpdate", "ShortValidation"]


@frozen(kw_only=True)
class ShortValidation:
    """How a validation training went, in what package `mycelium` tells of it; otherwise as `Validation`."""

    loss_start: float
    loss_final: float
    loss_drop: float
    pot_min_mv: float
    pot_max_mv: float
    lyapunov_exponent: float
    nernst_symbolic_mv: float


@frozen(kw_only=True)
class RunHistory:
    """A run, described after every step and at the end."""

    mean_volts: tuple[float, ...]
    """Mean potential after each step, V; the initial field is not among them."""
    std_volts: tuple[float, ...]
    """Population standard deviation of the potential after each step, V."""
    growth_events: int
    """Growth events of the whole run."""
    fractal_dimension: float
    """Box-counting dimension of the cells of the last field above −60 mV; 0 where it is undefined."""
    last_min_volts: float
    """Smallest potential of the last field, V."""
    last_max_volts: float
    """Largest potential of the last field, V."""
    last_mean_volts: float
    """Mean potential of the last field, V."""
    last_std_volts: float
    """Population standard deviation of the potential of the last field, V."""


@frozen(kw_only=True)
class RunUpdate:
    """The field after one step of a run."""

    step: int
    """Counted from 0: the update of step k describes the field after k + 1 steps."""
    total_steps: int
    pot_mean_mv: float
    """Mean potential, mV."""
    pot_std_mv: float
    """Population standard deviation of the potential, mV."""
    growth_events: int
    """Growth events since the initial field."""
    completed: bool
    """Whether this is the last update."""


@frozen(kw_only=True)
class FederatedAggregate:
    """Gradients combined by hierarchical Krum."""

    gradient: npt.NDArray[np.float64] = field(eq=cmp_using(eq=np.array_equal), hash=False)
    """[coordinates], read-only."""
    accepted: int
    """Gradients that entered the result."""
    rejected: int
    """Gradients that did not."""
