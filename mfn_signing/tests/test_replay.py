"""The sliding window against a naive model, and at its edges."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_signing import MAX_COUNTER, ReplayWindow

SIZES = st.sampled_from([1, 2, 3, 8, 64, 65, 1024])


class Naive:
    """Every counter ever seen, in a set without bound."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: set[int] = set()

    def accept(self, counter: int) -> bool:
        if not 1 <= counter <= MAX_COUNTER or counter in self.seen:
            return False
        if counter <= max(self.seen, default=0) - self.size:
            return False
        self.seen.add(counter)
        return True


@st.composite
def walks(draw: st.DrawFn) -> list[int]:
    """Counters around a moving front, with leaps, repeats and strays."""
    front = draw(st.integers(0, 5))
    counters = []
    for _ in range(draw(st.integers(0, 60))):
        front += draw(st.sampled_from([0, 0, 1, 1, 1, 2, 7, 63, 64, 1023, 1024, 1025, 5000]))
        counters.append(front - draw(st.sampled_from([0, 0, 0, 1, 2, 3, 7, 8, 63, 64, 65, 1023, 1024, 1025])))
    return counters


@settings(deadline=None)  # the machine may be busy
@given(SIZES, walks() | st.lists(st.integers(-2, 80)) | st.lists(st.integers(-(2**64), 2**64)))
def test_the_window_decides_like_a_set_without_bound(size: int, counters: list[int]) -> None:
    window, naive = ReplayWindow(size), Naive(size)
    for counter in counters:
        expected = naive.accept(counter)
        assert window.check(counter) is expected
        assert window.check(counter) is expected, "check must change nothing"
        assert window.accept(counter) is expected
        assert window.accept(counter) is False, "nothing is accepted twice"
        assert window.highest == max(naive.seen, default=0)


@settings(deadline=None)  # the machine may be busy
@given(walks())
def test_a_refused_counter_changes_nothing(counters: list[int]) -> None:
    window = ReplayWindow(64)
    for counter in counters:
        before = (window._highest, window._bitmap)
        if not window.accept(counter):
            assert (window._highest, window._bitmap) == before


@settings(deadline=None)  # the machine may be busy
@given(st.permutations(range(1, 65)))
def test_any_order_within_the_window_is_accepted_whole(order: list[int]) -> None:
    window = ReplayWindow(64)
    assert all(window.accept(counter) for counter in order)
    assert not any(window.accept(counter) for counter in order)


def test_the_scheme_window_has_1024_counters() -> None:
    window = ReplayWindow()
    assert window.size == 1024
    assert window.accept(5000)
    assert window.accept(5000 - 1023)
    assert not window.check(5000 - 1024)
    assert not window.accept(5000 - 1024)


@pytest.mark.parametrize("counter", [0, -1, -(2**70), MAX_COUNTER + 1, 2**70])
def test_a_counter_out_of_bounds_is_refused_and_moves_nothing(counter: int) -> None:
    window = ReplayWindow()
    assert not window.check(counter)
    assert not window.accept(counter)
    assert window.highest == 0
    assert window.accept(1)


def test_after_the_greatest_counter_only_the_window_behind_it_is_left() -> None:
    window = ReplayWindow(4)
    assert window.accept(MAX_COUNTER)
    assert window.accept(MAX_COUNTER - 3)
    assert not window.accept(MAX_COUNTER - 4)
    assert not window.accept(MAX_COUNTER)


def test_a_busy_instance_costs_constant_memory() -> None:
    window = ReplayWindow()
    for counter in range(1, 5001):
        assert window.accept(counter)
    full = sys.getsizeof(window._bitmap)
    assert full <= 1024 // 8 + 64
    for counter in range(5001, 6001):
        assert window.accept(counter)
    assert window.accept(2**62)
    assert sys.getsizeof(window._bitmap) <= full
    assert not hasattr(window, "__dict__")


@pytest.mark.parametrize("size", [0, -1, 65537])
def test_a_window_size_is_bounded(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} is out of 1 to 65536"):
        ReplayWindow(size)
