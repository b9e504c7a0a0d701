"""How many sessions there may be, who may take them up, and when they are forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mfn_core import Code, MfnError
from mfn_model import mycelium_spec
from mfn_service._session import Ending, Hold, SupersededError
from mfn_service._sessions import SECONDS_TO_SAY_SO, SessionLimits, SessionRegistry


class Engine:
    """A session that only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def registry(clock: Any, **limits: Any) -> SessionRegistry:
    defaults: dict[str, Any] = {
        "sessions": 4,
        "per_principal": 2,
        "cells": 1000,
        "steps": 500,
        "seconds": 60.0,
        "resume_within": 10,
    }
    return SessionRegistry(SessionLimits(**(defaults | limits)), clock)


def opened(
    sessions: SessionRegistry, principal: str = "alice", *, grid: int = 4, steps: int | None = 100
) -> tuple[Hold, Engine]:
    hold = sessions.open(principal, mycelium_spec(grid_size=grid), total_steps=steps, options=None)
    engine = Engine()
    hold.session.opened(engine)  # type: ignore[arg-type]  # only its closing is looked at
    return hold, engine


def refused(sessions: SessionRegistry, *arguments: Any) -> MfnError:
    with pytest.raises(MfnError) as caught:
        sessions.take_up(*arguments)
    return caught.value


def test_a_released_session_waits_and_is_then_forgotten(clock: Any) -> None:
    sessions = registry(clock)
    hold, engine = opened(sessions)
    hold.release()
    clock.advance(9.9)
    assert sessions.live == 1
    assert engine.closed == 0
    clock.advance(0.2)
    assert sessions.live == 0
    assert engine.closed == 1
    assert clock.pending == 0
    assert refused(sessions, hold.session.id, "alice", 0).code is Code.NOT_FOUND


def test_a_session_that_was_taken_up_again_does_not_expire(clock: Any) -> None:
    sessions = registry(clock)
    hold, engine = opened(sessions)
    hold.release()
    clock.advance(9.0)
    second = sessions.take_up(hold.session.id, "alice", 0)
    clock.advance(30.0)
    assert engine.closed == 0
    second.release()
    clock.advance(10.0)
    assert engine.closed == 1


def test_nobody_else_learns_that_a_session_exists(clock: Any) -> None:
    sessions = registry(clock)
    hold, _ = opened(sessions)
    stranger = refused(sessions, hold.session.id, "mallory", 0)
    nothing = refused(sessions, "no such id", "mallory", 0)
    assert stranger.code is nothing.code is Code.NOT_FOUND
    assert stranger.message == nothing.message
    assert stranger.details == nothing.details
    assert stranger.reason != nothing.reason
    assert hold.session.hold is hold


def test_a_step_that_was_never_done_is_out_of_range_and_takes_nothing_over(clock: Any) -> None:
    sessions = registry(clock)
    hold, _ = opened(sessions)
    hold.session.step = 7
    error = refused(sessions, hold.session.id, "alice", 8)
    assert error.code is Code.OUT_OF_RANGE
    assert "last_step is 8" in error.message
    assert "7 steps" in error.message
    assert not hold.superseded
    assert sessions.take_up(hold.session.id, "alice", 7).session is hold.session


def test_a_further_call_supersedes_the_one_before(clock: Any) -> None:
    sessions = registry(clock)
    first, engine = opened(sessions)
    first.attend()
    second = sessions.take_up(first.session.id, "alice", 0)
    assert first.superseded
    assert first.is_set()
    assert not second.superseded
    first.release()
    first.close()
    assert engine.closed == 0
    assert sessions.live == 1
    assert not second.superseded


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"sessions": 2, "per_principal": 9}, "sessions"),
        ({"sessions": 9, "per_principal": 2}, "sessions_per_principal"),
        ({"sessions": 9, "per_principal": 9, "cells": 47}, "session_cells"),
    ],
)
def test_what_is_kept_is_bounded(clock: Any, limits: dict[str, int], limit: str) -> None:
    sessions = registry(clock, **limits)
    first, _ = opened(sessions)
    opened(sessions)
    with pytest.raises(MfnError) as caught:
        opened(sessions)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert caught.value.details == {"limit": limit}
    assert caught.value.retry_after == 1.0
    assert f"services.mfn.{limit}" in caught.value.message
    first.close()
    opened(sessions)
    assert sessions.live == 2


def test_one_principal_does_not_use_up_the_share_of_another(clock: Any) -> None:
    sessions = registry(clock)
    opened(sessions, "alice")
    opened(sessions, "alice")
    opened(sessions, "bob")
    with pytest.raises(MfnError):
        opened(sessions, "alice")


def test_sessions_that_wait_count_too(clock: Any) -> None:
    sessions = registry(clock)
    for _ in range(2):
        opened(sessions)[0].release()
    with pytest.raises(MfnError):
        opened(sessions)
    clock.advance(10.0)
    opened(sessions)


