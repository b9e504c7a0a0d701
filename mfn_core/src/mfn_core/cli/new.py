"""`mfn new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mfn_core.cli._scaffold import KINDS, Kind, require_free, require_name, write_package

__all__ = ["new"]

_directory = click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Where the package's folder is made; the current directory unless given.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def new() -> None:
    """Begin a package of your own: a backend, a field model or another plugin, with the tests that it must pass."""


@new.command()
@click.argument("name")
@_directory
def backend(name: str, directory: Path) -> None:
    """Begin the compute backend NAME.

    As generated it steps the model mycelium in plain NumPy and passes its suite.
    """
    _begin(KINDS["backend"], name, directory)


@new.command()
@click.argument("name")
@_directory
def model(name: str, directory: Path) -> None:
    """Begin the field model NAME.

    As generated it is logistic growth that spreads, and agrees with its tests: bounds, a step written by hand, every
    engine that is installed, the speed of its front.
    """
    _begin(KINDS["model"], name, directory)


@new.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([label for label in KINDS if label not in ("backend", "model")]),
    default="middleware",
    show_default=True,
    help="What the plugin brings.",
)
@_directory
def plugin(name: str, kind: str, directory: Path) -> None:
    """Begin a plugin that brings the component NAME.

    As generated it works and passes its suite: a middleware logs calls that take long, an authenticator takes a bearer
    token, an audit sink writes JSON lines, a limiter counts calls in flight, a service measures masks.
    """
    _begin(KINDS[kind], name, directory)


def _begin(kind: Kind, name: str, directory: Path) -> None:
    package = require_name(kind, name)
    require_free(package)
    folder = directory / package.distribution
    try:
        written = write_package(package, folder)
    except FileExistsError:
        raise click.ClickException(f"{folder} exists; choose another name, or move it away") from None
    except OSError as failed:
        raise click.ClickException(f"{folder} cannot be written: {failed.strerror or failed}") from failed
    click.echo(f"made {folder}: the {kind.label.replace('-', ' ')} {package.name!r}, plugin {package.plugin!r}")
    for path in written:
        click.echo(f"  {path}")
    click.echo("next:")
    steps = (
        f"cd {shlex.quote(str(folder))}",
        'python -m pip install -e ".[test]"',
        "python -m pytest",
        package.shown_by,
    )
    for step in steps:
        click.echo(f"  {step}")
