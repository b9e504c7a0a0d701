"""Every steered simulation of a server process: how many there may be, who owns them, how long they are kept.

Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from mfn_core import Code, MfnError
from mfn_model import FieldSpec
from mfn_service._session import Ending, Hold, SteeredSession, Timer

__all__ = ["RETRY_AFTER_SESSIONS", "SECONDS_TO_SAY_SO", "Clock", "SessionLimits", "SessionRegistry"]

RETRY_AFTER_SESSIONS = 1.0
"""Seconds that a caller is asked to wait when there are too many sessions."""
SECONDS_TO_SAY_SO = 5.0
"""For which a session whose time is over waits for its call to send the last frame."""


class Clock(Protocol):
    """What is used of an event loop."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back once, after `delay` seconds, on the loop's thread."""
        ...


@frozen(kw_only=True)
class SessionLimits:
    """How much may be kept."""

    sessions: int
    per_principal: int
    cells: int
    """Of the grids of all sessions together."""
    steps: int
    """Of a session without an end of its own."""
    seconds: float
    """Age of any session."""
    resume_within: int
    """Seconds for which a session without a call is kept."""


class SessionRegistry:
    """All sessions of one server process."""

    def __init__(self, limits: SessionLimits, clock: Clock | None = None) -> None:
        """Keep sessions within `limits`.

        Args:
            limits: how many, and for how long.
            clock: what timers run on; the event loop that is running when the first one is set, unless given.
        """
        self._limits = limits
        self._clock = clock
        self._sessions: dict[str, SteeredSession] = {}
        self._of_principal: Counter[str] = Counter()
        self._cells = 0
        self._draining = False

    @property
    def live(self) -> int:
        """Sessions that are kept, those that wait to be resumed included."""
        return len(self._sessions)

    @property
    def limits(self) -> SessionLimits:
        """How much may be kept."""
        return self._limits

    def open(self, principal: str, spec: FieldSpec, *, total_steps: int | None, options: Any) -> Hold:
        """A new session, held by the caller. Its engine is opened by the caller, inside `Hold.opening`.

        Args:
            principal: who owns it, and alone may take it up.
            spec: what it simulates.
            total_steps: how long it runs; None: until it is stopped or a limit is reached.
            options: kept for the caller.

        Raises:
            MfnError: RESOURCE_EXHAUSTED, when there are too many sessions or cells; UNAVAILABLE while draining.
        """
        self._refuse_while_draining()
        limits, cells = self._limits, spec.grid_size**2
        for limit, taken, bound, what in (
            ("sessions", self.live + 1, limits.sessions, "steered simulations"),
            (
                "sessions_per_principal",
                self._of_principal[principal] + 1,
                limits.per_principal,
                "steered simulations of one principal",
            ),
            ("session_cells", self._cells + cells, limits.cells, "cells of all steered simulations"),
        ):
            if taken > bound:
                raise MfnError(
                    Code.RESOURCE_EXHAUSTED,
                    f"this server keeps at most {bound} {what} (services.mfn.{limit}), and this one would make it "
                    f"{taken}; stop one, or retry after {RETRY_AFTER_SESSIONS} s",
                    retry_after=RETRY_AFTER_SESSIONS,
                    details={"limit": limit},
                )
        session = SteeredSession(
            principal=principal,
            spec=spec,
            end_step=limits.steps if total_steps is None else total_steps,
            unlimited=total_steps is None,
            options=options,
        )
        self._sessions[session.id] = session
        self._of_principal[principal] += 1
        self._cells += cells
        session.old_age = self._later(limits.seconds, lambda: self._end_of_life(session))
        return self._held(session)

    def take_up(self, session_id: str, principal: str, last_step: int) -> Hold:
        """A session for a further call; the call that holds it now is superseded.

        The caller awaits `Hold.settle` before it looks at the session.

        Raises:
            MfnError: NOT_FOUND when there is no such session for this principal; OUT_OF_RANGE when `last_step` lies
                after its step; UNAVAILABLE while draining. The session and who holds it are left as they are.
        """
        self._refuse_while_draining()
        session = self._sessions.get(session_id)
        if session is None or session.principal != principal:
            raise MfnError(
                Code.NOT_FOUND,
                "there is no such session: it ended, was not resumed in time, or is not yours; start a new one",
                reason="the session does not exist" if session is None else "the session is of another principal",
            )
        if last_step > session.step:
            raise MfnError(
                Code.OUT_OF_RANGE,
                f"last_step is {last_step}, and the session has done {session.step} steps; "
                "send the step of the last frame received",
                reason="last_step is after the step of the session",
            )
        if session.waiting is not None:
            session.waiting.cancel()
            session.waiting = None
        return self._held(session)

    def discard(self, session: SteeredSession) -> None:
        """Forget a session and close its engine, as soon as no compute job uses it. Safe to do twice."""
        if session.discarded:
            return
        session.discarded = True
        for timer in (session.old_age, session.waiting):
            if timer is not None:
                timer.cancel()
        del self._sessions[session.id]
        self._cells -= session.spec.grid_size**2
        self._of_principal[session.principal] -= 1
        if not self._of_principal[session.principal]:
            del self._of_principal[session.principal]
        session.close_engine()

    def drain(self) -> None:
        """Open and hand out no more sessions; end those that calls hold, discard those that wait. Safe to do twice."""
        self._draining = True
        for session in tuple(self._sessions.values()):
            if session.hold is None:
                self.discard(session)
            else:
                session.end(Ending.DRAINING)

    def stop(self) -> None:
        """Discard whatever is left; every call is over by now. Safe to do twice."""
        self.drain()
        for session in tuple(self._sessions.values()):
            self.discard(session)

    def _held(self, session: SteeredSession) -> Hold:
        former, session.hold = session.hold, Hold(self, session)
        if former is not None:
            former.notify()
        return session.hold

    def detach(self, session: SteeredSession) -> None:
        """The call that held it lets go: it waits to be resumed, or is discarded where it cannot be."""
        session.hold = None
        if session.discarded:
            return
        if self._draining or session.ending is Ending.LIMIT or self._limits.resume_within == 0:
            self.discard(session)
        else:
            session.waiting = self._later(self._limits.resume_within, lambda: self.discard(session))

    def _end_of_life(self, session: SteeredSession) -> None:
        if session.hold is None:
            self.discard(session)
            return
        session.end(Ending.LIMIT)
        # A client that does not read holds its call, but not the memory of its simulation.
        session.old_age = self._later(SECONDS_TO_SAY_SO, lambda: self.discard(session))

    def _later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        clock = self._clock or asyncio.get_running_loop()
        return clock.call_later(seconds, callback)

    def _refuse_while_draining(self) -> None:
        if self._draining:
            raise MfnError(Code.UNAVAILABLE, "the server is shutting down; retry with another one", retry_after=0.0)
