"""Draw a field, a film strip, an animation, or what a sweep found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfn.commands._refusal import refusing
from mfn.commands._run_options import RunOptions, run_options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mfn.simulation import SimulationResult

__all__ = ["plot"]

MAX_FRAMES = 2000
"""Of an animation; a longer one is a file that nothing shows."""

_limits = click.option(
    "--limits",
    metavar="LOW:HIGH",
    help="Ends of the colour scale, in mV or the model's unit; from the field unless given.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def plot() -> None:
    """Draw a field, a film strip, an animation, or what a sweep found."""


@plot.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--unit", type=click.Choice(["V", "1"]), default="V", show_default=True, help="Of the values of FILE.")
@_limits
@run_options
def field(picture: Path, file: Path | None, unit: str, limits: str | None, run: RunOptions) -> None:
    """Draw one field into PICTURE (.png, .svg, .pdf): that of FILE (.npy), or the last one of a run."""
    with refusing():
        from mfn._files import require_writable
        from mfn.plotting import draw_field, picture_format
        from mfn.plotting import plot as draw

        ends = _ends(limits)
        picture_format(picture)
        require_writable(picture)
        if file is None:
            draw(_simulated(run), picture, limits=ends)
        else:
            from mfn._figures import POTENTIAL, Quantity

            quantity = POTENTIAL if unit == "V" else Quantity(label="value", unit="")
            draw_field(_loaded(file), picture, title=file.name, quantity=quantity, limits=ends)
    click.echo(f"wrote {picture}")


@plot.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--frames", type=click.IntRange(1, 12), default=6, show_default=True, help="Frames, evenly spaced.")
@_limits
@run_options
def strip(picture: Path, frames: int, limits: str | None, run: RunOptions) -> None:
    """Draw frames of one run side by side into PICTURE (.png, .svg, .pdf), in one scale of colour."""
    with refusing():
        from mfn._figures import quantity_of, title_of
        from mfn._files import require_writable
        from mfn.film import film_strip
        from mfn.plotting import picture_format

        ends = _ends(limits)
        picture_format(picture)
        require_writable(picture)
        # The first one after a step, not before: the initial field is noise of its own kind.
        every = max(1, run.steps // frames)
        shown = _frames(run, every)[-frames:]
        spec = shown[0].spec
        film_strip(shown, picture, title=title_of(spec), quantity=quantity_of(spec), limits=ends)
    click.echo(f"wrote {picture}: {len(shown)} frames")


@plot.command()
@click.argument("animation", type=click.Path(path_type=Path))
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Steps from one frame to the next.")
@click.option("--fps", type=float, default=12.5, show_default=True, help="Frames a second, 0.1 to 50.")
@_limits
@run_options
def film(animation: Path, every: int, fps: float, limits: str | None, run: RunOptions) -> None:
    """Draw the frames of one run one after another into ANIMATION (.gif), in one scale of colour."""
    with refusing():
        from mfn._figures import quantity_of, title_of
        from mfn._files import require_writable
        from mfn.film import animate, require_gif

        ends = _ends(limits)
        require_gif(animation, fps)
        require_writable(animation)
        if run.steps // every > MAX_FRAMES:
            raise ValueError(f"that is {run.steps // every} frames, the bound is {MAX_FRAMES}; raise --every")
        shown = _frames(run, every)
        spec = shown[0].spec
        animate(shown, animation, title=title_of(spec), frames_per_second=fps, quantity=quantity_of(spec), limits=ends)
    click.echo(f"wrote {animation}: {len(shown)} frames")


@plot.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("column")
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--over", help="Column along the horizontal axis; the first parameter that varies unless given.")
@click.option("--by", help="A further column: one colour for each of its values.")
def sweep(table: Path, column: str, picture: Path, over: str | None, by: str | None) -> None:
    """Draw a COLUMN of a sweep, such as V_std, over a parameter into PICTURE (.png, .svg, .pdf).

    TABLE is the Parquet file of the sweep, or its directory.
    """
    with refusing():
        from mfn.sweep_plots import plot_sweep

        plot_sweep(table, column, picture, over=over, by=by)
    click.echo(f"wrote {picture}")


def _simulated(run: RunOptions) -> SimulationResult:
    from mfn.simulation import simulate

    return simulate(
        run.seed,
        run.grid_size,
        run.steps,
        model=run.model,
        boundary=run.boundary,
        engine=run.engine,
        parameters=run.parameters(),
    )


def _frames(run: RunOptions, every: int) -> Sequence[SimulationResult]:
    from mfn.simulation import stream

    frames = stream(
        run.seed,
        run.grid_size,
        run.steps,
        every=every,
        model=run.model,
        boundary=run.boundary,
        engine=run.engine,
        parameters=run.parameters(),
    )
    return list(frames)


def _loaded(file: Path) -> npt.NDArray[np.float64]:
    import numpy as np

    from mfn._image_files import mapped_array

    try:
        found = mapped_array(file)
    except ValueError as wrong:
        raise ValueError(f"{wrong}; give one that mfn simulate --save wrote") from wrong
    if found.dtype.kind not in "fiub":
        raise ValueError(f"{file} does not hold one array of numbers")
    return found.astype(np.float64)


def _ends(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"--limits {text!r} is not LOW:HIGH, such as -75:-60") from None
