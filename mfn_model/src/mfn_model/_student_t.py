"""Quantiles of Student's t distribution, for confidence intervals of fitted slopes."""

from __future__ import annotations

import math
from functools import lru_cache

__all__ = ["two_sided_quantile"]


@lru_cache(maxsize=256)
def two_sided_quantile(confidence: float, degrees: int) -> float:
    """The t for which |T| ≤ t has probability `confidence`, 0 … 1 exclusive, with `degrees` ≥ 1 degrees of freedom.

    The distribution function of a whole number of degrees is a finite sum of powers of sin θ and cos θ, where
    tan θ = t / √degrees (M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4). It is
    inverted by bisection over θ, to the last digits of float64. Raises `ValueError` outside these ranges.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if degrees < 1:
        raise ValueError(f"degrees must be at least 1, got {degrees}")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _probability(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _probability(theta: float, degrees: int) -> float:
    """Probability of |T| ≤ √degrees · tan θ."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = total = cosine if odd else 1.0
    for factor in range(2 if odd else 1, degrees - 2, 2):
        term *= cosine * cosine * factor / (factor + 1)
        total += term
    if odd:
        return 2.0 / math.pi * (theta + (sine * total if degrees > 1 else 0.0))
    return sine * total