def test_the_time_of_a_session_is_limited_even_where_it_is_held(clock: Any) -> None:
    sessions = registry(clock)
    hold, engine = opened(sessions)
    hold.attend()
    clock.advance(60.0)
    assert hold.session.ending is Ending.LIMIT
    assert hold.is_set()
    assert engine.closed == 0  # its call may still send the last frame
    clock.advance(SECONDS_TO_SAY_SO)
    assert engine.closed == 1
    assert sessions.live == 0
    hold.close()
    hold.release()
    assert engine.closed == 1


def test_the_time_of_a_session_that_waits_is_limited(clock: Any) -> None:
    sessions = registry(clock, resume_within=3600)
    hold, engine = opened(sessions)
    hold.release()
    clock.advance(60.0)
    assert engine.closed == 1
    assert clock.pending == 0


def test_resuming_can_be_turned_off(clock: Any) -> None:
    sessions = registry(clock, resume_within=0)
    hold, engine = opened(sessions)
    hold.release()
    assert engine.closed == 1
    assert sessions.live == 0


def test_a_run_without_an_end_has_the_servers(clock: Any) -> None:
    sessions = registry(clock)
    hold, _ = opened(sessions, steps=None)
    assert (hold.session.end_step, hold.session.unlimited) == (500, True)
    other, _ = opened(sessions, steps=7)
    assert (other.session.end_step, other.session.unlimited) == (7, False)


def test_draining_discards_what_waits_and_tells_what_is_held(clock: Any) -> None:
    sessions = registry(clock)
    held, engine = opened(sessions)
    waiting, other = opened(sessions)
    waiting.release()
    held.attend()
    sessions.drain()
    sessions.drain()
    assert (engine.closed, other.closed) == (0, 1)
    assert held.is_set()
    assert held.session.ending is Ending.DRAINING
    for attempt in (lambda: opened(sessions, "bob"), lambda: sessions.take_up(held.session.id, "alice", 0)):
        with pytest.raises(MfnError) as caught:
            attempt()
        assert caught.value.code is Code.UNAVAILABLE
    held.release()
    assert engine.closed == 1
    assert sessions.live == 0


def test_stopping_leaves_nothing(clock: Any) -> None:
    sessions = registry(clock)
    engines = [opened(sessions, name)[1] for name in ("a", "b", "c")]
    sessions.stop()
    sessions.stop()
    assert [engine.closed for engine in engines] == [1, 1, 1]
    assert clock.pending == 0


def test_ids_are_long_and_never_the_same_and_not_in_the_repr(clock: Any) -> None:
    sessions = registry(clock, sessions=1000, per_principal=1000, cells=10**6)
    holds = [opened(sessions)[0] for _ in range(100)]
    assert len({hold.session.id for hold in holds}) == 100
    assert all(len(hold.session.id) >= 32 for hold in holds)
    assert holds[0].session.id not in repr(holds[0].session)


async def test_an_engine_in_use_is_closed_only_after_it(clock: Any) -> None:
    sessions = registry(clock)
    hold, engine = opened(sessions)
    async with hold.exclusively() as used:
        assert used is engine
        hold.close()
        assert engine.closed == 0
    assert engine.closed == 1
    with pytest.raises(SupersededError):
        async with hold.exclusively():
            pytest.fail("the engine of a discarded session was handed out")


async def test_a_session_that_is_taken_over_settles_when_the_job_is_done(clock: Any) -> None:
    sessions = registry(clock)
    first, _ = opened(sessions)
    at_work, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with first.exclusively():
            at_work.set()
            await done.wait()

    working = asyncio.create_task(work())
    await at_work.wait()
    second = sessions.take_up(first.session.id, "alice", 0)
    settling = asyncio.create_task(second.settle())
    await asyncio.sleep(0)
    assert not settling.done()
    done.set()
    await settling
    await working
    with pytest.raises(SupersededError):
        async with first.exclusively():
            pytest.fail("a superseded call used the engine")
    async with second.exclusively():
        pass


async def test_a_failure_of_the_engine_discards_the_session(clock: Any) -> None:
    sessions = registry(clock)
    hold, engine = opened(sessions)
    with pytest.raises(ZeroDivisionError):
        async with hold.exclusively():
            raise ZeroDivisionError
    assert engine.closed == 1
    assert sessions.live == 0


async def test_a_session_that_is_discarded_while_it_opens_is_closed(clock: Any) -> None:
    sessions = registry(clock)
    hold = sessions.open("alice", mycelium_spec(grid_size=4), total_steps=1, options=None)
    engine = Engine()
    async with hold.opening():
        sessions.stop()
        hold.session.opened(engine)  # type: ignore[arg-type]  # only its closing is looked at
    assert engine.closed == 1


async def test_waiting_ends_with_a_notice_or_with_time(clock: Any) -> None:
    hold, _ = opened(registry(clock))
    hold.attend()
    await hold.wait(0.0)
    hold.notify()
    await hold.wait()  # a notice after `attend` is not lost
    assert hold.is_set()
    hold.attend()
    assert not hold.is_set()
