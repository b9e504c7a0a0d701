"""Every setting, hook, command and suite is documented, and what is generated is not behind the code."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import attrs
import click
import pytest

from mfn_core import ComponentKind
from mfn_core.assembly import plan
from mfn_core.cli import COMMANDS_GROUP
from mfn_core.config import ConfigError, read_document
from mfn_core.registry import KNOWN_HOOKS, PluginRegistry
from mfn_signing import generate_key, write_keys_file

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


def ours() -> set[str]:
    """The plugins of this repository that are installed."""
    found = set()
    for path in ROOT.glob("mfn_plugins/*/pyproject.toml"):
        found |= set(tomllib.loads(path.read_text("utf-8"))["project"]["entry-points"]["mfn.plugins.v1"])
    return found & {plugin.name for plugin in PluginRegistry.installed()}


def guide() -> str:
    return "\n".join(page.read_text("utf-8") for page in sorted(GUIDE.glob("*.md")))


@pytest.mark.parametrize("page", generate.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_parts_are_what_the_code_says(page: Path) -> None:
    assert generate.rendered(page) == page.read_text("utf-8"), "run: python docs/generate.py"


def table(section: str) -> str:
    """The generated part about a section."""
    text: str = generate._settings(section, generate.sections()[section])
    return text


def test_every_section_of_the_configuration_is_documented() -> None:
    registry = PluginRegistry(sorted(ours()))
    sections = {f"{kind.section}.{name}" for kind in ComponentKind for name in registry.components(kind)}
    configurable = {section for section in sections if table(section) != "No settings."}
    assert configurable
    documented = {what.removeprefix("settings ") for what in generate.documented(GUIDE / "server.md")}
    assert {"server", "pipeline", "cache", *configurable} - documented == set()


def test_every_environment_variable_is_documented() -> None:
    registry = PluginRegistry(sorted(ours()))
    sections = {
        f"{kind.section}.{name}"
        for kind in ComponentKind
        for name, registered in registry.components(kind).items()
        if registered.spec.environment
    }
    documented = {what.removeprefix("environment ") for what in generate.documented(GUIDE / "server.md")}
    assert {"server", *sections} - documented == set()


@pytest.mark.parametrize("section", ["server", "pipeline", "cache"])
def test_the_table_of_a_section_has_every_setting(section: str) -> None:
    for attribute in attrs.fields(generate.sections()[section]):
        assert f"| `{attribute.name}` |" in table(section)


def test_every_operation_that_streams_is_on_the_page_about_streams() -> None:
    pytest.importorskip("mfn_service")
    rows = generate._operations("services.mfn").splitlines()[2:]
    assert len(rows) > 5
    streams = [row.split("`")[1] for row in rows if "stream" in row.split("|")[2] or "bidi" in row.split("|")[2]]
    text = (GUIDE / "streams.md").read_text("utf-8")
    assert [path for path in streams if f"| `{path}` |" not in text] == []


def test_every_hook_is_documented() -> None:
    assert "hooks" in generate.documented(GUIDE / "plugin.md")
    text = (GUIDE / "plugin.md").read_text("utf-8")
    assert [hook for hook in KNOWN_HOOKS if f"`{hook}(" not in text] == []


def commands(words: tuple[str, ...] = ()) -> list[str]:
    """Every command that this repository provides, without the groups."""
    found = generate.command(words)
    assert found is not None
    if not isinstance(found, click.Group):
        return [" ".join(words)]
    context = click.Context(found)
    names = found.list_commands(context)
    if not words:
        own = [point for point in entry_points(group=COMMANDS_GROUP) if point.value.startswith("mfn")]
        names = [name for name in names if name in {"serve", "check", "plugins"} | {point.name for point in own}]
    return [command for name in names for command in commands((*words, name))]


def test_every_command_is_documented_with_its_options() -> None:
    documented = {what.removeprefix("help ") for page in generate.pages() for what in generate.documented(page)}
    assert [command for command in commands() if command not in documented] == []


def test_the_help_of_a_command_is_the_same_when_it_runs_by_itself() -> None:
    # click keeps the option of the first context that asks for it: a command must not depend on who asks first.
    for name in sorted({name.split()[0] for name in commands()}):
        found = generate.command((name,))
        assert found is not None
        assert found.context_settings.get("help_option_names") == ["-h", "--help"], name


def test_every_conformance_suite_is_documented() -> None:
    text = (GUIDE / "plugin.md").read_text("utf-8")
    suites = set()
    for path in (ROOT / "mfn_core/src/mfn_core/testing").glob("[a-z]*.py"):
        suites |= set(re.findall(r"^class (\w+Suite)\b", path.read_text("utf-8"), re.MULTILINE))
    assert suites
    assert {suite for suite in suites if f"[`{suite}`]" not in text} == set()


def configurations() -> list[tuple[str, str]]:
    """Every block of TOML that is a whole configuration, in the readme and in the page about servers."""
    found = []
    for page in (ROOT / "README.md", GUIDE / "server.md"):
        text = page.read_text("utf-8")
        for number, block in enumerate(re.findall(r"^```toml[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL), 1):
            if "[server]" in block:
                found.append((f"{page.name}-{number}", block))
    return found


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in configurations()])
def test_configurations_that_are_shown_are_valid(block: str, tmp_path: Path) -> None:
    if missing := set(tomllib.loads(block)["server"]["plugins"]) - ours():
        pytest.skip(f"{', '.join(sorted(missing))} is not installed")
    (tmp_path / "mfn.toml").write_text(block, "utf-8")
    write_keys_file(tmp_path / "keys.toml", [generate_key(principal="alice", roles={"read"})])
    try:
        planned = plan(read_document(tmp_path / "mfn.toml"))
    except ConfigError as wrong:
        pytest.fail(str(wrong))
    assert planned.components
