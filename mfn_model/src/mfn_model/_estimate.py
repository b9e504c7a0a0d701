"""What an estimator of a dimension gives: the slope, the fit that it comes from, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mfn_model._line_fit import fit_line

__all__ = ["DimensionEstimate", "fitted", "undefined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionEstimate:
    """A dimension with the fit that it comes from, or the reason why there is none.

    The dimensions here are slopes of a Rényi entropy S(ε), in nats, against ln(1/ε): of order 0, ln N(ε), for box
    counting; of order 1, −Σ p ln p over the boxes, for the information dimension; of order 2, −ln C(ε), for the
    correlation dimension (A. Rényi, Probability Theory, 1970; H. G. E. Hentschel, I. Procaccia, Physica D 8 (1983)
    435–444).

    `standard_error` and `interval` are those of least squares with independent errors, and Student's t. The entropies
    of one mask at several scales are no such thing: boxes of one scale unite those of another, so that their residuals
    go together. The interval therefore does not contain the true dimension in 95 of 100 masks. It says how straight
    the points lie: a wide one means that the slope depends on the scales, and a narrow one that it does not.
    """

    value: float | None
    """The slope, or `None` when it is undefined."""
    reason: str | None
    """Why `value` is `None`; `None` when there is a value."""
    r_squared: float | None
    """Coefficient of determination of the fit, 0 … 1; 1 where all entropies are equal, since a flat line meets them."""
    scales: tuple[float, ...]
    """Box sizes ε in cells, ascending."""
    counts: tuple[int, ...] = ()
    """Boxes with a true cell, one for each scale, means rounded to whole numbers; empty where no boxes are counted."""
    entropies: tuple[float, ...] = ()
    """S(ε) in nats, one for each scale: the points of the fit."""
    standard_error: float | None = None
    """Of the slope; `None` where it is undefined and for two scales, which any line meets."""
    interval: tuple[float, float] | None = None
    """The 95 % confidence interval of the slope; `None` as `standard_error`. Its ends may lie outside 0 … 2."""

    def line(self, scale: float) -> tuple[float, float | None]:
        """S of the fitted line at box size `scale` in cells, and half the width of its 95 % confidence band.

        The latter is `None` for two scales. Raises `ValueError` where the dimension is undefined or `scale` is not
        positive.
        """
        if self.value is None:
            raise ValueError(f"an undefined dimension has no line: {self.reason}")
        if not 0.0 < scale < math.inf:
            raise ValueError(f"scale must be positive and finite, got {scale}")
        fit = fit_line([-math.log(each) for each in self.scales], self.entropies)
        x = -math.log(scale)
        return fit.intercept + fit.slope * x, fit.half_width(x)


def undefined(reason: str) -> DimensionEstimate:
    """No dimension, and why."""
    return DimensionEstimate(value=None, reason=reason, r_squared=None, scales=())


def fitted(
    scales: Sequence[float],
    entropies: Sequence[float],
    *,
    counts: Sequence[int] = (),
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> DimensionEstimate:
    """The dimension by the line through (ln 1/ε, S), at least two of them.

    `bounds` are those within which the slope lies but for rounding; it is put there.
    """
    fit = fit_line([-math.log(scale) for scale in scales], entropies)
    return DimensionEstimate(
        value=min(bounds[1], max(bounds[0], fit.slope)),
        reason=None,
        r_squared=fit.r_squared,
        scales=tuple(float(scale) for scale in scales),
        counts=tuple(counts),
        entropies=tuple(entropies),
        standard_error=fit.standard_error,
        interval=fit.interval,
    )
