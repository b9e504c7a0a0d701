"""Draw the frames of one simulation side by side, in one scale of colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mfn_client import Frame

__all__ = ["draw"]

INK, PAPER = "#e8e6e3", "#101014"


def draw(frames: Sequence[Frame], path: Path, *, title: str) -> None:
    """Write a picture of frames that carry their field; the format is that of the suffix of `path`.

    Colours run from the lowest potential to the 99.8th percentile of all frames: the freshest spikes, a few cells,
    would else take most of the scale.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no frame, or one without a field.
    """
    from matplotlib.figure import Figure

    fields = [frame.field * 1000.0 for frame in frames if frame.field is not None]
    if not fields or len(fields) < len(frames):
        raise ValueError("every frame must carry its field: ask for it with field='float32'")
    low, high = min(field.min() for field in fields), np.percentile(np.stack(fields), 99.8)
    figure = Figure(figsize=(3.1 * len(frames), 3.75), dpi=100, facecolor=PAPER)
    figure.text(0.012, 0.93, title, color=INK, fontsize=12)
    edges = np.linspace(0.012, 0.925, len(frames) + 1)
    for frame, field, left, right in zip(frames, fields, edges, edges[1:], strict=False):
        axes = figure.add_axes((float(left), 0.1, float(right - left) - 0.008, 0.78))
        image = axes.imshow(field, cmap="inferno", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        growth = "1 growth event" if frame.growth_events == 1 else f"{frame.growth_events} growth events"
        figure.text(float(left), 0.045, f"step {frame.step}, {growth}", color=INK, fontsize=9.5)
    bar = figure.colorbar(image, cax=figure.add_axes((0.932, 0.1, 0.011, 0.78)), extend="max")
    bar.set_label("potential (mV)", color=INK, fontsize=9.5)
    bar.ax.tick_params(colors=INK, labelsize=8.5)
    bar.outline.set_visible(False)
    figure.savefig(path, facecolor=PAPER)
