"""Write the parts of the guide that the code knows best: settings, hooks, commands.

    python docs/generate.py            writes them
    python docs/generate.py --check    changes nothing; exit status 1 and a list where a page is behind the code

A generated part stands between `<!-- generated: KIND SUBJECT -->` and `<!-- end -->`. Kinds are `settings` with the
section of the configuration (`settings transports.grpc`), `environment` and `operations` with the same, `models`,
`hooks`, and `help` with a command (`help keys new`). A part about a plugin that is not installed is left as it is.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import mfn_model
from mfn_core import ComponentContext, ComponentKind, hookspecs
from mfn_core.cli import main as mfn
from mfn_core.config import (
    SERVER_ENVIRONMENT,
    CacheSettings,
    EnvironmentName,
    PipelineSettings,
    ServerSettings,
    json_schema,
)
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.registry import KNOWN_HOOKS, PluginRegistry, Registered

__all__ = ["GENERATED", "command", "documented", "main", "pages", "rendered", "sections"]

GENERATED = re.compile(r"<!-- generated: (?P<what>[^\n]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)

_DOCS = Path(__file__).resolve().parent


def pages() -> list[Path]:
    """Every page that may hold generated parts."""
    return sorted(_DOCS.rglob("*.md"))


def documented(page: Path) -> list[str]:
    """What is generated on a page: `settings server`, `hooks`."""
    return [found["what"] for found in GENERATED.finditer(page.read_text("utf-8"))]


def rendered(page: Path) -> str:
    """The page as it should be."""

    def fresh(found: re.Match[str]) -> str:
        text = _part(found["what"])
        return found[0] if text is None else f"<!-- generated: {found['what']} -->\n{text}\n<!-- end -->"

    return GENERATED.sub(fresh, page.read_text("utf-8"))


def sections() -> dict[str, type[Any]]:
    """The configuration class of every section: the kernel's own, and one for each component that is installed."""
    found: dict[str, type[Any]] = {"server": ServerSettings, "pipeline": PipelineSettings, "cache": CacheSettings}
    return found | {section: registered.spec.config for section, registered in _components()}


def _components() -> Iterator[tuple[str, Registered]]:
    """Every component that is installed, with its section."""
    for plugin in PluginRegistry.installed():
        registry = PluginRegistry([plugin.name])
        for kind in ComponentKind:
            for name, registered in registry.components(kind).items():
                yield f"{kind.section}.{name}", registered


def command(words: Sequence[str]) -> click.Command | None:
    """The command of `mfn` that these words name; None where its distribution is not installed."""
    found: click.Command | None = mfn
    for word in words:
        if not isinstance(found, click.Group):
            return None
        found = found.get_command(click.Context(found), word)
    return found


def _part(what: str) -> str | None:
    kind, *words = what.split()
    if kind == "settings":
        cls = sections().get(words[0])
        return None if cls is None else _settings(words[0], cls)
    if kind == "environment":
        return _environment(words[0])
    if kind == "operations":
        return _operations(words[0])
    if kind == "models":
        return "\n\n".join(_models())
    if kind == "hooks":
        return "\n".join(_hooks())
    if kind == "help":
        return _help(words)
    raise ValueError(f"<!-- generated: {what} -->: of no kind that is known")


# Settings.


def _settings(section: str, cls: type[Any]) -> str:
    """A table for the class, and one for each class that stands in it."""
    tables = list(_tables(section, json_schema(cls)))
    if not tables:
        return "No settings."
    first, *further = tables
    return "\n\n".join([_table(first[1]), *(f"`[{name}]`\n\n{_table(schema)}" for name, schema in further)])


