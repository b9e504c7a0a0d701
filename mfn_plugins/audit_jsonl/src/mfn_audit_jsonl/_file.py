"""The trail as a file: opened for one process alone, continued where it ended, appended to in whole records."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from mfn_audit_jsonl._format import seal, torn_body
from mfn_audit_jsonl._tail import TrailEnd, find_end, save_torn

__all__ = ["TrailFile"]


class TrailFile:
    """An open trail. One thread opens, appends, rolls back and closes; `sync` may run in another meanwhile."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        """Name the file; nothing is opened yet."""
        self.path = path
        self._log = log
        self._fd = -1
        self._end = TrailEnd(size=0, seq=0, head="")
        self._ragged = False

    @property
    def end(self) -> TrailEnd:
        """The last record that is whole in the file."""
        return self._end

    def open(self) -> None:
        """Open, lock and continue the trail; a torn record behind its end is moved away and noted in the chain.

        Raises:
            BlockingIOError: another process, or another sink of this one, writes to it.
            OSError: it cannot be opened, is no regular file, or its last record is not intact.
        """
        self._fd = _open_locked(self.path)
        try:
            status = os.fstat(self._fd)
            if status.st_mode & 0o077:
                self._log.warning(
                    "audit trail %s is accessible to others (mode %04o); chmod 600 it",
                    self.path,
                    stat.S_IMODE(status.st_mode),
                )
            self._end = find_end(self._fd, status.st_size, self.path)
            if status.st_size > self._end.size:
                self._repair(status.st_size)
            if self._end.size == 0:
                _sync_directory(self.path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, bodies: Iterable[str]) -> None:
        """Chain records and write them; they are whole in the file when it returns, or not there at all.

        Args:
            bodies: the members of each line between `prev` and `hash`.

        Raises:
            OSError: the disk is full or failing, or the file was removed. `end` is as it was before.
        """
        seq, head = self._end.seq, self._end.head
        lines = []
        for body in bodies:
            seq += 1
            line, head = seal(seq, head, body)
            lines.append(line)
        data = b"".join(lines)
        try:
            start = self._prepare()
        except OSError as error:
            raise self._named(error) from error
        try:
            _write_all(self._fd, data)
        except OSError as error:
            self._cut(start)
            raise self._named(error) from error
        self._end = TrailEnd(size=start + len(data), seq=seq, head=head)

    def rollback(self, end: TrailEnd) -> None:
        """Take records back that were appended after `end`, because the disk did not keep them."""
        size = min(end.size, os.fstat(self._fd).st_size)
        self._end = TrailEnd(size=size, seq=end.seq, head=end.head)
        self._cut(size)

    def sync(self) -> None:
        """Force to the disk what was appended before.

        Raises:
            OSError: the disk did not take it.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._named(error) from error

    def close(self) -> None:
        """Close the file, which gives its lock back; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _prepare(self) -> int:
        """Make sure that the file ends with a whole line, and return its size."""
        status = os.fstat(self._fd)
        if status.st_nlink == 0:
            # Going on in a file that nobody can open would lose records in silence.
            raise OSError(f"audit trail {self.path} was removed while in use; restore it and restart the server")
        if self._ragged:
            os.ftruncate(self._fd, self._end.size)
            self._ragged = False
            return self._end.size
        if status.st_size == self._end.size:
            return status.st_size
        self._log.error(
            "audit trail %s was changed by another program: it has %d bytes and should have %d; "
            "the chain goes on and `mfn audit verify` will name the place",
            self.path,
            status.st_size,
            self._end.size,
        )
        if status.st_size and os.pread(self._fd, 1, status.st_size - 1) != b"\n":
            _write_all(self._fd, b"\n")
            return status.st_size + 1
        return status.st_size

    def _cut(self, size: int) -> None:
        """Cut the file back to whole records; if even that fails, before the next append."""
        self._ragged = True
        self._end = TrailEnd(size=size, seq=self._end.seq, head=self._end.head)
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            self._log.error("audit trail %s could not be cut back to byte %d: %s", self.path, size, error)
        else:
            self._ragged = False

    def _repair(self, size: int) -> None:
        """Move what a crash tore off into a file of its own, then say so in the chain."""
        torn = size - self._end.size
        kept_in, digest = save_torn(self._fd, self._end.size, size, self.path)
        _sync_directory(self.path.parent)
        os.ftruncate(self._fd, self._end.size)
        self.append([torn_body(time.time(), torn, digest, kept_in.name)])
        self.sync()
        self._log.warning(
            "audit trail %s ended in the middle of a record: its %d bytes are kept in %s; the chain goes on "
            "behind record %d",
            self.path,
            torn,
            kept_in,
            self._end.seq - 1,
        )

    def _named(self, error: OSError) -> OSError:
        if error.errno is None:
            return error
        return OSError(error.errno, f"audit trail: {os.strerror(error.errno).lower()}", str(self.path))


def _open_locked(path: Path) -> int:
    """Open for appending and take the lock, of the file that the path names now."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"audit trail {path}: there is no directory {path.parent}; make it, or set [audit.jsonl] path"
            ) from None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(f"audit trail {path} is not a regular file; set [audit.jsonl] path to one")
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(
                    f"audit trail {path} is in use by another server; stop that one, or give this one another "
                    "[audit.jsonl] path: two servers cannot write one chain"
                ) from None
            if _same_file(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _same_file(fd: int, path: Path) -> bool:
    """Whether the path still names the open file: it may have been moved away before the lock was ours."""
    try:
        named = os.stat(path)  # noqa: PTH116 - compared with os.fstat
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync_directory(path: Path) -> None:
    """Make the name of a new file as durable as its content."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
