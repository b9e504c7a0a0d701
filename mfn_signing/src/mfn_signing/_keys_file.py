"""Keys files on disk: refused when others may read them, replaced whole or not at all."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mfn_signing._errors import KeysFileError
from mfn_signing._keys import Key
from mfn_signing._keys_toml import collisions, format_key, format_keys, parse_keys

if sys.platform != "win32":
    import fcntl

__all__ = ["MAX_KEYS_FILE_BYTES", "append_key", "edit_keys_file", "load_keys", "write_keys_file"]

MAX_KEYS_FILE_BYTES: Final = 4 * 1024 * 1024
"""Longest keys file, some twenty thousand keys."""

_PRIVATE: Final = 0o600
_OTHERS: Final = 0o077


def load_keys(path: str | os.PathLike[str]) -> tuple[Key, ...]:
    """Read a keys file.

    The file, or what a symbolic link leads to, must be a regular one that neither group nor others may read,
    write or execute; the check is of the very file that is then read. Windows has no such mode, and none is
    checked there.

    Raises:
        KeysFileError: the file cannot be read, is open to others or longer than 4 MiB, or `parse_keys`
            refuses it.
    """
    return parse_keys(_read(path), source=os.fspath(path))


def write_keys_file(path: str | os.PathLike[str], keys: Iterable[Key]) -> None:
    """Write `keys` as the whole file, mode 0600: readers see the old file or the new one, after a crash too.

    A symbolic link stays, and what it leads to is replaced. An existing file's owner stays.

    Raises:
        KeysFileError: two keys have the same id or secret, or the file cannot be written, and is as it was.
    """
    kept = tuple(keys)
    source = os.fspath(path)
    if problems := _collisions(kept):
        raise KeysFileError(source, problems)
    with _locked(path) as target:
        _replace(target, format_keys(kept), source)


def edit_keys_file(path: str | os.PathLike[str], edit: Callable[[str], str]) -> tuple[Key, ...]:
    """Replace the text of a keys file by what `edit` makes of it, so that comments and order may stay.

    Threads and processes that change the file at once take turns. Returns the keys of the new text.

    Raises:
        KeysFileError: the file or the new text is refused, or it cannot be written; it is then as it was. What `edit`
            raises passes through, and the file is as it was.
    """
    source = os.fspath(path)
    with _locked(path) as target:
        text = _read(path)
        parse_keys(text, source=source)
        edited = edit(text)
        keys = parse_keys(edited, source=source)
        _replace(target, edited, source)
    return keys


def append_key(path: str | os.PathLike[str], key: Key) -> None:
    """Add `key` at the end of a keys file, made with mode 0600 when absent; what it says stays, comments too.

    Threads and processes that append at once take turns, and no key is lost.

    Raises:
        KeysFileError: the file has the key's id or secret already, cannot be written, or is refused by
            `load_keys`; it is then as it was.
    """
    source = os.fspath(path)
    with _locked(path) as target:
        text = _read(path) if target.exists() else ""
        present = parse_keys(text, source=source)
        if problems := _collisions((*present, key)):
            raise KeysFileError(source, problems)
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        extended = text + gap + format_key(key)
        try:
            complete = parse_keys(extended, source=source) == (*present, key)
        except KeysFileError:
            complete = False
        if not complete:
            raise KeysFileError(
                source,
                ["keys: is an array in one value, which no table can follow; start each key with [[keys]]"],
            )
        _replace(target, extended, source)


def _collisions(keys: tuple[Key, ...]) -> list[str]:
    """Problems of keys that share an id or a secret."""
    labels = [f"keys[{index}] (id {key.id!r})" for index, key in enumerate(keys)]
    return collisions(labels, [key.id for key in keys], [key.secret for key in keys])


def _read(path: str | os.PathLike[str]) -> str:
    """The text of a private, regular file of bounded length."""
    source = os.fspath(path)
    try:
        # Not blocking, so that a pipe in the file's place is refused instead of waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            if problem := _mode_problem(os.fstat(descriptor).st_mode, source):
                raise KeysFileError(source, [problem])
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_KEYS_FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise KeysFileError(source, ["does not exist; make a key, or correct the path"]) from error
    except OSError as error:
        raise KeysFileError(source, [f"cannot be read: {_reason(error)}"]) from error
    if len(data) > MAX_KEYS_FILE_BYTES:
        raise KeysFileError(source, [f"is longer than {MAX_KEYS_FILE_BYTES} bytes; split the keys over servers"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        # Not chained: the error holds the bytes.
        raise KeysFileError(source, [f"is not UTF-8 at byte {error.start}; save it as UTF-8"]) from None


def _mode_problem(mode: int, source: str) -> str | None:
    """What is wrong with the type and permissions of a keys file, or None."""
    if not stat.S_ISREG(mode):
        return "is not a regular file; name the file itself"
    if os.name == "posix" and mode & _OTHERS:
        return (
            f"has mode {stat.S_IMODE(mode):04o}, so that others than its owner may use it; "
            f"run: chmod 600 {shlex.quote(source)}"
        )
    return None


@contextmanager
def _locked(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Follow links to the file that `path` means and hold the lock of those who change it.

    The lock is on the directory, because the file itself is replaced, and a lock file would be left behind.
    """
    source = os.fspath(path)
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise KeysFileError(source, ["is not a regular file; name the file itself"])
        if sys.platform == "win32":
            yield target
            return
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield target
            os.fsync(directory)  # the new name is durable, not the content alone
        finally:
            os.close(directory)
    except OSError as error:
        raise KeysFileError(source, [f"cannot be written: {_reason(error)}"]) from error


def _replace(target: Path, text: str, source: str) -> None:
    """Put `text` in the place of `target` in one step; `_locked` reports what the system refuses."""
    data = text.encode()
    if len(data) > MAX_KEYS_FILE_BYTES:
        raise KeysFileError(source, [f"would be longer than {MAX_KEYS_FILE_BYTES} bytes; split the keys over servers"])
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.name == "posix":
                os.fchmod(file.fileno(), _PRIVATE)
                with suppress(FileNotFoundError):
                    owner = target.stat().st_uid
                    # The administrator who adds a key must not lock the server's own user out.
                    if owner != os.fstat(file.fileno()).st_uid:
                        os.fchown(file.fileno(), owner, -1)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return f"{error.strerror or error} (errno {error.errno})"
