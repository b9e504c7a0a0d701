"""What a server remembers of the nonces that it has seen, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from mfn_signing import TIMESTAMP_WINDOW_SECONDS, ReplayWindow

__all__ = ["ReplayMemory", "ReplayMemoryFull"]


class ReplayMemoryFull(Exception):
    """There is no room to remember one more nonce, so that no call can be let in."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the replay memory is full; room in {retry_after:.0f} s")
        self.retry_after = retry_after
        """Seconds until the oldest entry leaves."""


class ReplayMemory:
    """The nonces of verified calls: random ones each for as long as their timestamp is accepted, windowed ones as
    one sliding window for each key and instance.

    An entry is a random nonce or a window. A window is forgotten once every call that it has seen is refused for
    its timestamp alone. For one thread: it is used from the event loop.
    """

    def __init__(self, capacity: int) -> None:
        """Remember at most `capacity` entries, at least 1."""
        self._capacity = capacity
        self._random: set[str] = set()
        # By the second in which they leave; what is filed under a second leaves together.
        self._leaving: dict[int, list[str]] = {}
        # Least recently used first; the value's second element is when it was used last.
        self._windows: OrderedDict[tuple[str, str], tuple[ReplayWindow, float]] = OrderedDict()
        self._swept = 0

    def __len__(self) -> int:
        """Entries held."""
        return len(self._random) + len(self._windows)

    def remember(self, key_id: str, nonce: str, timestamp: int, now: float) -> bool:
        """Take one nonce of a call that verified; False when it was seen before or is too old to tell.

        Args:
            key_id: the key that signed.
            nonce: what was signed, of either kind, its form proved by the signature's check.
            timestamp: the call's own, already found to lie within the window around `now`.
            now: Unix seconds.

        Raises:
            ReplayMemoryFull: nothing was remembered.
        """
        second = int(now)
        if second != self._swept:
            self._sweep(now)
        instance, dot, counter = nonce.partition(".")
        if not dot:
            return self._remember_random(f"{key_id}\n{nonce}", timestamp, now)
        return self._remember_windowed((key_id, instance), int(counter), now)

    def _remember_random(self, entry: str, timestamp: int, now: float) -> bool:
        if entry in self._random:
            return False
        self._make_room(now)
        self._random.add(entry)
        self._leaving.setdefault(timestamp + TIMESTAMP_WINDOW_SECONDS + 1, []).append(entry)
        return True

    def _remember_windowed(self, owner: tuple[str, str], counter: int, now: float) -> bool:
        found = self._windows.get(owner)
        if found is None:
            self._make_room(now)
            window = ReplayWindow()
        else:
            window = found[0]
        if not window.accept(counter):
            return False
        self._windows[owner] = (window, now)
        self._windows.move_to_end(owner)
        return True

    def _make_room(self, now: float) -> None:
        if len(self) < self._capacity:
            return
        raise ReplayMemoryFull(max(1.0, self._next_departure() - now))

    def _next_departure(self) -> float:
        times = [float(second) for second in self._leaving]
        if self._windows:
            times.append(next(iter(self._windows.values()))[1] + 2 * TIMESTAMP_WINDOW_SECONDS + 1)
        return min(times)

    def _sweep(self, now: float) -> None:
        """Forget what no accepted timestamp can refer to any more; once a second."""
        self._swept = int(now)
        for second in [second for second in self._leaving if second <= now]:
            self._random.difference_update(self._leaving.pop(second))
        # A window's last call carried a timestamp of at most its own time plus the skew.
        horizon = now - 2 * TIMESTAMP_WINDOW_SECONDS - 1
        while self._windows:
            owner, (_, used) = next(iter(self._windows.items()))
            if used > horizon:
                break
            del self._windows[owner]
