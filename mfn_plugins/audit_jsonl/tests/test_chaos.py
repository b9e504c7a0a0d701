"""Whatever fails, in whatever order: what was acknowledged is kept once, in order, in a chain that is whole."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, _file, _rotation, _writer, verify
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl.reading import records
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]

TIMEOUT = 60.0
CALLERS = 12


class Chaos:
    """Lets the steps of the trail's file fail at random, some of them half done."""

    def __init__(self, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.likely = 0.2
        self.failures = 0
        self._chance = chance
        for owner, name in (
            (TrailFile, "sync"),
            (_rotation, "sync_directory"),
            (_file, "sync_directory"),
            (_file, "begin_next"),
            (Path, "replace"),
            (os, "link"),
            (os, "ftruncate"),
        ):
            monkeypatch.setattr(owner, name, self._failing(getattr(owner, name)))
        monkeypatch.setattr(_file, "_write_all", self._torn(_file._write_all))
        monkeypatch.setattr(_writer, "RETRY_INTERVAL", 0.003)
        monkeypatch.setattr(_writer, "ROTATE_RETRY_INTERVAL", 0.005)
        monkeypatch.setattr(_writer, "SYNC_INTERVAL", 0.01)
        monkeypatch.setattr(_writer, "GATHER", 0.002)

    def _fails(self) -> bool:
        failing = self._chance.random() < self.likely
        self.failures += failing
        return failing

    def _failing(self, true: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            if self._fails():
                raise OSError(errno.EIO, "input/output error")
            return true(*given, **named)

        return step

    def _torn(self, true: Callable[[int, bytes], None]) -> Callable[[int, bytes], None]:
        def write(fd: int, data: bytes) -> None:
            if self._fails():
                true(fd, data[: self._chance.randrange(len(data) + 1)])
                raise OSError(errno.ENOSPC, "no space left on device")
            true(fd, data)

        return write


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("on_error", ["refuse", "wait"])
@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
async def test_what_was_acknowledged_is_kept_once_and_in_order(
    rotating: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, fsync: str, on_error: str, seed: int
) -> None:
    chance = random.Random(f"{fsync} {on_error} {seed}")
    queue = chance.choice([3, 10_000])
    sink = rotating(fsync=fsync, on_error=on_error, queue=queue, rotate_bytes=3000)
    await sink.start()
    acknowledged: dict[int, list[str]] = {}
    refused: set[str] = set()
    with monkeypatch.context() as patch:
        chaos = Chaos(chance, patch)

        numbers = itertools.count()

        async def caller(name: int) -> None:
            kept = acknowledged.setdefault(name, [])
            turns = 0
            while turns < 10 or sink.statistics().rotations < 3 or chaos.failures < 10:
                turns += 1
                one = record(next(numbers))
                try:
                    await sink.write(one)
                except OSError:
                    refused.add(one.call_id)
                    await asyncio.sleep(0.001)
                else:
                    kept.append(one.call_id)
                await asyncio.sleep(chance.random() * 0.01)

        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(caller(name) for name in range(CALLERS)))
        chaos.likely = 0.0
        await sink.stop()
    report = verify(sink.path, sink.statistics().head)
    assert report.ok, report.problem
    found = [one.fields["call_id"] for one in records(sink.path) if "call_id" in one.fields]
    assert len(found) == len(set(found))
    for kept in acknowledged.values():
        assert [call_id for call_id in found if call_id in set(kept)] == kept
    if on_error == "wait" and queue > CALLERS:
        assert not refused
    # A call fails exactly if its record is not kept.
    assert not refused & set(found)
    # And what is left of it can be gone on with.
    again = rotating()
    await again.start()
    await again.write(record(next(numbers)))
    await again.stop()
    assert verify(again.path, again.statistics().head).ok
    assert not [path for path in again.path.parent.iterdir() if path.suffix == ".next"]
