"""Draw the outline of a mask over its image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfn._figures import blank, picture_format, require_matplotlib
from mfn._files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mfn.measurement import Measurement

__all__ = ["overlay"]

Levels = npt.NDArray[np.float64]

SMALLEST, LARGEST = 700, 1400
"""Bounds of the longer side of the drawn image in dots: small images are enlarged, large ones reduced."""

OUTLINE = (255, 92, 20)
"""Orange: no grey, and seen by those who tell red from green badly."""

TINT = 0.22
"""Share of the colour within the outline."""


def overlay(measured: Measurement, path: str | Path | None, *, ax: Axes | None) -> Axes:
    """What `Measurement.overlay` does."""
    require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    target = None if path is None else Path(path)
    suffix = None if target is None else picture_format(target)
    drawn = _composed(measured.values, measured.mask)
    if ax is None:
        dots = 150
        height, width = (side / dots for side in drawn.shape[:2])
        left, right, below, above = 0.85, 0.3, 0.6, 0.75  # inches: room for labels and captions, none of which overlaps
        whole = (max(left + width + right, 5.6), below + height + above)
        figure = blank(*whole, dpi=dots)
        ax = figure.add_axes((left / whole[0], below / whole[1], width / whole[0], height / whole[1]))
    else:
        owner = ax.get_figure(root=True)
        if owner is None:
            raise ValueError("ax belongs to no figure; make it with figure.add_subplot()")
        figure = owner
    length = measured.config.cell_length
    rows, columns = (side * length for side in measured.mask.shape)
    ax.imshow(drawn, extent=(0.0, columns, rows, 0.0), interpolation="nearest", origin="upper", aspect="equal")
    ax.set_title("\n".join(_caption(measured)), loc="left", fontsize="small")
    unit = "pixels" if measured.config.length_unit == "cells" else measured.config.length_unit
    ax.set_xlabel(f"column ({unit})" if unit == "pixels" else f"x ({unit})")
    ax.set_ylabel(f"row ({unit})" if unit == "pixels" else f"y ({unit})")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=unit == "pixels", min_n_ticks=1))
    if target is not None:
        with replacing(target) as file:
            figure.savefig(file, format=suffix)
    return ax


def _composed(values: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Grey levels with the tinted mask and its outline, in dots of the drawing."""
    grey = _grey(values)
    longer = max(values.shape)
    if longer > LARGEST:
        step = min(math.ceil(longer / LARGEST), min(values.shape))
        grey, inside = _means(grey, step), _means(mask.astype(np.float64), step)
        edge = _means(_inner_edge(mask).astype(np.float64), step) > 0.0
        return _mixed(grey, inside, edge)
    factor = max(1, round(SMALLEST / longer))
    larger = _repeated(mask, factor).astype(np.bool_)
    edge = _inner_edge(larger)
    for _ in range(min(2, factor // 2)):
        edge |= _inner_edge(larger & ~edge)
    return _mixed(_repeated(grey, factor), larger.astype(np.float64), edge)


def _mixed(grey: Levels, inside: Levels, edge: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Grey, tinted by the share of the mask in each dot, and the outline in its full colour."""
    colour = np.array(OUTLINE, dtype=np.float64)
    tint = TINT * inside[..., None]
    mixed = grey[..., None] * (1.0 - tint) + colour * tint
    mixed[edge] = colour
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _grey(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values as grey levels 25 … 230, the extreme half per cent at either end cut off, so that colours stand out."""
    low, high = np.percentile(values, [0.5, 99.5])
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        return np.full(values.shape, 128.0)
    return np.asarray(25.0 + 205.0 * np.clip((values - low) / (high - low), 0.0, 1.0))


def _inner_edge(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True cells with a false neighbour; the edge of the image is no boundary of the object."""
    padded = np.pad(mask, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~surrounded)


def _means(values: Levels, step: int) -> Levels:
    rows, columns = (side // step for side in values.shape)
    blocks = values[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float64)


def _repeated(values: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    return np.repeat(np.repeat(values, factor, axis=0), factor, axis=1)


def _caption(measured: Measurement) -> list[str]:
    image = measured.image
    name = measured.name if len(measured.name) <= 44 else f"{measured.name[:20]}…{measured.name[-20:]}"
    page = f", page {image.page} of {image.pages}" if image.pages > 1 else ""
    estimate = measured.averaged_dimension
    dimension = "dimension undefined" if estimate.value is None else f"dimension {estimate.value:.3f}"
    covered = f"{100 * measured.features.f_active:.1f} % of the pixels"
    return [f"{name}{page}", measured.threshold_words, f"{covered}, {dimension}"]
