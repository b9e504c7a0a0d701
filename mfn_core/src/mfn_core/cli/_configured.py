"""What the commands share that need a configuration: its options, reading it, and the one screen of its problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mfn_core.config import ConfigError, override, read_document

if TYPE_CHECKING:
    from mfn_core.config import Document

__all__ = ["INVALID", "configuration_options", "load", "problems_on_stderr"]

F = TypeVar("F", bound=Callable[..., Any])

INVALID = 2
"""Exit status for a configuration that cannot be used, as for a command line that cannot."""


def configuration_options(command: F) -> F:
    """Add `-c FILE` and `--set PATH=VALUE`, as the arguments `config` and `overrides`."""
    command = click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file (TOML). Without one, the installed default set serves on loopback.",
    )(command)
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="PATH=VALUE",
        help="Override one setting, such as transports.grpc.listen=127.0.0.1:0; may be repeated.",
    )(command)


def load(config: Path | None, overrides: Sequence[str], directory: Path) -> Document:
    """The configuration that the options name; without a file the default one, whose files go to `directory`.

    Raises:
        ConfigError: with every problem.
    """
    if config is not None:
        return read_document(config, overrides)
    from mfn_core.host import default_document

    return override(default_document(directory), overrides)


def _coloured(text: str) -> str:
    """The one screen of problems in colour; click takes it away again where standard error is no terminal."""
    if os.environ.get("NO_COLOR"):
        return text
    lines = []
    for number, line in enumerate(text.splitlines()):
        if number == 0:
            lines.append(click.style(line, fg="red", bold=True))
        elif line.startswith("    "):
            lines.append(click.style(line, fg="green"))
        else:
            path, colon, message = line.partition(": ")
            lines.append(click.style(path, bold=True) + colon + message if colon else line)
    return "\n".join(lines)


@contextmanager
def problems_on_stderr() -> Iterator[None]:
    """Turn a `ConfigError` of the block into its text on standard error and exit status 2."""
    try:
        yield
    except ConfigError as wrong:
        click.echo(_coloured(str(wrong)), err=True)
        raise SystemExit(INVALID) from None
