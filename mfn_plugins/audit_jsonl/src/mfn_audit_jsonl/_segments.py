"""The files of a trail as a reader finds them, while their writer may close one and begin another at any moment."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mfn_audit_jsonl._names import closed_files, parse_closed
from mfn_audit_jsonl._tail import first_record

__all__ = ["Segment", "Vanished", "given_segments", "trail_segments"]


class Vanished(Exception):
    """A closed file is not there any more: it was removed after the files were listed."""


class Segment:
    """One file of a trail, open or to be opened."""

    def __init__(self, path: Path, file: BinaryIO | None = None, *, first: int | None = None) -> None:
        """Name it.

        Args:
            path: the name that it had when it was found.
            file: open, where it must be this very file however its name changes; its size of now is its size.
            first: number of its first record, as its name or its first line says it; None: unknown.
        """
        self.path = path
        self.first = first
        self.closed = parse_closed(path) is not None
        self._file = file
        self._pinned = file is not None and not self.closed
        self.size = 0 if file is None else os.fstat(file.fileno()).st_size

    def open(self) -> BinaryIO:
        """The file, open for reading; the same one until `release`.

        Raises:
            Vanished: it is a closed file, and gone.
            OSError: it cannot be opened, or is no regular file.
        """
        if self._file is None:
            try:
                self._file = _open_regular(self.path)
            except FileNotFoundError:
                raise Vanished(str(self.path)) from None
            self.size = os.fstat(self._file.fileno()).st_size
        return self._file

    def superseded(self) -> bool:
        """Whether its name belongs to another file by now; False for one that is not open."""
        return self._file is not None and not _is(self.path, os.fstat(self._file.fileno()))

    def release(self) -> None:
        """Close it, if it can be opened again."""
        if not self._pinned:
            self.close()

    def close(self) -> None:
        """Close it for good."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def trail_segments(path: Path) -> Iterator[list[Segment]]:
    """The files of one trail, oldest first, as they are at one moment.

    Args:
        path: of the trail: the file that is written to. The name of a closed file stands for that file alone.

    Yields:
        The closed files and, last, the one that is written to, if it is there: opened before the others are listed,
        so that whatever is closed or begun meanwhile is no part of what was found. Removing old closed files is the
        one change that shows: as `Vanished`, from `Segment.open`, and then it is best to begin again.

    Raises:
        FileNotFoundError: there is no file of this trail.
        OSError: a file or the directory cannot be read, or it is no regular file.
    """
    real = Path(os.path.realpath(path))
    segments: list[Segment] = []
    try:
        live = _open_regular(real, path)
    except FileNotFoundError:
        # The path is away only where somebody has moved the file: no rotation leaves a moment without it.
        segments = (
            [Segment(closed, first=first) for first, closed in closed_files(real)] if real.parent.is_dir() else []
        )
        if not segments:
            raise
    else:
        last = Segment(path, live, first=_first(live))
        segments.append(last)
        try:
            status = os.fstat(live.fileno())
            closed = [] if last.closed else closed_files(real)
            # What was closed meanwhile is left out; but as long as the trail has its name, nothing was, and a closed
            # file with a higher number than it is a sign that the trail was exchanged for an older one.
            later = last.first is not None and last.superseded()
            segments[:0] = [
                Segment(path, first=first)
                for first, path in closed
                if not (later and first >= (last.first or 0)) and not _is(path, status)
            ]
            segments.sort(key=_order)
        except BaseException:
            live.close()
            raise
    with _closing(segments):
        yield segments


@contextmanager
def given_segments(paths: Iterable[Path]) -> Iterator[list[Segment]]:
    """Exactly these files as parts of one trail, oldest first, each once however many names it has.

    Raises:
        OSError: one cannot be read, or is no regular file.
    """
    segments: list[Segment] = []
    with _closing(segments):
        seen: set[tuple[int, int]] = set()
        for path in paths:
            file = _open_regular(path)
            segment = Segment(path, file)
            segments.append(segment)
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) in seen:
                segments.pop().close()
                continue
            seen.add((status.st_dev, status.st_ino))
            closed = parse_closed(path)
            segment.first = _first(file) if closed is None else closed[1]
            if closed is not None:
                # It does not change any more, and there may be more of them than files may be open.
                segment.close()
        segments.sort(key=_order)
        yield segments


def _order(segment: Segment) -> tuple[bool, int]:
    """By the first record; a file whose first line says none is taken for the one that is written to."""
    return segment.first is None, segment.first or 0


@contextmanager
def _closing(segments: list[Segment]) -> Iterator[None]:
    try:
        yield
    finally:
        for segment in segments:
            segment.close()


def _open_regular(path: Path, shown: Path | None = None) -> BinaryIO:
    # Looked at before it is opened: opening a pipe waits, and opening a device may do anything.
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(shown or path))
    return path.open("rb")


def _first(file: BinaryIO) -> int | None:
    found = first_record(file.fileno())
    return None if found is None else int(found[0]["seq"])


def _is(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False
