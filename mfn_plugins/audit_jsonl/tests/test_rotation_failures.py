"""Rotation that cannot be done, that is killed, and that others are in the way of."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, _file, _rotation, _writer, verify, verify_directory
from mfn_audit_jsonl._names import closed_files, closed_path
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


# When it cannot be done.


async def test_a_file_in_the_way_is_not_written_over_and_costs_no_record(
    rotating: MakeSink, record: MakeRecord, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = rotating()
    await sink.start()
    taken = closed_path(sink.path, 1)
    taken.write_text("something else")
    await write(sink, record, *range(20))
    assert taken.read_text() == "something else"
    assert sink.statistics().rotations == 0
    assert "no new file could be begun, records go on in the present one" in caplog.text
    assert f"it is in the way, and nothing is ever written over; move it away: '{taken}'" in caplog.text
    assert caplog.text.count("no new file could be begun") == 1
    assert sorted(path.name for path in sink.path.parent.iterdir()) == [taken.name, sink.path.name]
    await sink.stop()
    taken.unlink()
    assert verify(sink.path, sink.statistics().head).records == 20


async def test_it_is_tried_again_until_it_can_be_done(
    rotating: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_writer, "ROTATE_RETRY_INTERVAL", 0.01)
    sink = rotating()
    await sink.start()
    taken = closed_path(sink.path, 1)
    taken.write_text("something else")
    await write(sink, record, *range(20))
    taken.unlink()
    await until(lambda: sink.statistics().rotations > 0)
    await sink.stop()
    assert verify(sink.path, sink.statistics().head).ok
    assert ids(sink.path) == [record(number).call_id for number in range(20)]


@pytest.mark.parametrize(
    ("step", "error", "said"),
    [
        ("os.link", PermissionError(1, "operation not permitted"), "makes no hard link, which rotation needs"),
        ("os.link", OSError(5, "input/output error"), "input/output error"),
        ("os.write", OSError(28, "no space left on device"), "no space left on device"),
        ("os.fsync", OSError(5, "input/output error"), "input/output error"),
        ("sync_directory", OSError(5, "input/output error"), "input/output error"),
        ("fcntl.flock", OSError(37, "no locks available"), "no locks available"),
    ],
)
async def test_whatever_fails_on_the_way_the_trail_goes_on_in_the_present_file(
    rotating: MakeSink,
    record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    error: OSError,
    said: str,
) -> None:
    # In the module of the rotation alone: the records themselves are written as ever.
    class Failing:
        def __init__(self, true: Any) -> None:
            self._true = true

        def __getattr__(self, name: str) -> Any:
            return fail if name == step.rpartition(".")[2] else getattr(self._true, name)

    def fail(*given: Any, **named: Any) -> Any:
        raise error

    sink = rotating()
    await sink.start()
    with monkeypatch.context() as broken:
        module, _, name = step.rpartition(".")
        if module:
            broken.setattr(_rotation, module, Failing(getattr(_rotation, module)))
        else:
            broken.setattr(_rotation, name, fail)
        await write(sink, record, *range(10))
        assert sink.statistics().rotations == 0
    assert said in caplog.text
    assert [path.name for path in sink.path.parent.iterdir()] == [sink.path.name]
    await sink.stop()
    sink = rotating()
    await sink.start()
    await write(sink, record, *range(10, 20))
    await sink.stop()
    assert sink.statistics().rotations > 0
    assert ids(sink.path) == [record(number).call_id for number in range(20)]
    assert verify(sink.path, sink.statistics().head).ok


async def test_a_trail_that_was_moved_away_is_not_closed_under_a_wrong_name(
    rotating: MakeSink, record: MakeRecord, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = rotating()
    await sink.start()
    await write(sink, record, 0)
    sink.path.rename(tmp_path / "moved.jsonl")
    sink.path.write_text("something else")
    await write(sink, record, *range(1, 20))
    await sink.stop()
    assert "the trail was moved away while in use" in caplog.text
    assert sink.path.read_text() == "something else"
    assert verify(tmp_path / "moved.jsonl").records == 20


async def test_a_trail_whose_first_record_is_damaged_goes_on_in_the_same_file(
    rotating: MakeSink, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    sink = rotating(rotate_bytes=0)
    await sink.start()
    await write(sink, record, 0, 1)
    await sink.stop()
    sink.path.write_bytes(sink.path.read_bytes().replace(b"alice", b"mally", 1))
    sink = rotating()
    await sink.start()
    await write(sink, record, *range(2, 9))
    await sink.stop()
    assert "its first record is not intact" in caplog.text
    assert closed(sink.path) == []
    assert len(lines(sink.path)) == 9


# After a crash, and beside other servers.


async def test_a_trail_without_its_newest_file_goes_on_from_the_last_closed_one(
    rotating: MakeSink, record: MakeRecord
) -> None:
    sink = rotating()
    await sink.start()
    await write(sink, record, *range(10))
    await sink.stop()
    last = closed(sink.path)[-1]
    for content in (None, b"", b'{"seq":99,"pre'):
        sink.path.unlink()
        if content is not None:
            sink.path.write_bytes(content)
        sink = rotating(rotate_bytes=0)
        await sink.start()
        await write(sink, record, 99)
        await sink.stop()
        begin = lines(sink.path)[0]
        assert (begin["event"], begin["previous"]) == ("continued", last.name)
        assert (begin["seq"], begin["prev"]) == (lines(last)[-1]["seq"] + 1, lines(last)[-1]["hash"])
        assert begin["previous_records"] == len(lines(last))
        assert [line.get("event") for line in lines(sink.path)] == ["continued", *(["torn"] if content else []), None]
        assert verify(sink.path, sink.statistics().head).ok


async def test_nothing_is_chained_to_a_closed_file_that_is_damaged(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating()
    await sink.start()
    await write(sink, record, *range(10))
    await sink.stop()
    last = closed(sink.path)[-1]
    last.write_bytes(last.read_bytes()[:-20] + b"x" * 19 + b"\n")
    sink.path.unlink()
    with pytest.raises(OSError, match=f"{last.name}: the last record, .* is not intact"):
        await rotating().start()


async def test_a_second_server_is_refused_before_and_after_a_file_is_closed(
    rotating: MakeSink, record: MakeRecord
) -> None:
    first, second = rotating(), rotating()
    await first.start()
    for number in range(30):
        await write(first, record, number)
        with pytest.raises(BlockingIOError, match="is in use by another server"):
            await second.start()
    assert first.statistics().rotations > 3
    await first.stop()
    await second.start()
    await write(second, record, 30)
    await second.stop()
    assert ids(first.path) == [record(number).call_id for number in range(31)]
    assert verify(first.path, second.statistics().head).ok


async def test_a_server_that_waits_for_the_lock_of_a_closed_file_gets_none(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It opens the file, the file is closed and its lock given back, and only then it asks for the lock.
    sink = rotating(rotate_bytes=1)
    await sink.start()
    loop = asyncio.get_running_loop()
    true = fcntl.flock
    rotated: list[int] = []

    def late(fd: int, operation: int) -> None:
        if not rotated:
            rotated.append(fd)
            asyncio.run_coroutine_threadsafe(write(sink, record, *range(5)), loop).result(TIMEOUT)
        true(fd, operation)

    with monkeypatch.context() as slow:

        class Slow:
            LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB
            flock = staticmethod(late)

        slow.setattr(_file, "fcntl", Slow)
        with pytest.raises(BlockingIOError, match="is in use by another server"):
            await rotating().start()
    assert rotated
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(5)]
    assert verify(sink.path).ok


async def test_a_link_to_the_trail_stays_a_link(rotating: MakeSink, record: MakeRecord, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, real = tmp_path / "audit.jsonl", tmp_path / "disk" / "real.jsonl"
    link.symlink_to(real)
    for life in range(2):
        sink = rotating()
        await sink.start()
        await write(sink, record, *range(life * 10, life * 10 + 10))
        await sink.stop()
    assert link.is_symlink()
    assert closed(link) == []
    assert len(closed(real)) > 3
    assert ids(link) == [record(number).call_id for number in range(20)]
    assert verify(link, sink.statistics().head).ok


async def test_every_file_is_for_its_owner_alone(rotating: MakeSink, record: MakeRecord) -> None:
    before = os.umask(0)
    try:
        sink = rotating()
        await sink.start()
        await write(sink, record, *range(10))
        await sink.stop()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in sink.path.parent.iterdir()} == {0o600}


@pytest.mark.slow
def test_a_kill_at_any_line_of_a_rotation_loses_nothing(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, str(HERE / "killed_rotation.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 300


def acknowledged_until_killed(path: Path, count: int) -> list[str]:
    """Call ids that a process acknowledged before it was killed, while it closed a file with almost every write."""
    command = [sys.executable, str(HERE / "trail_writer.py"), "forever", str(path), "1500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = [process.stdout.readline().decode().strip() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        found += process.stdout.read().decode().split("\n")[:-1]
        assert process.wait(TIMEOUT) == -signal.SIGKILL
    return found


async def test_every_acknowledged_record_survives_kills_amid_rotations(
    rotating: MakeSink, record: MakeRecord, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    acknowledged: list[str] = []
    # Each life goes on from the one before, and ends at another moment of its work.
    for life in range(8):
        acknowledged += await asyncio.to_thread(acknowledged_until_killed, path, 20 + 37 * life)
        report = verify(path)
        assert not report.tampered, report.problem
        assert report.problem is None or report.problem.file == str(path)
        assert set(acknowledged) <= set(ids(path))
    sink = rotating()
    await sink.start()
    await write(sink, record, 1)
    await sink.stop()
    report = verify(path, sink.statistics().head)
    assert report.ok, report.problem
    assert report.files > 50
    found = ids(path)
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    (whole,) = verify_directory(tmp_path, [sink.statistics().head])
    assert whole == report
