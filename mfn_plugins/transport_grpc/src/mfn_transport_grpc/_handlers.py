"""From an RPC of grpc.aio to a call of the kernel, and from its outcome to the status on the wire.

Handlers see raw bytes: no deserializer is registered, so that a signature is checked before anything is parsed. All
four shapes are registered as shapes whose requests are streamed, and the one request of a single-request shape is read
here, because grpc.aio's own handlers leave a caller that half-closes without a message unanswered for ever.

What grpc core answers by itself never gets here and leaves no audit record: a message longer than `max_message_bytes`
(RESOURCE_EXHAUSTED), one whose compression is unknown, a stream beyond `max_concurrent_streams` (it waits at the
client), and a call that its client cancels before the request has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

from mfn_core.call import Call, Metadata, Peer, Request
from mfn_core.dispatcher import Dispatcher, Outcome
from mfn_core.errors import Code, MfnError
from mfn_core.operation import Operation
from mfn_transport_grpc._arrival import ArrivalWatch
from mfn_transport_grpc._metadata import deadline_of, peer_of, tls_peer_of, wire_metadata
from mfn_transport_grpc._status import STATUS, status_message, status_metadata

__all__ = ["Handlers"]

Context = Any
"""`grpc.aio.ServicerContext`, whose published types are narrower than what it takes."""

_EOF = grpc.aio.EOF


class Handlers(grpc.GenericRpcHandler):
    """One handler for each operation, made once; and one for every method that does not exist."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        operations: Mapping[str, Operation],
        *,
        transport: str,
        encrypted: bool,
        client_certificates: bool,
        request_seconds: float,
    ) -> None:
        """Make the handlers of every operation.

        Args:
            dispatcher: takes the calls.
            operations: what this transport offers, by path.
            transport: the transport's name in the configuration.
            encrypted: whether connections are TLS.
            client_certificates: whether peers have an identity of their own.
            request_seconds: how long the one request of a single-request shape may take to arrive.
        """
        self._dispatcher = dispatcher
        self._transport = transport
        self._peer: Callable[[Context], Peer] = tls_peer_of if client_certificates else peer_of(encrypted)
        self._arrivals = ArrivalWatch(request_seconds)
        self._by_path = {path: self._handler(operation) for path, operation in operations.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a path. Called by grpc.aio once a call."""
        path: Any = handler_call_details.method
        handler = self._by_path.get(path)
        # Not kept: a stranger may ask for any number of paths.
        return self._handler(self._dispatcher.unknown(path)) if handler is None else handler

    def close(self) -> None:
        """Stop watching for requests; called once the server has stopped."""
        self._arrivals.close()

    def _handler(self, operation: Operation) -> Any:
        if operation.shape.server_streams:
            return grpc.stream_stream_rpc_method_handler(self._streamed(operation))
        return grpc.stream_unary_rpc_method_handler(self._single(operation))

    def _single(self, operation: Operation) -> Callable[[object, Context], Awaitable[bytes | None]]:
        """Shapes with one reply, which leaves in one batch with the status once the call is over."""
        dispatch = self._dispatcher.dispatch
        new_call = self._new_call

        async def single(_: object, context: Context) -> bytes | None:
            call = await new_call(operation, context, None)
            outcome = await dispatch(call)
            if outcome.code is not Code.OK:
                await _refuse(context, call, outcome)
                return None
            if call.initial_metadata:
                await context.send_initial_metadata(wire_metadata(call.initial_metadata, operation.path))
            if call.trailing_metadata:
                context.set_trailing_metadata(wire_metadata(call.trailing_metadata, operation.path))
            return outcome.reply

        return single

    def _streamed(self, operation: Operation) -> Callable[[object, Context], Awaitable[None]]:
        """Shapes with many replies; the status leaves once the call is over."""
        dispatch = self._dispatcher.dispatch
        new_call = self._new_call

        async def streamed(_: object, context: Context) -> None:
            outbound = Outbound(context)
            call = await new_call(operation, context, outbound.deliver)
            outbound.call = call
            try:
                outcome = await dispatch(call)
            finally:
                del outbound.call  # the call holds `deliver`: without this each would wait for the garbage collector
            if outcome.code is not Code.OK:
                await _refuse(context, call, outcome, begun=outbound.begun)
                return
            if call.initial_metadata and not outbound.begun:
                await context.send_initial_metadata(wire_metadata(call.initial_metadata, operation.path))
            if call.trailing_metadata:
                context.set_trailing_metadata(wire_metadata(call.trailing_metadata, operation.path))

        return streamed

    async def _new_call(
        self, operation: Operation, context: Context, deliver: Callable[[bytes], Awaitable[None]] | None
    ) -> Call:
        request: Request | None = None
        inbound: Inbound | None = None
        fault: MfnError | None = None
        if operation.shape.client_streams:
            inbound = Inbound(context)
        else:
            raw = await self._read_one(context)
            if isinstance(raw, bytes):
                request = Request(raw=raw)
            else:
                fault = raw
        return Call(
            id=self._dispatcher.new_call_id(),
            operation=operation,
            transport=self._transport,
            metadata=Metadata(context.invocation_metadata()),
            peer=self._peer(context),
            deadline=deadline_of(context),
            request=request,
            inbound=inbound,
            deliver=deliver,
            fault=fault,
            protocol="grpc",
        )

    async def _read_one(self, context: Context) -> bytes | MfnError:
        """The one request of a call, or what is wrong with it."""
        try:
            raw = await self._arrivals.read(context)
        except TimeoutError:
            return MfnError(
                Code.DEADLINE_EXCEEDED,
                f"no request message came within {self._arrivals.seconds:g} s; send it with the call",
            )
        if raw is not _EOF:
            return bytes(raw)
        await _settle(context)
        return MfnError(Code.INVALID_ARGUMENT, "the call carries no request message; send exactly one")


class Inbound:
    """The messages of a client that streams, one read at a time; what is not read stays under flow control."""

    __slots__ = ("_context", "_ended")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ended = False

    def __aiter__(self) -> Inbound:
        return self

    async def __anext__(self) -> bytes:
        if not self._ended:
            raw = await self._context.read()
            if raw is not _EOF:
                return bytes(raw)
            self._ended = True
            await _settle(self._context)
        raise StopAsyncIteration


async def _settle(context: Context) -> None:
    """Make sure that the end of a request stream is its end, and not a cancellation.

    grpc.aio reads the end of the stream when the client has cancelled too, and cancels the handler only afterwards: a
    part of an upload would pass for the whole. The completion of a second read comes after the news of the
    cancellation in the same queue, so that the task is cancelled here.
    """
    await context.read()
    await asyncio.sleep(0)


class Outbound:
    """The reply stream of one call. `await deliver` returns when flow control has room: it slows the producer."""

    __slots__ = ("_context", "begun", "call")

    call: Call

    def __init__(self, context: Context) -> None:
        self._context = context
        self.begun = False

    async def deliver(self, message: bytes) -> None:
        """Send one message.

        Raises:
            MfnError: the client is gone, or the deadline has passed.
        """
        try:
            if not self.begun:
                # By themselves, even when empty: grpc.aio forgets that they left with a message when the call is
                # aborted while that message waits for a slow reader, and then cannot send the status.
                self.begun = True
                call = self.call
                await self._context.send_initial_metadata(wire_metadata(call.initial_metadata, call.operation.path))
            await self._context.write(message)
        except grpc.aio.InternalError:
            # The stream is closed, and the cancellation that says so is on its way.
            if not self.call.cancel.is_set():
                self.call.cancel.set(Code.CANCELLED)
            raise self.call.aborted() from None


async def _refuse(context: Context, call: Call, outcome: Outcome, *, begun: bool = False) -> None:
    """Send the status of a failed call, and no message before it.

    `abort` raises, which is how grpc.aio lets a handler with a single reply end without one; it logs nothing.
    """
    path = call.operation.path
    try:
        if call.initial_metadata and not begun:
            await context.send_initial_metadata(wire_metadata(call.initial_metadata, path))
        await context.abort(
            STATUS[outcome.code],
            status_message(outcome),
            (*status_metadata(outcome), *wire_metadata(call.trailing_metadata, path)),
        )
    except grpc.aio.InternalError:
        pass  # the client is gone: there is nobody to tell, and the audit record says so
