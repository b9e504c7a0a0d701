"""The one place that decodes requests, runs handlers, maps errors and closes generators."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from attrs import frozen
from google.protobuf.message import DecodeError, Message

from mfn_core.cache import ResultCache
from mfn_core.call import Call, CallId
from mfn_core.coalescing import Coalescer
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_core.middleware import Middleware, Next
from mfn_core.operation import Operation, Service, Shape

__all__ = ["Dispatcher", "Outcome"]

_log = logging.getLogger(__name__)

OFFLOAD_BYTES = 16 * 1024
"""Messages from this size on are transcoded in a thread, so that other calls go on."""


@frozen(kw_only=True, slots=False)  # one is made for every call, and with slots that takes longer
class Outcome:
    """How a call ended, for its transport to put on the wire."""

    code: Code
    message: str = ""
    error: MfnError | None = None
    """Violations, retry-after and details, where there are any."""
    reply: bytes | None = None
    """The one reply of a unary or client-streaming call that succeeded."""


_OK = Outcome(code=Code.OK)


class Dispatcher:
    """Takes a call from any transport through the whole chain to its handler, and back.

    The chain is folded once, at assembly. Each layer sees an `MfnError` or nothing come out of the one below it.
    """

    def __init__(
        self,
        services: Iterable[Service],
        middlewares: Sequence[Middleware] = (),
        *,
        outer: int = 0,
        charge: Callable[[Call, float], Awaitable[None]] | None = None,
        cache: ResultCache | None = None,
        coalescer: Coalescer | None = None,
    ) -> None:
        """Fold the chain.

        Args:
            services: everything that can be called.
            middlewares: outermost first.
            outer: how many of the first middlewares see a call before its fault is raised: those that record and
                observe, and refuse nothing.
            charge: `async (call, cost)`, called after validation with the request's cost in cell-steps.
            cache: keeps the replies of deterministic unary operations; none unless given.
            coalescer: lets equal calls of such operations share one reply; none unless given.
        """
        self.services = tuple(services)
        self.operations: Mapping[str, Operation] = _index(self.services)
        self._charge = charge
        self._cache = cache if cache is not None and cache.enabled else None
        self.coalescer = coalescer
        """Counts what it did, for telemetry; None where equal calls are computed each."""
        self._active: set[Call] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        chain = _layer(self._endpoint, _nothing_below)
        for position in reversed(range(len(middlewares))):
            if position == outer - 1:
                chain = _refusing_faults(chain)
            chain = _layer(middlewares[position], chain)
        if outer <= 0:
            chain = _refusing_faults(chain)
        self._chain = chain
        self._prefix = f"{int(time.time()) & 0xFFFFFFFF:08x}{os.getpid() & 0xFFFF:04x}"
        self._sequence = itertools.count(int.from_bytes(os.urandom(5), "big"))

    def new_call_id(self) -> CallId:
        """An id that no other call of this or another process has."""
        return f"{self._prefix}{next(self._sequence) & 0xFFFFFFFFFFFF:012x}"

    def unknown(self, path: str) -> Operation:
        """Stands for an operation that does not exist, so that calls of it are audited and answered too."""
        service, _, method = path[1:].rpartition("/")
        return Operation(
            service=service[:256],
            method=method[:256],
            shape=Shape.BIDI,
            request_type=cast("type[Message]", object),
            response_type=cast("type[Message]", object),
            handler=_unreachable,
            public=True,
        )

    @property
    def active(self) -> int:
        """Calls in flight."""
        return len(self._active)

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because the server is shutting down."""
        return self._draining

    async def dispatch(self, call: Call) -> Outcome:
        """Run one call to its end.

        Never raises for anything that the call does: cancellation of the calling task means that the client is
        gone, and ends the call as CANCELLED.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("dispatch must run in a task")
        call._begin(task, self._charge)
        self._active.add(call)
        self._idle.clear()
        timer: asyncio.TimerHandle | None = None
        if self._draining and call.fault is None:
            call.fault = MfnError(
                Code.UNAVAILABLE, "the server is shutting down; retry with another one", retry_after=0.0
            )
        if call.deadline is not None:
            loop = task.get_loop()
            timer = loop.call_later(max(0.0, call.deadline - time.monotonic()), call.abort, Code.DEADLINE_EXCEEDED)
        try:
            await self._chain(call)
        except MfnError as error:
            outcome = Outcome(code=error.code, message=error.message, error=error)
        else:
            outcome = _OK if call.reply is None else Outcome(code=Code.OK, reply=call.reply)
        finally:
            if timer is not None:
                timer.cancel()
            call._end()
            self._active.discard(call)
            if not self._active:
                self._idle.set()
        if task.cancelling():
            await _swallow_late_cancellation(task)
        return outcome

    async def drain(self, grace: float) -> None:
        """Refuse new calls, wait up to `grace` seconds for those in flight, then abort what is left as UNAVAILABLE."""
        self._draining = True
        if not self._active:
            return  # with no grace at all, `wait_for` would not even look
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            _log.warning("drain: %d calls still run after %.1f s and are aborted", len(self._active), grace)
            for call in tuple(self._active):
                call.abort(Code.UNAVAILABLE)
            await self._idle.wait()

    # The innermost layer.

    async def _endpoint(self, call: Call, call_next: Next) -> None:
        """Decode, validate, charge, run the handler, encode."""
        operation = call.operation
        if operation.shape.client_streams:
            async with aclosing(self._decode_stream(call)) as requests:
                await self._handle(call, requests)
        else:
            if call.request is None:
                raise MfnError(Code.INVALID_ARGUMENT, "the call carries no request message")
            raw, transcode = call.request.raw, call.request.transcode
            if transcode is not None:
                raw = await _transcoded(raw, transcode)
            request = self._decode_one(call, raw)
            if operation.cache_key is None or (self._cache is None and self.coalescer is None):
                await self._answer(call, request)
                return
            key = _cache_key(operation, raw)
            if key is None:
                await self._answer(call, request)
            elif not await self._send_cached(call, key, raw):
                await self._compute_once(call, request, key, raw)

    async def _answer(self, call: Call, request: Message) -> bytes | None:
        """Validate, charge and handle the one request; the raw reply of a shape with one."""
        operation = call.operation
        if operation.validate is not None and (found := operation.validate(request)):
            raise MfnError.invalid(found)
        if operation.cost is not None:
            await call.charge(operation.cost(request))
        return await self._handle(call, request)

    async def _compute_once(self, call: Call, request: Message, key: bytes, raw: bytes) -> None:
        """Answer a deterministic unary call, or wait for an equal one that is being answered. Only that one pays."""

        async def compute() -> bytes:
            reply = await self._answer(call, request)
            if reply is None:
                raise RuntimeError(f"{call.operation.path} has a cache key and no single reply")
            if self._cache is not None:
                self._cache.put(call.operation.path, key, reply)
            return reply

        if self.coalescer is None:
            await compute()
            return
        reply, own = await self.coalescer.once(call, key, compute)
        if not own:
            await self._send_stamped(call, reply, raw)

    async def _handle(self, call: Call, request: Any) -> bytes | None:
        """Run the handler and send what it makes; the raw reply of a shape with one."""
        operation = call.operation
        produced: Any = operation.handler(request, call)
        if operation.shape.server_streams:
            await _send_all(call, produced)
            return None
        reply = _encode(await produced)
        await call.send(reply)
        return reply

    async def _send_cached(self, call: Call, key: bytes, raw: bytes) -> bool:
        """Answer from the cache: the request was valid once, so it is valid now. Costs no cell-steps."""
        if self._cache is None:
            return False
        reply = self._cache.get(call.operation.path, key)
        if reply is None:
            return False
        await self._send_stamped(call, reply, raw)
        return True

    async def _send_stamped(self, call: Call, reply: bytes, raw: bytes) -> None:
        """Send a reply that was computed for an equal request, with this request's id in it."""
        stamp = call.operation.stamp
        await call.send(reply if stamp is None else stamp(reply, raw))

    def _decode_one(self, call: Call, raw: bytes) -> Any:
        message = _decode(call.operation, raw)
        if call.operation.names_request:
            # Where the message has none, that of the transport stays.
            call.decoded_request_id = message.request_id or call.decoded_request_id
        return message

    async def _decode_stream(self, call: Call) -> AsyncGenerator[Message, None]:
        if call.inbound is None:
            raise RuntimeError(f"transport {call.transport!r} gave no inbound stream for {call.operation.path}")
        async for raw in call.inbound:
            call.messages_in += 1
            call.bytes_in += len(raw)
            message = _decode(call.operation, raw)
            if call.decoded_request_id is None and call.operation.names_request:
                call.decoded_request_id = message.request_id or None
            if call.operation.validate is not None and (found := call.operation.validate(message)):
                raise MfnError.invalid(found)
            yield message


