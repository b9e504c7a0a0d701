"""The thread that writes: takes records off the backlog, chains them, appends them, has them forced to the disk."""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from mfn_audit_jsonl._backlog import Backlog, Entry, Waiter
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._syncer import Syncer
from mfn_audit_jsonl._tail import TrailEnd
from mfn_audit_jsonl.settings import JsonlSettings

__all__ = ["Settle", "TrailWriter"]

Settle = Callable[[Sequence[Waiter], OSError | None], None]
"""Tells callers that their records are kept, or why not; called from the writer's thread."""

BATCH = 512
"""Records of one write. Chaining them holds the interpreter for about a millisecond."""
GATHER = 0.025
"""Seconds that a record waits for others to share its write; far below the 100 ms that are promised."""
SYNC_INTERVAL = 1.0
"""Seconds from a record's write to its fsync, with the policy `interval`."""
RETRY_INTERVAL = 0.2
"""Seconds between attempts to write what was refused."""
ROTATE_RETRY_INTERVAL = 30.0
"""Seconds between attempts to begin a new file."""
UNSYNCED_LIMIT = 16_777_216
"""Bytes that may be written and not yet forced to the disk; they are kept in memory until they are."""


class _Closing(enum.Enum):
    """How far the present file is on its way to be closed."""

    NO = enum.auto()
    SYNCING = enum.auto()
    """It is forced to the disk while records are still written to it, so that the last fsync has little to do."""
    HELD = enum.auto()
    """Nothing is written until everything in it is on the disk."""


