"""One steered simulation, and a call's hold on it.

Nothing here knows of messages or calls. Everything runs on one event loop; compute jobs touch a session's engine and
its counts alone, and only inside `Hold.opening` or `Hold.exclusively`.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from mfn_core import MfnError, Session
from mfn_model import FieldSpec

__all__ = ["Ending", "Hold", "Keeper", "SteeredSession", "SupersededError", "Timer"]


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None:
        """Make it not come."""
        ...


class Ending(enum.Enum):
    """Why a session ends before its own last step."""

    STOPPED = enum.auto()
    """The client said so, or closed its side of a run without an end."""
    LIMIT = enum.auto()
    """Its time is over."""
    DRAINING = enum.auto()
    """The server shuts down."""


class SupersededError(Exception):
    """The hold was taken over by another call; what was asked for was not done."""


class Keeper(Protocol):
    """Who keeps the sessions."""

    def detach(self, session: SteeredSession) -> None:
        """Its call let go of it."""
        ...

    def discard(self, session: SteeredSession) -> None:
        """Forget it. Safe to do twice."""
        ...


class SteeredSession:
    """One simulation, its parameters, and where it stands. Made and kept by a `SessionRegistry`."""

    __slots__ = (
        "_engine",
        "_lock",
        "discarded",
        "end_step",
        "ending",
        "hold",
        "id",
        "injections",
        "old_age",
        "options",
        "paid_steps",
        "paused",
        "principal",
        "sequence",
        "spec",
        "step",
        "unlimited",
        "waiting",
    )

    def __init__(self, *, principal: str, spec: FieldSpec, end_step: int, unlimited: bool, options: Any) -> None:
        self.id = secrets.token_urlsafe(24)
        """192 bits of chance, so that nobody guesses it."""
        self.principal = principal
        self.spec = spec
        """With the parameters in force."""
        self.end_step = end_step
        """The run is over once this many steps are done."""
        self.unlimited = unlimited
        """Whether `end_step` is a limit of the server instead of the client's wish."""
        self.options = options
        """What the handler needs to describe the session's frames; a value."""
        self.step = 0
        """Steps done."""
        self.sequence = 0
        """Number of the last command applied."""
        self.injections = 0
        """Injected growth events so far."""
        self.paid_steps = 0
        """Steps that have been charged, done or not."""
        self.paused = False
        self.ending: Ending | None = None
        """Why it ends early; None while it does not."""
        self.discarded = False
        """Whether it was forgotten: no call can reach it any more, and its engine is closed."""
        self.hold: Hold | None = None
        """The call that advances it now; None while it waits to be resumed."""
        self._engine: Session | None = None
        self._lock = asyncio.Lock()
        self.old_age: Timer | None = None
        """Ends it when its time is over."""
        self.waiting: Timer | None = None
        """Discards it when nobody took it up."""

    @property
    def finished(self) -> bool:
        """Whether its last step is done."""
        return self.step >= self.end_step

    @property
    def over(self) -> bool:
        """Whether it will not be advanced any more."""
        return self.finished or self.discarded or self.ending is not None

    def opened(self, engine: Session) -> None:
        """Take over the engine's session; called once, on a compute thread, inside `Hold.opening`."""
        self._engine = engine

    def end(self, ending: Ending) -> None:
        """End it early; the first reason stands. The call that holds it learns of it at once."""
        if self.ending is None:
            self.ending = ending
        if self.hold is not None:
            self.hold.notify()

    def close_engine(self) -> None:
        """Give back what the engine holds, unless a compute job uses it: it is given back after that, then."""
        if self._lock.locked():
            return
        self._close()

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __repr__(self) -> str:
        # Not the id: who reads logs must not be able to take the session over.
        return f"SteeredSession(principal={self.principal!r}, model={self.spec.model!r}, step={self.step})"


class Hold:
    """A call's hold on a session. At most one hold of a session is current; a later one supersedes it."""

    __slots__ = ("_keeper", "_pending", "_wake", "session")

    def __init__(self, keeper: Keeper, session: SteeredSession) -> None:
        self.session = session
        self._keeper = keeper
        self._pending = False
        self._wake = asyncio.Event()

    @property
    def superseded(self) -> bool:
        """Whether another call has taken the session over."""
        return self.session.hold is not self

    def is_set(self) -> bool:
        """Whether something waits for the call's attention, so that computing must stop. Safe from any thread."""
        return self._pending

    def notify(self) -> None:
        """Something happened: stop computing and look."""
        self._pending = True
        self._wake.set()

    def attend(self) -> None:
        """Begin to look; what happens from now on sets the hold again."""
        self._pending = False
        self._wake.clear()

    async def wait(self, seconds: float | None = None) -> None:
        """Until something happens after the last `attend`, or for so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        """While the engine's session is opened, by a compute job that calls `SteeredSession.opened`."""
        async with self._alone():
            yield

    @asynccontextmanager
    async def exclusively(self) -> AsyncIterator[Session]:
        """The engine's session, for one compute job of this call and of no other.

        Raises:
            SupersededError: another call has it now, or it was discarded.
        """
        async with self._alone():
            engine = self.session._engine
            if self.superseded or self.session.discarded or engine is None:
                raise SupersededError
            yield engine

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        session = self.session
        async with session._lock:
            try:
                yield
            except (MfnError, SupersededError, asyncio.CancelledError):
                raise
            except Exception:
                # The engine failed in the middle of a step: what it holds is no state of the simulation.
                self._keeper.discard(session)
                raise
            finally:
                if session.discarded:
                    session._close()

    async def settle(self) -> None:
        """Until the call that was superseded by this hold computes no more; the session stands at a whole step then."""
        async with self.session._lock:
            return

    def release(self) -> None:
        """Let go of the session, which waits to be resumed. Nothing, once it was closed or superseded."""
        if not self.superseded:
            self._keeper.detach(self.session)

    def close(self) -> None:
        """The session is over: forget it. Nothing, once it was superseded. Safe to do twice."""
        if not self.superseded:
            self._keeper.discard(self.session)
