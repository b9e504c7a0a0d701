"""Reading trails without proving them: all of their records, and those that match."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mfn_audit_jsonl._format import MAX_LINE, load_line
from mfn_audit_jsonl._segments import Vanished, trail_segments

__all__ = ["Filter", "StoredRecord", "as_record", "merged", "moment_of", "parse_moment", "records"]

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


@frozen(kw_only=True)
class StoredRecord:
    """One line of a trail."""

    text: str
    """As it stands in the file, so that it can still be proved; without its LF."""
    fields: Mapping[str, Any]


@frozen(kw_only=True)
class Filter:
    """Which records are wanted: those for which everything that is given here holds."""

    principal: str | None = None
    key_id: str | None = None
    status: str | None = None
    method: str | None = None
    """The path of a method, its last part, or a pattern with `*`."""
    call_id: str | None = None
    request_id: str | None = None
    since: str | None = None
    """A moment as it stands in the trail; records from it on."""
    until: str | None = None
    """Records before it."""

    def __call__(self, record: StoredRecord) -> bool:
        """Whether the record is wanted."""
        fields = record.fields
        for name in ("principal", "key_id", "status", "call_id", "request_id"):
            wanted = getattr(self, name)
            if wanted is not None and fields.get(name) != wanted:
                return False
        moment = fields.get("time")
        if self.since is not None and not (isinstance(moment, str) and moment >= self.since):
            return False
        if self.until is not None and not (isinstance(moment, str) and moment < self.until):
            return False
        return self.method is None or _is_method(fields.get("method"), self.method)


def parse_moment(text: str, now: datetime) -> str:
    """A moment in the trail's own form, which sorts as text.

    Args:
        text: RFC 3339, with UTC where no offset is given (`2026-01-31`, `2026-01-31T12:00:00+01:00`), or a span back
            from `now`: `90s`, `15m`, `2h`, `7d`, `4w`.
        now: with its time zone.

    Raises:
        ValueError: it is neither.
    """
    try:
        if (span := re.fullmatch(r"([0-9]{1,9})([smhdw])", text)) is not None:
            moment = now - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no moment: write 2026-01-31, 2026-01-31T12:00:00Z, or a span such as 15m, 2h, 7d"
        ) from None


def records(path: str | os.PathLike[str]) -> Iterator[StoredRecord]:
    """Every record of a trail, in order, over all of its files; lines that are no JSON object are left out.

    Args:
        path: of the trail, or of one closed file.

    Raises:
        OSError: a file cannot be read.
    """
    with trail_segments(Path(path)) as segments:
        for segment in segments:
            try:
                file = segment.open()
            except Vanished:
                continue  # it was the oldest, and its time was over
            while data := file.readline(MAX_LINE + 2):
                if (record := as_record(data)) is not None:
                    yield record
            segment.release()


def merged(sources: Sequence[Iterator[StoredRecord]]) -> Iterator[StoredRecord]:
    """The records of several trails by their times, each trail in its own order."""
    if len(sources) == 1:
        return sources[0]
    return heapq.merge(*sources, key=moment_of)


def moment_of(record: StoredRecord) -> str:
    """The time of a record as it stands in the trail, which sorts as text; empty where it has none."""
    moment = record.fields.get("time")
    return moment if isinstance(moment, str) else ""


def as_record(line: bytes) -> StoredRecord | None:
    """The record that a line with its LF is; None if it is none, or not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        fields = load_line(line[:-1])
    except ValueError:
        return None
    return StoredRecord(text=line[:-1].decode("ascii"), fields=fields)


def _is_method(path: object, wanted: str) -> bool:
    if not isinstance(path, str):
        return False
    return path == wanted or path.endswith(f"/{wanted}") or fnmatchcase(path, wanted)
