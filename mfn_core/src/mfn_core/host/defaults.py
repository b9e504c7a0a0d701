"""What `mfn serve` serves when no configuration file is given."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from mfn_core.config import ConfigError, Document, Problem

__all__ = ["DEFAULTS_GROUP", "default_document"]

DEFAULTS_GROUP = "mfn.defaults.v1"
"""Entry points `(directory: Path) -> Document`: a distribution that knows a set of plugins offers a server of them."""


def default_document(directory: Path) -> Document:
    """The configuration of the installed default set; what it must write, such as a key, goes to `directory`.

    Raises:
        ConfigError: no such set is installed, or more than one.
    """
    found = tuple(entry_points(group=DEFAULTS_GROUP))
    if len(found) != 1:
        names = ", ".join(point.value for point in found)
        raise ConfigError(
            [
                Problem(
                    path="",
                    message="no configuration file, and "
                    + (f"several default sets are installed: {names}" if found else "no default set is installed"),
                    remedy="give one with -c FILE" + ("" if found else ", or install mycelium-fractal-net[server]"),
                )
            ]
        )
    return cast("Document", found[0].load()(directory))
