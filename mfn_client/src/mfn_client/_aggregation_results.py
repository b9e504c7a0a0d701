"""Gradients that a server has combined."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import cmp_using, field, frozen

__all__ = ["GradientAggregate"]


@frozen(kw_only=True)
class GradientAggregate:
    """A combined gradient, and whose gradients entered it; clients are numbered in the order in which they came."""

    request_id: str
    gradient: npt.NDArray[np.float64] | npt.NDArray[np.float32] = field(eq=cmp_using(eq=np.array_equal), hash=False)
    """[coordinates], read-only, of the type that was sent."""
    accepted: tuple[int, ...]
    """In rising order; all clients of methods that reject values instead."""
    rejected: tuple[int, ...]
    """All others, in rising order."""
    sampled_out: int
    """Of those, clients that were not looked at."""