class TrailWriter:
    """Owns an open trail. `put`, `failure`, `full` and `ended` are the event loop's; all else runs in the thread.

    Records are chained in the order of `put`. When the disk refuses records, the trail is cut back to whole
    records, and `failure` is set while records are kept to be written again: those whose callers do not wait any
    more, and with `on_error = "wait"` the others too, until their callers give up. Callers of all other records get
    the error.
    """

    def __init__(
        self,
        file: TrailFile,
        settings: JsonlSettings,
        settle: Settle,
        log: logging.Logger,
        troubled: Callable[[], None] = lambda: None,
    ) -> None:
        """Take over a file that is open. `start` begins to write.

        Args:
            file: the trail.
            settings: of the sink.
            settle: tells callers how it ended.
            log: for the operator.
            troubled: called from the thread whenever records were refused and callers wait on.
        """
        self.failure: OSError | None = None
        """Why no record can be taken now; None while all is well."""
        self.dead = False
        """Whether `failure` is for ever."""
        self.records = 0
        self.writes = 0
        self.fsyncs = 0
        self.rotations = 0
        self.failures = 0
        self.lost = 0
        """Records that could not be written before the end."""
        self._file = file
        self._policy = settings.fsync
        self._patient = settings.on_error == "wait"
        self._gathered = min(BATCH, settings.queue)
        self._settle = settle
        self._troubled = troubled
        self._log = log
        self._backlog = Backlog(settings.queue)
        self._wake = threading.Event()
        self._idle = False
        self._stopping = False
        self._final = False
        self._hand: list[Entry] = []
        self._retry_at = 0.0
        self._unsynced: list[Entry] = []
        self._unsynced_bytes = 0
        self._synced = file.end
        self._in_flight: tuple[int, TrailEnd] | None = None
        self._next_sync = 0.0
        self._doubtful = False
        self._closing = _Closing.NO
        self._rotate_after = 0.0
        self._syncer = Syncer(file.sync, self._wake.set)
        self._thread = threading.Thread(target=self._run, name="mfn-audit-writer", daemon=True)

    # The event loop's side.

    @property
    def full(self) -> bool:
        """Whether as many records wait as may."""
        return self._backlog.full

    @property
    def waiting(self) -> int:
        """Records that wait to be written."""
        return len(self._backlog)

    @property
    def end(self) -> TrailEnd:
        """The last record in the file."""
        return self._file.end

    def put(self, body: str, waiter: Waiter | None) -> None:
        """Queue one record; `waiter` is settled once it is as durable as the policy says."""
        self._backlog.put((body, waiter))
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
                self._close_in_time()
                self._write_batch()
                self._request_sync()
        except Exception as defect:  # noqa: BLE001 - whatever it is, callers must not wait for ever
            self._log.critical("the audit writer failed; every call is refused from now on", exc_info=defect)
            self._die(OSError(f"the audit writer failed: {type(defect).__name__}: {defect}"))

    def _finished(self) -> bool:
        return self._stopping and not (self._backlog or self._unsynced or self._in_flight)

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
        if self._policy != "always" and self._backlog.queued and not (self._backlog.refused or self._blocked()):
            self._wake.clear()
            if self._backlog.queued < self._gathered and not self._stopping:
                self._wake.wait(GATHER)

    def _delay(self) -> float | None:
        """Seconds until there is something to do; None: not before somebody says so."""
        if self._syncer.finished:
            return 0.0
        now = time.monotonic()
        due: list[float] = []
        if self._backlog and not self._blocked():
            if not self._backlog.refused or self._stopping:
                return 0.0
            due.append(self._retry_at - now)
        if self._in_flight is None:
            if self._stopping or (self._unsynced and self._sync_is_due(now)):
                return 0.0
            if self._unsynced:
                due.append(self._next_sync - now)
        if self._closing is _Closing.NO and (rotation := self._rotation_in()) is not None:
            due.append(rotation)
        return max(0.0, min(due)) if due else None

    def _blocked(self) -> bool:
        """Whether nothing may be written: the disk is too far behind, or the file is about to be closed."""
        return self._unsynced_bytes > UNSYNCED_LIMIT or self._closing is _Closing.HELD

    def _write_batch(self) -> None:
        if self._blocked() or (self._backlog.refused and not self._final and time.monotonic() < self._retry_at):
            return
        # In an attribute: whatever goes wrong, the callers of these records are told.
        batch = self._hand = self._backlog.take(BATCH)
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
        self._recovered()

    # To the disk.

    def _sync_is_due(self, now: float) -> bool:
        return (
            self._policy == "always"
            or self._stopping
            or self._doubtful
            or self._closing is not _Closing.NO
            or self._blocked()
            or now >= self._next_sync
        )

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
        self._recovered()
        if self._closing is _Closing.SYNCING:
            self._closing = _Closing.HELD

    def _sync_failed(self, error: OSError) -> None:
        """Write the same records again: after a failed fsync the system forgets that their pages are not on disk."""
        undone, self._unsynced, self._unsynced_bytes = self._unsynced, [], 0
        self._closing = _Closing.NO
        if self._final:
            self.failures += 1
            self._log.error("audit: %d records are written, but the disk did not confirm them: %s", len(undone), error)
            self._settle([waiter for _, waiter in undone if waiter is not None], error)
            return
        self._file.rollback(self._synced)
        self.records -= len(undone)
        self._doubtful = True
        self._refuse(undone, error)

    # To a new file.

    def _rotation_in(self) -> float | None:
        """Seconds until a new file is to be begun; None while that is not known, or cannot be done."""
        if self._stopping or self._doubtful or self.failure is not None:
            return None
        wait = self._file.rotation_in()
        return None if wait is None else max(wait, self._rotate_after - time.monotonic())

    def _close_in_time(self) -> None:
        """Go on in a new file when it is time, and when everything in the present one is on the disk."""
        wait = self._rotation_in()
        if wait is None or wait > 0.0:
            self._closing = _Closing.NO
            return
        if self._unsynced or self._in_flight:
            if self._closing is _Closing.NO:
                self._closing = _Closing.SYNCING
            return
        self._closing = _Closing.NO
        try:
            self._file.rotate(durable=self._policy != "never")
        except OSError as error:
            self._rotate_after = time.monotonic() + ROTATE_RETRY_INTERVAL
            self._log.error("audit: no new file could be begun, records go on in the present one: %s", error)
        else:
            self.rotations += 1
            self._synced = self._file.end

    # When the disk refuses.

    def _refuse(self, entries: list[Entry], error: OSError) -> None:
        """Tell those who are to be told, and keep the records that are to be written again."""
        self.failures += 1
        patient = self._patient and not self._final
        if patient or self._final or any(_is_owed(entry) for entry in entries):
            if self.failure is None:
                self._log.error(
                    "audit: records cannot be written, calls %s until they can: %s",
                    "wait" if patient else "are refused",
                    error,
                )
            # Set before the queue is emptied: what is put after that is refused by the sink, or written in its turn.
            self.failure = error
            entries = [*entries, *self._backlog.take_all()]
        kept: list[Entry] = []
        told: list[Waiter] = []
        for entry in entries:
            # Looked at once: its caller may give up at any moment.
            waiter = entry[1]
            if waiter is None or _is_owed(entry) or (patient and not waiter.given_up):
                kept.append(entry)
            else:
                told.append(waiter)
        if self._final:
            self._lose(kept)
        else:
            self._backlog.put_back(kept)
            self._retry_at = time.monotonic() + RETRY_INTERVAL
        self._settle(told, error)
        if patient:
            self._troubled()

    def _recovered(self) -> None:
        if self.failure is not None and not self._doubtful and not self._backlog.refused:
            self._log.warning("audit: records are written again")
            self.failure = None

    def _lose(self, entries: Iterable[Entry]) -> None:
        """The process ends and the disk still refuses: the log is the last place that can keep them."""
        for body, _ in entries:
            self.lost += 1
            self._log.critical("audit record that could not be written: {%s}", body)

    def _die(self, error: OSError) -> None:
        """Refuse everything until the end: what is in hand, what waits, and what was put just before `failure` was."""
        self.dead = True
        self.failure = error
        entries = [*self._unsynced, *self._hand]
        self._idle = True
        while True:
            self._wake.clear()
            entries += self._backlog.take_all()
            self._lose(entry for entry in entries if _is_owed(entry))
            self._settle([waiter for _, waiter in entries if waiter is not None], error)
            entries = []
            if self._stopping:
                return
            self._wake.wait()


def _is_owed(entry: Entry) -> bool:
    """Whether nobody can be told that the record is not kept: it was acknowledged, or its caller is gone."""
    return entry[1] is None or entry[1].future.cancelled()
