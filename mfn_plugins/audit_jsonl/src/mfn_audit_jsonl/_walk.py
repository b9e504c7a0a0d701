"""One pass over the files of a trail, with a look ahead where something is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from mfn_audit_jsonl._format import GENESIS, MAX_LINE
from mfn_audit_jsonl._lines import Altered, Line, Record, lines_of, read_record
from mfn_audit_jsonl._report import Kind, TrailProblem, VerifyReport
from mfn_audit_jsonl._segments import Segment

__all__ = ["Walk"]


class Walk:
    """Judges one trail. `run` once; what else was learned is in the attributes then."""

    def __init__(
        self,
        trail: Path,
        segments: Sequence[Segment],
        *,
        demanded: Mapping[str, str | None] | None = None,
        sought: Collection[str] = (),
        complete: bool,
    ) -> None:
        """Name what is judged.

        Args:
            trail: its path, for the report.
            segments: its files, oldest first.
            demanded: hashes without which something is wrong, by what they are called; `head` must be the last.
            sought: hashes to look for.
            complete: whether these are all of its files, so that what is missing before them must be accounted for.
        """
        self.trail = trail
        self.met: dict[str, tuple[Line, int]] = {}
        """Where each hash was met that is demanded or sought, and how many records there were by then."""
        self.opened: Record | None = None
        """The last record that says which worker this trail is of."""
        self._demanded = demanded or {}
        self._looked_for = frozenset([*self._demanded.values(), *sought])
        self._segments = segments
        self._complete = complete
        self._records = 0
        self._base = 0
        self._kept_from = 0
        self._first: Record | None = None
        self._last: Record | None = None
        self._before_last = GENESIS
        self._head = GENESIS

    def run(self) -> VerifyReport:
        """Walk from the first line to the last, or to the first that is wrong.

        Raises:
            Vanished: a closed file was removed meanwhile.
            OSError: a file cannot be read.
        """
        problem = None
        for line in lines_of(self._segments):
            found = self._judge(line)
            if isinstance(found, TrailProblem):
                problem = found
                break
            self._accept(found)
        if problem is None or problem.kind == "torn":
            problem = self._judge_begin() or self._judge_head() or problem
        return VerifyReport(
            trail=str(self.trail),
            files=len(self._segments),
            records=self._records,
            first_record=self._base + 1,
            first_time=None if self._first is None else self._first.time,
            last_time=None if self._last is None else self._last.time,
            head=self._head,
            expired=0 < self._base < self._kept_from,
            followed=problem is None and self._segments[-1].closed,
            problem=problem,
        )

    def _accept(self, record: Record) -> None:
        self._before_last = self._head
        self._head = record.hash
        self._last = record
        self._records += 1
        if self._first is None:
            self._first = record
        if record.event == "continued":
            self._kept_from = max(self._kept_from, record.number("expired_before") or 0)
        elif record.event == "opened":
            self.opened = record
        if record.hash in self._looked_for:
            self.met[record.hash] = record.line, self._records

    def _judge(self, line: Line) -> Record | TrailProblem:
        """The record that the line is, if it is the one that belongs here."""
        try:
            record = read_record(line)
        except Altered as wrong:
            return self._problem(line, "altered", str(wrong))
        except ValueError as wrong:
            if not line.whole and len(line.data) <= MAX_LINE:
                return self._torn(line, f"in the middle of a record ({len(line.data)} bytes of it)")
            return self._problem(line, "bad-json", f"not a JSON object: {wrong}")
        if self._first is None and (line.segment, line.number) == (0, 1) and record.event == "continued":
            # The files before this one are not here: this line says what they came to.
            self._base, self._head = record.seq - 1, record.prev
        expected = self._base + self._records + 1
        if record.seq == expected and record.prev == self._head:
            return record if line.whole else self._torn(line, f"without the line end of record {record.seq}")
        if record.prev == self._head:
            return self._problem(
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

    def _torn(self, line: Line, how: str) -> TrailProblem:
        """A line without its end: harmless only where a writer may still be at work."""
        if line.segment == len(self._segments) - 1 and not self._segments[line.segment].closed:
            return self._problem(line, "torn", f"the file ends {how}: its writer is at work or was killed")
        return self._problem(
            line,
            "removed",
            f"the file ends {how}, and was whole when it was closed: its end was cut off, or lost with the machine's "
            "power under fsync = never",
        )

    def _judge_gap(self, record: Record, expected: int) -> TrailProblem:
        """Records are not here: are they further on?"""
        for other in self._beyond(record.line):
            if other is not None and other.seq == expected:
                return self._problem(
                    record.line,
                    "reordered",
                    f"record {record.seq} stands where record {expected} belongs, which is at "
                    f"{self._place(other.line, record.line)}",
                )
        missing = (
            f"record {expected} is" if record.seq == expected + 1 else f"records {expected} to {record.seq - 1} are"
        )
        previous = record.number("previous_records")
        if record.line.number > 1 or record.event != "continued" or previous is None:
            return self._problem(record.line, "removed", f"{missing} missing before record {record.seq}")
        last = self._last
        if record.line.segment > (0 if last is None else last.line.segment + 1):
            emptied = Line(segment=record.line.segment - 1, number=0, offset=0, data=b"", whole=True)
            return self._problem(emptied, "removed", f"{missing} missing: the file was emptied")
        if last is not None and expected > record.seq - previous:
            end = attrs.evolve(
                last.line, number=last.line.number + 1, offset=last.line.offset + len(last.line.data) + 1
            )
            return self._problem(
                end,
                "removed",
                f"{missing} missing at the end of the file: the one behind it continues record {record.seq - 1}",
            )
        return self._problem(
            record.line,
            "missing-file",
            f"{missing} missing before record {record.seq}: the file that this one continues, with {previous} records, "
            "is not here",
        )

    def _judge_link(self, record: Record) -> TrailProblem:
        """The number is right, but the record was chained to another one than stands before it."""
        after = next(self._beyond(record.line), None)
        if after is not None and after.prev == self._head:
            return self._problem(
                record.line, "altered", f"the record was added: {self._place(after.line, record.line)} skips it"
            )
        if self._last is not None and (after is None or after.prev == record.hash):
            return self._problem(
                self._last.line,
                "altered",
                f"record {self._last.seq} was changed and its hash made anew: record {record.seq} was chained to "
                f"{record.prev}",
            )
        return self._problem(
            record.line,
            "altered",
            f"record {record.seq} is chained to {record.prev}, and before it stands {self._head}",
        )

    def _judge_surplus(self, record: Record, expected: int) -> TrailProblem:
        """A number that has been there already."""
        last = self._last
        if last is not None and record.hash != last.hash and record.prev == self._before_last:
            after = next(self._beyond(record.line), None)
            if after is not None and after.prev == record.hash:
                return self._problem(
                    last.line,
                    "altered",
                    f"the record was added: {self._place(record.line, last.line)} is record {last.seq}",
                )
            return self._problem(
                record.line,
                "altered",
                f"the record was added: {self._place(last.line, record.line)} is record {last.seq}",
            )
        return self._problem(
            record.line, "reordered", f"record {record.seq} stands here again, where record {expected} belongs"
        )

    def _judge_begin(self) -> TrailProblem | None:
        """Whether what is missing before the first file is accounted for."""
        if not self._complete or self._first is None or self._base < max(1, self._kept_from):
            return None
        return self._problem(
            self._first.line,
            "missing-file",
            f"records 1 to {self._base} are missing before record {self._base + 1}, and no record says that keep_files "
            "removed them",
        )

    def _judge_head(self) -> TrailProblem | None:
        last = self._last
        for name, wanted in self._demanded.items():
            if wanted is None or (self._head == wanted if name == "head" else wanted in self.met):
                continue
            if wanted in self.met:
                line, count = self.met[wanted]
                why = (
                    f"the {name} that was given is that of {self._place(line)}, and {self._records - count} records "
                    "follow it: they were written since, or added"
                )
            else:
                why = (
                    f"the {name} that was given is of no record here: records were cut off the end, or the trail was "
                    "written anew"
                )
            none = Line(segment=len(self._segments) - 1, number=0, offset=0, data=b"", whole=True)
            return self._problem(none if last is None else last.line, "head-mismatch", why)
        return None

    def _beyond(self, line: Line) -> Iterator[Record | None]:
        """The records behind a line; None for a line that is no intact record."""
        for other in lines_of(self._segments, line):
            try:
                yield read_record(other)
            except (Altered, ValueError):
                yield None

    def _place(self, line: Line, seen_from: Line | None = None) -> str:
        """Where a line is, for a message that names the file of another one."""
        if len(self._segments) == 1 or (seen_from is not None and seen_from.segment == line.segment):
            return f"line {line.number}"
        return f"line {line.number} of {self._segments[line.segment].path.name}"

    def _problem(self, line: Line, kind: Kind, explanation: str) -> TrailProblem:
        return TrailProblem(
            file=str(self._segments[line.segment].path),
            line=line.number,
            offset=line.offset,
            kind=kind,
            explanation=explanation,
        )
