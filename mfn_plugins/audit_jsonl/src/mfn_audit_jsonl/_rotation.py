"""How a trail goes on in a new file: no moment without a file of its name, no name given twice, no kill that hurts.

The steps, of which each leaves a trail that can be read and continued:

1. the new file is made as `audit.jsonl.next`, locked, and given its first line;
2. the present file gets its second name, `audit-000000000000123.jsonl`, by a hard link, which overwrites nothing;
3. the new file is renamed to `audit.jsonl`, which takes that name from the present one.

After a kill before the third step `discard_unfinished` undoes the first two.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path

from attrs import frozen

from mfn_audit_jsonl._names import closed_files, next_path

__all__ = ["RotationPolicy", "begin_next", "discard_unfinished", "exchange", "expire", "same_file", "sync_directory"]


@frozen(kw_only=True)
class RotationPolicy:
    """When a file is closed; a zero turns the rule off."""

    size: int = 0
    """Bytes."""
    age: float = 0.0
    """Seconds since the first call in the file."""
    keep: int = 0
    """Closed files that are kept."""


def begin_next(path: Path, line: bytes, *, durable: bool) -> int:
    """Make the next file of a trail, locked, with its first line in it.

    Returns:
        Its descriptor, open for appending.

    Raises:
        OSError: the disk does not take it; nothing is left behind.
    """
    target = next_path(path)
    target.unlink(missing_ok=True)
    fd = os.open(target, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.write(fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        if durable:
            os.fsync(fd)
    except BaseException:
        os.close(fd)
        target.unlink(missing_ok=True)
        raise
    return fd


def exchange(path: Path, fd: int, closed: Path) -> None:
    """Give the open file the name `closed`, and its old name to the next file.

    Args:
        path: the trail.
        fd: of the file that has its name now.
        closed: must not exist.

    Raises:
        OSError: the names are as they were. The next file is still there.
    """
    try:
        os.link(path, closed)
    except FileExistsError:
        if not same_file(fd, closed):  # else it is the link of an attempt that failed and could not be undone
            raise FileExistsError(
                errno.EEXIST, "it is in the way, and nothing is ever written over; move it away", str(closed)
            ) from None
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise OSError(
                error.errno,
                "the file system makes no hard link, which rotation needs; set rotate_bytes and rotate_hours to 0",
                str(closed),
            ) from error
        raise
    try:
        if not same_file(fd, closed):
            raise OSError(errno.ESTALE, "the trail was moved away while in use", str(path))
        # The system may bring the two names to the disk in either order: only this keeps the old file from losing
        # its only name in a loss of power.
        sync_directory(path.parent)
        next_path(path).replace(path)
    except BaseException:
        closed.unlink(missing_ok=True)
        raise


def discard_unfinished(path: Path, fd: int, log: logging.Logger) -> None:
    """Undo a rotation that was killed before the present file lost its name. The caller holds the lock of `fd`.

    Raises:
        OSError: the directory cannot be read or written.
    """
    next_path(path).unlink(missing_ok=True)
    if os.fstat(fd).st_nlink < 2:
        return
    for _, closed in closed_files(path):
        if same_file(fd, closed):
            closed.unlink()
            log.info("audit trail %s was about to be closed as %s when its writer was killed; it goes on", path, closed)


def expire(path: Path, keep: int, log: logging.Logger) -> None:
    """Remove the oldest closed files beyond `keep`; what cannot be removed is tried again after the next rotation."""
    for _, closed in closed_files(path)[:-keep]:
        try:
            with contextlib.suppress(FileNotFoundError):
                closed.unlink()
        except OSError as error:
            log.error("audit trail: %s is beyond keep_files = %d and could not be removed: %s", closed, keep, error)
        else:
            log.info("audit trail: %s is removed: keep_files = %d", closed, keep)


def same_file(fd: int, path: Path) -> bool:
    """Whether the path names the open file."""
    try:
        named = os.stat(path)  # noqa: PTH116 - compared with os.fstat
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def sync_directory(path: Path) -> None:
    """Make the names in a directory as durable as the content of its files.

    Raises:
        OSError: the disk did not take it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
