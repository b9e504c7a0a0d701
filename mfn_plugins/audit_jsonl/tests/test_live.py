"""A trail is proved, read and followed while its server closes files and removes old ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, VerifyReport, verify, verify_directory
from mfn_audit_jsonl import _segments as segments
from mfn_audit_jsonl._names import closed_files
from mfn_audit_jsonl.following import Follower
from mfn_audit_jsonl.reading import records
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]

TIMEOUT = 60.0


async def beside(
    sink: JsonlSink, record: MakeRecord, look: Callable[[], object], *, rotations: int = 60, looks: int = 8
) -> None:
    """Look again and again, in a thread, while the sink closes file after file."""
    done = threading.Event()
    looked = 0

    def keep_looking() -> None:
        nonlocal looked
        while not done.is_set():
            look()
            looked += 1

    looking = asyncio.create_task(asyncio.to_thread(keep_looking))
    try:
        async with asyncio.timeout(TIMEOUT):
            number = 0
            while not looking.done() and (sink.statistics().rotations < rotations or looked < looks):
                await asyncio.gather(*(sink.write(record(number + each)) for each in range(4)))
                number += 4
                # At a pace that leaves the other thread its part of the interpreter.
                await asyncio.sleep(0.001)
    finally:
        done.set()
        await looking


@pytest.mark.parametrize("keep_files", [0, 2])
async def test_it_is_proved_without_a_false_alarm(rotating: MakeSink, record: MakeRecord, keep_files: int) -> None:
    sink = rotating(keep_files=keep_files, fsync="never")
    await sink.start()
    await sink.write(record(0))
    reports: list[VerifyReport] = []

    def prove() -> None:
        reports.append(verify(sink.path))
        reports.extend(verify_directory(sink.path.parent))

    await beside(sink, record, prove)
    await sink.stop()
    assert [report.problem for report in reports if not report.ok] == []
    assert len({report.head for report in reports}) > 5
    assert any(report.expired for report in reports) is bool(keep_files)


async def test_it_is_followed_without_a_gap_or_a_record_twice(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(fsync="never")
    await sink.start()
    await sink.write(record(0))
    with Follower(sink.path) as follower:
        found = follower.last(1000)
        await beside(sink, record, lambda: found.extend(follower.new()))
        await sink.stop()
        found.extend(follower.new())
    assert [one.fields["seq"] for one in found] == list(range(1, sink.statistics().seq + 1))


async def test_it_is_read_without_a_gap_or_a_record_twice(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(fsync="never")
    await sink.start()
    await sink.write(record(0))
    queried: list[list[int]] = []
    await beside(sink, record, lambda: queried.append([one.fields["seq"] for one in records(sink.path)]))
    await sink.stop()
    for numbers in queried:
        assert numbers == list(range(1, len(numbers) + 1))


class Between:
    """Does something at the moment between opening the trail and listing its closed files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], times: int = 1) -> None:
        self.times = times
        true = closed_files

        def listed(path: Path) -> list[tuple[int, Path]]:
            if self.times > 0:
                self.times -= 1
                work()
            return true(path)

        monkeypatch.setattr(segments, "closed_files", listed)


def steps(sink: JsonlSink, record: MakeRecord, loop: asyncio.AbstractEventLoop) -> Iterator[int]:
    """Each step writes until one more file is closed."""
    number = 1000
    while True:
        before = sink.statistics().rotations
        while sink.statistics().rotations == before:
            number += 1
            asyncio.run_coroutine_threadsafe(sink.write(record(number)), loop).result(TIMEOUT)
        yield number


@pytest.mark.parametrize("closed", [1, 3])
async def test_files_closed_after_it_was_opened_are_no_part_of_what_is_proved(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, closed: int
) -> None:
    sink = rotating()
    await sink.start()
    for number in range(10):
        await sink.write(record(number))
    step = steps(sink, record, asyncio.get_running_loop())
    head, seq = sink.statistics().head, sink.statistics().seq
    Between(monkeypatch, lambda: [next(step) for _ in range(closed)])
    report = await asyncio.to_thread(verify, sink.path, head)
    assert report.ok, report.problem
    assert report.records == seq
    await sink.stop()


async def test_a_file_removed_before_it_was_listed_is_accounted_for_by_a_later_look(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = rotating(keep_files=2)
    await sink.start()
    await sink.write(record(0))
    step = steps(sink, record, asyncio.get_running_loop())
    await asyncio.to_thread(lambda: [next(step) for _ in range(2)])
    assert not verify(sink.path).expired
    # The first file goes, and the record that says so is in a file that was not there when the trail was opened.
    Between(monkeypatch, lambda: next(step))
    report = await asyncio.to_thread(verify, sink.path)
    assert report.ok, report.problem
    assert report.expired
    await sink.stop()


async def test_files_removed_while_they_are_read_make_it_begin_again(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = rotating(keep_files=3)
    await sink.start()
    await sink.write(record(0))
    step = steps(sink, record, asyncio.get_running_loop())
    await asyncio.to_thread(lambda: [next(step) for _ in range(5)])
    true = segments.Segment.open
    opened: list[str] = []

    def slow(segment: segments.Segment) -> Any:
        opened.append(segment.path.name)
        if len(opened) == 2:
            for _ in range(4):
                next(step)
        return true(segment)

    monkeypatch.setattr(segments.Segment, "open", slow)
    report = await asyncio.to_thread(verify, sink.path)
    assert report.ok, report.problem
    assert report.files == 4
    assert len(opened) > 4
    await sink.stop()


async def test_a_trail_whose_files_go_faster_than_they_are_read_is_no_proof_of_anything(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = rotating(keep_files=1)
    await sink.start()
    await sink.write(record(0))
    step = steps(sink, record, asyncio.get_running_loop())
    await asyncio.to_thread(lambda: [next(step) for _ in range(3)])
    true = segments.Segment.open

    def slow(segment: segments.Segment) -> Any:
        if segment.closed:
            next(step)
        return true(segment)

    monkeypatch.setattr(segments.Segment, "open", slow)
    with pytest.raises(OSError, match="removed faster than they can be read; raise keep_files"):
        await asyncio.to_thread(verify, sink.path)
    await sink.stop()


async def test_a_rotation_that_is_half_done_shows_its_file_once(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(rotate_bytes=0)
    await sink.start()
    for number in range(5):
        await sink.write(record(number))
    await sink.stop()
    (sink.path.parent / "audit-000000000000001.jsonl").hardlink_to(sink.path)
    report = verify(sink.path, sink.statistics().head)
    assert report.ok
    assert (report.files, report.records) == (1, 5)
    assert verify_directory(sink.path.parent) == (report,)
    assert len(list(records(sink.path))) == 5
    # And it is undone by the next server.
    await sink.start()
    await sink.stop()
    assert closed_files(sink.path) == []
