"""How often: the limiter contract and the step of the chain that asks it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from mfn_core.call import Call
from mfn_core.middleware import Next

__all__ = ["Lease", "LimitMiddleware", "Limiter"]


class Lease(Protocol):
    """A place held by one call for as long as it runs."""

    def release(self) -> None:
        """Give the place back. Called exactly once, however the call ends."""
        ...


class Limiter(Protocol):
    """Decides how much a principal may use. One instance serves all transports."""

    async def admit(self, call: Call) -> Lease:
        """Take what one call needs: a token, a slot. `call.principal` is set, unless the operation is public.

        Raises:
            MfnError: RESOURCE_EXHAUSTED with `retry_after` seconds and, in `details`, the limit's name.
        """
        ...

    async def charge(self, call: Call, cost: float) -> None:
        """Charge `cost` cell-steps, after the request is validated and before its handler runs.

        Raises:
            MfnError: RESOURCE_EXHAUSTED, as `admit` does.
        """
        ...


class LimitMiddleware:
    """Admit a call through every limiter, and give every place back when the call is truly over."""

    def __init__(self, limiters: Sequence[Limiter]) -> None:
        """Ask `limiters`, at least one, in order."""
        self._first, *further = limiters
        self._further = further[::-1]

    def __call__(self, call: Call, call_next: Next) -> Coroutine[Any, Any, None]:
        """Hold one lease of each limiter for the whole life of the call, streams included."""
        # Nearly always there is one limiter, and nothing to be put together.
        for limiter in self._further:
            call_next = partial(_hold, limiter, call_next)
        return _hold(self._first, call_next, call)


async def _hold(limiter: Limiter, call_next: Next, call: Call) -> None:
    """Hold a lease of one limiter while the rest of the chain runs."""
    lease = await limiter.admit(call)
    try:
        await call_next(call)
    finally:
        lease.release()
