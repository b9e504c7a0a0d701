"""The plugins that are installed, as the metadata of their distributions tells of them; nothing is imported."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from mfn_core.config import Problem
from mfn_core.hookspecs import ENTRY_POINT_GROUP

__all__ = [
    "InstalledPlugin",
    "entries",
    "entries_of_other_versions",
    "in_words",
    "installed_plugin",
    "made_for_another_version",
]

_GROUP = re.compile(r"mfn\.plugins\.v\d+")


@frozen(kw_only=True)
class InstalledPlugin:
    """A plugin that could be named, as its distribution's metadata tells of it; nothing was imported."""

    name: str
    """Its entry point's name: what `server.plugins` calls it."""
    distribution: str
    version: str
    summary: str
    """The distribution's own one-line description."""
    target: str
    """What the entry point names: `package.module` or `package.module:object`."""


def entries() -> list[EntryPoint]:
    """The entry points of the plugins that this kernel can load."""
    return list(entry_points(group=ENTRY_POINT_GROUP))


def entries_of_other_versions() -> list[EntryPoint]:
    """Entry points of plugins for an older or a newer plugin API alone, by name.

    A distribution may serve several kernels and declare one plugin in several groups: one that this kernel can load
    is not here.
    """
    usable = {(entry.name, _name_of(entry)) for entry in entries()}
    groups = (group for group in entry_points().groups if _GROUP.fullmatch(group) and group != ENTRY_POINT_GROUP)
    found = (entry for group in groups for entry in entry_points(group=group))
    return sorted(
        (entry for entry in found if (entry.name, _name_of(entry)) not in usable),
        key=lambda entry: (entry.name, _name_of(entry), entry.group),
    )


def made_for_another_version(entry: EntryPoint) -> Problem:
    """What is wrong with an entry point of another group, and what to change."""
    whose = f"plugin {entry.name!r} ({in_words(entry)})"
    message = f"{whose} is made for the plugin API {entry.group}, and this kernel has {ENTRY_POINT_GROUP}"
    if _major(entry.group) > _major(ENTRY_POINT_GROUP):
        return Problem(path="", message=message, remedy="install a newer mfn-core, or an older release of the plugin")
    return Problem(
        path="",
        message=message,
        remedy=f"install a newer release of {_name_of(entry)}; its author declares it in pyproject.toml under "
        f'[project.entry-points."{ENTRY_POINT_GROUP}"]',
    )


def installed_plugin(entry: EntryPoint) -> InstalledPlugin | None:
    """What the metadata says of an entry point; None for one made by hand, which `entry_points` never gives."""
    distribution = entry.dist
    if distribution is None:
        return None
    metadata = distribution.metadata
    return InstalledPlugin(
        name=entry.name,
        distribution=distribution.name,
        version=distribution.version,
        summary=metadata["Summary"] or "" if "Summary" in metadata else "",
        target=entry.value,
    )


def in_words(entry: EntryPoint) -> str:
    """The distribution of an entry point: `mfn-auth-hmac 0.1.0`."""
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _name_of(entry: EntryPoint) -> str:
    return entry.value if entry.dist is None else entry.dist.name


def _major(group: str) -> int:
    return int(group.rpartition("v")[2])
