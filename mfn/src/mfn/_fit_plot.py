"""Draw the fit of a box-counting dimension: counts over box sizes, line, confidence band, residuals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfn._figures import blank, picture_format, require_matplotlib
from mfn._files import replacing
from mfn_model.dimension import DimensionEstimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mfn.measurement import Measurement

__all__ = ["fit_plot"]

POINTS, BAND, NESTED = "#d1480a", "#4477aa", "#777777"


def fit_plot(measured: Measurement, path: str | Path | None) -> Figure:
    """What `Measurement.plot` does."""
    require_matplotlib()

    target = None if path is None else Path(path)
    suffix = None if target is None else picture_format(target)
    estimate = measured.averaged_dimension
    if estimate.value is None:
        raise ValueError(f"an undefined dimension has no fit to draw: {estimate.reason}")
    figure = blank(6.6, 6.2, dpi=150)
    figure.set_layout_engine("constrained")
    counts, residuals = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
    length = measured.config.cell_length
    _draw_counts(counts, estimate, measured.dimension, length)
    _draw_residuals(residuals, estimate, length)
    unit = "pixels" if measured.config.length_unit == "cells" else measured.config.length_unit
    residuals.set_xlabel(f"box size ε ({unit})")
    counts.set_title(f"{_shortened(measured.name)}: {_told(estimate)}", loc="left", fontsize="medium")
    for axes in (counts, residuals):
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    _label_sizes(residuals, estimate, length)
    if target is not None:
        with replacing(target) as file:
            figure.savefig(file, format=suffix)
    return figure


def _draw_counts(axes: Any, estimate: DimensionEstimate, nested: DimensionEstimate, length: float) -> None:
    sizes = np.geomspace(estimate.scales[0] / 1.08, estimate.scales[-1] * 1.08, 120)
    line, halves = zip(*(estimate.line(float(size)) for size in sizes), strict=True)
    middle = np.array(line)
    if None not in halves:
        half = np.array(halves, dtype=np.float64)
        axes.fill_between(
            sizes * length,
            np.exp(middle - half),
            np.exp(middle + half),
            color=BAND,
            alpha=0.28,
            linewidth=0,
            label="95 % confidence band",
        )
    axes.plot(sizes * length, np.exp(middle), color=BAND, linewidth=1.3, label=f"slope −{estimate.value:.3f}")
    if nested.value is not None:
        # Dotted where the line is not fitted but prolonged, to the largest and the smallest of the nested boxes.
        beyond = np.array([min(sizes[0], nested.scales[0]), max(sizes[-1], nested.scales[-1])])
        prolonged = [math.exp(estimate.line(float(size))[0]) for size in beyond]
        axes.plot(beyond * length, prolonged, color=BAND, linewidth=1.0, linestyle=":", zorder=1.5)
        axes.plot(
            np.array(nested.scales) * length,
            nested.counts,
            linestyle="none",
            marker="s",
            markersize=6.5,
            markerfacecolor="none",
            markeredgecolor=NESTED,
            label=f"nested boxes ({nested.value:.3f})",
        )
    axes.plot(
        np.array(estimate.scales) * length,
        np.exp(estimate.entropies),
        linestyle="none",
        marker="o",
        markersize=5,
        color=POINTS,
        label="mean over all positions",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylabel("boxes with part of the mask, N(ε)")
    axes.legend(frameon=False, fontsize="small", loc="upper right")


def _draw_residuals(axes: Any, estimate: DimensionEstimate, length: float) -> None:
    sizes = np.array(estimate.scales)
    fitted = np.array([estimate.line(float(size))[0] for size in sizes])
    # ln N differs from the line by a factor of N: in per cent it is something one can picture.
    deviations = 100.0 * (np.exp(np.array(estimate.entropies) - fitted) - 1.0)
    axes.axhline(0.0, color=BAND, linewidth=1.3)
    axes.vlines(sizes * length, 0.0, deviations, color=POINTS, linewidth=1.0)
    axes.plot(sizes * length, deviations, linestyle="none", marker="o", markersize=4.5, color=POINTS)
    axes.set_ylabel("off the line (%)")
    reach = max(1.0, 1.25 * float(np.abs(deviations).max()))
    axes.set_ylim(-reach, reach)


def _label_sizes(axes: Any, estimate: DimensionEstimate, length: float) -> None:
    """Ticks at powers of two of pixels, told in the unit of length: few enough not to touch each other."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

    low, high = (limit / length for limit in axes.get_xlim())
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first + 1) / 9))
    sizes = [2.0**power for power in range(first, last + 1, step)]
    axes.xaxis.set_major_locator(FixedLocator([size * length for size in sizes]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{size * length:.4g}" for size in sizes]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _told(estimate: DimensionEstimate) -> str:
    assert estimate.value is not None
    if estimate.interval is None:
        return f"dimension {estimate.value:.3f}"
    half = (estimate.interval[1] - estimate.interval[0]) / 2
    return f"dimension {estimate.value:.3f} ± {half:.3f}, R² {estimate.r_squared:.4f}"


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:13]}…{name[-13:]}"
