"""The sink with a disk that does as it is told."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from mfn_audit_jsonl import JsonlSettings, JsonlSink, verify
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl.reading import records
from mfn_core import AuditRecord, AuditSink
from mfn_core.testing.audit import AuditSinkSuite

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

TIMEOUT = 30.0


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def has_lines(path: Path, count: int) -> bool:
    return path.read_bytes().count(b"\n") >= count


def ids(path: Path) -> list[str]:
    return [record["call_id"] for record in read(path)]


class JsonlSuite(AuditSinkSuite):
    settings: ClassVar[dict[str, Any]]

    def make_sink(self, place: Path) -> JsonlSink:
        with attrs.validators.disabled():  # for files of a few records each
            return JsonlSink(JsonlSettings(path=place / "audit.jsonl", **self.settings))

    def read_back(self, sink: AuditSink) -> list[dict[str, Any]]:
        assert isinstance(sink, JsonlSink)
        report = verify(sink.path, sink.statistics().head)
        assert report.ok, report.problem
        return [
            {
                **record.fields,
                "time": datetime.fromisoformat(record.fields["time"]).timestamp(),
                "duration": record.fields["duration_ms"] / 1e3,
            }
            for record in records(sink.path)
            if "event" not in record.fields
        ]

    @contextmanager
    def refusing(self, place: Path) -> Iterator[None]:
        def full(fd: int, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mfn_audit_jsonl._file._write_all", full)
            yield


class TestIntervalPolicy(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "interval"}


class TestAlwaysPolicy(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "always"}


class TestNeverPolicy(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "never"}


class TestQueueOfOne(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "interval", "queue": 1}


class TestSmallFiles(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "always", "rotate_bytes": 1500}


class TestAFileForEachBatch(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "interval", "rotate_bytes": 1}


class TestCallsThatWait(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "always", "on_error": "wait"}


class TestCallsThatWaitForTheQueue(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {"fsync": "interval", "on_error": "wait", "rotate_bytes": 1500}


class TestOneWorkerOfMany(JsonlSuite):
    settings: ClassVar[dict[str, Any]] = {}

    def make_sink(self, place: Path) -> JsonlSink:
        return JsonlSink(JsonlSettings(path=place / "audit.jsonl"), worker=3, workers=4)


class Gate:
    """Holds a method of the trail's file up, in its thread, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()
        true = getattr(TrailFile, method)

        def held(file: TrailFile, *args: Any) -> Any:
            self._entered.set()
            assert self._open.wait(TIMEOUT)
            return true(file, *args)

        monkeypatch.setattr(TrailFile, method, held)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, TIMEOUT)

    def open(self) -> None:
        self._open.set()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("fsync", ["interval", "never", "always"])
async def test_a_line_is_in_the_file_within_100_ms(
    make_sink: MakeSink, record: MakeRecord, until: Until, fsync: str
) -> None:
    sink = make_sink(fsync=fsync)
    await sink.start()
    delays = []
    for number in range(1, 6):
        began = time.perf_counter()
        await sink.write(record(number))
        await until(partial(has_lines, sink.path, number))
        delays.append(time.perf_counter() - began)
    await sink.stop()
    # The best of five: the machine may be busy with something else, the sink would be late every time.
    assert min(delays) < 0.1


async def test_a_slow_fsync_holds_no_line_up(
    make_sink: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "sync")
    sink = make_sink(fsync="always")
    await sink.start()
    first = asyncio.create_task(sink.write(record(1)))
    await gate.entered()
    second = asyncio.create_task(sink.write(record(2)))
    await until(partial(has_lines, sink.path, 2))
    assert not first.done()
    assert not second.done()
    gate.open()
    await asyncio.gather(first, second)
    await sink.stop()


