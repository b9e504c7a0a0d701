"""Simulate a field here, measure it, save it and draw it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfn.commands._refusal import Refused
from mfn.commands._run_options import assigned

if TYPE_CHECKING:
    from mfn.simulation import SimulationResult

__all__ = ["simulate"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of everything random.")
@click.option("--grid", "grid_size", type=int, default=64, show_default=True, help="Cells along each side.")
@click.option("--steps", type=int, default=64, show_default=True, help="Steps to simulate.")
@click.option("--alpha", type=float, help="Diffusion coefficient of the potential; 0.18 unless given.")
@click.option("--spike-probability", type=float, help="Of a growth event, each step; 0.25 unless given.")
@click.option("--no-turing", is_flag=True, help="Leave activator and inhibitor out.")
@click.option("--jitter", is_flag=True, help="Add noise to every cell at every step.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any parameter of the model.")
@click.option("--model", default="mycelium", show_default=True, help="Field model; `mfn models` lists them.")
@click.option("--boundary", default="", help="Of the grid; the model's own unless given.")
@click.option("--engine", default="auto", show_default=True, help="Compute engine; auto takes the fastest.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Write the field, in volts, as .npy.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw the field, as .png.")
def simulate(
    seed: int,
    grid_size: int,
    steps: int,
    alpha: float | None,
    spike_probability: float | None,
    no_turing: bool,
    jitter: bool,
    assignments: tuple[str, ...],
    model: str,
    boundary: str,
    engine: str,
    as_json: bool,
    save: Path | None,
    picture: Path | None,
) -> None:
    """Simulate a field here, measure it, save it and draw it.

    Exit status 2 where a value is refused, and 1 where a file cannot be written; both are known before the work
    begins, and nothing is written then.
    """
    from mfn_model import SpecError

    _check_files(save, picture)
    parameters = _parameters(
        {
            "alpha": ("--alpha", alpha),
            "spike_probability": ("--spike-probability", spike_probability),
            "turing_enabled": ("--no-turing", False if no_turing else None),
            "jitter": ("--jitter", jitter or None),
        },
        assignments,
    )
    try:
        watched = not as_json and sys.stderr.isatty()
        result = _run(seed, grid_size, steps, model, boundary, engine, parameters, watched=watched)
    except SpecError as wrong:
        raise Refused(str(wrong)) from wrong
    except MemoryError:
        raise click.ClickException(f"a grid of {grid_size} × {grid_size} cells does not fit into memory") from None
    try:
        if save is not None:
            result.save(save)
        if picture is not None:
            from mfn.plotting import plot

            plot(result, picture)
    except OSError as failed:
        raise _unwritable(failed) from failed
    if as_json:
        click.echo(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    _print(result)
    for path in (save, picture):
        if path is not None:
            click.echo(f"wrote {path}")


def _parameters(
    options: dict[str, tuple[str, float | bool | None]], assignments: tuple[str, ...]
) -> dict[str, float | bool]:
    """Parameters by name: those of options, by the option and its value, and those of texts NAME=VALUE.

    What was not given is left to the model, which need not have such a parameter.
    """
    switches = {"true": True, "on": True, "false": False, "off": False}
    found = {name: value for name, (_, value) in options.items() if value is not None}
    given = {name: options[name][0] for name in found}
    for text in assignments:
        try:
            name, value = assigned(text)
        except ValueError as wrong:
            raise Refused(str(wrong)) from wrong
        if name in given:
            raise Refused(f"{name} is given twice, by {given[name]} and --set {text}; leave one out")
        given[name] = f"--set {text}"
        try:
            found[name] = switches[value.lower()] if value.lower() in switches else float(value)
        except ValueError:
            raise Refused(f"--set {text!r} has no number and no on or off after its =") from None
    return found


def _check_files(save: Path | None, picture: Path | None) -> None:
    """Find out what cannot be written before anything is computed."""
    from mfn._files import require_writable

    try:
        if save is not None:
            from mfn.simulation import npy_path

            require_writable(npy_path(save))
        if picture is not None:
            from mfn.plotting import picture_format

            picture_format(picture)
            require_writable(picture)
    except ValueError as wrong:
        raise Refused(str(wrong)) from wrong
    except ImportError as missing:
        raise click.ClickException(str(missing)) from missing
    except OSError as failed:
        raise _unwritable(failed) from failed


def _run(
    seed: int,
    grid_size: int,
    steps: int,
    model: str,
    boundary: str,
    engine: str,
    parameters: dict[str, float | bool],
    *,
    watched: bool,
) -> SimulationResult:
    from mfn.simulation import simulate as run

    if not watched:
        return run(seed, grid_size, steps, model=model, boundary=boundary, engine=engine, parameters=parameters)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("steps", total=max(steps, 0))

        def show(done: int, _: int) -> None:
            bar.update(task, completed=done)

        return run(
            seed, grid_size, steps, model=model, boundary=boundary, engine=engine, progress=show, parameters=parameters
        )


def _print(result: SimulationResult) -> None:
    """A table on a terminal; the same as plain lines, unwrapped, anywhere else."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(result)
        return
    rows = result.rows()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name.ljust(width)}  {value}")


def _unwritable(failed: OSError) -> click.ClickException:
    reason = (failed.strerror or str(failed)).lower()
    return click.ClickException(f"{failed.filename}: cannot be written: {reason}")
