"""The journal of a sweep: what has been computed, kept on disk while the sweep runs, so that nothing is lost.

A text file, one record a line: the CRC-32 of the record in eight hexadecimal digits, a space, and the record as JSON.
The first record says which sweep it is; every further one holds the outcome of one simulation, in the order in which
they finished. Lines are only ever added, each by one write. A process that is killed leaves whole lines and at most one
torn last line, which is recognised by its missing end or its sum and cut off; damage before that is an error.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mfn._files import sync_directory

__all__ = ["Journal", "JournalError"]

FORMAT = "mfn-sweep/1"
SYNC_SHARE = 0.1
"""Share of the time that may go into forcing lines to the disk. Where simulations last longer than the disk needs, each
line is forced at once. A killed process loses nothing in any case; a machine without power, what was not forced."""
SYNC_SECONDS = 1.0
"""However slow the disk, a line that is added so long after the last forced one is forced."""
MAX_LINE = 1 << 26
"""Longest line that is read, in bytes: a header holds every seed where they are a list."""


class JournalError(Exception):
    """The journal cannot be used; the text says why and what to do."""


@frozen(kw_only=True)
class _Read:
    """What a journal file holds."""

    header: Mapping[str, Any]
    offsets: array[int]
    """By simulation, where the line of its outcome begins; −1 where there is none yet."""
    failed: frozenset[int]
    end: int
    """Where the last whole line ends."""


class Journal:
    """One journal file, locked against other processes. Used by one thread."""

    def __init__(self, path: Path, header: Mapping[str, Any], count: int) -> None:
        """Open the journal, or begin it with `header`, for a sweep of `count` simulations.

        A torn last line is cut off.

        Raises:
            JournalError: another process has it open, or it is damaged.
            OSError: it cannot be read or written.
        """
        import fcntl

        self.path = path
        self._next_sync = 0.0
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise JournalError(f"{path}: another sweep is writing it; wait for it, or choose another output") from None
        try:
            read = _read(path, count)
            if read is None:
                self._file.truncate(0)
                self.header: Mapping[str, Any] = {"format": FORMAT, **header}
                self._offsets = array("q", [-1]) * count
                self._failed: set[int] = set()
                self._end = 0
                self._append(self.header)
                self._sync()
                sync_directory(path.parent)
            else:
                self.header = read.header
                self._offsets = read.offsets
                self._failed = set(read.failed)
                self._file.truncate(read.end)
                self._end = read.end
        except BaseException:
            self._file.close()
            raise

    @property
    def done(self) -> int:
        """Simulations that have an outcome."""
        return len(self._offsets) - self._offsets.count(-1)

    @property
    def failed(self) -> frozenset[int]:
        """Numbers of those that failed."""
        return frozenset(self._failed)

    def __contains__(self, number: int) -> bool:
        return self._offsets[number] >= 0

    def add(self, outcome: Mapping[str, Any]) -> None:
        """Add the outcome of simulation `outcome["sim_id"]`; one with `error` is a failure. A later one counts.

        Raises:
            OSError: it cannot be written; what was there before is as it was.
        """
        number = outcome["sim_id"]
        begin = self._end
        self._append(outcome)
        self._offsets[number] = begin
        self._failed.discard(number)
        if "error" in outcome:
            self._failed.add(number)
        if time.monotonic() >= self._next_sync:
            self._sync()

    def outcomes(self, *, failed: bool) -> Iterator[Mapping[str, Any]]:
        """The outcomes in the order of the simulations: of those that failed, or of the others.

        Raises:
            JournalError: the file was damaged since it was opened.
        """
        with self.path.open("rb") as file:
            for number, offset in enumerate(self._offsets):
                if offset >= 0 and (number in self._failed) is failed:
                    file.seek(offset)
                    record = _record(file.readline(MAX_LINE))
                    if record is None or record.get("sim_id") != number:
                        raise JournalError(f"{self.path}: the line at byte {offset} was damaged while the sweep ran")
                    yield record

    def close(self) -> None:
        """Force everything to the disk and unlock; safe to call twice."""
        if not self._file.closed:
            self._sync()
            self._file.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self.path.unlink()  # while it is locked, so that nobody else begins to use it
        self._file.close()

    def _append(self, record: Mapping[str, Any]) -> None:
        line = _line(record)
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file.fileno(), line[written:])
        except OSError:
            if written:
                self._file.truncate(self._end)
            raise
        self._end += len(line)

    def _sync(self) -> None:
        began = time.monotonic()
        os.fsync(self._file.fileno())
        ended = time.monotonic()
        self._next_sync = ended + min((ended - began) * (1.0 / SYNC_SHARE - 1.0), SYNC_SECONDS)


def _line(record: Mapping[str, Any]) -> bytes:
    content = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None for a line that is torn or was altered."""
    total, space, content = line[:8], line[8:9], line[9:-1]
    if space != b" " or line[-1:] != b"\n" or total != b"%08x" % zlib.crc32(content):
        return None
    record = json.loads(content)
    return record if isinstance(record, dict) else None


def read_header(path: Path) -> Mapping[str, Any] | None:
    """The first record of a journal; None where the file is empty, or was killed before it held one.

    Raises:
        JournalError: it is no journal.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first = file.readline(MAX_LINE)
        header = _record(first)
        if header is None and not file.readline(1):
            return None
    if header is None or header.get("format") != FORMAT:
        raise JournalError(f"{path}: not the journal of a sweep, or one of another version; choose another output")
    return header


def _read(path: Path, count: int) -> _Read | None:
    header = read_header(path)
    if header is None:
        return None
    offsets = array("q", [-1]) * count
    failed: set[int] = set()
    with path.open("rb") as file:
        end = len(file.readline(MAX_LINE))
        while line := file.readline(MAX_LINE):
            record = _record(line)
            if record is None:
                if file.readline(1):
                    raise JournalError(
                        f"{path}: the line at byte {end} is damaged, and further ones follow; "
                        "restore the file, or begin again in another output"
                    )
                break
            number = record["sim_id"]
            if not isinstance(number, int) or not 0 <= number < count:
                raise JournalError(f"{path}: the line at byte {end} is of simulation {number}, there are {count}")
            offsets[number] = end
            failed.discard(number)
            if "error" in record:
                failed.add(number)
            end += len(line)
    return _Read(header=header, offsets=offsets, failed=frozenset(failed), end=end)
