"""A configuration file for a person: every setting there is, each with what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfn_core.config._setting import HELP, UNIT, default_of

if TYPE_CHECKING:
    from mfn_core.config import Preset
    from mfn_core.registry import PluginRegistry

__all__ = ["configuration_file", "plugins_of"]


def configuration_file(registry: PluginRegistry, names: Sequence[str], preset: Preset | None) -> str:
    """The text of a configuration of these plugins; what a preset sets is in force, the rest is commented out."""
    tables: Mapping[str, Any] = {} if preset is None else preset.tables
    return "\n".join(_lines(registry, names, tables, "" if preset is None else preset.summary)) + "\n"


def plugins_of(preset: Preset) -> Sequence[str]:
    """The plugins that a preset names."""
    return tuple(preset.tables["server"]["plugins"])


def _lines(registry: PluginRegistry, names: Sequence[str], tables: Mapping[str, Any], summary: str) -> Iterator[str]:
    from mfn_core.components import ComponentKind
    from mfn_core.config import CacheSettings, PipelineSettings, ServerSettings, toml_value

    yield f"# {summary or 'A server of MFN.'}"
    yield "# What is commented out is the default. `mfn check` says what it makes of this file."
    yield ""
    yield "[server]"
    yield f"plugins = {toml_value(list(names))}"
    yield from _settings(ServerSettings, tables.get("server", {}), leave_out=("plugins",))
    for kind in reversed(ComponentKind):
        for name, registered in registry.components(kind).items():
            yield ""
            yield f"[{kind.section}.{name}]  # {registered.spec.summary}"
            yield from _settings(registered.spec.config, tables.get(kind.section, {}).get(name, {}))
    for title, cls in (("cache", CacheSettings), ("pipeline", PipelineSettings)):
        yield ""
        yield f"[{title}]"
        yield from _settings(cls, tables.get(title, {}))


def _settings(cls: type[Any], table: Mapping[str, Any], leave_out: Sequence[str] = ()) -> Iterator[str]:
    import attrs

    from mfn_core.config import plain, toml_key, toml_value

    attrs.resolve_types(cls)
    for attribute in attrs.fields(cls):
        if attribute.name in leave_out:
            continue
        unit = attribute.metadata.get(UNIT)
        about = attribute.metadata.get(HELP, "") + (f" ({unit})" if unit else "")
        default = default_of(attribute)
        yield f"# {about}"
        if attribute.name in table:
            yield f"{toml_key(attribute.name)} = {toml_value(table[attribute.name])}"
        elif default is attrs.NOTHING:
            yield f"# {toml_key(attribute.name)} = …  # needed"
        elif default is None:
            yield f"# {toml_key(attribute.name)} is not set"
        else:
            yield f"# {toml_key(attribute.name)} = {toml_value(_without_none(plain(default)))}"


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
