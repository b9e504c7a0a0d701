"""The record of every call: what it holds, where it goes, and the outermost step of the chain that writes it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from attrs import frozen

from mfn_core._recorded_reason import recorded_reason
from mfn_core.call import Call
from mfn_core.errors import Code, MfnError
from mfn_core.middleware import Next

__all__ = ["AuditMiddleware", "AuditRecord", "AuditSink", "SupportsOffer", "record_of"]

_log = logging.getLogger(__name__)

TELL_SECONDS = 1.0
"""Seconds between two reports of a sink that takes no records: a full disk must not fill the log as well."""


@frozen(kw_only=True, slots=False)  # one is made for every call, and with slots that takes twice as long
class AuditRecord:
    """What is kept of one call. Holds no credential and nothing of the request's content."""

    time: float
    """Unix seconds at which the call reached the application."""
    call_id: str
    request_id: str | None
    """The caller's own id, cut to 128 characters."""
    principal: str | None
    """None for a call that was not authenticated."""
    key_id: str | None
    """Id of the credential that was used."""
    method: str
    """`/package.Service/Method`."""
    shape: str
    """`unary`, `server_stream`, `client_stream` or `bidi`."""
    transport: str
    """Name of the transport in the configuration."""
    status: str
    """Name of the `Code` that the caller saw."""
    reason: str | None
    """The true reason of a failure; None on success. Of a refusal that quotes the request to its caller, and for which
    no reason was given apart, the paths of the fields at fault, without the keys of maps."""
    duration: float
    """Seconds, the last streamed message included."""
    messages_in: int
    messages_out: int
    bytes_in: int
    """Request messages, de-framed and decompressed."""
    bytes_out: int
    """Reply messages, before framing and compression."""
    peer: str
    """Address of the other end of the connection."""
    tls_identity: str | None = None
    """Subject of the client certificate."""
    protocol: str = ""
    """What was spoken on the transport: `grpc`, `connect`, `rest`; empty where the transport has one protocol."""


class AuditSink(Protocol):
    """Where records go. One instance serves all transports; it may have `async start()` and `async stop()`."""

    async def write(self, record: AuditRecord) -> None:
        """Take one record; called once for each call, on the event loop, by several calls at once.

        Returns when the record is as durable as the sink's configuration promises: the caller's reply waits for
        it. A full queue makes it wait; no record is ever dropped, and a cancellation takes none back. Records are
        chained in the order of the calls to `write`.

        Raises:
            OSError: the record cannot be kept, after `stop` too; the call then fails with UNAVAILABLE.
        """
        ...


@runtime_checkable
class SupportsOffer(Protocol):
    """A sink that can often take a record without anybody waiting."""

    def offer(self, record: AuditRecord) -> bool:
        """Take the record now, where nothing needs waiting for; False when `write` must be awaited instead.

        Raises:
            OSError: as `write` does.
        """
        ...


def record_of(call: Call, error: MfnError | None) -> AuditRecord:
    """The record of a call that is over."""
    principal, operation, peer = call.principal, call.operation, call.peer
    request_id = call.request_id
    # Every field goes to its place at once: as keyword arguments so many take nearly twice as long.
    record = AuditRecord.__new__(AuditRecord)
    record.__dict__.update(
        {
            "time": call.started_at,
            "call_id": call.id,
            "request_id": None if request_id is None else request_id[:128],
            "principal": None if principal is None else principal.name,
            "key_id": call.key_id if principal is None else principal.key_id,
            "method": operation.path,
            "shape": operation.shape.label,
            "transport": call.transport,
            "status": "OK" if error is None else error.code.name,
            "reason": None if error is None else recorded_reason(call, error),
            "duration": time.monotonic() - call.started,
            "messages_in": call.messages_in,
            "messages_out": call.messages_out,
            "bytes_in": call.bytes_in,
            "bytes_out": call.bytes_out,
            "peer": peer.address,
            "tls_identity": peer.tls_identity,
            "protocol": call.protocol,
        }
    )
    return record


class AuditMiddleware:
    """Outermost: one record for every call that reaches the application, rejected ones included."""

    def __init__(self, sinks: Sequence[AuditSink]) -> None:
        self._sinks = tuple((sink, sink.offer if isinstance(sink, SupportsOffer) else None) for sink in sinks)
        self._told = 0.0

    async def __call__(self, call: Call, call_next: Next) -> None:
        """Write the record when the call is over; the reply leaves only after that."""
        error: MfnError | None = None
        try:
            await call_next(call)
        except MfnError as raised:
            error = raised
        record = record_of(call, error)
        for sink, offer in self._sinks:
            try:
                # The common case costs no task: a queue with room, and no promise to wait for the disk.
                if offer is not None and offer(record):
                    continue
            except OSError as failed:
                self._raise_failed(failed, call)
            await self._keep(sink, record, call)
        if error is not None:
            raise error

    async def _keep(self, sink: AuditSink, record: AuditRecord, call: Call) -> None:
        """Write to one sink; a cancellation that arrives meanwhile ends the call, not the record."""
        writing = asyncio.ensure_future(sink.write(record))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            if writing.cancelled():
                raise
            await asyncio.wait([writing])
            self._raise_failed(writing.exception(), call)
            raise
        except OSError as failed:
            self._raise_failed(failed, call)

    def _raise_failed(self, failed: BaseException | None, call: Call) -> None:
        if failed is None:
            return
        now = time.monotonic()
        if now - self._told > TELL_SECONDS:
            self._told = now
            _log.error("audit record of call %s, and maybe of more, could not be written: %s", call.id, failed)
        raise MfnError(Code.UNAVAILABLE, "the server cannot record calls now", reason=f"audit: {failed}") from failed
