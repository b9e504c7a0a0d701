"""Generated modules on disk, so that what was compiled once is loaded in a moment by every later process.

A module's file is named for the hash of its content, which includes whatever else compiled code depends on: the version
of Numba, the processor, and the sources of this package. Numba keeps the compiled code beside it. Entries are never
changed, and stale ones do no harm; the directory may be deleted at any time.

What lies there is run. So the directory must belong to this user and be writable by nobody else, and those above it
must belong to this user or to root and not be writable by everybody, unless a sticky bit keeps others from renaming
what is not theirs. What is run of a module is the text that was generated, never what the file holds. Where all that is
not so, or nothing can be written, modules are compiled in memory, and a line in the log says why.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from numba.core import config

try:
    import fcntl
except ImportError:  # Windows, where processes compile beside each other
    fcntl = None  # type: ignore[assignment]  # a module, or none

__all__ = ["ModuleCache", "default_directory"]

_log = logging.getLogger(__name__)

_PREFIX: Final = "mfn_numba_"

_modules: dict[str, ModuleType] = {}
"""Modules of this process by the hash of their source, whichever cache they came from."""
_making = threading.Lock()


def default_directory() -> Path:
    """`mfn/numba` in the user's cache: `$XDG_CACHE_HOME`, or `~/.cache`.

    Raises `RuntimeError` where there is no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "mfn" / "numba"


class ModuleCache:
    """Makes modules of generated source, kept in one directory where that is safe. Safe to use from several threads."""

    def __init__(self, directory: Path | None = None) -> None:
        """Use `directory`, or the user's cache. Nothing is read or made before the first module."""
        self._wanted = directory
        self._lock = threading.Lock()
        self._directory: Path | None = None
        self._looked = False

    @property
    def directory(self) -> Path | None:
        """Where modules are kept; None where they are not."""
        with self._lock:
            if not self._looked:
                self._looked = True
                self._directory = self._prepared()
            return self._directory

    def module(self, source: Callable[[bool], str]) -> ModuleType:
        """The module of `source(kept)`, where `kept` says whether its compiled code is kept on disk.

        The first call for a source runs it, which compiles it, or loads what was compiled before.
        """
        directory = self.directory
        text = source(directory is not None)
        digest = hashlib.sha256(text.encode()).hexdigest()
        with _making:
            module = _modules.get(digest)
            if module is None:
                module = _modules[digest] = self._made(directory, source, text, digest)
            return module

    def _made(self, directory: Path | None, source: Callable[[bool], str], text: str, digest: str) -> ModuleType:
        if directory is not None:
            try:
                with _one_process(directory, digest):
                    return _kept(directory, text, digest)
            except Exception as failed:  # noqa: BLE001 - whatever it is, there is another way
                _log.warning("a kernel is not kept in %s: %r", directory, failed)
        return _run(source(False), digest, f"<{_PREFIX}{digest[:16]}>")

    def _prepared(self) -> Path | None:
        try:
            directory = default_directory() if self._wanted is None else self._wanted
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            problem = _danger(directory)
            if not problem and config.CACHE_DIR:
                # Numba itself keeps compiled code there then.
                problem = _danger(Path(config.CACHE_DIR))
            if not problem:
                with tempfile.TemporaryFile(dir=directory):
                    return directory
        except (OSError, RuntimeError) as failed:
            problem = str(failed)
        _log.warning("compiled kernels are not kept, and every process compiles its own: %s", problem)
        return None


def _danger(directory: Path) -> str:
    """Why code must not be run from a directory; empty where it may."""
    if not hasattr(os, "getuid"):
        return ""
    directory = directory.resolve()
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory} is no directory"
    if found.st_uid != os.getuid():
        return f"{directory} belongs to user {found.st_uid}, not to this process's user {os.getuid()}; give another one"
    if found.st_mode & 0o022:
        return f"{directory} is writable by others (mode {stat.S_IMODE(found.st_mode):04o}); make it 0700"
    for parent in directory.parents:
        found = parent.stat()
        if found.st_uid not in (0, os.getuid()):
            return f"{parent} belongs to user {found.st_uid}, who could replace what is in it; give another directory"
        if found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
            return f"{parent} is writable by everybody (mode {stat.S_IMODE(found.st_mode):04o}); give another directory"
    return ""


@contextmanager
def _one_process(directory: Path, digest: str) -> Iterator[None]:
    """Lets the processes of this user that need a module wait for the first of them, which compiles it for all."""
    if fcntl is None:
        yield
        return
    path = directory / f".{_PREFIX}{digest[:32]}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "rb") as file:
        # The system takes the lock back from a process that ends, however it does.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _kept(directory: Path, text: str, digest: str) -> ModuleType:
    """The module, with compiled code from beside its file, or kept there now."""
    path = _stored(directory, text, digest)
    try:
        return _run(text, digest, str(path))
    except Exception as failed:  # noqa: BLE001 - a file that Numba keeps may be damaged in any way
        _log.warning("what is kept beside %s cannot be loaded, and is compiled anew: %r", path, failed)
        for each in (directory / "__pycache__").glob(f"{path.stem}*"):
            each.unlink()
        return _run(text, digest, str(path))


def _stored(directory: Path, text: str, digest: str) -> Path:
    """The file of a module, written if it is not there with exactly this content."""
    path = directory / f"{_PREFIX}{digest[:32]}.py"
    content = text.encode()
    if path.is_symlink() or path.exists():
        if _content(path) == content:
            return path
        _log.warning("%s is not what was written there; it is written again", path)
    handle, temporary = tempfile.mkstemp(prefix=f".{_PREFIX}", dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _content(path: Path) -> bytes | None:
    """What a file of our own holds; None for a link, or a file of somebody else."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        return file.read() if ours and stat.S_ISREG(found.st_mode) else None


def _run(text: str, digest: str, filename: str) -> ModuleType:
    """A module of source that we have just generated; the file, if there is one, is what Numba keeps code beside."""
    name = f"{_PREFIX}{digest[:32]}"
    module = ModuleType(name)
    module.__file__ = filename
    module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
    # Numba finds the names that a kept function refers to by its module.
    sys.modules[name] = module
    try:
        exec(compile(text, filename, "exec"), module.__dict__)  # noqa: S102 - our own text, never what a file holds
    except BaseException:
        del sys.modules[name]
        raise
    return module
