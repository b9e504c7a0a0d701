"""Token buckets, one number each.

A bucket of `burst` tokens that refills at `rate` a second is kept as the instant at which it will be full again: the
theoretical arrival time of the generic cell rate algorithm (ITU-T I.371, annex A). A bucket that is full is the same
as one that was never used, so it need not be kept at all.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from attrs import frozen

__all__ = ["ENTRY_BYTES", "Buckets", "Refusal"]

ENTRY_BYTES = 440
"""Most memory of one bucket: key, number, and their place in the mapping, of which a good half may be empty; a test
holds it above what is measured."""

_KEY_CHARACTERS = 48
"""Longest key that is kept as it is: a principal may have 256 characters of four bytes, and a path behind them."""


@frozen(kw_only=True)
class Refusal:
    """A bucket that holds too few tokens."""

    retry_after: float
    """Seconds until it will hold enough, if nobody else takes them."""


class Buckets:
    """Buckets by key, within a bound of memory. For one thread.

    When there are more buckets than fit, those used least recently are forgotten first, of which most are full and
    so lose nothing by it; whoever owns one that is not full gains at most one burst.
    """

    def __init__(self, max_bytes: int) -> None:
        """Keep as many buckets as fit into `max_bytes`, at least one."""
        self._capacity = max(1, max_bytes // ENTRY_BYTES)
        # When each will be full, on the clock of the caller; least recently used first.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    @property
    def capacity(self) -> int:
        """How many buckets fit."""
        return self._capacity

    def __len__(self) -> int:
        """Buckets that are kept."""
        return len(self._full_at)

    def take(self, key: str, *, tokens: float, rate: float, burst: float, now: float) -> Refusal | None:
        """Take `tokens` from the bucket of `key`, or say when they will be there.

        More tokens than the bucket holds are lent to whoever finds it full, and paid back at `rate` before the next.

        Args:
            key: whose bucket.
            tokens: how many, at least 0.
            rate: tokens a second.
            burst: tokens of a full bucket.
            now: seconds on a clock that does not go back.
        """
        key, buckets = _kept(key), self._full_at
        full_at = buckets.get(key, now)
        if full_at < now:
            full_at = now
        missing = (full_at - now) * rate
        needed = tokens if tokens < burst else burst
        if missing + needed > burst + 1e-9:
            return Refusal(retry_after=(missing + needed - burst) / rate)
        buckets[key] = full_at + tokens / rate
        buckets.move_to_end(key)
        if len(buckets) > self._capacity:
            self._make_room(now)
        return None

    def left(self, key: str, *, rate: float, burst: float, now: float) -> float:
        """Tokens that the bucket of `key` holds at `now`, 0 to `burst`."""
        full_at = self._full_at.get(_kept(key), now)
        return max(0.0, burst - max(0.0, full_at - now) * rate)

    def put_back(self, key: str, *, tokens: float, rate: float) -> None:
        """Give back tokens of a call that another limit then refused."""
        key = _kept(key)
        if key in self._full_at:
            self._full_at[key] -= tokens / rate

    def _make_room(self, now: float) -> None:
        """Forget what is full, from the least recently used on; if that one is not, forget it all the same."""
        self._full_at.popitem(last=False)
        while self._full_at and next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)


def _kept(key: str) -> str:
    """The key, or a digest of it where it would take more memory than is reckoned for one."""
    if len(key) <= _KEY_CHARACTERS and key.isascii():
        return key
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
