"""Show, describe and begin a configuration."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mfn_core.cli._configured import configuration_options, load, problems_on_stderr
from mfn_core.cli._output import Table, show

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_core.config import Document

__all__ = ["config"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def config() -> None:
    """Show, describe and begin a configuration."""


@config.command("show")
@configuration_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show_settings(config: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show every setting in force and where its value comes from.

    A flag wins over an environment variable, which wins over the file, which wins over the default.
    """
    with problems_on_stderr(), tempfile.TemporaryDirectory(prefix="mfn-config-") as directory:
        from mfn_core.assembly import plan

        planned = plan(load(config, overrides, Path(directory)))
        settings = list(_settings(planned))
    if as_json:
        found = {path: {"value": value, "from": origin} for path, value, origin in settings}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    rows = [(path, json.dumps(value, ensure_ascii=False), origin) for path, value, origin in settings]
    show([Table(title=f"settings of {planned.document.source}", columns=("setting", "value", "from"), rows=rows)])


def _settings(planned: Plan) -> Iterator[tuple[str, Any, str]]:
    from mfn_core.config import plain

    tables: list[tuple[tuple[str, ...], Any]] = [
        (("server",), planned.server),
        (("pipeline",), planned.pipeline),
        (("cache",), planned.cache),
    ]
    tables += [((component.kind.section, component.name), component.config) for component in planned.components]
    for keys, value in tables:
        yield from _flat(keys, plain(value), planned.document)


def _flat(keys: tuple[str, ...], value: Any, document: Document) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, Mapping) and (value or len(keys) == 2):  # a component without settings has no line
        for key, inner in value.items():
            yield from _flat((*keys, str(key)), inner, document)
    else:
        yield _path(keys), value, _origin(keys, document)


def _path(keys: tuple[str, ...]) -> str:
    from mfn_core.config import join_path

    path = ""
    for key in keys:
        path = join_path(path, key)
    return path


def _origin(keys: tuple[str, ...], document: Document) -> str:
    """Where a setting comes from; a whole table may have been set at once."""
    for length in range(len(keys), 0, -1):
        if (origin := document.origins.get(_path(keys[:length]))) is not None:
            return origin
    node: Any = document.tables
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return "default"
        node = node[key]
    return document.source


@config.command("schema")
@configuration_options
def schema(config: Path | None, overrides: tuple[str, ...]) -> None:
    """Print the JSON Schema of a configuration: of the plugins that it names, or of all that are installed."""
    from mfn_core.registry import PluginRegistry

    with problems_on_stderr():
        names = [plugin.name for plugin in PluginRegistry.installed()]
        if config is not None:
            named = load(config, overrides, Path()).tables.get("server", {}).get("plugins")
            names = named if isinstance(named, list) else names
        described = _schema(PluginRegistry(names))
    click.echo(json.dumps(described, indent=2, ensure_ascii=False))


def _schema(registry: Any) -> dict[str, Any]:
    from mfn_core.components import ComponentKind
    from mfn_core.config import CacheSettings, PipelineSettings, ServerSettings, json_schema

    def table(cls: type[Any]) -> dict[str, Any]:
        return {key: value for key, value in json_schema(cls).items() if key != "$schema"}

    properties = {
        "server": table(ServerSettings),
        "pipeline": table(PipelineSettings),
        "cache": table(CacheSettings),
    }
    for kind in ComponentKind:
        components = registry.components(kind)
        if components:
            # `"grpc/public"` is a further instance of `grpc`.
            patterns = {
                f"^{name}(/[^/]+)?$": {**table(registered.spec.config), "description": registered.spec.summary}
                for name, registered in components.items()
            }
            properties[kind.section] = {
                "type": "object",
                "patternProperties": patterns,
                "additionalProperties": False,
            }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mfn.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _needed(installed: tuple[str, ...]) -> tuple[str, ...]:
    """The plugins of a server on its own: an executor, which takes compute elsewhere, is for those who name it."""
    from mfn_core.components import ComponentKind
    from mfn_core.registry import PluginRegistry

    executors = {each.plugin for each in PluginRegistry(installed).components(ComponentKind.EXECUTOR).values()}
    return tuple(name for name in installed if name not in executors)


@config.command("init")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("mfn.toml"))
@click.option(
    "--plugin", "plugins", multiple=True, help="Plugin to name; the installed ones that a server needs unless given."
)
@click.option("--preset", help="Begin with a configuration of a common kind: dev, staging, prod, small, medium, large.")
def init(path: Path, plugins: tuple[str, ...], preset: str | None) -> None:
    """Write a configuration file with every setting, each with what it means.

    Without --preset all are at their defaults. An existing file is never overwritten.
    """
    from mfn_core.cli._template import configuration_file, plugins_of
    from mfn_core.config import load_preset
    from mfn_core.registry import PluginRegistry

    if preset is not None and plugins:
        raise click.UsageError("--preset names its plugins; leave --plugin out, and edit the file")
    with problems_on_stderr():
        chosen = None if preset is None else load_preset(preset)
        if chosen is not None:
            names = tuple(plugins_of(chosen))
        else:
            names = plugins or _needed(tuple(plugin.name for plugin in PluginRegistry.installed()))
        text = configuration_file(PluginRegistry(names), names, chosen)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(f"{path} exists; name another file, or move it away") from None
    except OSError as failed:
        raise click.ClickException(f"{path} cannot be written: {failed.strerror or failed}") from failed
    click.echo(f"wrote {path}; look at it, then: mfn check -c {path}")
    if chosen is not None and chosen.needs:
        click.echo("before it can be checked and served:")
        for line in chosen.needs:
            click.echo(f"  {line}")
