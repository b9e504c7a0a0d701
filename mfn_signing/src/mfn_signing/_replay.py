"""The anti-replay sliding window that a server keeps for each key and instance."""

from __future__ import annotations

from typing import Final

from mfn_signing._nonce import MAX_COUNTER

__all__ = ["REPLAY_WINDOW_SIZE", "ReplayWindow"]

REPLAY_WINDOW_SIZE: Final = 1024
"""Counters of one instance that the scheme remembers."""

_MAX_SIZE: Final = 65536


class ReplayWindow:
    """Which counters have been seen: exact among the latest `size`, and everything older is refused.

    The anti-replay window of IPsec (RFC 4303 §3.4.3, RFC 6479). Memory is constant, about `size / 8` bytes,
    and so is the time of each call: however far the counter leaps, at most twice `size` bits move. RFC 6479
    makes a ring of blocks of what fixed-width words would have to shift; one arbitrary-precision integer
    shifts at once.

    Not synchronised: callers hold a lock of their own or stay on one thread. Accept a counter only after its
    signature verified, or a forger moves the window.
    """

    __slots__ = ("_bitmap", "_highest", "_mask", "_size")

    def __init__(self, size: int = REPLAY_WINDOW_SIZE) -> None:
        """Open an empty window.

        Raises:
            ValueError: `size` is not within 1 to 65536.
        """
        if not 1 <= size <= _MAX_SIZE:
            raise ValueError(f"replay window size {size} is out of 1 to {_MAX_SIZE}; the scheme uses 1024")
        self._size = size
        self._mask = (1 << size) - 1
        self._highest = 0
        self._bitmap = 0  # bit k: the counter `_highest - k` has been seen

    @property
    def size(self) -> int:
        """How many counters, back from the highest, are told apart."""
        return self._size

    @property
    def highest(self) -> int:
        """The greatest counter accepted so far; 0 before the first."""
        return self._highest

    def check(self, counter: int) -> bool:
        """Say whether `accept` would take `counter` now; changes nothing."""
        age = self._highest - counter
        if age < 0:
            return counter <= MAX_COUNTER
        return age < self._size and counter > 0 and not self._bitmap >> age & 1

    def accept(self, counter: int) -> bool:
        """Remember `counter` and return True; False for one seen before, too old, or out of 1 to 2**63-1."""
        ahead = counter - self._highest
        if ahead > 0:
            if counter > MAX_COUNTER:
                return False
            self._bitmap = (self._bitmap << ahead & self._mask) | 1 if ahead < self._size else 1
            self._highest = counter
            return True
        age = -ahead
        if age >= self._size or counter <= 0 or self._bitmap >> age & 1:
            return False
        self._bitmap |= 1 << age
        return True
