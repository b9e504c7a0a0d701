"""How files of trails are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfn_audit_jsonl._names import closed_files, closed_path, parse_closed, parse_worker, trails_in, worker_path


@pytest.mark.parametrize(
    ("trail", "first", "name"),
    [
        ("audit.jsonl", 1, "audit-000000000000001.jsonl"),
        ("audit.w3.jsonl", 42, "audit.w3-000000000000042.jsonl"),
        ("trail", 7, "trail-000000000000007"),
        (".jsonl", 7, ".jsonl-000000000000007"),
        ("a-b.c.log", 10**17, "a-b.c-100000000000000000.log"),
    ],
)
def test_a_closed_file_is_named_for_its_trail_and_its_first_record(trail: str, first: int, name: str) -> None:
    path = Path("/var/log", trail)
    assert closed_path(path, first) == Path("/var/log", name)
    assert parse_closed(Path("/var/log", name)) == (path, first)


@pytest.mark.parametrize(
    "name",
    [
        "audit.jsonl",
        "audit-1.jsonl",
        "audit-000000000000000.jsonl",
        "audit-0000000000000001.jsonl",
        "audit-00000000000000x.jsonl",
        "audit-000000000000001.jsonl.torn-7",
        "-000000000000001.jsonl",
    ],
)
def test_no_other_name_is_that_of_a_closed_file(name: str) -> None:
    assert parse_closed(Path(name)) is None


def test_the_names_of_closed_files_sort_as_their_records_do() -> None:
    names = [closed_path(Path("audit.jsonl"), number).name for number in (1, 9, 10, 99_999, 10**12, 10**14)]
    assert names == sorted(names)


def test_the_trails_of_a_directory_are_told_apart(tmp_path: Path) -> None:
    base = tmp_path / "audit.jsonl"
    for path in (
        *(base, closed_path(base, 1), worker_path(base, 0), closed_path(worker_path(base, 1), 5)),
        *(tmp_path / "calls-000000000000003", tmp_path / "mfn.toml", tmp_path / "audit.jsonl.torn-9"),
    ):
        path.touch()
    (tmp_path / "folder.jsonl").mkdir()
    assert [trail.name for trail in trails_in(tmp_path)] == ["audit.jsonl", "audit.w0.jsonl", "audit.w1.jsonl", "calls"]
    assert closed_files(base) == [(1, closed_path(base, 1))]


@pytest.mark.parametrize(("name", "worker"), [("audit.w0.jsonl", 0), ("audit.w12.jsonl", 12), ("trail.w3", 3)])
def test_the_trail_of_a_worker_is_known_by_its_name(name: str, worker: int) -> None:
    found = parse_worker(Path(name))
    assert found is not None
    assert found[1] == worker
    assert worker_path(*found) == Path(name)


@pytest.mark.parametrize("name", ["audit.jsonl", "audit.w.jsonl", "audit.w01.jsonl", "audit.wx.jsonl", ".w1.jsonl"])
def test_no_other_name_is_that_of_a_worker(name: str) -> None:
    assert parse_worker(Path(name)) is None
