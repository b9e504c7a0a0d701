"""Frames per second: no more than asked for, and on average no fewer than the simulation can give."""

from __future__ import annotations

import math

__all__ = ["Pacer"]


class Pacer:
    """Says when the next frame is due. Times are in seconds, on the caller's clock, which must not go back.

    Due times are counted from each other, not from when frames were sent, so that late timers do not add up. After
    a delay of a whole interval or more the count starts anew: frames that were missed are not made up in a burst.
    """

    __slots__ = ("_due", "_interval")

    def __init__(self, frames_per_second: float) -> None:
        """Pace to this many frames per second, at least 0; 0 does not limit."""
        self._interval = 1.0 / frames_per_second if frames_per_second > 0.0 else 0.0
        self._due = -math.inf

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._interval > 0.0

    def delay(self, now: float) -> float:
        """Seconds from `now` until the next frame is due; 0 when it is."""
        return max(0.0, self._due - now)

    def sent(self, now: float) -> None:
        """Note that a frame is sent now."""
        late = now - self._due
        self._due = (self._due if late < self._interval else now) + self._interval
