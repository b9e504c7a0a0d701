"""Equal calls that are in flight at the same time, computed once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from mfn_core.call import Call
from mfn_core.errors import Code, MfnError

__all__ = ["Coalescer"]

SHARED_FAILURES: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.DATA_LOSS,
    }
)
"""What an equal call would fail with as well. Every other failure may be of the one call, its principal's limits, or
the moment: then the next call computes for itself."""

LEAD: Final = None
"""What a waiting call is told when it is its turn to compute."""


class _Flight:
    """One reply in the making: the call that computes it leads, the others wait."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: dict[Call, asyncio.Future[bytes | None]] = {}


class Coalescer:
    """Lets calls of one operation and cache key wait for the reply of the first of them. For one event loop.

    A waiting call keeps its own deadline and cancellation. When the call that computes fails for a reason of its own,
    such as its deadline, exactly one of those that wait computes in its place: the one with the most time left, so that
    callers with little patience cannot hold up the others again and again. Memory is bounded by the calls in flight.
    """

    def __init__(self) -> None:
        self._flights: dict[tuple[str, bytes], _Flight] = {}
        self.joined = 0
        """Calls that were answered with what another one computed, its failure included."""
        self.handed_over = 0
        """Times that a waiting call had to compute after all."""

    def __len__(self) -> int:
        """Replies in the making."""
        return len(self._flights)

    async def once(self, call: Call, key: bytes, compute: Callable[[], Awaitable[bytes]]) -> tuple[bytes, bool]:
        """The raw reply, and whether this call computed it.

        Args:
            call: of an operation whose reply depends on the request alone.
            key: stands for its request.
            compute: validates, charges and runs this call; it may be called or not, and once at most.

        Raises:
            MfnError: what `compute` raised, here or for the call that was waited for.
            asyncio.CancelledError: this call was aborted.
        """
        where = (call.operation.path, key)
        flight = self._flights.get(where)
        if flight is None:
            flight = self._flights[where] = _Flight()
        else:
            reply = await self._wait(where, flight, call)
            if reply is not None:
                self.joined += 1
                return reply, False
            self.handed_over += 1
        try:
            reply = await compute()
        except BaseException as failed:
            self._fail(where, flight, call, failed)
            raise
        self._land(where, flight, lambda waiter: waiter.set_result(reply))
        return reply, True

    async def _wait(self, where: tuple[str, bytes], flight: _Flight, call: Call) -> bytes | None:
        """The reply, or None when it is this call's turn to compute."""
        waiter: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        flight.waiting[call] = waiter
        try:
            return await waiter
        except asyncio.CancelledError:
            # Aborted in the moment in which it was told to compute: somebody else must.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None and waiter.result() is None:
                self._hand_over(where, flight)
            raise
        except MfnError:
            self.joined += 1
            raise
        finally:
            flight.waiting.pop(call, None)

    def _fail(self, where: tuple[str, bytes], flight: _Flight, call: Call, failed: BaseException) -> None:
        """The computing call failed: the others fail as well, or one of them takes its place."""
        if call.cancel.is_set() or not _is_shared(failed):
            self._hand_over(where, flight)
            return
        self._land(where, flight, lambda waiter: waiter.set_exception(_again(failed, call)))

    def _hand_over(self, where: tuple[str, bytes], flight: _Flight) -> None:
        """Tell the waiting call with the latest deadline to compute; where none waits, the flight is over."""
        able = [call for call, waiter in flight.waiting.items() if not waiter.done()]
        if able:
            flight.waiting[max(able, key=_patience)].set_result(LEAD)
        else:
            self._flights.pop(where, None)

    def _land(
        self, where: tuple[str, bytes], flight: _Flight, tell: Callable[[asyncio.Future[bytes | None]], None]
    ) -> None:
        self._flights.pop(where, None)
        for waiter in flight.waiting.values():
            if not waiter.done():
                tell(waiter)


def _patience(call: Call) -> float:
    return math.inf if call.deadline is None else call.deadline


def _is_shared(failed: BaseException) -> bool:
    if isinstance(failed, MfnError):
        return failed.code in SHARED_FAILURES
    return isinstance(failed, Exception)


def _again(failed: BaseException, call: Call) -> MfnError:
    """The failure of a call as another one raises it; a defect is in the log once, under the id of the first."""
    if isinstance(failed, MfnError):
        return MfnError(
            failed.code,
            failed.message,
            reason=failed.reason,
            violations=failed.violations,
            retry_after=failed.retry_after,
            details=failed.details,
        )
    return MfnError(
        Code.INTERNAL,
        f"internal error; the server's log has it under call id {call.id}",
        reason=f"{type(failed).__name__}: {failed}",
    )
