"""A straight line through a few points, by least squares, with what is known about its slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mfn_model._student_t import two_sided_quantile

__all__ = ["CONFIDENCE", "LineFit", "fit_line"]

CONFIDENCE = 0.95
"""Probability of the confidence intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """A line y = intercept + slope · x, fitted to n points of independent errors of one variance."""

    slope: float
    intercept: float
    r_squared: float
    """Coefficient of determination, 0 … 1; 1 where all y are equal, since a flat line meets them."""
    standard_error: float | None
    """Of the slope; `None` for two points, which any line meets."""
    interval: tuple[float, float] | None
    """The 95 % confidence interval of the slope by Student's t with n − 2 degrees; `None` for two points."""
    mean_x: float
    sum_of_squares: float
    """Σ (x − mean_x)²."""
    points: int

    def half_width(self, x: float) -> float | None:
        """Half the width of the 95 % confidence band of the line at `x`; `None` for two points.

        It is t · s · √(1/n + (x − mean_x)² / Σ(x − mean_x)²) (N. R. Draper, H. Smith, Applied Regression Analysis,
        3rd ed., §3.1).
        """
        if self.standard_error is None:
            return None
        spread = self.sum_of_squares / self.points + (x - self.mean_x) ** 2
        return two_sided_quantile(CONFIDENCE, self.points - 2) * self.standard_error * math.sqrt(spread)


def fit_line(x: Sequence[float], y: Sequence[float]) -> LineFit:
    """The least-squares line, computed in deviations from the means.

    Takes equally many x and y, at least two, where the x are not all equal.
    """
    n = len(x)
    mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
    dx = [each - mean_x for each in x]
    dy = [each - mean_y for each in y]
    squares = math.fsum(p * p for p in dx)
    slope = math.fsum(p * q for p, q in zip(dx, dy, strict=True)) / squares
    total = math.fsum(q * q for q in dy)
    residual = math.fsum((q - slope * p) ** 2 for p, q in zip(dx, dy, strict=True))
    if all(each == y[0] for each in y):
        # The mean of equal numbers may be off by a rounding, and a ratio of roundings says nothing.
        slope, residual, r_squared = 0.0, 0.0, 1.0
    else:
        r_squared = min(1.0, max(0.0, 1.0 - residual / total))
    standard_error = interval = None
    if n > 2:
        standard_error = math.sqrt(residual / (n - 2) / squares)
        half = two_sided_quantile(CONFIDENCE, n - 2) * standard_error
        interval = (slope - half, slope + half)
    return LineFit(
        slope=slope,
        intercept=mean_y - slope * mean_x,
        r_squared=r_squared,
        standard_error=standard_error,
        interval=interval,
        mean_x=mean_x,
        sum_of_squares=squares,
        points=n,
    )
