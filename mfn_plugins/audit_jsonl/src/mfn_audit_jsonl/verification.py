"""Proof that a trail is whole: every line intact, each chained to the one before, none missing, moved or added."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from attrs import frozen

from mfn_audit_jsonl._format import GENESIS, MAX_LINE, load_line, seal_of

__all__ = ["TrailProblem", "VerifyReport", "verify"]

Kind = Literal["altered", "removed", "reordered", "torn", "bad-json", "head-mismatch"]

_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
# A file that somebody forged may hold anything: no text of it reaches a terminal but in these two forms.

_SETTLE_ATTEMPTS = 10
_SETTLE_SECONDS = 0.02


@frozen(kw_only=True)
class TrailProblem:
    """The first thing that is wrong with a trail."""

    line: int
    """From 1; 0 where the file has no line at all."""
    offset: int
    """Bytes of the file before that line."""
    kind: Kind
    """`altered`: a record was changed, or one added that was made to look right. `removed`: records are missing.
    `reordered`: a record stands where another belongs. `torn`: the file ends in the middle of a record, as it does
    when its writer was killed; no sign of tampering. `bad-json`: a line is no JSON object. `head-mismatch`: the
    lines agree with each other and not with the head that was kept elsewhere."""
    explanation: str
    """One line, for a person."""


@frozen(kw_only=True)
class VerifyReport:
    """What a whole trail was found to be."""

    records: int
    """Intact records before the problem; all of them where there is none."""
    first_time: str | None
    """Time of the first record, as it stands in the file."""
    last_time: str | None
    """Time of the last intact record."""
    head: str
    """Hash of the last intact record: what `head` should be given next time."""
    problem: TrailProblem | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    @property
    def tampered(self) -> bool:
        """Whether something is wrong that no crash explains."""
        return self.problem is not None and self.problem.kind != "torn"


@frozen(kw_only=True)
class _Line:
    number: int
    offset: int
    data: bytes
    """Without its LF; cut off where it is longer than any record."""
    whole: bool
    """Whether its LF is there."""


@frozen(kw_only=True)
class _Record:
    line: _Line
    seq: int
    prev: str
    hash: str
    time: str | None


def verify(path: str | os.PathLike[str], head: str | None = None, *, checkpoint: str | None = None) -> VerifyReport:
    """Read a trail from its first line to its end, in memory that does not grow with it.

    A trail that is written to meanwhile is judged up to the size that it has at the call.

    Args:
        path: the file.
        head: the hash of the record that must be the last, as it was kept elsewhere. Without it, nothing shows that
            records were cut off the end, nor that the whole file was written anew.
        checkpoint: the hash of a record that must be in the trail, last or not: what to give for a trail that has
            grown since.

    Raises:
        OSError: the file cannot be read, or is no regular file: a device would pass for an empty trail.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with Path(path).open("rb") as file:
        return _Walk(file, head, checkpoint).run()


