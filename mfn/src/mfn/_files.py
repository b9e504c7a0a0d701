"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing", "require_apart", "require_writable", "sync_directory"]


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of `target` when the block ends well.

    When the block raises, what `target` was stays as it was and nothing else is left behind.

    Raises:
        OSError: the directory does not exist or cannot be written, or `target` is a directory. It names `target`.
    """
    # Beside the target, since a rename replaces a file only within one file system; the random part keeps two
    # writers of one target apart.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    except OSError as failed:
        if failed.filename is None or Path(failed.filename) != temporary:
            raise
        # The person asked for the target, and knows nothing of the file beside it.
        raise OSError(failed.errno, failed.strerror, str(target)) from failed
    finally:
        temporary.unlink(missing_ok=True)


def require_apart(paths: Mapping[str, Path | None]) -> None:
    """Find out now whether one of these would be written over another; `None` are those that were not asked for.

    Raises:
        ValueError: two of them are one file; it names both as the mapping does.
    """
    known: dict[Path, str] = {}
    for name, path in paths.items():
        if path is not None:
            other = known.setdefault(path.resolve(), name)
            if other != name:
                raise ValueError(f"{name} is the file of {other}, {path}; give it a name of its own")


def require_writable(target: Path) -> None:
    """Find out now whether `replacing(target)` could write, before long work whose result would be lost.

    Raises:
        OSError: it could not, for the reason stated.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    probe = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        probe.open("xb").close()
    except OSError as failed:
        raise OSError(failed.errno, failed.strerror, str(target)) from failed
    finally:
        probe.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make what was created, renamed or removed in the directory outlast a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
