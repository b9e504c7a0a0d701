"""The thread that writes: takes records off a queue, chains them, appends them, and has them forced to the disk."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._syncer import Syncer
from mfn_audit_jsonl._tail import TrailEnd
from mfn_audit_jsonl.settings import FsyncPolicy

__all__ = ["Settle", "TrailWriter"]

Waiter = asyncio.Future[None]
Settle = Callable[[Sequence[Waiter], OSError | None], None]
"""Tells callers that their records are kept, or why not; called from the writer's thread."""

_Entry = tuple[str, Waiter | None]
"""A record's members, and who waits for it. None: its caller was told that it is kept, so it must be."""

BATCH = 512
"""Records of one write. Chaining them holds the interpreter for about a millisecond."""
GATHER = 0.025
"""Seconds that a record waits for others to share its write; far below the 100 ms that are promised."""
SYNC_INTERVAL = 1.0
"""Seconds from a record's write to its fsync, with the policy `interval`."""
RETRY_INTERVAL = 0.2
"""Seconds between attempts to write what was refused."""
UNSYNCED_LIMIT = 16_777_216
"""Bytes that may be written and not yet forced to the disk; they are kept in memory until they are."""


class TrailWriter:
    """Owns an open trail. `put`, `failure` and `full` are the event loop's; everything else runs in the thread.

    Records are chained in the order of `put`. When the disk refuses records, the trail is cut back to whole
    records, callers that still wait get the error, and records whose callers do not wait any more are kept and
    written again until it succeeds; until then `failure` is set and the sink refuses new ones.
    """

    def __init__(
        self, file: TrailFile, policy: FsyncPolicy, capacity: int, settle: Settle, log: logging.Logger
    ) -> None:
        """Take over a file that is open. `start` begins to write."""
        self.failure: OSError | None = None
        """Why no record can be taken now; None while all is well."""
        self.records = 0
        self.writes = 0
        self.fsyncs = 0
        self.failures = 0
        self.lost = 0
        """Records that could not be written before the end."""
        self._file = file
        self._policy = policy
        self._capacity = capacity
        self._settle = settle
        self._log = log
        self._queue: deque[_Entry] = deque()
        self._wake = threading.Event()
        self._idle = False
        self._stopping = False
        self._final = False
        self._hand: list[_Entry] = []
        self._retained: list[_Entry] = []
        self._retry_at = 0.0
        self._unsynced: list[_Entry] = []
        self._unsynced_bytes = 0
        self._synced = file.end
        self._in_flight: tuple[int, TrailEnd] | None = None
        self._next_sync = 0.0
        self._doubtful = False
        self._syncer = Syncer(file.sync, self._wake.set)
        self._thread = threading.Thread(target=self._run, name="mfn-audit-writer", daemon=True)

    # The event loop's side.

    @property
    def full(self) -> bool:
        """Whether as many records wait as may."""
        return len(self._queue) >= self._capacity

    @property
    def waiting(self) -> int:
        """Records that wait to be written."""
        return len(self._queue) + len(self._retained)

    @property
    def end(self) -> TrailEnd:
        """The last record in the file."""
        return self._file.end

    def put(self, body: str, waiter: Waiter | None) -> None:
        """Queue one record; `waiter` is settled once it is as durable as the policy says."""
        self._queue.append((body, waiter))
        # A write that gathers is not woken by each record: only by one that somebody waits for.
        if self._idle or waiter is not None:
            self._wake.set()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def finish(self) -> None:
        """Write and force out everything that was queued, then close the file; blocks, and is safe to call twice."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._syncer.close()
        self._file.close()

    # The thread's side.

    def _run(self) -> None:
        try:
            while not self._finished():
                self._pause()
                # Read once: an attempt that began before the stop is followed by a last one.
                self._final = self._stopping
                self._collect_sync()
                self._write_batch()
                self._request_sync()
        except Exception as defect:  # noqa: BLE001 - whatever it is, callers must not wait for ever
            self._log.critical("the audit writer failed; every call is refused from now on", exc_info=defect)
            self._die(OSError(f"the audit writer failed: {type(defect).__name__}: {defect}"))

    def _finished(self) -> bool:
        return self._stopping and not (self._queue or self._retained or self._unsynced or self._in_flight)

    def _pause(self) -> None:
        """Sleep until there is something to do, and then until it is worth a write."""
        if self._delay() != 0.0:
            self._wake.clear()
            # Idle before the second look: a record that comes after it wakes the thread, one before it is seen.
            self._idle = True
            delay = self._delay()
            if delay != 0.0:
                self._wake.wait(delay)
            self._idle = False
        if self._policy != "always" and self._queue and not self._retained:
            self._wake.clear()
            if len(self._queue) < min(BATCH, self._capacity) and not self._stopping:
                self._wake.wait(GATHER)

    def _delay(self) -> float | None:
        """Seconds until there is something to do; None: not before somebody says so."""
        if self._syncer.finished:
            return 0.0
        now = time.monotonic()
        due: list[float] = []
        if self._retained and not self._blocked():
            due.append(0.0 if self._stopping else self._retry_at - now)
        elif self._queue and not self._blocked():
            return 0.0
        if self._in_flight is None:
            if self._stopping or (self._unsynced and self._sync_is_due(now)):
                return 0.0
            if self._unsynced:
                due.append(self._next_sync - now)
        return max(0.0, min(due)) if due else None

    def _blocked(self) -> bool:
        """Whether the disk is so far behind that nothing more may be written."""
        return self._unsynced_bytes > UNSYNCED_LIMIT

    def _write_batch(self) -> None:
        if self._blocked() or (self._retained and not self._final and time.monotonic() < self._retry_at):
            return
        # In an attribute: whatever goes wrong, the callers of these records are told.
        self._hand, self._retained = self._retained, []
        batch = self._hand
        while len(batch) < BATCH and self._queue:
            batch.append(self._queue.popleft())
        if not batch:
            return
        try:
            self._file.append([body for body, _ in batch])
        except OSError as error:
            self._hand = []
            self._refuse(batch, error)
            return
        self._hand = []
        self.writes += 1
        self.records += len(batch)
        if self._policy != "always":
            self._settle([waiter for _, waiter in batch if waiter is not None], None)
            batch = [(body, None) for body, _ in batch]
        if self._policy != "never":
            if not self._unsynced:
                self._next_sync = time.monotonic() + SYNC_INTERVAL
            self._unsynced += batch
            self._unsynced_bytes += sum(len(body) for body, _ in batch)
        if not self._doubtful:
            self._recovered()

    def _sync_is_due(self, now: float) -> bool:
        return self._policy == "always" or self._stopping or self._doubtful or self._blocked() or now >= self._next_sync

    def _request_sync(self) -> None:
        now = time.monotonic()
        if self._in_flight is not None or not self._unsynced or not self._sync_is_due(now):
            return
        self._in_flight = len(self._unsynced), self._file.end
        self._next_sync = now + SYNC_INTERVAL
        self._syncer.request()

    def _collect_sync(self) -> None:
        if self._in_flight is None or not self._syncer.finished:
            return
        error = self._syncer.collect()
        (count, end), self._in_flight = self._in_flight, None
        if error is not None:
            self._sync_failed(error)
            return
        self.fsyncs += 1
        covered, self._unsynced = self._unsynced[:count], self._unsynced[count:]
        self._unsynced_bytes -= sum(len(body) for body, _ in covered)
        self._synced = end
        self._settle([waiter for _, waiter in covered if waiter is not None], None)
        self._doubtful = False
        if not self._retained:
            self._recovered()

    def _sync_failed(self, error: OSError) -> None:
        """Write the same records again: after a failed fsync the system forgets that their pages are not on disk."""
        undone, self._unsynced, self._unsynced_bytes = self._unsynced, [], 0
        if self._final:
            self.failures += 1
            self._log.error("audit: %d records are written, but the disk did not confirm them: %s", len(undone), error)
            self._settle([waiter for _, waiter in undone if waiter is not None], error)
            return
        self._file.rollback(self._synced)
        self.records -= len(undone)
        self._doubtful = True
        self._refuse(undone, error)

    def _refuse(self, entries: list[_Entry], error: OSError) -> None:
        """Give the error to callers that wait, and keep the records of those that were told all is well."""
        self.failures += 1
        if self._final or any(waiter is None for _, waiter in entries):
            if self.failure is None:
                self._log.error("audit: records cannot be written, calls are refused until they can: %s", error)
            # Set before the queue is emptied: what is put after that is refused by the sink, or written in its turn.
            self.failure = error
            entries += self._retained
            while self._queue:
                entries.append(self._queue.popleft())
        kept: list[_Entry] = [entry for entry in entries if entry[1] is None]
        if self._final:
            self._lose(kept)
        else:
            self._retained = kept
            self._retry_at = time.monotonic() + RETRY_INTERVAL
        self._settle([waiter for _, waiter in entries if waiter is not None], error)

    def _recovered(self) -> None:
        if self.failure is not None:
            self._log.warning("audit: records are written again")
            self.failure = None

    def _lose(self, entries: Sequence[_Entry]) -> None:
        """The process ends and the disk still refuses: the log is the last place that can keep them."""
        self._retained = []
        self.lost += len(entries)
        for body, _ in entries:
            self._log.critical("audit record that could not be written: {%s}", body)

    def _die(self, error: OSError) -> None:
        """Refuse everything until the end: what is in hand, what waits, and what was put just before `failure` was."""
        self.failure = error
        entries = [*self._unsynced, *self._hand, *self._retained]
        self._idle = True
        while True:
            self._wake.clear()
            while self._queue:
                entries.append(self._queue.popleft())
            self._lose([entry for entry in entries if entry[1] is None])
            self._settle([waiter for _, waiter in entries if waiter is not None], error)
            entries = []
            if self._stopping:
                return
            self._wake.wait()
