"""Calls through a real dispatcher, without a transport; and the life of the part that is tried."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import frozen

from mfn_core.call import Call, Metadata, Peer, Principal, Request
from mfn_core.dispatcher import Dispatcher, Outcome
from mfn_core.operation import Operation

__all__ = ["Ended", "InMemoryCall", "lifecycle", "started"]


@frozen(kw_only=True)
class Ended:
    """A call that is over."""

    outcome: Outcome
    replies: tuple[bytes, ...]
    """The server's messages in order; of a single-reply shape that succeeded, its one reply."""


class InMemoryCall:
    """One call of an operation: the side of its client and of a transport."""

    def __init__(
        self, dispatcher: Dispatcher, operation: Operation, messages: Sequence[bytes], *, seconds: float = 30.0
    ) -> None:
        """Prepare a call by a principal of every role, with a deadline in so many seconds.

        Where the client streams, it sends all of `messages` and half-closes; otherwise it sends the first.
        """
        self._dispatcher = dispatcher
        self._replies: list[bytes] = []

        async def inbound() -> AsyncIterator[bytes]:
            for message in messages:
                yield message

        async def deliver(message: bytes) -> None:
            self._replies.append(message)

        shape = operation.shape
        self.call = Call(
            id=dispatcher.new_call_id(),
            operation=operation,
            transport="suite",
            metadata=Metadata(),
            peer=Peer(address="127.0.0.1:40000"),
            deadline=time.monotonic() + seconds,
            request=None if shape.client_streams else Request(raw=messages[0]),
            inbound=inbound() if shape.client_streams else None,
            deliver=deliver if shape.server_streams else None,
        )
        if not operation.public:
            self.call.principal = Principal(name="suite", roles=frozenset({"admin"}), method="suite")

    async def run(self) -> Ended:
        """Dispatch it from the task that runs this, and wait for its end."""
        outcome = await self._dispatcher.dispatch(self.call)
        single = () if outcome.reply is None else (outcome.reply,)
        return Ended(outcome=outcome, replies=(*self._replies, *single))


async def lifecycle(component: object, phase: str) -> None:
    """Call `start`, `drain` or `stop` of a part that has one, as the kernel does."""
    method = getattr(component, phase, None)
    if method is not None:
        await method()


@asynccontextmanager
async def started(component: object) -> AsyncIterator[None]:
    """A part that runs: started, and in the end stopped, where it can be."""
    try:
        await lifecycle(component, "start")
        yield
    finally:
        await lifecycle(component, "stop")
