"""The sink when the disk refuses, or somebody touches the file."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, verify
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl.reading import records
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Fill = Callable[[], Path]

TIMEOUT = 30.0
WRITER = Path(__file__).parent / "trail_writer.py"


def ids(path: Path) -> list[str]:
    found = (json.loads(line) for line in path.read_bytes().split(b"\n")[:-1])
    return [record["call_id"] for record in found if "call_id" in record]


async def until_accepted(sink: JsonlSink, record: AuditRecord) -> None:
    """Write the record as soon as the sink takes records again."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                return await sink.write(record)
            except OSError:
                await asyncio.sleep(0.01)


async def test_always_refuses_each_call_while_the_disk_is_full_and_recovers_by_itself(
    make_sink: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill
) -> None:
    sink = make_sink(small_disk / "audit.jsonl", fsync="always")
    await sink.start()
    for number in range(5):
        await sink.write(record(number))
    ballast = fill()
    kept, refused = list(range(5)), []
    for number in range(5, 50):
        try:
            await sink.write(record(number))
        except OSError as error:
            assert re.search(r"no space left on device: .*audit\.jsonl", str(error))  # noqa: PT017 - some still fit
            refused.append(number)
        else:
            kept.append(number)
    assert len(refused) > 30
    assert verify(sink.path, sink.statistics().head).records == len(kept)
    ballast.unlink()
    await sink.write(record(50))
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in [*kept, 50]]
    assert verify(sink.path, sink.statistics().head).ok
    assert sink.statistics().failures >= len(refused)


async def test_concurrent_calls_are_all_refused_with_an_error_of_their_own(
    make_sink: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill
) -> None:
    sink = make_sink(small_disk / "audit.jsonl", fsync="always")
    await sink.start()
    fill()
    async with asyncio.timeout(TIMEOUT):
        found = await asyncio.gather(*(sink.write(record(n)) for n in range(200)), return_exceptions=True)
    errors = [error for error in found if error is not None]
    assert len(errors) > 100
    assert all(isinstance(error, OSError) for error in errors)
    assert len({id(error) for error in errors}) == len(errors)
    await sink.stop()
    kept = [record(number).call_id for number, error in enumerate(found) if error is None]
    assert ids(sink.path) == kept


@pytest.mark.parametrize("fsync", ["interval", "never"])
async def test_what_was_accepted_before_the_disk_was_full_is_written_once_there_is_room(
    make_sink: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill, fsync: str
) -> None:
    sink = make_sink(small_disk / "audit.jsonl", fsync=fsync)
    await sink.start()
    ballast = fill()
    accepted, number = [], 0
    async with asyncio.timeout(TIMEOUT):
        # Until the disk has refused, records are taken; from then on calls fail.
        while True:
            try:
                await sink.write(record(number))
            except OSError as error:
                assert "no space left on device" in str(error)  # noqa: PT017 - the first ones are taken
                break
            accepted.append(number)
            number += 1
            await asyncio.sleep(0.001)
    assert accepted
    assert sink.statistics().waiting > 0
    assert verify(sink.path).ok
    ballast.unlink()
    await until_accepted(sink, record(number + 1))
    await sink.stop()
    assert ids(sink.path) == [record(n).call_id for n in [*accepted, number + 1]]
    assert verify(sink.path, sink.statistics().head).ok


async def test_writers_that_wait_for_room_are_refused_when_the_disk_is_full(
    make_sink: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill
) -> None:
    sink = make_sink(small_disk / "audit.jsonl", queue=5)
    await sink.start()
    ballast = fill()
    async with asyncio.timeout(TIMEOUT):
        found = await asyncio.gather(*(sink.write(record(n)) for n in range(100)), return_exceptions=True)
    accepted = [number for number, error in enumerate(found) if error is None]
    assert 5 <= len(accepted) < 50
    assert all(error is None or isinstance(error, OSError) for error in found)
    ballast.unlink()
    await until_accepted(sink, record(100))
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in [*accepted, 100]]


@pytest.mark.parametrize("on_error", ["refuse", "wait"])
@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
async def test_a_disk_that_is_full_when_a_file_is_to_be_closed_costs_nothing(
    rotating: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill, fsync: str, on_error: str
) -> None:
    sink = rotating(path=small_disk / "audit.jsonl", fsync=fsync, on_error=on_error)
    await sink.start()
    acknowledged: list[int] = []

    async def call(number: int) -> None:
        try:
            await sink.write(record(number))
        except OSError:
            return
        acknowledged.append(number)

    waiting: list[asyncio.Task[None]] = []
    for turn in range(3):
        # Room for a few records and not for a new file, and for neither.
        ballast = fill()
        os.truncate(ballast, max(0, ballast.stat().st_size - 4096 * turn))
        for number in range(turn * 10, turn * 10 + 10):
            waiting.append(asyncio.create_task(call(number)))
            await asyncio.wait(waiting, timeout=0.003)
        ballast.unlink()
        await until_accepted(sink, record(100 + turn))
        acknowledged.append(100 + turn)
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*waiting)
    await sink.stop()
    report = verify(sink.path, sink.statistics().head)
    assert report.ok, report.problem
    kept = [one.fields["call_id"] for one in records(sink.path) if "call_id" in one.fields]
    assert len(kept) == len(set(kept))
    assert {record(number).call_id for number in acknowledged} <= set(kept)
    if on_error == "wait":
        assert len(kept) == 33
    if fsync == "always":
        assert len(kept) == len(acknowledged)


