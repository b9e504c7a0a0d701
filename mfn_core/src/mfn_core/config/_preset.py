"""A configuration by name: where a server of a common kind begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from attrs import field, frozen

from mfn_core.config._problems import ConfigError, Problem, suggest

__all__ = ["PRESETS_GROUP", "Preset", "load_preset"]

PRESETS_GROUP = "mfn.presets.v1"
"""Entry points that are a `Preset`: a distribution that knows a set of plugins offers configurations of them."""


@frozen(kw_only=True)
class Preset:
    """What a configuration says beside the defaults, and what must stand beside it before it can be served."""

    summary: str
    """One line, which begins the file."""
    tables: Mapping[str, Any]
    """As TOML gives them; `[server] plugins` is among them."""
    needs: Sequence[str] = field(factory=tuple)
    """What to do before the server is started, a line each, such as a command that makes a key."""


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: no installed distribution offers it, or more than one does.
    """
    known = entry_points(group=PRESETS_GROUP)
    found = tuple(known.select(name=name))
    if len(found) == 1:
        preset: Preset = found[0].load()
        return preset
    if found:
        message = f"preset {name!r} is offered by {' and '.join(sorted(point.value for point in found))}"
        raise ConfigError([Problem(path="", message=message, remedy="uninstall one of them")])
    remedy = suggest(name, sorted(known.names)) if known.names else "install mycelium-fractal-net, which brings some"
    raise ConfigError([Problem(path="", message=f"there is no preset {name!r}", remedy=remedy)])
