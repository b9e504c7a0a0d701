"""The end of a trail: its last records, and new ones as they come, over every change of file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from mfn_audit_jsonl._format import MAX_LINE
from mfn_audit_jsonl._segments import Vanished, trail_segments
from mfn_audit_jsonl._tail import first_record
from mfn_audit_jsonl.reading import StoredRecord, as_record

__all__ = ["Follower", "follow"]

_BLOCK: Final = 65_536
_PAUSE: Final = 0.2


class Follower:
    """Reads on in a trail from where it ends. A context manager; nothing is open before `last` or `new`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the trail, or one closed file."""
        self._path = Path(path)
        self._file: BinaryIO | None = None
        self._offset = 0
        """Behind the last line that was read."""
        self._at_end = False
        """Whether the file has lost its name, so that no more is written to it, and what is there is read once more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file that is read; safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def last(self, count: int) -> list[StoredRecord]:
        """The last records, oldest first; `new` goes on behind them.

        Reads from the end, a block at a time, and no further back than it must, however many files that takes.

        Raises:
            OSError: a file cannot be read.
        """
        found: list[StoredRecord] = []
        with trail_segments(self._path) as segments:
            for segment in reversed(segments):
                try:
                    file = segment.open()
                except Vanished:
                    break  # it was the oldest that is left, and its time was over
                records, behind = _last_of(file, count - len(found))
                found[:0] = records
                if segment is segments[-1]:
                    self._take(file, behind)
                if len(found) >= count:
                    break
                segment.release()
        return found

    def new(self) -> Iterator[StoredRecord]:
        """What was written since; ends where there is no more now. Without `last` before it: the whole trail.

        A file that was closed meanwhile is read to its end, and each that was begun from its beginning. So is a
        trail that has become shorter, or was replaced by another.

        Raises:
            OSError: a file cannot be read.
        """
        if self._file is None:
            with trail_segments(self._path) as segments:
                self._take(segments[0].open(), 0)
        while True:
            yield from self._rest()
            if not self._go_on():
                return

    def _rest(self) -> Iterator[StoredRecord]:
        """The whole lines from the offset on."""
        file = self._file
        if file is None:
            return
        # By way of the end, which empties the buffer: a line that was cut back may have become another one.
        file.seek(0, os.SEEK_END)
        file.seek(self._offset)
        while (data := file.readline(MAX_LINE + 2)).endswith(b"\n") or len(data) > MAX_LINE:
            self._offset += len(data)
            if (record := as_record(data)) is not None:
                yield record

    def _go_on(self) -> bool:
        """Whether there may be more to read: in this file, or in the one behind it, which is opened then."""
        file = self._file
        if file is None:
            return False
        opened = os.fstat(file.fileno())
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        if os.path.samestat(opened, named):
            if opened.st_size >= self._offset:
                return False
            self._offset = 0
            return True
        if not self._at_end:
            self._at_end = True
            return True
        return self._open_next(file)

    def _open_next(self, file: BinaryIO) -> bool:
        begin = first_record(file.fileno())
        first = None if begin is None else begin[0]["seq"]
        with trail_segments(self._path) as segments:
            later = [
                segment
                for segment in segments
                if segment.closed and first is not None and segment.first is not None and segment.first > first
            ]
            if not later and segments[-1].closed:
                return False  # the file that is written to is away for the moment
            try:
                self._take((later or segments[-1:])[0].open(), 0)
            except Vanished:
                return True  # the next look finds what is left
        return True

    def _take(self, file: BinaryIO, offset: int) -> None:
        """Go on in this file, which its owner closes."""
        self.close()
        self._file = os.fdopen(os.dup(file.fileno()), "rb")
        self._offset = offset
        self._at_end = False


def follow(
    followers: Sequence[Follower], pause: Callable[[], object] = lambda: time.sleep(_PAUSE)
) -> Iterator[StoredRecord]:
    """Records of several trails as they are written, without end.

    Args:
        followers: one for each trail.
        pause: called whenever there is nothing new; what it raises ends the iteration.

    Raises:
        OSError: a file cannot be read.
    """
    while True:
        idle = True
        for follower in followers:
            for record in follower.new():
                idle = False
                yield record
        if idle:
            pause()


def _last_of(file: BinaryIO, count: int) -> tuple[list[StoredRecord], int]:
    """The last records of one file, and the offset behind its last whole line."""
    blocks: list[bytes] = []
    lines = 0
    start = size = file.seek(0, os.SEEK_END)
    # One LF more than lines: the one before the first of them.
    while start > 0 and lines <= count and size - start <= (count + 1) * MAX_LINE:
        end, start = start, max(0, start - _BLOCK)
        file.seek(start)
        blocks.append(file.read(end - start))
        lines += blocks[-1].count(b"\n")
    *whole, torn = b"".join(reversed(blocks)).split(b"\n")
    found = [as_record(line + b"\n") for line in whole[max(0, len(whole) - count) :]]
    return [record for record in found if record is not None], size - len(torn)
