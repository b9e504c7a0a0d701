"""The sink: takes records on the event loop and hands them to the thread that writes."""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mfn_audit_jsonl._backlog import Waiter
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._format import body_of, opened_body
from mfn_audit_jsonl._names import worker_path
from mfn_audit_jsonl._rotation import RotationPolicy
from mfn_audit_jsonl._writer import TrailWriter
from mfn_audit_jsonl.settings import JsonlSettings
from mfn_core import AuditRecord

__all__ = ["JsonlSink", "SinkStatistics"]

_OVER: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED"})
"""How calls end that nobody waits for any more."""
_WATCH_INTERVAL: Final = 0.05
"""Seconds between two looks at who has given up, while the disk refuses records."""


@frozen(kw_only=True)
class SinkStatistics:
    """What a sink has done since it was started."""

    records: int
    """Records in the file."""
    writes: int
    """Writes that they took."""
    fsyncs: int
    rotations: int
    """New files begun."""
    failures: int
    """Writes and fsyncs that the disk refused."""
    waiting: int
    """Records that wait to be written."""
    seq: int
    """Number of the last record in the file, over its whole life."""
    head: str
    """Hash of that record. Kept somewhere else, it proves later that nothing before it was changed."""


class JsonlSink:
    """An `AuditSink` that appends hash-chained JSON lines to one file after another.

    With `fsync = "always"` a `write` returns when its record has been forced to the disk, together with all that
    were written meanwhile. With the other policies it returns as soon as the record is queued, and the line is in
    the file within 100 ms; only a queue that is full makes it wait.

    With `on_error = "wait"` a `write` waits also while the disk refuses its record, until the task that called it
    is cancelled: as the kernel does at the deadline of the call, when its caller is gone, and at the end of a drain.

    Everything but the thread's own work happens on the event loop that called `start`.
    """

    def __init__(
        self, settings: JsonlSettings, log: logging.Logger | None = None, *, worker: int = 0, workers: int = 1
    ) -> None:
        """Make a sink; the file is opened by `start`.

        Args:
            settings: the `[audit.jsonl]` table.
            log: for the operator.
            worker: index of the process that this sink is of, from 0.
            workers: how many there are; each of several has a trail of its own.
        """
        self.path: Path = settings.path if workers == 1 else worker_path(settings.path, worker)
        self._settings = settings
        self._worker = worker
        self._workers = workers
        self._always = settings.fsync == "always"
        self._patient = settings.on_error == "wait"
        self._log = log or logging.getLogger(__name__)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: TrailWriter | None = None
        self._last: TrailWriter | None = None
        self._waiting: set[Waiter] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._draining = False

    async def start(self) -> None:
        """Open the trail and continue its chain; does nothing when started already.

        Raises:
            BlockingIOError: another server writes to it.
            OSError: it cannot be opened, or its last record is not intact.
        """
        if self._writer is not None:
            return
        settings = self._settings
        rotation = RotationPolicy(
            size=settings.rotate_bytes, age=settings.rotate_hours * 3600.0, keep=settings.keep_files
        )
        file = TrailFile(self.path, self._log, rotation)
        await asyncio.to_thread(self._open, file)
        self._loop = asyncio.get_running_loop()
        self._draining = False
        self._writer = self._last = TrailWriter(file, settings, self._settle, self._log, self._troubled)
        self._writer.start()
        atexit.register(self._writer.finish)
        self._log.info("audit trail %s goes on behind record %d, head %s", self.path, file.end.seq, file.end.head)

    async def drain(self) -> None:
        """Hear that the server is about to stop: calls that the drain aborts do not wait for a disk that refuses."""
        self._draining = True

    def write(self, record: AuditRecord) -> Coroutine[Any, Any, None]:
        """Take one record; `await` what it returns. Cancelling the wait does not take the record back.

        With `on_error = "wait"`, the task in which it is called is the one that is looked at to know whether
        somebody waits, even where another one awaits the result under `asyncio.shield`.

        Raises:
            OSError: the record cannot be kept, now or, with `fsync = "always"`, as the disk has just shown.
            ValueError, OverflowError: its time is not a moment of the years 1 to 9999.
        """
        return self._write(record, _current_task() if self._patient else None)

    def offer(self, record: AuditRecord) -> bool:
        """Take one record if that needs no waiting, and say whether it was taken; else `write` must be awaited.

        For a caller that would need a task to shield `write` from cancellation, which costs more than the write.

        Raises:
            OSError, ValueError, OverflowError: as `write`.
        """
        writer = self._writer
        if writer is None or writer.failure is not None:
            self._opened()  # raises, unless whoever calls `write` is to wait for a disk that refuses
            return False
        if self._always or writer.full:
            return False
        writer.put(body_of(record), None)
        return True

    async def stop(self) -> None:
        """Write everything that was taken, force it to the disk unless `fsync = "never"`, and close the file.

        Does nothing when not started; a stopped sink can be started again.

        Raises:
            OSError: the disk refuses records to the end; they are in the log instead.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        await asyncio.to_thread(writer.finish)
        atexit.unregister(writer.finish)
        self._log.info("audit trail %s ends with record %d, head %s", self.path, writer.end.seq, writer.end.head)
        if writer.lost:
            raise OSError(
                f"audit trail {self.path}: {writer.lost} records could not be written and are in the log: "
                f"{writer.failure}"
            )

    def statistics(self) -> SinkStatistics:
        """What happened since the last start.

        Raises:
            RuntimeError: it was never started.
        """
        writer = self._last
        if writer is None:
            raise RuntimeError("the audit sink was never started")
        end = writer.end
        return SinkStatistics(
            records=writer.records,
            writes=writer.writes,
            fsyncs=writer.fsyncs,
            rotations=writer.rotations,
            failures=writer.failures,
            waiting=writer.waiting,
            seq=end.seq,
            head=end.head,
        )

    def _open(self, file: TrailFile) -> None:
        """Runs in a thread."""
        file.open()
        if self._workers == 1:
            return
        try:
            file.append([opened_body(time.time(), self._worker, self._workers)])
            file.sync()
        except BaseException:
            file.close()
            raise

    async def _write(self, record: AuditRecord, caller: asyncio.Task[Any] | None) -> None:
        if self.offer(record):
            return
        writer, loop = self._opened()
        waiter = Waiter(loop.create_future(), caller)
        if not self._patient:
            writer.put(body_of(record), waiter)
            await waiter.future
            return
        waiter.given_up = record.status in _OVER or (self._draining and record.status == "UNAVAILABLE")
        if writer.failure is not None and (waiter.given_up or writer.waiting >= self._settings.queue):
            raise _copy(writer.failure)
        self._waiting.add(waiter)
        try:
            writer.put(body_of(record), waiter)
            await waiter.future
        except asyncio.CancelledError:
            waiter.given_up = True
            raise
        finally:
            self._waiting.discard(waiter)

    def _opened(self) -> tuple[TrailWriter, asyncio.AbstractEventLoop]:
        writer, loop = self._writer, self._loop
        if writer is None or loop is None:
            raise OSError(f"audit trail {self.path} is not open: the server is starting or stopping")
        if writer.failure is not None and (writer.dead or not self._patient):
            raise _copy(writer.failure)
        return writer, loop

    def _settle(self, waiters: Sequence[Waiter], error: OSError | None) -> None:
        """Called from the writer's thread."""
        if not waiters or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(_resolve, waiters, error)
        except RuntimeError:
            # The loop is closed: whoever waited is gone with it.
            self._log.debug("audit: %d callers are gone", len(waiters))

    def _troubled(self) -> None:
        """Called from the writer's thread while the disk refuses records and callers wait for it."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._look)
        except RuntimeError:
            self._log.debug("audit: the callers that wait for the disk are gone")

    def _look(self) -> None:
        """See who does not wait any more; the writer refuses their records with its next attempt."""
        writer, loop = self._writer, self._loop
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if writer is None or loop is None or writer.failure is None:
            return
        for waiter in self._waiting:
            if waiter.caller is not None and waiter.caller.cancelling():
                waiter.given_up = True
        self._watch = loop.call_later(_WATCH_INTERVAL, self._look)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # made outside of the event loop, to be awaited in it
        return None


def _resolve(waiters: Sequence[Waiter], error: OSError | None) -> None:
    for waiter in waiters:
        future = waiter.future
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(_copy(error))


def _copy(error: OSError) -> OSError:
    """The same error for one more caller: each raises its own, so that their traces stay apart."""
    return OSError(error.errno, error.strerror, error.filename) if error.errno is not None else OSError(*error.args)