def _tables(section: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not schema.get("properties"):
        return
    yield section, schema
    for name, inner in schema["properties"].items():
        if "properties" in inner:
            yield from _tables(f"{section}.{name}", inner)
        elif "properties" in inner.get("additionalProperties", {}):
            yield from _tables(f"{section}.{name}.NAME", inner["additionalProperties"])


def _table(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = ["| setting | default | bounds | what it does |", "| --- | --- | --- | --- |"]
    for name, inner in schema["properties"].items():
        default = "required" if name in required else _default(inner)
        cells = (f"`{name}`", default, _bounds(inner), inner.get("description", ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(schema: Mapping[str, Any]) -> str:
    if "properties" in schema:
        return "a table" if "default" in schema else "unset"
    if "default" not in schema:
        return "unset"
    value = schema["default"]
    return "empty" if value in ([], {}) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)  # never 1e9, which TOML takes for a number
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)


def _bounds(schema: Mapping[str, Any]) -> str:
    items = schema.get("items", {})
    if "enum" in schema or "enum" in items:
        return ", ".join(f"`{_toml(choice)}`" for choice in schema.get("enum", items.get("enum", ())))
    if str(schema.get("pattern", "")).endswith(":[0-9]{1,5}$"):
        return "`host:port`"
    low, high = (None if schema.get(key) is None else _number(schema[key]) for key in ("minimum", "maximum"))
    unit = f" {schema['x-unit']}" if "x-unit" in schema else ""
    if low is not None and high is not None:
        return f"{low} to {high}{unit}"
    if low is not None:
        return f"at least {low}{unit}"
    if "exclusiveMinimum" in schema:
        return f"more than {_number(schema['exclusiveMinimum'])}{unit}"
    return unit.strip()


def _number(value: float) -> str:
    power = math.log2(value) if value > 0 else 0.0
    if power >= 40 and power.is_integer():
        return f"2^{power:.0f}"
    if abs(value) >= 1e9 and math.log10(value).is_integer():
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:_}" if abs(value) >= 10_000 else str(value)


def _environment(section: str) -> str | None:
    """The variables that set something of a section."""
    variables: Sequence[EnvironmentName] | None = SERVER_ENVIRONMENT if section == "server" else None
    for name, registered in _components():
        if name == section:
            variables = registered.spec.environment
    if variables is None:
        return None
    rows = [f"| `{each.name}` | `{'.'.join((section, *each.setting))}` |" for each in variables]
    return "\n".join(["| variable | setting |", "| --- | --- |", *rows])


# Operations.


def _operations(section: str) -> str | None:
    """What a service offers with its settings at their defaults."""
    for name, registered in _components():
        if name == section:
            return "\n".join(_operation_rows(registered))
    return None


def _operation_rows(registered: Registered) -> Iterator[str]:
    spec, compute = registered.spec, ComputePool({})
    log = logging.getLogger(__name__)
    context = ComponentContext(
        name=spec.name, server=ServerSettings(), worker=0, compute=compute, catalogue=Catalogue(), log=log
    )
    yield "| operation | shape | role |"
    yield "| --- | --- | --- |"
    for service in spec.factory(spec.config(), context).services:
        for each in service.operations:
            shape, role = each.shape.label.replace("_", " "), "public" if each.public else each.role
            yield f"| `{each.path[1:]}` | {shape} | {role} |"
    compute.shutdown()


# Models.


def _models() -> Iterator[str]:
    for model in (each for each in vars(mfn_model).values() if isinstance(each, mfn_model.FieldModel)):
        species = ", ".join(f"{each.name} ({each.unit})" for each in model.species)
        rows = [
            f"| `{each.name}` | {str(each.default).lower()} | {each.unit} | {each.bound} | {each.description} |"
            for each in model.parameters
        ]
        yield f"**`{model.name}`**: {model.summary}. Boundary: {' or '.join(model.boundaries)}. Species: {species}."
        yield "\n".join(
            ["| parameter | default | unit | bounds | what it is |", "| --- | --- | --- | --- | --- |", *rows]
        )


# Hooks.


def _hooks() -> Iterator[str]:
    yield "| hook | what it declares |"
    yield "| --- | --- |"
    for name in KNOWN_HOOKS:
        function = getattr(hookspecs, name)
        arguments = ", ".join(inspect.signature(function).parameters)
        yield f"| `{name}({arguments})` | {' '.join((inspect.getdoc(function) or '').split())} |"


# Commands.


def _help(words: Sequence[str]) -> str | None:
    if command(words) is None:
        return None
    context = click.Context(mfn, info_name="mfn", terminal_width=110, **mfn.context_settings)
    for number, word in enumerate(words, 1):
        found = command(words[:number])
        assert found is not None
        context = click.Context(found, parent=context, info_name=word)
    return f"```text\n{context.command.get_help(context)}\n```"


def main(argv: Sequence[str]) -> int:
    """Write the generated parts, or say which are behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 where a page is behind")
    check = parser.parse_args(argv).check
    behind = [page for page in pages() if rendered(page) != page.read_text("utf-8")]
    for page in behind:
        if not check:
            page.write_text(rendered(page), "utf-8")
        sys.stdout.write(f"{page.relative_to(_DOCS.parent)}: {'is behind the code' if check else 'written'}\n")
    return 1 if check and behind else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
