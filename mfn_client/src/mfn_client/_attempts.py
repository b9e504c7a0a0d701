"""The attempts of one call, within its deadline."""

from __future__ import annotations

import logging
import time
from typing import Final

from attrs import field, frozen

from mfn_client._link import Link
from mfn_client._status import RawStatus
from mfn_client.errors import Code, MfnRpcError, client_closed
from mfn_client.retrying import LONGEST_WAIT_SECONDS, RetryBudget, RetryPolicy, may_retry

__all__ = ["Attempts", "Retrying"]

_log: Final = logging.getLogger("mfn_client")


@frozen(kw_only=True)
class Retrying:
    """What all calls of one client share."""

    policy: RetryPolicy = field(factory=RetryPolicy)
    budget: RetryBudget = field(factory=RetryBudget)
    wait_for_ready: bool | None = None
    """Whether calls wait for a connection: always, never, or (None) only once there has been one."""


class Attempts:
    """Counts the attempts of one call and waits between them. Its time begins when it is made.

    The connection is waited for here and not by the channel's own `wait_for_ready`: an attempt is signed when it can
    be sent, because a server refuses signatures that are older than itself.
    """

    __slots__ = (
        "_deadline",
        "_idempotent",
        "_last",
        "_link",
        "_method",
        "_request_id",
        "_retrying",
        "_started",
        "made",
        "timeout",
    )

    def __init__(
        self,
        link: Link,
        retrying: Retrying,
        *,
        method: str,
        request_id: str,
        timeout: float | None,
        idempotent: bool = True,
    ) -> None:
        """Begin a call.

        Args:
            link: the connection of the open client.
            retrying: the client's.
            method: `/package.Service/Method`, for errors.
            request_id: the call's, for errors.
            timeout: seconds for all attempts together and the waits between them; None: no deadline.
            idempotent: whether executing the operation twice does no more than executing it once.
        """
        self._link = link
        self._retrying = retrying
        self._method = method
        self._request_id = request_id
        self._idempotent = idempotent
        self._started = time.monotonic()
        self._deadline = None if timeout is None else self._started + timeout
        self.timeout = timeout
        """Seconds for all of it."""
        self._last: RawStatus | None = None
        self.made = 0
        """Attempts that were begun."""
        retrying.budget.call_begun()

    async def begin(self) -> float | None:
        """Called before each attempt, and before it is signed: wait for the connection where that is wanted.

        Returns:
            the attempt's timeout: seconds that are left of the call's; None: no deadline.

        Raises:
            MfnRpcError: DEADLINE_EXCEEDED, when there was no connection in time; CANCELLED, when the client was
                closed.
        """
        link, wanted = self._link, self._retrying.wait_for_ready
        if not link.ready and (link.reached if wanted is None else wanted):
            await self._connected()
        self.made += 1
        if self._deadline is None:
            return None
        # Not quite zero: an attempt whose time is over is ended by the channel, as any other.
        return max(self._deadline - time.monotonic(), 0.001)

    def answered(self) -> None:
        """Called when the server has answered: from now on the client waits for it when it is away."""
        self._link.reached = True

    async def again(self, status: RawStatus, *, sent: bool = True) -> bool:
        """Called when an attempt failed: whether another one is to be made, after having waited for its time.

        Args:
            status: how it failed.
            sent: whether any of the request may have left.

        Raises:
            MfnRpcError: CANCELLED, when the client was closed meanwhile.
        """
        if status.trailing or status.code != "UNAVAILABLE":
            self.answered()
        policy = self._retrying.policy
        if self.made >= policy.max_attempts or not may_retry(status, idempotent=self._idempotent, sent=sent):
            return False
        pause = max(policy.pause(self.made), status.retry_after or 0.0)
        if pause >= self._left() or not self._retrying.budget.take():
            return False
        _log.debug(
            "%s, request %s: attempt %d ended with %s; the next one in %.3f s",
            self._method,
            self._request_id,
            self.made,
            status.code,
            pause,
        )
        self._last = status
        if not await self._link.pause(pause):
            raise client_closed(self._method, self._request_id)
        return True

    def _left(self) -> float:
        """Seconds that may still be waited."""
        deadline = self._started + LONGEST_WAIT_SECONDS if self._deadline is None else self._deadline
        return deadline - time.monotonic()

    async def _connected(self) -> None:
        """Wait for the connection. Without a deadline one attempt is made in any case, which tells what is wrong."""
        if await self._link.wait_ready(self._left()):
            return
        if self._link.closed:
            raise client_closed(self._method, self._request_id)
        if self._deadline is not None:
            message = "the deadline passed while there was no connection to the server"
            if self._last is not None:
                message += f"; the last attempt ended with {self._last.code}: {self._last.message}"
            raise MfnRpcError(
                Code.DEADLINE_EXCEEDED, message, method=self._method, request_id=self._request_id, attempts=self.made
            )
