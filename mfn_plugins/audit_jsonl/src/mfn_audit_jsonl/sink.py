"""The sink: takes records on the event loop and hands them to the thread that writes."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._format import body_of
from mfn_audit_jsonl._writer import TrailWriter
from mfn_audit_jsonl.settings import JsonlSettings
from mfn_core import AuditRecord

__all__ = ["JsonlSink", "SinkStatistics"]


@frozen(kw_only=True)
class SinkStatistics:
    """What a sink has done since it was started."""

    records: int
    """Records in the file."""
    writes: int
    """Writes that they took."""
    fsyncs: int
    failures: int
    """Writes and fsyncs that the disk refused."""
    waiting: int
    """Records that wait to be written."""
    seq: int
    """Number of the last record in the file, over its whole life."""
    head: str
    """Hash of that record. Kept somewhere else, it proves later that nothing before it was changed."""


class JsonlSink:
    """An `AuditSink` that appends hash-chained JSON lines to one file.

    With `fsync = "always"` a `write` returns when its record has been forced to the disk, together with all that
    were written meanwhile. With the other policies it returns as soon as the record is queued, and the line is in
    the file within 100 ms; only a queue that is full makes it wait.

    Everything but the thread's own work happens on the event loop that called `start`.
    """

    def __init__(self, settings: JsonlSettings, log: logging.Logger | None = None) -> None:
        """Make a sink; the file is opened by `start`."""
        self.path: Path = settings.path
        self._settings = settings
        self._always = settings.fsync == "always"
        self._log = log or logging.getLogger(__name__)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: TrailWriter | None = None
        self._last: TrailWriter | None = None

    async def start(self) -> None:
        """Open the trail and continue its chain; does nothing when started already.

        Raises:
            BlockingIOError: another server writes to it.
            OSError: it cannot be opened, or its last record is not intact.
        """
        if self._writer is not None:
            return
        file = TrailFile(self.path, self._log)
        await asyncio.to_thread(file.open)
        self._loop = asyncio.get_running_loop()
        self._writer = self._last = TrailWriter(
            file, self._settings.fsync, self._settings.queue, self._settle, self._log
        )
        self._writer.start()
        atexit.register(self._writer.finish)
        self._log.info("audit trail %s goes on behind record %d, head %s", self.path, file.end.seq, file.end.head)

    async def write(self, record: AuditRecord) -> None:
        """Take one record. Cancelling the wait does not take the record back.

        Raises:
            OSError: the record cannot be kept, now or, with `fsync = "always"`, as the disk has just shown.
            ValueError, OverflowError: its time is not a moment of the years 1 to 9999.
        """
        if self.offer(record):
            return
        writer, loop = self._opened()
        waiter: asyncio.Future[None] = loop.create_future()
        writer.put(body_of(record), waiter)
        await waiter

    def offer(self, record: AuditRecord) -> bool:
        """Take one record if that needs no waiting, and say whether it was taken; else `write` must be awaited.

        For a caller that would need a task to shield `write` from cancellation, which costs more than the write.

        Raises:
            OSError, ValueError, OverflowError: as `write`.
        """
        writer, _ = self._opened()
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
            failures=writer.failures,
            waiting=writer.waiting,
            seq=end.seq,
            head=end.head,
        )

    def _opened(self) -> tuple[TrailWriter, asyncio.AbstractEventLoop]:
        writer, loop = self._writer, self._loop
        if writer is None or loop is None:
            raise OSError(f"audit trail {self.path} is not open: the server is starting or stopping")
        if writer.failure is not None:
            raise _copy(writer.failure)
        return writer, loop

    def _settle(self, waiters: Sequence[asyncio.Future[None]], error: OSError | None) -> None:
        """Called from the writer's thread."""
        if not waiters or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(_resolve, waiters, error)
        except RuntimeError:
            # The loop is closed: whoever waited is gone with it.
            self._log.debug("audit: %d callers are gone", len(waiters))


def _resolve(waiters: Sequence[asyncio.Future[None]], error: OSError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(_copy(error))


def _copy(error: OSError) -> OSError:
    """The same error for one more caller: each raises its own, so that their traces stay apart."""
    return OSError(error.errno, error.strerror, error.filename) if error.errno is not None else OSError(*error.args)
