"""When frames are due."""

from __future__ import annotations

import math

import pytest

from mfn_service._pacing import Pacer


def run(pacer: Pacer, *, frames: int, late: float = 0.0, work: float = 0.0) -> list[float]:
    """Times at which frames are sent by a sender whose timers are late and whose frames take work."""
    now, times = 100.0, []
    for _ in range(frames):
        now += work
        delay = pacer.delay(now)
        now += delay + (late if delay else 0.0)
        pacer.sent(now)
        times.append(now)
    return times


def test_the_first_frame_is_due_at_once() -> None:
    assert Pacer(1.0).delay(12345.0) == 0.0


def test_frames_come_at_the_rate_that_was_asked_for() -> None:
    times = run(Pacer(10.0), frames=11)
    assert times == pytest.approx([100.0 + k / 10.0 for k in range(11)])


def test_late_timers_do_not_add_up() -> None:
    times = run(Pacer(100.0), frames=1001, late=0.003)
    assert times[-1] == pytest.approx(110.0, abs=0.01)


def test_work_between_frames_is_not_added_to_the_interval() -> None:
    times = run(Pacer(10.0), frames=101, work=0.05)
    assert times[-1] - times[0] == pytest.approx(10.0, abs=0.01)


def test_frames_that_were_missed_are_not_made_up_in_a_burst() -> None:
    pacer = Pacer(10.0)
    pacer.sent(0.0)
    pacer.sent(7.0)
    assert pacer.delay(7.0) == pytest.approx(0.1)


def test_a_simulation_slower_than_the_rate_never_waits() -> None:
    times = run(Pacer(10.0), frames=5, work=0.3)
    assert times == pytest.approx([100.3, 100.6, 100.9, 101.2, 101.5])


def test_zero_does_not_limit() -> None:
    pacer = Pacer(0.0)
    assert not pacer.limited
    pacer.sent(1.0)
    assert pacer.delay(1.0) == 0.0


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 1e300, 1.7976931348623157e308])
def test_extreme_rates_are_rates(rate: float) -> None:
    pacer = Pacer(rate)
    pacer.sent(1.0)
    assert pacer.limited
    assert pacer.delay(1.0) >= 0.0
    assert not math.isnan(pacer.delay(1.0))
