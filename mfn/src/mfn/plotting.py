"""Draw a field. Matplotlib is imported when something is drawn, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mfn._figures import (
    POTENTIAL,
    Quantity,
    blank,
    colour_range,
    events,
    extend_of,
    picture_format,
    quantity_of,
    require_matplotlib,
    signed,
)
from mfn._files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mfn.simulation import SimulationResult

__all__ = ["draw_field", "picture_format", "plot"]

TAIL = 0.25
"""Per cent of the cells at either end of the distribution that the colours may leave out. A few fresh spikes would
else take most of the scale and turn the rest of the field into one shade."""


def plot(
    result: SimulationResult,
    path: str | Path | None = None,
    *,
    ax: Axes | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw the field of a result, a potential in mV: one square a cell, with a colour bar.

    Args:
        result: what `simulate` returned, or a frame of `stream`.
        path: write the picture there as well; the format is that of the suffix, such as `.png` or `.svg`. The file is
            replaced whole or not at all.
        ax: draw into these axes instead of a figure of its own.
        limits: potentials in mV (or values in the unit of the model) at the two ends of the colour scale; the same for
            several frames makes them comparable. Without them the scale follows the field and leaves out its extremes,
            at most 0.25 % of the cells at either end. Where cells lie beyond an end, the colour bar has an arrow there.

    Returns:
        The axes, for captions and further drawing.

    Raises:
        ImportError: matplotlib is not installed; the text says how to install it.
        ValueError: the format of `path` is unknown, or `limits` are not two finite numbers that rise.
        OSError: the file cannot be written; an existing one is as it was.
    """
    quantity = quantity_of(result.spec)
    values = quantity.of(result.field)
    if ax is None:
        first, second = _caption(result, values, quantity)
        title = f"{first}\n{second}"
    else:
        title = f"step {result.step}"  # short: it stands among others
    return _drawn(values, path, title=title, quantity=quantity, ax=ax, limits=limits)


def draw_field(
    field: npt.NDArray[np.float64],
    path: str | Path | None = None,
    *,
    title: str,
    quantity: Quantity = POTENTIAL,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw a field of which nothing but its values is known, as `plot` draws one.

    Args:
        field: [rows, columns], finite, in volts unless `quantity` says otherwise.
        path: as in `plot`.
        title: the first line above the picture.
        quantity: what the values are.
        limits: as in `plot`.

    Raises:
        ImportError: as `plot`.
        ValueError: as `plot`, or the field is not two-dimensional, has no cell, or holds NaN or infinite values.
        OSError: as `plot`.
    """
    values = quantity.of(field)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"a field has rows and columns, got an array of shape {values.shape}")
    if not np.isfinite(values).all():
        count, unit = np.count_nonzero(~np.isfinite(values)), quantity.unit.strip() or "its unit"
        raise ValueError(f"the field holds {count} values that are not finite in {unit}")
    rows, columns = values.shape
    first = f"{title}, {rows} × {columns} cells"
    return _drawn(values, path, title=f"{first}\n{_span(values, quantity)}", quantity=quantity, ax=None, limits=limits)


def _drawn(
    values: npt.NDArray[np.float64],
    path: str | Path | None,
    *,
    title: str,
    quantity: Quantity,
    ax: Axes | None,
    limits: tuple[float, float] | None,
) -> Axes:
    require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    target = None if path is None else Path(path)
    suffix = None if target is None else picture_format(target)
    low, high = colour_range([values], limits, low=TAIL, high=100.0 - TAIL)
    if ax is None:
        figure = blank(6.5, 5.7, dpi=150)
        ax = figure.add_axes((0.095, 0.09, 0.7, 0.7 * 6.5 / 5.7))  # a square, with room for labels and colour bar
    else:
        owner = ax.get_figure(root=True)
        if owner is None:
            raise ValueError("ax belongs to no figure; make it with figure.add_subplot()")
        figure = owner
    ax.set_title(title, loc="left", fontsize="medium")
    image = ax.imshow(
        values, cmap="viridis", vmin=low, vmax=high, interpolation="nearest", origin="upper", aspect="equal"
    )
    bar = figure.colorbar(
        image,
        cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)),  # as high as the field, however the axes are shaped
        label=quantity.label,
        extend=extend_of([values], (low, high)),
        extendfrac=0.03,
    )
    bar.outline.set_visible(False)
    bar.ax.ticklabel_format(useOffset=False)
    ax.set_xlabel("column (cells)")
    ax.set_ylabel("row (cells)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    for spine in ax.spines.values():
        spine.set_visible(False)
    if target is not None:
        with replacing(target) as file:
            figure.savefig(file, format=suffix)
    return ax


def _caption(result: SimulationResult, values: npt.NDArray[np.float64], quantity: Quantity) -> tuple[str, str]:
    spec = result.spec
    first = f"{spec.model}, {spec.grid_size} × {spec.grid_size} cells, seed {spec.seed}"
    counted = [events(result.growth_events)] if spec.declaration.spikes else []
    return first, ", ".join([f"step {result.step}", *counted, _span(values, quantity)])


def _span(values: npt.NDArray[np.float64], quantity: Quantity) -> str:
    places = quantity.places
    return signed(f"{values.min():.{places}f} to {values.max():.{places}f}{quantity.unit}")
