"""The trail as it is written: opened for one process alone, continued where it ended, appended to in whole records."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from mfn_audit_jsonl._format import continued_body, seal, torn_body
from mfn_audit_jsonl._names import closed_files, closed_path
from mfn_audit_jsonl._rotation import (
    RotationPolicy,
    begin_next,
    discard_unfinished,
    exchange,
    expire,
    same_file,
    sync_directory,
)
from mfn_audit_jsonl._tail import TrailBegin, TrailEnd, find_begin, find_end, save_torn

__all__ = ["TrailFile"]


class TrailFile:
    """An open trail, by the file that is written to now.

    One thread opens, appends, rolls back, rotates and closes. `sync` may run in another meanwhile, but not while
    `rotate` does.
    """

    def __init__(self, path: Path, log: logging.Logger, rotation: RotationPolicy | None = None) -> None:
        """Name the file; nothing is opened yet."""
        self.path = path
        self._live = path
        self._log = log
        self._rotation = rotation or RotationPolicy()
        self._fd = -1
        self._begin = TrailBegin(seq=None, first_call=None)
        self._end = TrailEnd(size=0, seq=0, head="")
        self._ragged = False
        self._names_unsynced = False

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
        # Closed files lie beside the file itself, not beside a link to it.
        self._live = Path(os.path.realpath(self.path))
        self._fd = _open_locked(self.path)
        try:
            discard_unfinished(self._live, self._fd, self._log)
            status = os.fstat(self._fd)
            if status.st_mode & 0o077:
                self._log.warning(
                    "audit trail %s is accessible to others (mode %04o); chmod 600 it",
                    self.path,
                    stat.S_IMODE(status.st_mode),
                )
            self._end = find_end(self._fd, status.st_size, self.path)
            self._continue(status.st_size)
            self._begin = find_begin(self._fd)
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
        if self._begin.first_call is None:
            first = self._begin.seq if start else self._end.seq - len(lines) + 1
            self._begin = TrailBegin(seq=first, first_call=time.time())

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
            if self._names_unsynced:
                sync_directory(self._live.parent)
                self._names_unsynced = False
            os.fsync(self._fd)
        except OSError as error:
            raise self._named(error) from error

    def rotation_in(self) -> float | None:
        """Seconds until the file is to be closed; zero or less: now. None: not by the passing of time."""
        policy, since = self._rotation, self._begin.first_call
        if since is None:
            return None  # nothing in it but the line that continues another file
        if policy.size and self._end.size >= policy.size:
            return 0.0
        return since + policy.age - time.time() if policy.age else None

    def rotate(self, *, durable: bool) -> None:
        """Close the file under a name of its own and go on in a new one.

        Args:
            durable: force the first line of the new file to the disk as well. What is in the present file must be
                there already, if it is ever to be.

        Raises:
            OSError: it cannot be done now; the trail goes on in the present file, and nothing has changed.
        """
        first = self._begin.seq
        if first is None:
            raise OSError(
                f"audit trail {self.path}: its first record is not intact; look at it with `mfn audit verify`"
            )
        if self._ragged:
            # What was taken back and could not be cut off is no part of the file that is closed.
            os.ftruncate(self._fd, self._end.size)
            self._ragged = False
        closed = closed_path(self._live, first)
        last = self._end
        line, head = seal(
            last.seq + 1,
            last.head,
            continued_body(time.time(), closed.name, last.seq - first + 1, self._expired_before(first)),
        )
        fd = begin_next(self._live, line, durable=durable)
        try:
            exchange(self._live, self._fd, closed)
        except BaseException:
            os.close(fd)
            discard_unfinished(self._live, self._fd, self._log)
            raise
        self._fd, closing = fd, self._fd
        self._end = TrailEnd(size=len(line), seq=last.seq + 1, head=head)
        self._begin = TrailBegin(seq=last.seq + 1, first_call=None)
        self._ragged = False
        os.close(closing)
        self._log.info(
            "audit trail %s goes on in a new file behind record %d, head %s, the last in %s",
            self.path,
            last.seq,
            last.head,
            closed,
        )
        try:
            sync_directory(self._live.parent)
        except OSError as error:
            self._names_unsynced = True
            self._log.error("audit trail %s: its names are not on the disk yet: %s", self.path, error)
        if self._rotation.keep:
            expire(self._live, self._rotation.keep, self._log)

    def close(self) -> None:
        """Close the file, which gives its lock back; safe to call twice."""
        if self._fd < 0:
            return
        if self._ragged:
            self._cut(self._end.size)
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

    def _continue(self, size: int) -> None:
        """Say in the chain what the file goes on from, if it is new, and what a crash tore off; that is kept apart."""
        bodies = []
        if self._end.size == 0 and (closed := closed_files(self._live)):
            first, path = closed[-1]
            self._end = _end_of(path)
            bodies.append(continued_body(time.time(), path.name, self._end.seq - first + 1, None))
        behind, torn = self._end.seq, size - self._end.size
        if torn > 0:
            kept_in, digest = save_torn(self._fd, self._end.size, size, self._live)
            os.ftruncate(self._fd, self._end.size)
            bodies.append(torn_body(time.time(), torn, digest, kept_in.name))
            self._log.warning(
                "audit trail %s ended in the middle of a record: its %d bytes are kept in %s; the chain goes on "
                "behind record %d",
                self.path,
                torn,
                kept_in,
                behind,
            )
        if self._end.size == 0 or bodies:
            sync_directory(self._live.parent)
        if bodies:
            self.append(bodies)
            self.sync()

    def _expired_before(self, first: int) -> int | None:
        """Number of the oldest record that is kept once the file that begins with `first` is closed."""
        keep = self._rotation.keep
        if not keep:
            return None
        kept = sorted([*(number for number, _ in closed_files(self._live)), first])
        return kept[-keep] if len(kept) > keep else None

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
            if same_file(fd, path):  # it may have been moved away, or closed, before the lock was ours
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _end_of(path: Path) -> TrailEnd:
    """What the chain goes on from behind a closed file, at the beginning of a new one."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = find_end(fd, os.fstat(fd).st_size, path)
    finally:
        os.close(fd)
    return TrailEnd(size=0, seq=end.seq, head=end.head)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
