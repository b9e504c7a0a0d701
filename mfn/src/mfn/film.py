"""Draw the frames of one trajectory: side by side as a strip, or one after another as an animation.

All frames share one scale of colour, from the 0.1th to the 99.8th percentile of all values: the freshest spikes, a few
cells, would else take most of it, and the noise of the beginning the rest.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfn._figures import (
    INK,
    PAPER,
    POTENTIAL,
    Quantity,
    Snapshot,
    blank,
    colour_range,
    events,
    extend_of,
    picture_format,
    require_matplotlib,
)
from mfn._files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["FRAMES_PER_SECOND", "MAX_STRIP", "animate", "film_strip", "require_gif"]

LOW, HIGH = 0.1, 99.8
"""Percentiles at the ends of the colours."""
SIDE, GAP, LEFT, BOTTOM, BAR = 2.77, 0.08, 0.12, 0.37, 1.0
"""Of a strip, in inches: a frame, the space after it, the margins, and the room of the colour bar."""
MAX_STRIP = 12
"""Frames that still can be told apart side by side."""
FRAMES_PER_SECOND = (0.1, 50.0)
"""What browsers show: a frame of a GIF lasts a whole number of hundredths of a second, at least two."""


def film_strip(
    frames: Sequence[Snapshot],
    path: str | Path,
    *,
    title: str,
    quantity: Quantity = POTENTIAL,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw frames side by side, in one scale of colour.

    Args:
        frames: 1 to 12, each with its field; [N, N], all of one size.
        path: the picture; the format is that of the suffix. It is replaced whole or not at all.
        title: one line above the frames.
        quantity: what the fields hold; a potential in V, drawn in mV, unless given.
        limits: ends of the colour scale, in the unit drawn.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no frame or too many, one is without a field, or the format is unknown.
        OSError: the picture cannot be written; an existing one is as it was.
    """
    require_matplotlib()
    target = Path(path)
    suffix = picture_format(target)
    if len(frames) > MAX_STRIP:
        raise ValueError(f"a strip shows at most {MAX_STRIP} frames, got {len(frames)}; take fewer, or animate them")
    fields = _fields(frames, quantity)
    low, high = colour_range(fields, limits, low=LOW, high=HIGH)
    width = LEFT + len(frames) * (SIDE + GAP) + BAR
    lines = textwrap.wrap(title, max(20, int(width * 12.5)))
    top = 0.2 + 0.22 * len(lines)
    height = top + SIDE + BOTTOM
    figure = blank(width, height, dpi=100, ground=PAPER)
    figure.text(LEFT / width, 1.0 - 0.12 / height, "\n".join(lines), color=INK, fontsize=12, va="top")
    for number, (frame, field) in enumerate(zip(frames, fields, strict=True)):
        left = LEFT + number * (SIDE + GAP)
        axes = figure.add_axes((left / width, BOTTOM / height, SIDE / width, SIDE / height))
        image = axes.imshow(field, cmap="inferno", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        figure.text(left / width, 0.13 / height, _caption(frame, frames), color=INK, fontsize=9.5)
    place = ((width - BAR + 0.06) / width, BOTTOM / height, 0.11 / width, SIDE / height)
    _colour_bar(figure, image, place, quantity, extend_of(fields, (low, high)))
    with replacing(target) as file:
        figure.savefig(file, format=suffix, facecolor=PAPER)


def animate(
    frames: Sequence[Snapshot],
    path: str | Path,
    *,
    title: str,
    frames_per_second: float = 12.5,
    quantity: Quantity = POTENTIAL,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw frames one after another as a GIF that repeats for ever, in one scale of colour.

    Args:
        frames: at least 2, each with its field; [N, N], all of one size.
        path: ends in `.gif`; it is replaced whole or not at all.
        title: one line above the field.
        frames_per_second: 0.1 to 50. A frame of a GIF lasts a whole number of hundredths of a second.
        quantity: what the fields hold; a potential in V, drawn in mV, unless given.
        limits: ends of the colour scale, in the unit drawn.

    Raises:
        ImportError: matplotlib or Pillow is not installed.
        ValueError: there are fewer than two frames, one is without a field, the speed is out of its bounds, or `path`
            does not end in `.gif`.
        OSError: the file cannot be written; an existing one is as it was.
    """
    target = Path(path)
    require_gif(target, frames_per_second)
    if len(frames) < 2:
        raise ValueError(f"an animation needs at least 2 frames, got {len(frames)}; take more, or draw a strip")
    from PIL import Image

    fields = _fields(frames, quantity)
    limits = colour_range(fields, limits, low=LOW, high=HIGH)
    film = _Film(frames, fields, title, quantity, limits)
    # One palette for all frames: with one each, the colours of a cell that does not change would flicker.
    palette = _palette(Image)
    pictures = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in film.pictures()
    ]
    lasting = round(100.0 / frames_per_second) * 10
    encoded = io.BytesIO()
    pictures[0].save(
        encoded,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[*[lasting] * (len(pictures) - 1), max(lasting, 1000)],  # the last one rests before it all begins anew
        loop=0,
        optimize=False,
        disposal=1,
    )
    with replacing(target) as file:
        file.write(encoded.getvalue())


def require_gif(path: Path, frames_per_second: float) -> None:
    """Find out now whether `animate` could write such a file, before long work whose result would be lost.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the path does not end in `.gif`, or the speed is out of its bounds.
    """
    require_matplotlib()
    if path.suffix.lower() != ".gif":
        raise ValueError(f"{path} does not end in .gif, which is the format of animations; rename it")
    slowest, fastest = FRAMES_PER_SECOND
    if not slowest <= frames_per_second <= fastest:
        raise ValueError(f"frames per second must be {slowest:g} to {fastest:g}, got {frames_per_second!r}")


class _Film:
    """A figure whose field changes from frame to frame."""

    def __init__(
        self,
        frames: Sequence[Snapshot],
        fields: Sequence[npt.NDArray[np.float64]],
        title: str,
        quantity: Quantity,
        limits: tuple[float, float],
    ) -> None:
        self._frames, self._fields = frames, fields
        low, high = limits
        lines = textwrap.wrap(title, 58)
        width, side, bottom = 5.2, 4.16, 0.42
        height = bottom + side + 0.2 + 0.2 * len(lines)
        self._left, self._right = LEFT / width, (LEFT + side) / width
        self._figure = blank(width, height, dpi=100, ground=PAPER)
        self._figure.text(self._left, 1.0 - 0.1 / height, "\n".join(lines), color=INK, fontsize=11, va="top")
        axes = self._figure.add_axes((self._left, bottom / height, side / width, side / height))
        axes.set_axis_off()
        self._image = axes.imshow(fields[0], cmap="inferno", vmin=low, vmax=high, interpolation="nearest")
        self._caption = self._figure.text(self._left, 0.13 / height, "", color=INK, fontsize=9.5)
        place = (self._right + 0.1 / width, bottom / height, 0.12 / width, side / height)
        _colour_bar(self._figure, self._image, place, quantity, extend_of(fields, limits))
        # How far the run is, as a line under the field.
        under = (bottom - 0.035) / height
        self._figure.add_artist(_line(self._left, self._right, under, INK, alpha=0.25))
        self._progress = _line(self._left, self._left, under, "#f98e09", alpha=1.0)
        self._figure.add_artist(self._progress)

    def pictures(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Every frame as [height, width, 3]."""
        for frame, field in zip(self._frames, self._fields, strict=True):
            yield self._picture(frame, field)

    def _picture(self, frame: Snapshot, field: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        self._image.set_data(field)
        self._caption.set_text(_caption(frame, self._frames))
        last = max(self._frames[-1].step, 1)
        share = frame.step / last
        self._progress.set_xdata([self._left, self._left + (self._right - self._left) * share])
        canvas: Any = self._figure.canvas
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _line(left: float, right: float, height: float, colour: str, *, alpha: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([left, right], [height, height], color=colour, alpha=alpha, linewidth=2, solid_capstyle="butt")


def _palette(image: Any) -> Any:
    """256 colours: those of the scale, most of them, and the greys of text on dark ground."""
    from matplotlib import colormaps

    scale = np.round(colormaps["inferno"](np.linspace(0.0, 1.0, 224))[:, :3] * 255)
    ink, paper = (np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) for text in (INK, PAPER))
    greys = np.round(paper + (ink - paper) * np.linspace(0.0, 1.0, 32)[:, None])
    palette = image.new("P", (1, 1))
    palette.putpalette(np.concatenate([scale, greys]).astype(np.uint8).tobytes())
    return palette


def _fields(frames: Sequence[Snapshot], quantity: Quantity) -> list[npt.NDArray[np.float64]]:
    fields = [quantity.of(frame.field) for frame in frames if frame.field is not None]
    if not fields or len(fields) < len(frames):
        raise ValueError("every frame must carry its field: ask for it with field='float32'")
    if len({field.shape for field in fields}) > 1:
        raise ValueError("the frames are of different sizes; draw those of one trajectory")
    return fields


def _caption(frame: Snapshot, frames: Sequence[Snapshot]) -> str:
    grows = any(each.growth_events for each in frames)
    return f"step {frame.step}, {events(frame.growth_events)}" if grows else f"step {frame.step}"


def _colour_bar(
    figure: Figure, image: AxesImage, place: tuple[float, float, float, float], quantity: Quantity, extend: str
) -> None:
    bar = figure.colorbar(image, cax=figure.add_axes(place), extend=extend)
    bar.set_label(quantity.label, color=INK, fontsize=9.5)
    bar.ax.tick_params(colors=INK, labelsize=8.5)
    bar.ax.ticklabel_format(useOffset=False)
    bar.outline.set_visible(False)
