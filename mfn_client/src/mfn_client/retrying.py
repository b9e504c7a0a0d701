"""When a call is attempted again: the rule, the pace, and the budget that keeps an outage from being multiplied."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

from attrs import field, frozen

from mfn_client._status import RawStatus

__all__ = ["LONGEST_WAIT_SECONDS", "RetryBudget", "RetryPolicy", "broke", "may_retry"]

LONGEST_WAIT_SECONDS = 30.0
"""How long a call without a deadline waits for its next attempt, or for a connection; and the longest `retry_after`
that is obeyed rather than reported."""


def may_retry(status: RawStatus, *, idempotent: bool, sent: bool = True) -> bool:
    """Whether another attempt may succeed, and cannot do twice what must be done once.

    * UNAVAILABLE: no connection, a lost one, or a server that drains or starts. Where the server itself refused, it
      says when to come back, and did not execute the call; a connection that broke says nothing of it.
    * CANCELLED by the other side: a gRPC server that shuts down answers so to calls that reach it too late, and does
      not say whether they had begun.
    * RESOURCE_EXHAUSTED: where the server says when to come back. One that says nothing of it is a bound that waiting
      does not move, such as a message that is too long.
    * Everything else is final: another attempt would be answered alike, or has no time left.

    Args:
        status: how the attempt ended.
        idempotent: whether executing the operation twice does no more than executing it once.
        sent: whether any of the request may have left.
    """
    if status.code == "UNAVAILABLE":
        return idempotent or not sent or status.retry_after is not None
    if status.code == "CANCELLED":
        return not status.local and (idempotent or not sent)
    return status.code == "RESOURCE_EXHAUSTED" and status.retry_after is not None


def broke(status: RawStatus) -> bool:
    """Whether a call in progress ended because its connection or its server went away."""
    return status.code == "UNAVAILABLE" or (status.code == "CANCELLED" and not status.local)


@frozen(kw_only=True)
class RetryPolicy:
    """How often, and how fast.

    Raises:
        ValueError: a value is out of its bounds.
    """

    max_attempts: int = field(default=3)
    """Attempts of one call, the first included; 1 turns retries off."""
    backoff_seconds: float = field(default=0.1)
    """Longest pause before the second attempt; it doubles with each further one."""
    max_backoff_seconds: float = field(default=5.0)
    """Longest pause before any attempt."""

    @max_attempts.validator
    def _check_attempts(self, _: object, value: int) -> None:
        if not 1 <= value <= 100:
            raise ValueError(f"retry_max_attempts must be 1 to 100, got {value!r}; 1 turns retries off")

    @backoff_seconds.validator
    @max_backoff_seconds.validator
    def _check_seconds(self, _: object, value: float) -> None:
        if not 0.0 < value < math.inf:
            raise ValueError(f"the pause between attempts must be positive and finite, got {value!r} s")

    def pause(self, failures: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds before the next attempt: anything from none to the bound ("full jitter"), so that clients which
        failed together do not come back together.

        Args:
            failures: attempts that failed, at least 1.
            draw: a number from [0, 1).
        """
        bound = min(self.max_backoff_seconds, self.backoff_seconds * 2.0 ** (failures - 1))
        return draw() * bound


class RetryBudget:
    """Retries that a client may still make: a bucket of tokens, from which each retry takes one.

    Every call that begins puts a fraction of a token in, so that in a long outage retries add that fraction to the
    load and no more. A trickle keeps a client that calls seldom from being left without any. One budget may serve
    several clients, in any threads.
    """

    def __init__(
        self,
        *,
        capacity: float = 100.0,
        per_call: float = 0.1,
        per_second: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A full bucket.

        Args:
            capacity: tokens at most, at least 1.
            per_call: tokens for each call that begins, 0 or more.
            per_second: tokens for each second, 0 or more.
            clock: seconds that never go back.

        Raises:
            ValueError: a value is out of its bounds.
        """
        for name, value, least in (
            ("capacity", capacity, 1.0),
            ("per_call", per_call, 0.0),
            ("per_second", per_second, 0.0),
        ):
            if not least <= value < math.inf:
                raise ValueError(f"{name} of a retry budget must be finite and at least {least:g}, got {value!r}")
        self._capacity = capacity
        self._per_call = per_call
        self._per_second = per_second
        self._clock = clock
        self._tokens = capacity
        self._then = clock()
        self._lock = threading.Lock()

    @property
    def tokens(self) -> float:
        """Retries that may be made now."""
        with self._lock:
            self._trickle()
            return self._tokens

    def call_begun(self) -> None:
        """A call begins: put its share in."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self._per_call)

    def take(self) -> bool:
        """Take a token for one retry; False when there is none, and the retry must not be made."""
        with self._lock:
            self._trickle()
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def _trickle(self) -> None:
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._then) * self._per_second)
        self._then = now
