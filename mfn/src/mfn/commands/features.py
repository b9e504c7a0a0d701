"""Measure a photograph, an array or a saved field: mask, dimensions, features."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mfn.commands._refusal import refusing

if TYPE_CHECKING:
    from mfn.measurement import Measurement

__all__ = ["features"]

_FILE = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=_FILE)
@click.option("--threshold", type=float, metavar="VALUE", help="Objects are brighter than this.")
@click.option("--percentile", type=float, metavar="P", help="Objects are brighter than P per cent of the pixels.")
@click.option("--otsu", is_flag=True, help="Objects are brighter than Otsu's threshold; the default.")
@click.option(
    "--adaptive", type=int, metavar="BLOCK", help="Objects are brighter than the mean of BLOCK × BLOCK pixels."
)
@click.option("--offset", type=float, default=0.0, metavar="VALUE", help="With --adaptive: brighter by VALUE.")
@click.option("--invert", is_flag=True, help="Objects are darker than the threshold.")
@click.option("--scale", type=float, metavar="µm", help="Side of a pixel: lengths in µm, areas in µm².")
@click.option("--page", type=int, metavar="N", help="Page of a TIFF or frame of a history, from 1.")
@click.option("--array", metavar="NAME", help="Array of an .npz file that has several.")
@click.option("--volts", is_flag=True, help="A saved field: potentials in volts, told in mV, active above -60 mV.")
@click.option("--connectivity", type=click.Choice(["4", "8"]), default="4", show_default=True, help="Of clusters.")
@click.option("--periodic", is_flag=True, help="The image goes on at the opposite edge.")
@click.option("--json", "as_json", is_flag=True, help="Print everything, the mask too, as one JSON object.")
@click.option("--overlay", type=_FILE, metavar="FILE", help="Draw the image with the outline of the mask, as .png.")
@click.option("--plot", "fit", type=_FILE, metavar="FILE", help="Draw the fit of the dimension, as .png.")
def features(
    file: Path, connectivity: str, as_json: bool, overlay: Path | None, fit: Path | None, **arguments: Any
) -> None:
    """Measure a photograph, an array or a saved field.

    FILE is a picture (.png, .tif, .jpg), an array (.npy, .npz) or a table of numbers (.csv, .tsv, .txt). The object is
    what lies beyond the threshold, which is in the unit of the values: levels as they are stored in a picture, mV with
    --volts.

    Exit status 2 where a value is refused, and 1 where a file cannot be read or written. What cannot be written is
    known before the work begins, and nothing is written then.
    """
    with refusing():
        _check_files(file, overlay, fit)
        measured = _measured(file, connectivity=int(connectivity), **arguments)
        if fit is not None and measured.averaged_dimension.value is None:
            raise click.ClickException(f"there is no fit to draw: {measured.averaged_dimension.reason}")
        if overlay is not None:
            measured.overlay(overlay)
        if fit is not None:
            measured.plot(fit)
    if as_json:
        click.echo(json.dumps(measured.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    _print(measured)
    for path in (overlay, fit):
        if path is not None:
            click.echo(f"wrote {path}")


def _check_files(source: Path, overlay: Path | None, fit: Path | None) -> None:
    """Find out what cannot be written, and what would be lost by it, before anything is measured."""
    from mfn._files import require_apart, require_writable

    require_apart({"FILE": source, "--overlay": overlay, "--plot": fit})
    for path in (overlay, fit):
        if path is not None:
            from mfn._figures import picture_format

            picture_format(path)
            require_writable(path)


def _measured(file: Path, **arguments: Any) -> Measurement:
    from mfn.measurement import UnreadableError
    from mfn.measurement import features as measure

    try:
        return measure(file, **arguments)
    except UnreadableError as wrong:
        raise click.ClickException(str(wrong)) from wrong
    except MemoryError:
        raise click.ClickException(f"{file} does not fit into memory; cut or shrink the image") from None


def _print(measured: Measurement) -> None:
    """A table on a terminal; the same as plain lines, unwrapped, anywhere else."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(measured)
        return
    rows = measured.rows()
    width = max(len(name) for name, value, _ in rows if value)
    for name, value, unit in rows:
        if not value:
            click.echo(f"\n{name}")
        else:
            click.echo(f"{name.ljust(width)}  {value} {unit}".rstrip())
