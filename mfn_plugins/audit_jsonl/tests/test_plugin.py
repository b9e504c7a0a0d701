"""What the package declares to the kernel."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from mfn_audit_jsonl import JsonlSettings, JsonlSink, plugin
from mfn_core import ComponentContext, ConfigError
from mfn_core.config import decode
from mfn_core.testing.plugin import PluginSuite


class TestPlugin(PluginSuite):
    plugin = "audit_jsonl"


def test_it_declares_one_sink_whose_factory_touches_no_file(tmp_path: Path) -> None:
    (spec,) = plugin.mfn_audit_sinks()
    assert (spec.name, spec.scope, spec.config) == ("jsonl", "process", JsonlSettings)

    class Context:
        log = logging.getLogger("test")

    made = spec.factory(JsonlSettings(path=tmp_path / "a.jsonl"), cast("ComponentContext", Context()))
    assert isinstance(made, JsonlSink)
    assert list(tmp_path.iterdir()) == []


def test_the_defaults_are_a_file_in_the_folder_of_the_configuration(tmp_path: Path) -> None:
    settings = decode(JsonlSettings, {}, "audit.jsonl", tmp_path)
    assert settings == JsonlSettings(path=tmp_path / "audit.jsonl", fsync="interval", queue=10_000)


@pytest.mark.parametrize(
    ("table", "path", "why"),
    [
        ({"fsync": "allways"}, "audit.jsonl.fsync", "always"),
        ({"queue": 0}, "audit.jsonl.queue", "between 1 and 1000000"),
        ({"fsnyc": "always"}, "audit.jsonl.fsnyc", "fsync"),
        ({"path": 7}, "audit.jsonl.path", "7"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, table: dict[str, object], path: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        decode(JsonlSettings, table, "audit.jsonl", tmp_path)
    (problem,) = refused.value.problems
    assert problem.path == path
    assert why in f"{problem.message} {problem.remedy}"
