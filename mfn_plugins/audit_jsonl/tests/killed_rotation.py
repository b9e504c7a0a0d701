"""Rotations that are killed at every line of their code, one after the other. A script; not a test itself.

Prints how many places there were. Each child process opens a trail, closes file after file, and is killed at its own
place; then the trail is proved as the kill has left it, opened again by a process that is killed too, and once more
by one that is not.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from mfn_audit_jsonl import _file, _rotation, _tail, verify
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._rotation import RotationPolicy

LOG = logging.getLogger("killed")
TRACED = {module.__file__ for module in (_file, _rotation, _tail)}
KEEP = 1
# A kill loses nothing that the system has taken, on the disk or not; waiting for the disk hundreds of times is long.
os.fsync = lambda fd: None


def body(number: int) -> str:
    return f'"time":"2026-01-01T00:00:00.000000Z","call_id":"{number}"'


def killed_at(place: int, work: Callable[[], None]) -> bool:
    """Do it in a child process that is killed when it comes to its so-manieth line; whether it came that far."""
    child = os.fork()
    if child == 0:
        left = place

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in TRACED:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return True
    assert os.waitstatus_to_exitcode(status) == 0, status
    return False


def opened(path: Path, keep: int = 0) -> TrailFile:
    file = TrailFile(path, LOG, RotationPolicy(size=1, keep=keep))
    file.open()
    return file


def write(path: Path) -> None:
    """Record two calls a file, and note each once it is kept."""
    file = opened(path, KEEP)
    acknowledged = os.open(path.with_name("acknowledged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(6):
        file.append([body(number)])
        file.sync()
        os.write(acknowledged, f"{number}\n".encode())
        if number % 2:
            assert file.rotation_in() == 0.0
            file.rotate(durable=True)
    file.close()


def continued(path: Path) -> None:
    file = opened(path)
    file.append([body(99)])
    file.rotate(durable=True)
    file.close()


def kept(path: Path) -> list[int]:
    """Numbers of the calls in all files, in the order of the chain."""
    files = sorted(path.parent.glob("audit-*.jsonl"))
    found = []
    for file in [*files, path]:
        if file.exists() and not (file != path and file.samefile(path)):
            lines = (json.loads(line) for line in file.read_bytes().split(b"\n")[:-1])
            found += [int(line["call_id"]) for line in lines if "call_id" in line]
    return found


def check(path: Path, place: int) -> None:
    if not path.exists():
        assert not list(path.parent.glob("audit-*")), place
        return
    report = verify(path)
    assert report.ok, (place, report.problem)
    numbers = kept(path)
    ledger = path.with_name("acknowledged")
    last = int(ledger.read_text().split()[-1]) if ledger.exists() and ledger.read_text() else -1
    calls = [number for number in numbers if number != 99]
    # All that was acknowledged is there, but what was removed from the front by keep_files.
    assert calls == list(range(calls[0] if calls else 0, max(last, calls[-1] if calls else -1) + 1)), (
        place,
        calls,
        last,
    )
    assert not calls or calls[-1] >= last, place
    assert report.expired is (report.first_record > 1), place
    assert report.expired or not calls or calls[0] == 0, place


def main(parent: Path) -> int:
    place = 0
    while True:
        directory = parent / str(place)
        directory.mkdir()
        path = directory / "audit.jsonl"
        came = killed_at(place, partial(write, path))
        check(path, place)
        # The one that goes on is killed as well, at a place that differs from time to time.
        killed_at(place * 7 % 150, partial(continued, path))
        check(path, place)
        continued(path)
        check(path, place)
        names = {entry.name for entry in directory.iterdir()} - {"acknowledged"}
        assert not any(name.endswith(".next") for name in names), (place, names)
        assert all(entry.stat().st_nlink == 1 for entry in directory.iterdir()), place
        assert len(names) <= 1 + KEEP + 2 or came, (place, names)
        assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in directory.glob("audit*")), place
        if not came:
            return place
        place += 1


print(main(Path(sys.argv[1])))
