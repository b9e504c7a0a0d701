"""Subscriptions: several streams on one socket, each a call of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfn_core.call import Request
from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_transport_asgi._exchange import off_loop
from mfn_transport_asgi._websocket.outbox import Lane, Policy
from mfn_transport_asgi._websocket.status import STREAM_CODE, SUBSCRIBE_CODES, failure
from mfn_transport_asgi._websocket.streams import (
    OPERATION,
    STREAMS,
    Stream,
    Told,
    in_own_names,
    policy_of,
    raw_parameters,
)

if TYPE_CHECKING:
    from mfn_core.call import Call
    from mfn_transport_asgi._websocket.connection import Connection, Incoming

__all__ = ["Subscriptions"]

LONGEST_ID = 64
LARGE_REPLY = 128 * 1024
"""Frames from this size on are measured in a thread, so that other sockets go on."""


class Subscriptions:
    """The talk of the paths of streams."""

    def __init__(self, connection: Connection) -> None:
        """Serve what is subscribed on the connection."""
        self._connection = connection
        self._default = connection.visitor.path.rpartition(b"/")[2].decode("latin-1")
        self._streams: dict[str, _Subscription] = {}

    @property
    def busy(self) -> bool:
        """Whether a stream is on."""
        return bool(self._streams)

    async def take(self, message: Incoming) -> bool:
        """Subscribe or unsubscribe."""
        if message.type == "subscribe":
            self._subscribe(message)
        elif message.type == "unsubscribe":
            found = self._streams.get(message.stream_id or "")
            if found is None:
                self._refuse(message.stream_id, Code.NOT_FOUND, "there is no such stream on this socket")
            else:
                found.abort()
        else:
            return False
        return True

    async def close(self) -> None:
        """Abort every stream."""
        streams = tuple(self._streams.values())
        for stream in streams:
            stream.abort()
        await asyncio.gather(*(stream.task for stream in streams), return_exceptions=True)

    def _subscribe(self, message: Incoming) -> None:
        stream_id, payload = message.stream_id, message.payload
        kind = payload.get("stream_type", self._default)
        params = payload.get("params", {})
        most = self._connection.settings.max_subscriptions
        if stream_id is None or not 1 <= len(stream_id) <= LONGEST_ID:
            self._refuse(None, Code.INVALID_ARGUMENT, f"stream_id must be text of 1 to {LONGEST_ID} characters")
        elif stream_id in self._streams:
            self._refuse(stream_id, Code.ALREADY_EXISTS, "this stream is on already; unsubscribe first")
        elif not isinstance(kind, str) or kind not in STREAMS:
            self._refuse(stream_id, Code.INVALID_ARGUMENT, f"stream_type must be one of: {', '.join(sorted(STREAMS))}")
        elif not isinstance(params, dict):
            self._refuse(stream_id, Code.INVALID_ARGUMENT, "params must be an object")
        elif len(self._streams) >= most:
            text = f"{most} streams are on, which is the limit of one socket; unsubscribe from others first"
            self._refuse(stream_id, Code.RESOURCE_EXHAUSTED, text)
        else:
            subscription = _Subscription(self._connection, stream_id, STREAMS[kind](params), params)
            self._streams[stream_id] = subscription
            subscription.task.add_done_callback(lambda _: self._streams.pop(stream_id, None))

    def _refuse(self, stream_id: str | None, code: Code, text: str) -> None:
        outcome = Outcome(code=code, message=text)
        self._connection.tell("subscribe_failed", failure(SUBSCRIBE_CODES[code], outcome), stream_id=stream_id)


class _Subscription:
    """One stream: a call, and the lane that its updates wait in."""

    def __init__(self, connection: Connection, stream_id: str, stream: Stream, params: Mapping[str, Any]) -> None:
        self._connection = connection
        self._id = stream_id
        self._stream = stream
        self._begun = False
        settings = connection.settings
        policy = policy_of(params)
        self._lane: Lane = connection.outbox.lane(
            policy=policy or Policy.DROP_OLDEST,
            max_updates=settings.max_waiting_updates,
            max_bytes=settings.max_waiting_bytes,
            patience=settings.patience_seconds,
        )
        names = ", ".join(each.value for each in Policy)
        fault = (
            None
            if policy
            else MfnError.invalid([FieldViolation(field="backpressure", description=f"must be one of: {names}")])
        )
        self._call: Call = connection.door.call(
            connection.visitor,
            OPERATION,
            request=Request(raw=raw_parameters(params), transcode=lambda _: stream.request()),
            deliver=self._deliver,
            fault=fault,
        )
        self._unwanted = False
        self.task = asyncio.create_task(self._run())

    def abort(self) -> None:
        """End it."""
        self._unwanted = True
        self._call.abort()

    async def _run(self) -> None:
        try:
            if self._unwanted:
                self._call.fault = self._call.fault or self._call.aborted()
            outcome = await self._connection.door.dispatch(self._call)
            self._end(in_own_names(outcome))
        finally:
            self._lane.finish()

    async def _deliver(self, reply: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._lane.keep(self._message("subscribe_success", {}))
        texts: list[tuple[bool, str]] = []

        def work(raw: bytes) -> bytes:
            texts.extend((told.kept, self._told(told)) for told in self._stream.tell(raw))
            return b""

        if len(reply) < LARGE_REPLY:
            work(reply)
        else:
            await off_loop(len(reply), work, reply)
        for kept, text in texts:
            if kept:
                self._lane.keep(text)
            else:
                await self._lane.put(text)

    def _told(self, told: Told) -> str:
        dropped = {"dropped": self._lane.dropped} if self._lane.dropped else {}
        return self._message(told.type, {**told.payload, **dropped})

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is Code.OK:
            reason = "complete"
        elif self._unwanted and outcome.code is Code.CANCELLED:
            reason = "unsubscribed"
        elif self._begun:
            self._lane.keep(self._message("error", failure(STREAM_CODE, outcome)))
            return
        else:
            self._lane.keep(self._message("subscribe_failed", failure(SUBSCRIBE_CODES[outcome.code], outcome)))
            return
        self._lane.keep(self._message("unsubscribe", {"reason": reason, "dropped": self._lane.dropped}))

    def _message(self, kind: str, payload: Mapping[str, Any]) -> str:
        return self._connection.message(kind, payload, stream_id=self._id)