async def _send_all(call: Call, replies: AsyncIterator[Message]) -> None:
    """Send what a streaming handler yields, and close the generator however it ends."""
    try:
        async for reply in replies:
            await call.send(_encode(reply))
            # Neither a producer that never waits nor a reader who keeps up may starve the loop of aborts and timers.
            await asyncio.sleep(0)
    finally:
        close = getattr(replies, "aclose", None)
        if close is not None:
            await close()


def _encode(reply: Message) -> bytes:
    """The same bytes for the same reply, whichever process answers: maps are otherwise in an order of chance."""
    encoded: bytes = reply.SerializeToString(deterministic=True)
    return encoded


def _decode(operation: Operation, raw: bytes) -> Any:
    try:
        return operation.request_type.FromString(raw)
    except DecodeError as wrong:
        name = operation.request_type.DESCRIPTOR.full_name
        raise MfnError.invalid(
            [FieldViolation(field="", description=f"the message of {len(raw)} bytes is not a valid {name}")]
        ) from wrong


async def _transcoded(raw: bytes, transcode: Callable[[bytes], bytes]) -> bytes:
    """The one request message of a call that was let in, as protobuf; a long one in a thread: it takes long."""
    if len(raw) < OFFLOAD_BYTES:
        return transcode(raw)
    return await asyncio.to_thread(transcode, raw)