class _Walk:
    """One pass over a trail, and a look ahead where something is wrong."""

    def __init__(self, file: BinaryIO, head: str | None, checkpoint: str | None) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._wanted = {"head": head, "checkpoint": checkpoint}
        self._met: dict[str, int] = {}
        self._records = 0
        self._first_time: str | None = None
        self._last: _Record | None = None
        self._before_last = GENESIS

    def run(self) -> VerifyReport:
        problem = None
        for line in _lines(self._file, 1, 0, self._size):
            found = self._judge(line)
            if isinstance(found, TrailProblem):
                problem = found
                break
            self._accept(found)
        if problem is None or problem.kind == "torn":
            problem = self._judge_head() or problem
        return VerifyReport(
            records=self._records,
            first_time=self._first_time,
            last_time=None if self._last is None else self._last.time,
            head=self._head,
            problem=problem,
        )

    @property
    def _head(self) -> str:
        return GENESIS if self._last is None else self._last.hash

    def _accept(self, record: _Record) -> None:
        self._before_last = self._head
        self._last = record
        self._records += 1
        if self._records == 1:
            self._first_time = record.time
        for name, wanted in self._wanted.items():
            if record.hash == wanted:
                self._met[name] = record.line.number

    def _judge(self, line: _Line) -> _Record | TrailProblem:
        """The record that the line is, if it is the one that belongs here."""
        try:
            record = _read(line)
        except ValueError as wrong:
            if not line.whole and len(line.data) <= MAX_LINE:
                return _problem(
                    line,
                    "torn",
                    f"the file ends in the middle of a record ({len(line.data)} bytes of it): its writer is at work "
                    "or was killed",
                )
            return _problem(line, "bad-json", f"not a JSON object: {wrong}")
        if isinstance(record, TrailProblem):
            return record
        expected = self._records + 1
        if record.seq == expected and record.prev == self._head:
            if not line.whole:
                return _problem(line, "torn", f"record {record.seq} lacks its line end: its writer was killed")
            return record
        if record.prev == self._head:
            return _problem(
                line,
                "altered",
                f"the record has number {record.seq} and follows number {expected - 1}: it was changed and its hash "
                "made anew",
            )
        if record.seq > expected:
            return self._judge_gap(record, expected)
        if record.seq == expected:
            return self._judge_link(record)
        return self._judge_surplus(record, expected)

    def _judge_gap(self, record: _Record, expected: int) -> TrailProblem:
        """Records are not here: are they further on?"""
        for other in self._beyond(record.line):
            if other is not None and other.seq == expected:
                return _problem(
                    record.line,
                    "reordered",
                    f"record {record.seq} stands where record {expected} belongs, which is at line {other.line.number}",
                )
        count = record.seq - expected
        missing = f"record {expected} is" if count == 1 else f"records {expected} to {record.seq - 1} are"
        return _problem(record.line, "removed", f"{missing} missing before record {record.seq}")

    def _judge_link(self, record: _Record) -> TrailProblem:
        """The number is right, but the record was chained to another one than stands before it."""
        after = next(self._beyond(record.line), None)
        if after is not None and after.prev == self._head:
            return _problem(record.line, "altered", f"the record was added: line {after.line.number} skips it")
        if self._last is not None and (after is None or after.prev == record.hash):
            return _problem(
                self._last.line,
                "altered",
                f"record {self._last.seq} was changed and its hash made anew: record {record.seq} was chained to "
                f"{record.prev}",
            )
        return _problem(
            record.line,
            "altered",
            f"record {record.seq} is chained to {record.prev}, and before it stands {self._head}",
        )

    def _judge_surplus(self, record: _Record, expected: int) -> TrailProblem:
        """A number that has been there already."""
        last = self._last
        if last is not None and record.hash != last.hash and record.prev == self._before_last:
            after = next(self._beyond(record.line), None)
            if after is not None and after.prev == record.hash:
                return _problem(
                    last.line, "altered", f"the record was added: line {record.line.number} is record {last.seq}"
                )
            return _problem(
                record.line, "altered", f"the record was added: line {last.line.number} is record {last.seq}"
            )
        return _problem(
            record.line, "reordered", f"record {record.seq} stands here again, where record {expected} belongs"
        )

    def _judge_head(self) -> TrailProblem | None:
        last = self._last
        for name, wanted in self._wanted.items():
            if wanted is None or (self._head == wanted if name == "head" else name in self._met):
                continue
            if name in self._met:
                at = self._met[name]
                why = (
                    f"the {name} that was given is that of line {at}, and {self._records - at} records follow it: "
                    "they were written since, or added"
                )
            else:
                why = (
                    f"the {name} that was given is of no record here: records were cut off the end, or the file was "
                    "written anew"
                )
            line = _Line(number=0, offset=0, data=b"", whole=True) if last is None else last.line
            return _problem(line, "head-mismatch", why)
        return None

    def _beyond(self, line: _Line) -> Iterator[_Record | None]:
        """The records behind a line; None for a line that is no intact record."""
        self._file.seek(line.offset + len(line.data) + 1)
        for other in _lines(self._file, line.number + 1, self._file.tell(), self._size):
            try:
                record = _read(other)
            except ValueError:
                record = None
            yield record if isinstance(record, _Record) else None


def _lines(file: BinaryIO, number: int, offset: int, size: int) -> Iterator[_Line]:
    """The lines that begin before `size`."""
    while offset < size:
        data = file.readline(MAX_LINE + 2)
        if not data.endswith(b"\n") and len(data) <= MAX_LINE:
            data = _settled(file, offset, data)
        if not data:
            return
        whole = data.endswith(b"\n")
        yield _Line(number=number, offset=offset, data=data[:-1] if whole else data, whole=whole)
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


def _read(line: _Line) -> _Record | TrailProblem:
    """The record that a line is.

    Raises:
        ValueError: it is no JSON object.
    """
    value = load_line(line.data)
    digest = seal_of(line.data)
    seq, prev, moment = value.get("seq"), value.get("prev"), value.get("time")
    if digest is None:
        name = f"record {seq}" if type(seq) is int else "the record"
        return _problem(line, "altered", f"the hash of {name} does not match its content")
    if type(seq) is not int or not 0 < seq < 2**63 or not isinstance(prev, str) or not _HASH.fullmatch(prev):
        return _problem(line, "altered", "the record has no number, or no hash of the one before")
    shown = moment if isinstance(moment, str) and _TIME.fullmatch(moment) else None
    return _Record(line=line, seq=seq, prev=prev, hash=digest, time=shown)


def _problem(line: _Line, kind: Kind, explanation: str) -> TrailProblem:
    return TrailProblem(line=line.number, offset=line.offset, kind=kind, explanation=explanation)
