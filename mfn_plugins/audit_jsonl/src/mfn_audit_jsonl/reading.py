"""Reading a trail without proving it: its last records, new ones as they come, and those that match."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mfn_audit_jsonl._format import MAX_LINE, load_line

__all__ = ["Filter", "StoredRecord", "follow", "last_records", "parse_moment", "records"]

_BLOCK: Final = 65_536
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
    """Every record of a trail, in order; a torn last line and lines that are no JSON object are left out.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        while data := file.readline(MAX_LINE + 2):
            if (record := _record(data)) is not None:
                yield record


def last_records(path: str | os.PathLike[str], count: int) -> tuple[list[StoredRecord], int]:
    """The last records of a trail, oldest first, and the offset behind the last whole line.

    Reads from the end, a block at a time, and no further back than it must.

    Raises:
        OSError: the file cannot be read.
    """
    blocks: list[bytes] = []
    lines = 0
    with Path(path).open("rb") as file:
        start = size = file.seek(0, os.SEEK_END)
        # One LF more than lines: the one before the first of them.
        while start > 0 and lines <= count and size - start <= (count + 1) * MAX_LINE:
            end, start = start, max(0, start - _BLOCK)
            file.seek(start)
            blocks.append(file.read(end - start))
            lines += blocks[-1].count(b"\n")
    *whole, torn = b"".join(reversed(blocks)).split(b"\n")
    found = [_record(line + b"\n") for line in whole[max(0, len(whole) - count) :]]
    return [record for record in found if record is not None], size - len(torn)


def follow(
    path: str | os.PathLike[str], offset: int, pause: Callable[[], object] = lambda: time.sleep(0.2)
) -> Iterator[StoredRecord]:
    """Records as they are written, without end.

    A file that has become shorter, or has been replaced, is read from its beginning.

    Args:
        path: the file.
        offset: behind the last line that is known.
        pause: called whenever there is nothing new; what it raises ends the iteration.

    Raises:
        OSError: the file cannot be read.
    """
    file = Path(path).open("rb")  # noqa: SIM115 - replaced below when the path names another file
    try:
        file.seek(offset)
        while True:
            data = file.readline(MAX_LINE + 2)
            if data.endswith(b"\n") or len(data) > MAX_LINE:
                offset += len(data)
                if (record := _record(data)) is not None:
                    yield record
                continue
            pause()
            # By way of the end, which empties the buffer: a line that was cut back may have become another one.
            file.seek(0, os.SEEK_END)
            file.seek(offset)
            if not data and _is_other(file.fileno(), path, offset):
                file.close()
                file = Path(path).open("rb")  # noqa: SIM115 - closed in the end
                offset = 0
    finally:
        file.close()


def _is_other(fd: int, path: str | os.PathLike[str], offset: int) -> bool:
    """Whether what was read so far is not the beginning of the file any more."""
    opened = os.fstat(fd)
    try:
        named = os.stat(path)  # noqa: PTH116 - compared with os.fstat
    except FileNotFoundError:
        return False
    return opened.st_size < offset or not os.path.samestat(opened, named)


def _record(line: bytes) -> StoredRecord | None:
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