def _cache_key(operation: Operation, raw: bytes) -> bytes | None:
    """What stands for the request in the cache; None where the reply is not to be kept."""
    if not operation.deterministic or operation.cache_key is None or operation.shape is not Shape.UNARY:
        return None
    return operation.cache_key(raw)


def _layer(middleware: Middleware, call_next: Next) -> Next:
    """One middleware around what is below it. What leaves a layer is an `MfnError` or nothing."""

    async def layer(call: Call) -> None:
        try:
            await middleware(call, call_next)
        except MfnError:
            raise
        except asyncio.CancelledError:
            raise call._absorb() from None
        except Exception as unexpected:
            raise _internal(call, unexpected) from unexpected

    return layer


async def _nothing_below(call: Call) -> None:
    """What the innermost layer is given, and does not call."""


def _refusing_faults(inner: Next) -> Next:
    """Raise what the transport or the drain found wrong, once the call is on record.

    It needs no layer of its own: it raises no other error, and hands on the coroutine of the layer below.
    """

    def refuse_faults(call: Call) -> Awaitable[None]:
        if call.fault is not None:
            return _raise(call.fault)
        # By its handler: a transport may leave out an operation that others of the same server offer.
        if call.operation.handler is _unreachable:
            return _raise(_unknown(call))
        return inner(call)

    return refuse_faults


async def _raise(error: MfnError) -> None:
    raise error


def _internal(call: Call, unexpected: Exception) -> MfnError:
    """The caller gets the call id; the log gets the trace."""
    _log.error("call %s of %s failed", call.id, call.operation.path, exc_info=unexpected)
    return MfnError(
        Code.INTERNAL,
        f"internal error; the server's log has it under call id {call.id}",
        reason=f"{type(unexpected).__name__}: {unexpected}",
    )


async def _swallow_late_cancellation(task: asyncio.Task[Any]) -> None:
    """An abort that came as the chain returned must not strike the transport's next await."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    while task.cancelling():
        task.uncancel()


async def _unreachable(request: Any, call: Call) -> Any:
    raise _unknown(call)


def _unknown(call: Call) -> MfnError:
    return MfnError(Code.UNIMPLEMENTED, f"unknown method {call.operation.path}", reason="unknown method")


def _index(services: Iterable[Service]) -> dict[str, Operation]:
    index: dict[str, Operation] = {}
    for service in services:
        for operation in service.operations:
            if operation.path in index:
                raise ValueError(f"two services define {operation.path}")
            index[operation.path] = operation
    return index
