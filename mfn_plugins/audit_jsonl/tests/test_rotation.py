"""The trail goes on in a new file: when, under which names, and with nothing lost or left behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, _rotation, verify
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._names import closed_files, parse_closed
from mfn_audit_jsonl._rotation import RotationPolicy
from mfn_audit_jsonl.reading import records
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

TIMEOUT = 60.0
HERE = Path(__file__).parent


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def closed(path: Path) -> list[Path]:
    return [file for _, file in closed_files(path)]


def ids(path: Path) -> list[str]:
    """Call ids over all files."""
    return [record.fields["call_id"] for record in records(path) if "call_id" in record.fields]


async def write(sink: JsonlSink, record: MakeRecord, *numbers: int) -> None:
    for number in numbers:
        await sink.write(record(number))


# When.


async def test_a_file_that_has_reached_its_size_is_closed_and_the_chain_goes_on(
    rotating: MakeSink, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = rotating()
    await sink.start()
    await write(sink, record, *range(30))
    await sink.stop()
    files = [*closed(sink.path), sink.path]
    assert len(files) > 5
    assert sink.statistics().rotations == len(files) - 1
    assert ids(sink.path) == [record(number).call_id for number in range(30)]
    for before, after in itertools.pairwise(files):
        content, begin = lines(before), lines(after)[0]
        assert parse_closed(before) == (sink.path, content[0]["seq"])
        assert begin == {
            "seq": content[-1]["seq"] + 1,
            "prev": content[-1]["hash"],
            "time": begin["time"],
            "event": "continued",
            "previous": before.name,
            "previous_records": len(content),
            "expired_before": None,
            "hash": begin["hash"],
        }
        assert before.stat().st_size >= 1500
        assert f"behind record {content[-1]['seq']}, head {content[-1]['hash']}, the last in {before}" in caplog.text
    report = verify(sink.path, sink.statistics().head)
    assert report.ok
    assert (report.files, report.records) == (len(files), 30 + len(files) - 1)


@pytest.mark.parametrize("fsync", ["interval", "never"])
async def test_every_policy_closes_files(rotating: MakeSink, record: MakeRecord, until: Until, fsync: str) -> None:
    sink = rotating(fsync=fsync)
    await sink.start()
    for turn in range(4):
        await write(sink, record, *range(turn * 10, turn * 10 + 10))
        await until(lambda turn=turn: sink.statistics().rotations > turn)  # type: ignore[misc]  # bound at once
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(40)]
    assert verify(sink.path, sink.statistics().head).ok


async def test_no_size_is_too_large_where_rotation_is_off(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(rotate_bytes=0)
    await sink.start()
    await write(sink, record, *range(30))
    await sink.stop()
    assert closed(sink.path) == []


async def test_a_file_that_has_reached_its_age_is_closed_though_no_call_comes(
    rotating: MakeSink, record: MakeRecord, until: Until
) -> None:
    sink = rotating(rotate_bytes=0, rotate_hours=0.2 / 3600)
    await sink.start()
    await write(sink, record, 1)
    await until(lambda: sink.statistics().rotations == 1)
    await write(sink, record, 2)
    await until(lambda: sink.statistics().rotations == 2)
    await sink.stop()
    assert [len(lines(path)) for path in [*closed(sink.path), sink.path]] == [1, 2, 1]


def test_a_file_without_a_call_is_never_too_old_nor_too_large(tmp_path: Path) -> None:
    file = TrailFile(tmp_path / "audit.jsonl", logging.getLogger(), RotationPolicy(size=1, age=1e-9))
    file.open()
    assert file.rotation_in() is None
    file.append(['"time":"2026-01-01T00:00:00.000000Z"'])
    assert file.rotation_in() == 0.0
    file.rotate(durable=False)
    assert file.end.size > 1
    assert file.rotation_in() is None
    file.close()
    file.open()
    assert file.rotation_in() is None
    file.close()


async def test_the_age_of_a_file_is_counted_over_a_restart(
    rotating: MakeSink, record: MakeRecord, until: Until
) -> None:
    # The record is of 2026-01-01, and long too old for the second server.
    sink = rotating(rotate_bytes=0)
    await sink.start()
    await write(sink, record, 1)
    await sink.stop()
    sink = rotating(rotate_bytes=0, rotate_hours=1.0)
    await sink.start()
    await until(lambda: sink.statistics().rotations == 1)
    await sink.stop()
    assert len(lines(closed(sink.path)[0])) == 1


async def test_a_record_is_never_split_over_files(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(rotate_bytes=1)
    await sink.start()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*(sink.write(record(number, reason="x" * 900)) for number in range(100)))
    await sink.stop()
    for path in [*closed(sink.path), sink.path]:
        assert path.read_bytes().endswith(b"}\n")
        assert lines(path)
    assert ids(sink.path) == [record(number).call_id for number in range(100)]


async def test_calls_wait_for_nothing_but_the_queue_while_a_file_is_closed(
    rotating: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    true = TrailFile.rotate

    def slow(file: TrailFile, *, durable: bool) -> None:
        entered.set()
        assert go_on.wait(TIMEOUT)
        true(file, durable=durable)

    monkeypatch.setattr(TrailFile, "rotate", slow)
    sink = rotating(fsync="interval")
    await sink.start()
    await write(sink, record, *range(10))
    assert await asyncio.to_thread(entered.wait, TIMEOUT)
    async with asyncio.timeout(5):
        await write(sink, record, *range(10, 1000))
    go_on.set()
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(1000)]


# Durability.


async def test_always_acknowledges_nothing_in_a_new_file_before_its_names_are_on_the_disk(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for module, name in ((os, "link"), (os, "fsync"), (_rotation, "sync_directory")):
        true = getattr(module, name)

        def noted(*given: Any, _name: str = name, _true: Any = true, **named: Any) -> Any:
            steps.append(_name)
            return _true(*given, **named)

        monkeypatch.setattr(module, name, noted)
    monkeypatch.setattr("mfn_audit_jsonl._file.sync_directory", _rotation.sync_directory)
    true_replace = Path.replace

    def replace(path: Path, target: Path) -> Path:
        steps.append("rename")
        return true_replace(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    sink = rotating(rotate_bytes=1)
    await sink.start()
    steps.clear()
    await write(sink, record, 1)
    await write(sink, record, 2)
    steps.append("acknowledged")
    await sink.stop()
    # The first record; the new file and its line, the second name of the old one, the exchange; then the second record.
    expected = ["fsync", *["fsync", "link", "sync_directory", "fsync", "rename", "sync_directory", "fsync"], "fsync"]
    assert steps[: len(expected)] == expected
    assert steps.index("acknowledged") >= len(expected)


async def test_names_that_the_disk_did_not_take_are_forced_out_before_a_record_is_acknowledged(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    true = _rotation.sync_directory
    failed: list[Path] = []

    def failing(path: Path) -> None:
        if len(failed) < 2:
            failed.append(path)
            raise OSError(5, "input/output error", str(path))
        true(path)

    sink = rotating(rotate_bytes=1)
    await sink.start()
    monkeypatch.setattr("mfn_audit_jsonl._file.sync_directory", failing)
    await write(sink, record, 1)
    # The first failure is that of the rotation, the second that of the record's own fsync.
    with pytest.raises(OSError, match="input/output error"):
        await sink.write(record(2))
    await write(sink, record, 3)
    await sink.stop()
    assert len(failed) == 2
    assert "its names are not on the disk yet" in caplog.text
    assert ids(sink.path) == [record(1).call_id, record(3).call_id]
    assert verify(sink.path, sink.statistics().head).ok


@pytest.mark.parametrize("fsync", ["always", "interval"])
async def test_a_file_is_closed_only_with_all_of_it_on_the_disk(
    rotating: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    synced: dict[int, int] = {}
    true_sync, true_rotate = TrailFile.sync, TrailFile.rotate

    def sync(file: TrailFile) -> None:
        size = os.fstat(file._fd).st_size
        true_sync(file)
        synced[file._fd] = max(size, synced.get(file._fd, 0))

    def rotate(file: TrailFile, *, durable: bool) -> None:
        assert durable
        assert synced[file._fd] == os.fstat(file._fd).st_size
        synced.clear()
        true_rotate(file, durable=durable)

    monkeypatch.setattr(TrailFile, "sync", sync)
    monkeypatch.setattr(TrailFile, "rotate", rotate)
    sink = rotating(fsync=fsync)
    await sink.start()
    async with asyncio.timeout(TIMEOUT):
        number = 0
        while sink.statistics().rotations < 5:
            await sink.write(record(number))
            number += 1
            await asyncio.sleep(0)
    await sink.stop()
    assert ids(sink.path) == [record(n).call_id for n in range(number)]
    assert verify(sink.path, sink.statistics().head).ok


# Kept files.


async def test_the_oldest_files_are_removed_and_the_trail_says_so(
    rotating: MakeSink, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = rotating(keep_files=2)
    await sink.start()
    await write(sink, record, *range(40))
    await sink.stop()
    kept = closed(sink.path)
    assert len(kept) == 2
    assert lines(sink.path)[0]["expired_before"] == lines(kept[0])[0]["seq"]
    assert caplog.text.count("is removed: keep_files = 2") == sink.statistics().rotations - 2
    report = verify(sink.path, sink.statistics().head)
    assert report.ok
    assert report.expired
    assert report.missing_before == lines(kept[0])[0]["seq"] - 1 > 20
    expected = [record(number).call_id for number in range(40)]
    assert ids(sink.path) == expected[-len(ids(sink.path)) :]


async def test_nothing_is_said_to_be_removed_while_there_is_room(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(keep_files=50)
    await sink.start()
    await write(sink, record, *range(20))
    await sink.stop()
    assert {lines(path)[0].get("expired_before") for path in [*closed(sink.path), sink.path]} == {None}


async def test_a_file_that_cannot_be_removed_stays_and_is_named(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    true = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if parse_closed(path) is not None:
            raise PermissionError(1, "operation not permitted", str(path))
        true(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    sink = rotating(keep_files=1)
    await sink.start()
    await write(sink, record, *range(20))
    await sink.stop()
    assert len(closed(sink.path)) > 3
    assert re.search(
        r"audit-0+1\.jsonl is beyond keep_files = 1 and could not be removed: .*not permitted", caplog.text
    )
    assert ids(sink.path) == [record(number).call_id for number in range(20)]
    assert verify(sink.path).ok
