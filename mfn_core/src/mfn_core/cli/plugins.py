"""`mfn plugins`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mfn_core.cli._output import Table, show

if TYPE_CHECKING:
    from mfn_core.registry import InstalledPlugin

__all__ = ["plugins"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins(as_json: bool) -> None:
    """List the installed plugins and what each brings.

    Imports every one of them. One that cannot be imported, or is made for another version of the plugin API, is listed
    with the reason.
    """
    described = _describe()
    if as_json:
        click.echo(json.dumps({"plugins": described}, indent=2, ensure_ascii=False))
    else:
        show(_tables(described))


def _describe() -> list[dict[str, Any]]:
    from mfn_core.components import ComponentKind
    from mfn_core.config import ConfigError
    from mfn_core.registry import PluginRegistry

    described = []
    for plugin in PluginRegistry.installed():
        entry = _entry(plugin)
        described.append(entry)
        try:
            registry = PluginRegistry([plugin.name])
        except ConfigError as failed:
            entry["problems"] = [problem.message for problem in failed.problems]
            continue
        entry["components"] = [
            {
                "kind": kind.name.lower(),
                "section": f"{kind.section}.{name}",
                "summary": registered.spec.summary,
                "stability": registered.spec.stability,
                "scope": registered.spec.scope,
            }
            for kind in ComponentKind
            for name, registered in registry.components(kind).items()
        ]
    for plugin, problem in PluginRegistry.of_other_versions():
        described.append({**_entry(plugin), "problems": [f"{problem.message}; {problem.remedy}"]})
    return described


def _entry(plugin: InstalledPlugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "summary": plugin.summary,
        "components": [],
        "problems": [],
    }


def _tables(described: list[dict[str, Any]]) -> list[Table]:
    rows = []
    for plugin in described:
        distribution = f"{plugin['distribution']} {plugin['version']}"
        lines = [(c["section"], c["stability"], c["summary"]) for c in plugin["components"]]
        lines += [("-", "fails", problem) for problem in plugin["problems"]]
        if not lines:
            lines = [("-", "-", plugin["summary"])]
        # The plugin's own columns stand beside its first component alone.
        rows += [
            (plugin["name"] if first else "", distribution if first else "", *line)
            for first, line in zip([True] + [False] * len(lines), lines, strict=False)
        ]
    columns = ("plugin", "distribution", "section", "stability", "summary")
    return [Table(title="installed plugins", columns=columns, rows=rows)]
