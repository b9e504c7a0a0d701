"""What every plugin must do, as a suite that its author subclasses."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

import attrs
import pytest

from mfn_core.components import ComponentContext, ComponentKind
from mfn_core.config import HELP, ConfigError, ServerSettings, decode, json_schema
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.registry import InstalledPlugin, PluginRegistry, Registered

__all__ = ["PluginSuite"]

_IMPORT = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


class PluginSuite:
    """Subclass it under a name that begins with `Test`, and give `plugin`.

    Every factory that can be called with the defaults is called, and must neither start a thread nor open a socket.
    """

    plugin: ClassVar[str]
    """Name of its entry point, as a configuration has it in `server.plugins`."""
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings for a component whose defaults are not enough to make it: `{"auth.hmac": {"keys_file": "keys.toml"}}`.

    Relative paths start in an empty directory.
    """

    # What the tests share.

    def installed(self) -> InstalledPlugin:
        """The plugin's entry point."""
        assert getattr(self, "plugin", ""), f"{type(self).__name__} gives no `plugin`: the name of its entry point"
        found = [plugin for plugin in PluginRegistry.installed() if plugin.name == self.plugin]
        assert found, f"no entry point {self.plugin!r} in the group mfn.plugins.v1; is the distribution installed?"
        assert len(found) == 1, f"entry point {self.plugin!r} is in {[plugin.distribution for plugin in found]}"
        return found[0]

    def components(self) -> Iterator[tuple[str, Registered]]:
        """Every component of the plugin, with its section as its name."""
        registry = PluginRegistry([self.installed().name])
        for kind in ComponentKind:
            for name, registered in registry.components(kind).items():
                yield f"{kind.section}.{name}", registered

    # The plugin.

    def test_an_entry_point_of_a_described_distribution_names_it(self) -> None:
        installed = self.installed()
        assert installed.summary, f"distribution {installed.distribution} has no description"

    def test_it_loads_and_implements_only_hooks_that_exist(self) -> None:
        name = self.installed().name
        assert set(PluginRegistry([name]).plugins) == {name}

    def test_importing_it_imports_no_other_plugin(self) -> None:
        own = _top_level(self.installed())
        others = {_top_level(plugin) for plugin in PluginRegistry.installed()} - {own}
        ran = subprocess.run(  # noqa: S603 - the interpreter that runs the suite, and a module that is installed
            [sys.executable, "-c", _IMPORT, self.installed().target.partition(":")[0]],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert ran.returncode == 0, ran.stderr
        # A plugin may print while it is imported; the list is the last line.
        imported = {name.partition(".")[0] for name in json.loads(ran.stdout.splitlines()[-1])}
        assert not imported & others

    # Its components.

    def test_every_component_says_in_one_line_what_it_is(self) -> None:
        for section, registered in self.components():
            summary = registered.spec.summary
            assert summary.strip(), f"{section} has no summary"
            assert "\n" not in summary, f"the summary of {section} has several lines"

    def test_no_two_components_share_a_section(self) -> None:
        sections = [section for section, _ in self.components()]
        assert len(sections) == len(set(sections))

    # Their configuration.

    def test_every_setting_is_documented_and_has_a_json_schema(self) -> None:
        for section, registered in self.components():
            json_schema(registered.spec.config)
            for name, attribute in _settings(registered.spec.config):
                assert attribute.metadata.get(HELP, "").strip(), f"{section}.{name} has no help; use mfn_core.setting"

    def test_defaults_decode_or_the_missing_settings_are_named(self, tmp_path: Path) -> None:
        for section, registered in self.components():
            required = {
                f"{section}.{attribute.alias or attribute.name}"
                for attribute in attrs.fields(registered.spec.config)
                if attribute.init and attribute.default is attrs.NOTHING
            }
            assert _problems(registered.spec.config, {}, section, tmp_path) == required

    def test_an_unknown_setting_is_refused(self, tmp_path: Path) -> None:
        for section, registered in self.components():
            with pytest.raises(ConfigError) as refused:
                decode(registered.spec.config, {"no_such_setting": 1}, section, tmp_path)
            assert f"{section}.no_such_setting" in {problem.path for problem in refused.value.problems}

    def test_its_examples_are_valid(self, tmp_path: Path) -> None:
        for section, registered in self.components():
            for title, example in registered.spec.examples.items():
                tables = tomllib.loads(example).get(registered.kind.section, {})
                own = {key: table for key, table in tables.items() if key.partition("/")[0] == registered.spec.name}
                assert own, f"example {title!r} of {section} has no table [{section}]"
                for table in own.values():
                    decode(registered.spec.config, table, section, tmp_path)

    # Their factories.

    def test_factories_start_no_thread_and_open_no_socket(self, tmp_path: Path) -> None:
        compute = ComputePool({})
        try:
            for section, registered in self.components():
                table = self.settings.get(section, {})
                if found := _problems(registered.spec.config, table, section, tmp_path):
                    assert section not in self.settings, f"the settings of the suite do not decode: {found}"
                    continue  # it has required settings, of which the suite was told none
                config = decode(registered.spec.config, table, section, tmp_path)
                context = ComponentContext(
                    name=registered.spec.name,
                    server=ServerSettings(),
                    worker=0,
                    compute=compute,
                    catalogue=Catalogue(),
                    log=logging.getLogger(f"mfn.{section}"),
                )
                threads, sockets = set(threading.enumerate()), _sockets()
                try:
                    made = registered.spec.factory(config, context)
                except (ConfigError, ValueError, OSError):
                    # What a factory may raise where the defaults need a file, say; it still must leave nothing open.
                    assert section not in self.settings, f"{section} cannot be made of the settings of the suite"
                else:
                    assert made is not None, f"the factory of {section} made nothing"
                assert set(threading.enumerate()) <= threads, f"the factory of {section} started a thread"
                assert _sockets() <= sockets, f"the factory of {section} opened a socket"
        finally:
            compute.shutdown()


def _top_level(plugin: InstalledPlugin) -> str:
    return plugin.target.partition(":")[0].partition(".")[0]


def _problems(cls: type[Any], table: Mapping[str, Any], section: str, directory: Path) -> set[str]:
    """Places of what is wrong with a table; empty when it decodes."""
    try:
        decode(cls, table, section, directory)
    except ConfigError as failed:
        return {problem.path for problem in failed.problems}
    return set()


def _settings(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, attrs.Attribute[Any]]]:
    """Every setting of a configuration class, those of nested tables too."""
    attrs.resolve_types(cls)
    for attribute in attrs.fields(cls):
        if attribute.init:
            name = f"{prefix}{attribute.alias or attribute.name}"
            yield name, attribute
            for kind in _within(attribute.type):
                yield from _settings(kind, f"{name}.")


def _within(kind: Any) -> Iterator[type[Any]]:
    """The attrs classes that a type speaks of: `Tls` of `Tls | None`, of `tuple[Tls, ...]`."""
    if isinstance(kind, type) and attrs.has(kind):
        yield kind
    for argument in get_args(kind):
        yield from _within(argument)


def _sockets() -> set[tuple[str, str]]:
    """Open sockets of this process; empty where the system does not tell."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # the descriptor that lists the directory is gone again
        if target.startswith("socket:"):
            found.add((entry.name, target))
    return found
