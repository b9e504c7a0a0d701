"""Draw a field. Matplotlib is imported when something is drawn, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mfn._files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mfn.simulation import SimulationResult

__all__ = ["picture_format", "plot"]

INSTALL = 'drawing needs matplotlib; install it with: pip install "mycelium-fractal-net[plot]"'

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
    """Draw the potential of a result in mV: one square a cell, with a colour bar.

    Args:
        result: what `simulate` returned, or a frame of `stream`.
        path: write the picture there as well; the format is that of the suffix, such as `.png` or `.svg`. The file is
            replaced whole or not at all.
        ax: draw into these axes instead of a figure of its own.
        limits: potentials in mV at the two ends of the colour scale; the same for several frames makes them
            comparable. Without them the scale follows the field and leaves out its extremes, at most 0.25 % of the
            cells at either end. Where cells lie beyond an end, the colour bar has an arrow there.

    Returns:
        The axes, for captions and further drawing.

    Raises:
        ImportError: matplotlib is not installed; the text says how to install it.
        ValueError: the format of `path` is unknown, or `limits` are not two finite numbers that rise.
        OSError: the file cannot be written; an existing one is as it was.
    """
    _require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    target = None if path is None else Path(path)
    suffix = None if target is None else picture_format(target)
    millivolts = result.field * 1000.0
    low, high = _scale(millivolts) if limits is None else _checked(limits)
    first, second = _caption(result, millivolts)
    if ax is None:
        # A figure of its own and not pyplot's: nothing global is touched, and nothing is left open.
        figure = Figure(figsize=(6.5, 5.7), dpi=150)
        FigureCanvasAgg(figure)
        ax = figure.add_axes((0.095, 0.09, 0.7, 0.7 * 6.5 / 5.7))  # a square, with room for labels and colour bar
        ax.set_title(f"{first}\n{second}", loc="left", fontsize="medium")
    else:
        owner = ax.get_figure(root=True)
        if owner is None:
            raise ValueError("ax belongs to no figure; make it with figure.add_subplot()")
        figure = owner
        ax.set_title(f"step {result.step}", loc="left", fontsize="medium")  # short: it stands among others
    image = ax.imshow(
        millivolts, cmap="viridis", vmin=low, vmax=high, interpolation="nearest", origin="upper", aspect="equal"
    )
    below, above = bool(millivolts.min() < low), bool(millivolts.max() > high)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = figure.colorbar(
        image,
        cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)),  # as high as the field, however the axes are shaped
        label="potential (mV)",
        extend=extend[below, above],
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


def picture_format(path: Path) -> str:
    """The format that the suffix of `path` asks for, in lower case without the dot.

    Raises:
        ImportError: matplotlib is not installed; the text says how to install it.
        ValueError: there is no suffix, or no such format; the text names those that there are.
    """
    _require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    found = path.suffix.removeprefix(".").lower()
    if found not in known:
        raise ValueError(f"{path} does not end in a known picture format; use one of: {', '.join(known)}")
    return found


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError as missing:
        raise ImportError(INSTALL) from missing


def _scale(millivolts: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the colour scale that follow the field; apart by at least a microvolt, so that one value has a colour."""
    low, high = np.percentile(millivolts, [TAIL, 100.0 - TAIL])
    room = max(0.0, 1e-3 - (high - low)) / 2
    return float(low - room), float(high + room)


def _checked(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"limits must be two finite potentials in mV, the smaller first, got {limits!r}")
    return float(low), float(high)


def _caption(result: SimulationResult, millivolts: npt.NDArray[np.float64]) -> tuple[str, str]:
    spec = result.spec
    events = "1 growth event" if result.growth_events == 1 else f"{result.growth_events} growth events"
    first = f"{spec.model}, {spec.grid_size} × {spec.grid_size} cells, seed {spec.seed}"
    second = f"step {result.step}, {events}, {millivolts.min():.2f} to {millivolts.max():.2f} mV"
    return first, second.replace("-", "−")