async def test_the_file_is_for_its_owner_alone(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink()
    await sink.start()
    await sink.stop()
    assert stat.S_IMODE(sink.path.stat().st_mode) == 0o600


async def test_a_file_that_others_can_open_is_warned_of(
    make_sink: MakeSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    path.chmod(0o644)
    sink = make_sink()
    await sink.start()
    await sink.stop()
    assert "mode 0644" in caplog.text


async def test_always_returns_only_after_its_fsync(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "sync")
    sink = make_sink(fsync="always")
    await sink.start()
    writing = asyncio.create_task(sink.write(record(1)))
    await gate.entered()
    await turns()
    assert not writing.done()
    gate.open()
    async with asyncio.timeout(TIMEOUT):
        await writing
    assert sink.statistics().fsyncs == 1
    await sink.stop()


async def test_one_fsync_serves_all_that_were_written_meanwhile(
    make_sink: MakeSink, record: MakeRecord, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "sync")
    sink = make_sink(fsync="always")
    await sink.start()
    first = asyncio.create_task(sink.write(record(0)))
    await gate.entered()
    rest = [asyncio.create_task(sink.write(record(number))) for number in range(1, 101)]
    await until(partial(has_lines, sink.path, 101))
    gate.open()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(first, *rest)
    assert sink.statistics().fsyncs == 2
    await sink.stop()


async def test_a_hundred_concurrent_writes_take_few_fsyncs(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink(fsync="always")
    await sink.start()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*(sink.write(record(number)) for number in range(100)))
    found = sink.statistics()
    assert found.records == 100
    assert 1 <= found.fsyncs <= 25
    await sink.stop()


async def test_interval_forces_to_the_disk_within_a_second_or_so_and_then_rests(
    make_sink: MakeSink, record: MakeRecord, until: Until
) -> None:
    sink = make_sink(fsync="interval")
    await sink.start()
    await sink.write(record(1))
    await until(lambda: sink.statistics().fsyncs > 0)
    await sink.stop()
    # The one of the interval was enough: nothing was left to force out at the end.
    assert sink.statistics().fsyncs == 1


async def test_never_forces_nothing(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink(fsync="never")
    await sink.start()
    await sink.write(record(1))
    await sink.stop()
    assert sink.statistics().fsyncs == 0
    assert sink.statistics().records == 1


@pytest.mark.parametrize("fsync", ["interval", "never"])
async def test_writers_wait_while_the_queue_is_full_and_nothing_is_dropped(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    gate = Gate(monkeypatch, "append")
    sink = make_sink(fsync=fsync, queue=10)
    await sink.start()
    await sink.write(record(0))
    await gate.entered()
    writes = [asyncio.create_task(sink.write(record(number))) for number in range(1, 31)]
    await turns()
    assert [write.done() for write in writes] == [True] * 10 + [False] * 20
    gate.open()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*writes)
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(31)]


@pytest.mark.parametrize("fsync", ["interval", "always"])
async def test_a_cancelled_wait_takes_no_record_back(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    gate = Gate(monkeypatch, "append")
    sink = make_sink(fsync=fsync, queue=1)
    await sink.start()
    writes = [asyncio.create_task(sink.write(record(number))) for number in range(20)]
    await gate.entered()
    await turns()
    waiting = [write for write in writes if not write.done()]
    assert len(waiting) >= 18
    for write in waiting[::2]:
        write.cancel()
    await turns()
    gate.open()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*writes, return_exceptions=True)
    assert sum(write.cancelled() for write in writes) == len(waiting[::2])
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(20)]
    assert verify(sink.path).ok


async def test_stop_waits_for_what_the_disk_holds_up(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "append")
    sink = make_sink()
    await sink.start()
    for number in range(50):
        await sink.write(record(number))
    await gate.entered()
    stopping = asyncio.create_task(sink.stop())
    await turns()
    with pytest.raises(OSError, match="is not open: the server is starting or stopping"):
        await sink.write(record(99))
    assert not stopping.done()
    gate.open()
    async with asyncio.timeout(TIMEOUT):
        await stopping
    assert len(read(sink.path)) == 50


async def test_many_records_share_a_write(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink()
    await sink.start()
    for number in range(1000):
        await sink.write(record(number))
    await sink.stop()
    assert sink.statistics().records == 1000
    assert sink.statistics().writes < 100


async def test_the_numbers_and_the_chain_go_on_after_a_restart(
    make_sink: MakeSink, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heads = []
    for life in range(3):
        sink = make_sink()
        await sink.start()
        await sink.write(record(life))
        await sink.stop()
        heads.append(sink.statistics().head)
    found = read(sink.path)
    assert [line["seq"] for line in found] == [1, 2, 3]
    assert [line["prev"] for line in found] == ["0" * 64, *heads[:2]]
    assert all(f"ends with record {number}, head {head}" in caplog.text for number, head in enumerate(heads, 1))


async def test_one_sink_can_be_started_again(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink()
    for number in range(3):
        await sink.start()
        await sink.write(record(number))
        await sink.stop()
    assert verify(sink.path).records == 3


async def test_a_second_sink_on_the_same_file_is_refused(make_sink: MakeSink, record: MakeRecord) -> None:
    first, second = make_sink(), make_sink()
    await first.start()
    with pytest.raises(BlockingIOError, match=r"audit\.jsonl is in use by another server; stop that one"):
        await second.start()
    await second.stop()
    await first.write(record(1))
    await first.stop()
    await second.start()
    await second.write(record(2))
    await second.stop()
    assert verify(second.path).records == 2


async def test_another_process_on_the_same_file_is_refused(make_sink: MakeSink, record: MakeRecord) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from mfn_audit_jsonl import JsonlSettings, JsonlSink\n"
        "asyncio.run(JsonlSink(JsonlSettings(path=pathlib.Path(sys.argv[1]))).start())\n"
    )
    sink = make_sink()
    await sink.start()
    await sink.write(record(1))
    found = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, str(sink.path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    await sink.stop()
    assert found.returncode == 1
    assert "is in use by another server" in found.stderr
    assert verify(sink.path).records == 1


async def test_a_process_that_ends_without_stop_still_writes_what_it_took(tmp_path: Path, record: MakeRecord) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from mfn_audit_jsonl import JsonlSettings, JsonlSink\n"
        "from mfn_core import AuditRecord\n"
        "async def main():\n"
        "    sink = JsonlSink(JsonlSettings(path=pathlib.Path(sys.argv[1])))\n"
        "    await sink.start()\n"
        "    for number in range(100):\n"
        "        await sink.write(AuditRecord(time=0, call_id=str(number), request_id=None, principal=None,\n"
        "            key_id=None, method='/a.B/C', shape='unary', transport='t', status='OK', reason=None,\n"
        "            duration=0, messages_in=1, messages_out=1, bytes_in=1, bytes_out=1, peer='p'))\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "audit.jsonl"
    found = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    assert verify(path).records == 100


async def test_a_missing_directory_is_named_with_its_remedy(make_sink: MakeSink, tmp_path: Path) -> None:
    sink = make_sink(tmp_path / "none" / "audit.jsonl")
    with pytest.raises(FileNotFoundError, match=r"there is no directory .*none; make it, or set \[audit.jsonl\] path"):
        await sink.start()


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null"])
async def test_a_device_is_no_trail(make_sink: MakeSink, path: str) -> None:
    with pytest.raises(OSError, match="is not a regular file"):
        await make_sink(Path(path)).start()


async def test_a_write_before_start_is_refused(make_sink: MakeSink, record: MakeRecord) -> None:
    with pytest.raises(OSError, match="is not open"):
        await make_sink().write(record(1))


def test_statistics_before_start_are_refused(make_sink: MakeSink) -> None:
    with pytest.raises(RuntimeError, match="never started"):
        make_sink().statistics()


async def test_a_record_that_cannot_be_encoded_disturbs_no_other(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink()
    await sink.start()
    with pytest.raises(ValueError, match=r"(?i)nan"):
        await sink.write(record(1, time=float("nan")))
    await sink.write(record(2))
    await sink.stop()
    assert ids(sink.path) == [record(2).call_id]


async def test_an_offered_record_is_taken_at_once_or_not_at_all(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "append")
    sink = make_sink(queue=3)
    with pytest.raises(OSError, match="is not open"):
        sink.offer(record(0))
    await sink.start()
    assert sink.offer(record(0))
    await gate.entered()
    assert [sink.offer(record(number)) for number in range(1, 6)] == [True, True, True, False, False]
    gate.open()
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(4)]


async def test_always_takes_no_offer(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink(fsync="always")
    await sink.start()
    assert not sink.offer(record(1))
    await sink.stop()
    assert sink.path.read_bytes() == b""
