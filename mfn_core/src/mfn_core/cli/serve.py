"""`mfn serve`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfn_core.cli._configured import configuration_options, load, problems_on_stderr
from mfn_core.cli._flags import Flags
from mfn_core.config import ConfigError

if TYPE_CHECKING:
    from mfn_core.config import Document

__all__ = ["serve"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@configuration_options
@click.option(
    "--port",
    metavar="[NAME=]PORT",
    multiple=True,
    help="Port of a transport: of the one that NAME names, else of the first one that the plugins bring.",
)
@click.option(
    "--no-auth",
    is_flag=True,
    help="Serve calls without credentials too. On loopback only, and only for trying things out.",
)
def serve(config: Path | None, overrides: tuple[str, ...], port: tuple[str, ...], no_auth: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    The whole configuration is checked before a port is opened; what is wrong with it is reported at once, with exit
    status 2. Without a configuration file the installed default set serves on loopback with a fresh random key; the
    key and what the server records are in a directory of their own, which is named and kept.
    """
    flags = Flags(ports=port, no_auth=no_auth)
    with problems_on_stderr():
        status = _serve_default(overrides, flags) if config is None else _serve(load(config, overrides, Path()), flags)
    raise SystemExit(status)


def _serve(document: Document, flags: Flags) -> int:
    from mfn_core.host import serve as serve_document

    return serve_document(flags.applied(document))


def _serve_default(overrides: tuple[str, ...], flags: Flags) -> int:
    """Serve the default set from a directory of its own that only its owner can enter; says what was written there."""
    directory = Path(tempfile.mkdtemp(prefix="mfn-"))  # mode 0700
    try:
        document = load(None, overrides, directory)
        click.echo(f"no configuration file: serving the default set on loopback, from {directory}", err=True)
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            click.echo(f"  wrote {path} (mode {path.stat().st_mode & 0o777:04o})", err=True)
        return _serve(document, flags)
    except ConfigError:
        # Nothing was served: the key opens nothing, and there is no record to keep.
        shutil.rmtree(directory)
        raise