async def test_records_that_never_find_room_are_in_the_log_and_stop_says_so(
    make_sink: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(small_disk / "audit.jsonl", fsync="never")
    await sink.start()
    fill()
    for number in range(100):
        await sink.write(record(number))
    with pytest.raises(OSError, match=r"\d+ records could not be written and are in the log: .*no space left"):
        await sink.stop()
    kept = set(ids(sink.path))
    assert len(kept) < 100
    for number in range(100):
        assert (record(number).call_id in kept) is not (f'"call_id":"{record(number).call_id}"' in caplog.text)
    assert verify(sink.path).ok
    await sink.stop()


async def test_a_file_size_limit_is_survived_like_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    found = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(WRITER), "limited", str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    kept, refused, limit = map(int, found.stdout.split())
    assert kept > 2
    assert refused == 5
    assert verify(path).records == kept
    assert path.stat().st_size > limit


class FailingDisk:
    """Lets the first fsyncs of every trail fail, or all until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: float) -> None:
        self.failed = 0
        self.times = times
        true = TrailFile.sync

        def sync(file: TrailFile) -> None:
            if self.failed < self.times:
                self.failed += 1
                raise OSError(5, "input/output error", str(file.path))
            true(file)

        monkeypatch.setattr(TrailFile, "sync", sync)

    def mend(self) -> None:
        self.times = 0


async def test_always_takes_records_back_that_the_disk_did_not_confirm(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    FailingDisk(monkeypatch, 1)
    sink = make_sink(fsync="always")
    await sink.start()
    with pytest.raises(OSError, match="input/output error"):
        await sink.write(record(1))
    assert sink.path.read_bytes() == b""
    await sink.write(record(2))
    await sink.stop()
    assert ids(sink.path) == [record(2).call_id]
    assert verify(sink.path, sink.statistics().head).ok


async def test_interval_writes_records_again_that_the_disk_did_not_confirm(
    make_sink: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(monkeypatch, 3)
    sink = make_sink(fsync="interval")
    await sink.start()
    for number in range(10):
        await sink.write(record(number))
    await until(lambda: disk.failed == 3)
    await until_accepted(sink, record(10))
    await sink.stop()
    assert disk.failed == 3
    assert ids(sink.path) == [record(number).call_id for number in range(11)]
    assert verify(sink.path, sink.statistics().head).ok
    assert sink.statistics().failures == 3


async def test_calls_are_refused_while_the_disk_does_not_confirm(
    make_sink: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(monkeypatch, math.inf)
    sink = make_sink(fsync="interval")
    await sink.start()
    await sink.write(record(1))
    await until(lambda: disk.failed > 1)
    for _ in range(30):
        with pytest.raises(OSError, match="input/output error"):
            await sink.write(record(2))
        await asyncio.sleep(0.001)
    disk.mend()
    await until_accepted(sink, record(3))
    await sink.stop()
    assert ids(sink.path) == [record(1).call_id, record(3).call_id]


async def test_a_disk_that_does_not_confirm_at_the_end_keeps_the_lines_and_is_logged(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FailingDisk(monkeypatch, math.inf)
    sink = make_sink(fsync="interval")
    await sink.start()
    await sink.write(record(1))
    await sink.stop()
    assert ids(sink.path) == [record(1).call_id]
    assert "1 records are written, but the disk did not confirm them" in caplog.text


async def test_a_defect_of_the_writer_refuses_every_call_from_then_on(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(file: TrailFile, bodies: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(TrailFile, "append", broken)
    sink = make_sink(fsync="always")
    await sink.start()
    async with asyncio.timeout(TIMEOUT):
        for _ in range(3):
            with pytest.raises(OSError, match="the audit writer failed: ZeroDivisionError: a defect"):
                await sink.write(record(1))
    await sink.stop()
    assert "every call is refused from now on" in caplog.text


async def test_a_removed_file_is_not_written_into_the_void(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink(fsync="always")
    await sink.start()
    await sink.write(record(1))
    sink.path.unlink()
    with pytest.raises(OSError, match="was removed while in use; restore it and restart the server"):
        await sink.write(record(2))
    await sink.stop()


@pytest.mark.parametrize("foreign", [b"a line\n", b"no line end"])
async def test_what_another_program_appends_costs_no_record_and_is_named(
    make_sink: MakeSink, record: MakeRecord, caplog: pytest.LogCaptureFixture, foreign: bytes
) -> None:
    sink = make_sink(fsync="always")
    await sink.start()
    await sink.write(record(1))
    with sink.path.open("ab") as file:
        file.write(foreign)
    await sink.write(record(2))
    await sink.write(record(3))
    await sink.stop()
    lines = sink.path.read_bytes().splitlines()
    assert len(lines) == 4
    assert [json.loads(lines[at])["seq"] for at in (0, 2, 3)] == [1, 2, 3]
    assert caplog.text.count("was changed by another program") == 1
    problem = verify(sink.path).problem
    assert problem is not None
    assert (problem.line, problem.kind) == (2, "bad-json")


async def test_records_go_on_in_a_file_that_another_program_emptied(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink(fsync="always")
    await sink.start()
    await sink.write(record(1))
    os.truncate(sink.path, 0)
    await sink.write(record(2))
    await sink.stop()
    problem = verify(sink.path).problem
    assert problem is not None
    assert (problem.line, problem.kind) == (1, "removed")
