"""How long a state provably stays inside its ranges, so that kicks and clipping can be left out without a difference.

The scheme obeys a maximum principle: with α, D_a ≤ 1/4 and D_h ≤ (1 − r_h)/4, diffusion replaces a value by a weighted
mean of its neighbourhood, so extremes move only through the reaction terms, by at most r_a h downwards and
r_a a (1 − a) upwards for the activator. Where the coefficients are larger, nothing is promised. What lies beyond a
constant boundary belongs to the neighbourhood: `Extremes` include it. The margin absorbs rounding, which is below
1e-14 a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mfn_engine_numpy._equations import Kinetics
from mfn_model.mycelium import CONCENTRATION_RANGE, POTENTIAL_RANGE

__all__ = ["LONGEST_QUIET", "Extremes", "potential_is_inside", "steps_above_zero", "steps_below"]

LONGEST_QUIET: Final = 64
"""Steps after which extremes are measured again at the latest."""

_MARGIN: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Extremes:
    """Least and largest concentrations at one step, all of them inside `CONCENTRATION_RANGE`."""

    activator_minimum: float
    activator_maximum: float
    inhibitor_minimum: float
    inhibitor_maximum: float


def potential_is_inside(minimum: float, maximum: float) -> bool:
    """Whether a potential between these extremes, in V, stays in its range while it only diffuses."""
    return minimum > POTENTIAL_RANGE[0] + _MARGIN and maximum < POTENTIAL_RANGE[1] - _MARGIN


def steps_above_zero(extremes: Extremes, kinetics: Kinetics) -> int:
    """Steps, at most `LONGEST_QUIET`, for which no concentration can become negative."""
    if extremes.inhibitor_minimum < 0.0 or not kinetics.obey_maximum_principle:
        return 0
    largest = max(extremes.inhibitor_maximum, extremes.activator_maximum * _largest_growth(kinetics))
    margin = extremes.activator_minimum - _MARGIN
    if margin <= 0.0:
        return 0
    return min(LONGEST_QUIET, int(margin / (kinetics.activator_rate * largest)))


def steps_below(threshold: float, extremes: Extremes, kinetics: Kinetics) -> int:
    """Steps, at most `LONGEST_QUIET`, for which no activator exceeds `threshold` and no concentration its range.

    Holds as long as no concentration is negative, or negative ones are clipped after each step.
    """
    if not kinetics.obey_maximum_principle:
        return 0
    highest = CONCENTRATION_RANGE[1] - _MARGIN
    limit = min(threshold - _MARGIN, highest)
    if extremes.activator_maximum >= limit or extremes.inhibitor_maximum >= highest:
        return 0
    if extremes.activator_maximum * _largest_growth(kinetics) <= limit:
        return LONGEST_QUIET
    return int(math.log(limit / extremes.activator_maximum) / math.log1p(kinetics.activator_rate))


def _largest_growth(kinetics: Kinetics) -> float:
    """By how much the activator can grow in the longest quiet."""
    return (1.0 + kinetics.activator_rate) ** LONGEST_QUIET
