"""Fsync in a thread of its own, so that a slow disk holds up no write."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Syncer"]


class Syncer:
    """Runs one fsync at a time for the thread that owns it; only that thread calls its methods."""

    def __init__(self, sync: Callable[[], None], notify: Callable[[], None]) -> None:
        """Name what it runs.

        Args:
            sync: the fsync; may raise OSError.
            notify: called from the syncer's thread after each.
        """
        self._sync = sync
        self._notify = notify
        self._asked = threading.Semaphore(0)
        self._closing = False
        self._finished = False
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    @property
    def finished(self) -> bool:
        """Whether the fsync that was asked for is over and not collected yet."""
        return self._finished

    def request(self) -> None:
        """Begin an fsync; it covers everything written before the call. The one before must have been collected."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mfn-audit-fsync", daemon=True)
            self._thread.start()
        self._asked.release()

    def collect(self) -> OSError | None:
        """Take the result of a finished fsync: None, or what went wrong."""
        error, self._error = self._error, None
        self._finished = False
        return error

    def close(self) -> None:
        """End the thread, after the fsync that runs."""
        if self._thread is not None:
            self._closing = True
            self._asked.release()
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            if self._closing:
                return
            try:
                self._sync()
            except OSError as error:
                self._error = error
            self._finished = True
            self._notify()
