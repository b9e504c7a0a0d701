"""Trail files as lines, and lines as records that carry their proof."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

from attrs import frozen

from mfn_audit_jsonl._format import MAX_LINE, load_line, seal_of
from mfn_audit_jsonl._segments import Segment

__all__ = ["Altered", "Line", "Record", "lines_of", "read_record", "shown_time"]

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
# A file that somebody forged may hold anything: no text of it reaches a terminal but in these two forms.

_SETTLE_ATTEMPTS: Final = 10
_SETTLE_SECONDS: Final = 0.02


@frozen(kw_only=True)
class Line:
    """One line of one of a trail's files."""

    segment: int
    """Which of the files."""
    number: int
    offset: int
    data: bytes
    """Without its LF; cut off where it is longer than any record."""
    whole: bool
    """Whether its LF is there."""


@frozen(kw_only=True)
class Record:
    """A line that is sealed by its own hash."""

    line: Line
    seq: int
    prev: str
    hash: str
    time: str | None
    fields: Mapping[str, Any]

    @property
    def event(self) -> str | None:
        """What the line says of the trail itself; None for a call."""
        event = self.fields.get("event")
        return event if isinstance(event, str) else None

    def number(self, name: str) -> int | None:
        """A member that is a whole number and not negative; None if it is none."""
        value = self.fields.get(name)
        return value if type(value) is int and 0 <= value < 2**63 else None


class Altered(Exception):
    """A line is a JSON object, and no record that this format seals; the message says why."""


def lines_of(segments: Sequence[Segment], after: Line | None = None) -> Iterator[Line]:
    """Every line of the files in order, up to the sizes that they have when they are opened.

    Args:
        segments: the files.
        after: begin behind this line.

    Raises:
        Vanished: a closed file is gone.
        OSError: a file cannot be read.
    """
    index, number, offset = 0, 1, 0
    if after is not None:
        index, number = after.segment, after.number + 1
        file = segments[index].open()
        file.seek(after.offset + len(after.data) + 1)
        offset = file.tell()
    for at in range(index, len(segments)):
        segment = segments[at]
        file = segment.open()
        file.seek(offset)
        yield from _lines(file, at, number, offset, segment.size)
        segment.release()
        number, offset = 1, 0


def read_record(line: Line) -> Record:
    """The record that a line is.

    Raises:
        ValueError: it is no JSON object.
        Altered: it is no intact record.
    """
    value = load_line(line.data)
    digest = seal_of(line.data)
    seq, prev = value.get("seq"), value.get("prev")
    if digest is None:
        raise Altered(f"the hash of {f'record {seq}' if type(seq) is int else 'the record'} does not match its content")
    if type(seq) is not int or not 0 < seq < 2**63 or not isinstance(prev, str) or not _HASH.fullmatch(prev):
        raise Altered("the record has no number, or no hash of the one before")
    return Record(line=line, seq=seq, prev=prev, hash=digest, time=shown_time(value.get("time")), fields=value)


def shown_time(value: object) -> str | None:
    """A time in the trail's own form; None for anything else."""
    return value if isinstance(value, str) and _TIME.fullmatch(value) else None


def _lines(file: BinaryIO, segment: int, number: int, offset: int, size: int) -> Iterator[Line]:
    """The lines of one file that begin before `size`."""
    while offset < size:
        data = file.readline(MAX_LINE + 2)
        if not data.endswith(b"\n") and len(data) <= MAX_LINE:
            data = _settled(file, offset, data)
        if not data:
            return
        whole = data.endswith(b"\n")
        yield Line(segment=segment, number=number, offset=offset, data=data[:-1] if whole else data, whole=whole)
        number += 1
        offset += len(data)
        while not whole and (rest := file.readline(MAX_LINE)):
            # The rest of a line that is longer than any record.
            whole = rest.endswith(b"\n")
            offset += len(rest)


def _settled(file: BinaryIO, offset: int, data: bytes) -> bytes:
    """The last line, read again while its writer may be in the middle of it."""
    for _ in range(_SETTLE_ATTEMPTS):
        if data.endswith(b"\n"):
            break
        time.sleep(_SETTLE_SECONDS)
        # By way of the end, which empties the buffer: a line that was cut back may have become another one.
        file.seek(0, os.SEEK_END)
        file.seek(offset)
        data = file.readline(MAX_LINE + 2)
    return data
