"""What the package declares to the kernel."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from mfn_audit_jsonl import JsonlSettings, JsonlSink, plugin
from mfn_core import ComponentContext, ConfigError
from mfn_core.assembly import plan
from mfn_core.config import Document, ServerSettings, decode
from mfn_core.testing.plugin import PluginSuite


class TestPlugin(PluginSuite):
    plugin = "audit_jsonl"


class Context:
    """What the factory uses of a component's context."""

    log = logging.getLogger("test")

    def __init__(self, *, worker: int = 0, workers: int = 1) -> None:
        self.worker = worker
        self.server = ServerSettings(workers=workers)


def made(settings: JsonlSettings, context: Context) -> JsonlSink:
    (spec,) = plugin.mfn_audit_sinks()
    sink = spec.factory(settings, cast("ComponentContext", context))
    assert isinstance(sink, JsonlSink)
    return sink


def test_it_declares_one_sink_whose_factory_touches_no_file(tmp_path: Path) -> None:
    (spec,) = plugin.mfn_audit_sinks()
    assert (spec.name, spec.scope, spec.config) == ("jsonl", "shared", JsonlSettings)
    assert made(JsonlSettings(path=tmp_path / "a.jsonl"), Context()).path == tmp_path / "a.jsonl"
    assert list(tmp_path.iterdir()) == []


def test_each_of_several_workers_has_a_trail_of_its_own(tmp_path: Path) -> None:
    settings = JsonlSettings(path=tmp_path / "audit.jsonl")
    sinks = [made(settings, Context(worker=worker, workers=3)) for worker in range(3)]
    assert [sink.path.name for sink in sinks] == ["audit.w0.jsonl", "audit.w1.jsonl", "audit.w2.jsonl"]


def test_a_server_of_several_workers_may_use_it(tmp_path: Path) -> None:
    tables = {"server": {"plugins": ["audit_jsonl"], "workers": 4}}
    with pytest.raises(ConfigError) as refused:
        plan(Document(tables=tables, base_dir=tmp_path, source="a test"))
    assert refused.value.problems
    # There is neither a transport nor a service; the audit is no reason to refuse the workers.
    assert "server.workers" not in {problem.path for problem in refused.value.problems}


def test_the_defaults_are_a_file_in_the_folder_of_the_configuration(tmp_path: Path) -> None:
    settings = decode(JsonlSettings, {}, "audit.jsonl", tmp_path)
    assert settings == JsonlSettings(
        path=tmp_path / "audit.jsonl",
        fsync="interval",
        queue=10_000,
        on_error="refuse",
        rotate_bytes=268_435_456,
        rotate_hours=0.0,
        keep_files=0,
    )


@pytest.mark.parametrize("table", [{"rotate_bytes": 0}, {"rotate_hours": 24}, {"rotate_hours": 0.5, "keep_files": 31}])
def test_settings_within_their_bounds_are_taken(tmp_path: Path, table: dict[str, object]) -> None:
    settings = decode(JsonlSettings, table, "audit.jsonl", tmp_path)
    assert {name: getattr(settings, name) for name in table} == table


@pytest.mark.parametrize(
    ("table", "path", "why"),
    [
        ({"fsync": "allways"}, "audit.jsonl.fsync", "always"),
        ({"queue": 0}, "audit.jsonl.queue", "between 1 and 1000000"),
        ({"fsnyc": "always"}, "audit.jsonl.fsnyc", "fsync"),
        ({"path": 7}, "audit.jsonl.path", "7"),
        ({"path": "audit-000000000000001.jsonl"}, "audit.jsonl.path", "a name that rotation gives to closed files"),
        ({"rotate_bytes": 256}, "audit.jsonl.rotate_bytes", "0, which turns it off, or between 65536 and"),
        ({"rotate_bytes": -1}, "audit.jsonl.rotate_bytes", "not -1"),
        ({"rotate_hours": 0.001}, "audit.jsonl.rotate_hours", "a minute to ten years"),
        ({"rotate_hours": 1e9}, "audit.jsonl.rotate_hours", "not 1000000000.0"),
        ({"keep_files": -1}, "audit.jsonl.keep_files", "between 0 and 1000000"),
        ({"rotate_bytes": 0, "keep_files": 7}, "audit.jsonl.keep_files", "set rotate_bytes or rotate_hours"),
        ({"on_error": "ignore"}, "audit.jsonl.on_error", "refuse"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, table: dict[str, object], path: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        decode(JsonlSettings, table, "audit.jsonl", tmp_path)
    (problem,) = refused.value.problems
    assert problem.path == path
    assert why in f"{problem.message} {problem.remedy}"
