"""The two ends of an existing file: its first record, its last whole one, and what a crash tore off behind it."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from mfn_audit_jsonl._format import GENESIS, MAX_LINE, load_line, seal_of

__all__ = ["TrailBegin", "TrailEnd", "find_begin", "find_end", "first_record", "save_torn"]

_BLOCK = 65_536


@frozen(kw_only=True)
class TrailEnd:
    """Where the last whole record of a trail ends."""

    size: int
    """Bytes up to and with its LF."""
    seq: int
    """Its number; 0 in a trail without records."""
    head: str
    """Its hash; the genesis constant in a trail without records."""


@frozen(kw_only=True)
class TrailBegin:
    """How a file begins."""

    seq: int | None
    """Number of its first record; None in a file without one, or where it is not intact."""
    first_call: float | None
    """Unix seconds of the first record behind the line that continues another file; None where there is none yet."""


def first_record(fd: int, offset: int = 0) -> tuple[dict[str, Any], int] | None:
    """The record whose line begins at `offset`, and the offset behind its LF; None if no intact one does.

    Args:
        fd: open for reading; its position stays where it is.
        offset: of the first byte of a line.
    """
    data = b""
    while b"\n" not in data and len(data) <= MAX_LINE:
        block = os.pread(fd, _BLOCK, offset + len(data))
        if not block:
            return None
        data += block
    line, lf, _ = data.partition(b"\n")
    try:
        record = load_line(line)
    except ValueError:
        return None
    seq = record.get("seq")
    if not lf or seal_of(line) is None or type(seq) is not int or seq < 1:
        return None
    return record, offset + len(line) + 1


def find_begin(fd: int) -> TrailBegin:
    """Read how a file begins."""
    first = found = first_record(fd)
    if first is None:
        return TrailBegin(seq=None, first_call=None)
    if first[0].get("event") == "continued":
        found = first_record(fd, first[1])
    moment = None if found is None else found[0].get("time")
    try:
        since = datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else None
    except ValueError:
        since = None
    return TrailBegin(seq=first[0]["seq"], first_call=since)


def find_end(fd: int, size: int, path: Path) -> TrailEnd:
    """Read the end of a trail backwards, at most one record and what is torn behind it.

    Args:
        fd: open for reading.
        size: of the file, in bytes.
        path: for messages.

    Raises:
        OSError: the last whole line is no intact record. Nothing may be chained to that; the file stays as it is.
    """
    end = _after_last_lf(fd, size)
    if end == 0:
        return TrailEnd(size=0, seq=0, head=GENESIS)
    # A byte more than any line has, so that one that is too long is seen to be.
    start = _after_last_lf(fd, end - 1, floor=max(0, end - MAX_LINE - 2))
    line = os.pread(fd, end - 1 - start, start)
    try:
        record = load_line(line)
    except ValueError as wrong:
        raise _not_intact(path, end, str(wrong)) from None
    head = seal_of(line)
    seq = record.get("seq")
    if head is None or type(seq) is not int or seq < 1:
        raise _not_intact(path, end, "its hash does not match its content")
    return TrailEnd(size=end, seq=seq, head=head)


def save_torn(fd: int, start: int, size: int, path: Path) -> tuple[Path, str]:
    """Copy the bytes from `start` to `size` into a new file beside the trail, durably.

    Returns:
        That file and the SHA-256 of its content.
    """
    target, copy = _create_beside(path, start)
    digest = hashlib.sha256()
    try:
        while start < size:
            block = os.pread(fd, min(_BLOCK, size - start), start)
            if not block:
                break
            digest.update(block)
            start += len(block)
            while block:
                block = block[os.write(copy, block) :]
        os.fsync(copy)
    finally:
        os.close(copy)
    return target, digest.hexdigest()


def _create_beside(path: Path, offset: int) -> tuple[Path, int]:
    """A new file named for the place of the tear; an earlier one of the same place is never written over."""
    suffix = f".torn-{offset}"
    attempt = 0
    while True:
        target = path.with_name(f"{path.name}{suffix}" + (f".{attempt}" if attempt else ""))
        try:
            return target, os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            attempt += 1


def _after_last_lf(fd: int, size: int, floor: int = 0) -> int:
    """Offset behind the last LF within the first `size` bytes; `floor` if there is none from there on."""
    end = size
    while end > floor:
        start = max(floor, end - _BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return floor


def _not_intact(path: Path, end: int, why: str) -> OSError:
    return OSError(
        f"audit trail {path}: the last record, which ends at byte {end}, is not intact ({why}); nothing can be "
        f"chained to it: look at it with `mfn audit verify {path}`, then move the file away"
    )
