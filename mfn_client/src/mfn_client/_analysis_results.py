"""What is measured of a field beyond its statistics: thresholds, features, dimensions."""

from __future__ import annotations

from attrs import frozen

__all__ = ["DimensionEstimate", "DimensionPoint", "Feature", "SpeciesStatistics", "ThresholdUsed"]


@frozen(kw_only=True)
class SpeciesStatistics:
    """Statistics over all cells of any quantity, in its own unit."""

    name: str
    """The species; empty for an uploaded field."""
    unit: str
    """SI symbol, or `1` for a dimensionless quantity."""
    min: float
    max: float
    mean: float
    std: float
    """Population standard deviation."""


@frozen(kw_only=True)
class ThresholdUsed:
    """The threshold by which cells were active."""

    method: str
    """`fixed`, `percentile`, `otsu` or `adaptive`."""
    value: float | None
    """In `unit`; None where it differs from cell to cell."""
    unit: str


@frozen(kw_only=True)
class Feature:
    """One feature of a field."""

    name: str
    value: float | None
    """In `unit`; None where it is undefined."""
    unit: str
    """`1` where it has none."""
    reason: str
    """Why `value` is None; empty where it is not."""


@frozen(kw_only=True)
class DimensionPoint:
    """One point of the fit of a dimension."""

    scale: float
    """Side of a box, cells."""
    entropy: float
    """Rényi entropy at this scale, nats."""


@frozen(kw_only=True)
class DimensionEstimate:
    """A dimension with the fit that it comes from, and how straight the points of the fit lie."""

    name: str
    """The estimator: `nested_boxes`, `offset_averaged`, `information` or `correlation`."""
    value: float | None
    """None where it is undefined."""
    reason: str
    """Why `value` is None; empty where it is not."""
    r_squared: float | None
    standard_error: float | None
    """Of the slope; None for two scales, which any line meets."""
    interval: tuple[float, float] | None
    """95 % confidence interval of the slope, if the errors of the scales were independent, which they are not."""
    points: tuple[DimensionPoint, ...]
    """In rising order of scale."""
