"""Reading a configuration: the file, the overrides, and the way to a worker process."""

from __future__ import annotations

import datetime
import math
from pathlib import Path

import pytest

from mfn_core.config import ConfigError, Document, Problem, override, read_document


def problems(path: Path | None, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as failed:
        read_document(path, overrides)
    return failed.value.problems


def message(path: Path | None, *overrides: str) -> str:
    (problem,) = problems(path, *overrides)
    return f"{problem.path}: {problem.message}; {problem.remedy}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mfn.toml"


def test_a_file_gives_its_tables_and_its_directory(file: Path) -> None:
    file.write_text('[server]\nworkers = 2\n[transports."grpc/public"]\nlisten = "[::1]:0"\n')
    document = read_document(file)
    assert document.tables == {"server": {"workers": 2}, "transports": {"grpc/public": {"listen": "[::1]:0"}}}
    assert document.base_dir == file.parent
    assert document.source == str(file)


def test_a_relative_file_gives_an_absolute_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("")
    monkeypatch.chdir(file.parent)
    assert read_document(Path("mfn.toml")).base_dir == file.parent


def test_without_a_file_the_overrides_are_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = read_document(None, ["server.workers=2"])
    assert document.tables == {"server": {"workers": 2}}
    assert document.base_dir == tmp_path


def test_a_missing_file_is_named(file: Path) -> None:
    assert message(file).startswith(f"{file}: no such file")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in message(tmp_path)


def test_a_syntax_error_is_named_with_its_line_and_column(file: Path) -> None:
    file.write_text("[server]\nworkers = = 2\n")
    assert "not TOML: invalid value (at line 2, column 11)" in message(file)


def test_a_file_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\n")
    assert "is not UTF-8 at byte 5" in message(file)


def test_a_file_without_end_is_refused(file: Path) -> None:
    file.write_bytes(b"#" * ((1 << 20) + 1))
    assert "is larger than 1048576 bytes" in message(file)


def test_a_deeply_nested_file_is_refused(file: Path) -> None:
    file.write_text("a = " + "[" * 100_000)
    assert "not TOML" in message(file)


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("server.workers=4", {"server": {"workers": 4}}),
        ("server.drain_seconds = 0.5", {"server": {"drain_seconds": 0.5}}),
        ("server.plugins=['a', 'b']", {"server": {"plugins": ["a", "b"]}}),
        ("server.log_level=debug", {"server": {"log_level": "debug"}}),
        ("server.engine='2'", {"server": {"engine": "2"}}),
        ("flag=true", {"flag": True}),
        ("transports.grpc.listen=127.0.0.1:0", {"transports": {"grpc": {"listen": "127.0.0.1:0"}}}),
        ('transports."grpc/public".listen=localhost:0', {"transports": {"grpc/public": {"listen": "localhost:0"}}}),
        ("audit.jsonl.path=/var/log/a=b.jsonl", {"audit": {"jsonl": {"path": "/var/log/a=b.jsonl"}}}),
        ('a."b=c".d=1', {"a": {"b=c": {"d": 1}}}),
        ("a.b={ c = 1 }", {"a": {"b": {"c": 1}}}),
        ("a=''", {"a": ""}),
    ],
)
def test_an_override_sets_one_value(text: str, tables: dict[str, object]) -> None:
    assert read_document(None, [text]).tables == tables


def test_overrides_go_on_top_of_the_file_in_order(file: Path) -> None:
    file.write_text("[server]\nworkers = 2\nengine = 'numpy'\n")
    document = read_document(file, ["server.workers=3", "server.workers=4"])
    assert document.tables == {"server": {"workers": 4, "engine": "numpy"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers", "is not an override"),
        ("=3", "is not an override"),
        ("server.workers=", "has no value"),
        ("server workers=3", "is not a dotted path"),
        ("transports.grpc/public.listen=x", 'transports."grpc/public".listen'),
        ("[server]\nx=3", "is not a dotted path"),
        ("a..b=3", "is not a dotted path"),
        ("server.plugins=['a'", "is not TOML"),
        ("server.engine='numpy", "is not TOML"),
        ("server.workers=3\nengine = 'x'", "is not TOML"),
    ],
)
def test_a_malformed_override_is_refused(text: str, said: str) -> None:
    assert said in message(None, text)


def test_a_malformed_override_does_not_show_its_value() -> None:
    assert "hunter2" not in message(None, "auth.token.secret=['hunter2'")


def test_an_override_below_a_value_is_refused(file: Path) -> None:
    file.write_text("[server]\nworkers = 2\n")
    assert "server.workers is not a table" in message(file, "server.workers.count=3")


def test_the_file_and_every_override_are_reported_at_once(file: Path) -> None:
    assert len(problems(file, "a", "b=", "c=3")) == 3


def test_overriding_leaves_the_document_as_it_was() -> None:
    document = Document(tables={"server": {"workers": 1}}, base_dir=Path("/base"), source="x")
    changed = override(document, ["server.workers=2"])
    assert document.tables == {"server": {"workers": 1}}
    assert changed.tables == {"server": {"workers": 2}}
    assert changed.base_dir == Path("/base")


def test_a_document_goes_through_json_unchanged() -> None:
    tables = {
        "text": 'ä\n"quoted"',
        "numbers": [1, 2**60, 1.5, math.inf],
        "dates": {
            "day": datetime.date(2030, 1, 2),
            "moment": datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
            "time": datetime.time(3, 4, 5),
        },
        "nested": [{"a": [{"b": True}]}],
        "like a date": {"$date": "2030-01-02"},
        "like a wrapper": {"$table": {"a": 1}},
    }
    document = Document(tables=tables, base_dir=Path("/etc/mfn"), source="mfn.toml")
    again = Document.from_json(document.to_json())
    assert again == document
    assert type(again.tables["dates"]["day"]) is datetime.date


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"tables": {"secret": "hunter2"}}'])
def test_what_is_no_document_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="not a configuration document") as failed:
        Document.from_json(text)
    assert "hunter2" not in str(failed.value)


def test_the_repr_of_a_document_does_not_show_its_tables() -> None:
    document = Document(tables={"auth": {"secret": "hunter2"}}, base_dir=Path("/base"), source="x")
    assert "hunter2" not in repr(document)
