"""The keys file of a running server: read at start, and again whenever it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from mfn_signing import ACTIVE, Key, KeysFileError, load_keys

__all__ = ["KeysFile"]

LOOK_SECONDS = 0.5
"""How often the file is looked at. Two system calls a second are cheaper than notifications of its directory, where
the audit may be written, and they work on every file system."""

_Signature = tuple[int, int, int, int]


class KeysFile:
    """Watches one keys file and hands over its keys when they change.

    A file that is refused changes nothing: the keys that were read last stay in force, and the log says what is
    wrong until the file is right again.
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.path = path
        self._log = log
        self._signature = self._look()
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def load(self) -> tuple[Key, ...]:
        """Read the file.

        Raises:
            KeysFileError: it is refused; lists every problem.
        """
        # Before the file is read: a change in between is seen as one more change.
        self._signature = self._look()
        return load_keys(self.path)

    async def watch(self, take: Callable[[tuple[Key, ...]], None]) -> None:
        """Start to watch: `take` gets the keys, on the event loop, each time that a good file has changed."""
        self._watching = asyncio.create_task(self._watch(take), name="mfn-keys-file")

    async def close(self) -> None:
        """Stop to watch; safe to call twice."""
        self._stop.set()
        watching, self._watching = self._watching, None
        if watching is not None:
            await watching

    async def _watch(self, take: Callable[[tuple[Key, ...]], None]) -> None:
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                if self._look() != self._signature:
                    self._reload(take)

    def _reload(self, take: Callable[[tuple[Key, ...]], None]) -> None:
        try:
            keys = self.load()
        except KeysFileError as refused:
            self._log.error("keys file changed and is refused; the keys read before stay in force: %s", refused)
            return
        if not keys:
            self._log.error("keys file %s changed and holds no key; the keys read before stay in force", self.path)
            return
        take(keys)
        active = sum(key.status == ACTIVE for key in keys)
        self._log.info("keys file %s read again: %d keys, %d of them active", self.path, len(keys), active)

    def _look(self) -> _Signature | None:
        """What tells one version of the file from another; None while there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        # The mode too: a file that was refused because others could read it is right again without being written.
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
