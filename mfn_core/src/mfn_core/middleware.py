"""The chain that every call takes: what a middleware is, and how several are folded into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from mfn_core.call import Call

__all__ = ["Middleware", "Next"]

Next = Callable[[Call], Awaitable[None]]
"""The rest of the chain."""


class Middleware(Protocol):
    """One step of the chain around every call, of every shape, on every transport.

    Called once a call, on the event loop. `await call_next(call)` returns only when the rest of the call is over,
    last streamed message included, so one `try`/`finally` around it is right for an audit record, a span or a slot.

    What comes out of `call_next` is an `MfnError` or nothing: the dispatcher has turned every other exception into
    one, cancellation and a missed deadline included, and the middleware may await in its `finally`. A middleware
    refuses a call by raising `MfnError` before it calls on; it must not call on twice, and must not swallow an error.
    """

    async def __call__(self, call: Call, call_next: Next) -> None:
        """Take part in one call."""
        ...
