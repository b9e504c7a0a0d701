"""One call's share in a steered simulation: what happens next, turn by turn."""

from __future__ import annotations

import asyncio

from attrs import frozen

from mfn_core import Call, CancelToken, Session
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec
from mfn_proto.defaults import effective
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._commands import Commands
from mfn_service._inbox import Inbox
from mfn_service._pacing import Pacer
from mfn_service._session import Ending, Hold, SteeredSession, SupersededError
from mfn_service._views import FrameView

__all__ = ["PORTION_CELL_STEPS", "FrameOptions", "SteeredRun"]

PORTION_CELL_STEPS = 1_000_000
"""What a run without an end of its own is charged for at a time."""

_REASONS = {
    Ending.STOPPED: pb.SESSION_END_REASON_STOPPED,
    Ending.LIMIT: pb.SESSION_END_REASON_LIMIT,
    Ending.DRAINING: pb.SESSION_END_REASON_DRAINING,
}


@frozen(kw_only=True)
class FrameOptions:
    """What a session keeps of its `start`, to describe its frames."""

    view: FrameView
    every: int
    """Steps from one frame to the next."""
    frames_per_second: float
    """At most; 0 does not limit."""

    @classmethod
    def of(cls, start: pb.StartCommand, spec: FieldSpec) -> FrameOptions:
        """What a validated `start` asks for of a simulation of `spec`."""
        return cls(
            view=FrameView.of(start.frames, spec, start.request_id),
            every=int(effective(start.frames, "every_n_steps")),
            frames_per_second=float(effective(start.frames, "max_frames_per_second")),
        )

    @property
    def request_id(self) -> str:
        """The caller's own."""
        return self.view.request_id


@frozen
class _Interruption:
    """Stops computing when the call is aborted, or when something waits for its attention."""

    call: CancelToken
    hold: Hold

    def is_set(self) -> bool:
        return self.hold.is_set() or self.call.is_set()


class SteeredRun:
    """Decides, one turn after the other, what the call does next. Used by the call's own task alone."""

    def __init__(
        self,
        compute: ComputePool,
        commands: Commands,
        call: Call,
        hold: Hold,
        inbox: Inbox[pb.SteerSimulationRequest],
        *,
        seen: int,
    ) -> None:
        """Run what `hold` holds.

        Args:
            compute: runs the engine.
            commands: applies what the client says.
            call: pays for the work; its cancellation stops it.
            hold: the call's hold on the session.
            inbox: what the client says after its first message.
            seen: step of the last frame that the client has.
        """
        self._compute = compute
        self._commands = commands
        self._call = call
        self._hold = hold
        self._session: SteeredSession = hold.session
        self._options: FrameOptions = hold.session.options
        self._inbox = inbox
        self._pacer = Pacer(self._options.frames_per_second)
        self._clock = asyncio.get_running_loop().time
        self._behind = hold.session.step > seen
        """Whether the client lacks the frame of the present state."""
        self._made: pb.SteerSimulationResponse | None = None
        """A frame that is computed and waits until it is due."""
        self._final = False
        """Whether the final frame was sent by this call."""

    async def turn(self) -> pb.SteerSimulationResponse | None:
        """Do the next thing and return what the client is told of it; None: look again.

        Raises:
            MfnError: the call is over; its session can be resumed, unless it became unstable.
        """
        hold, session = self._hold, self._session
        hold.attend()
        if hold.superseded:
            return _ended(session, pb.SESSION_END_REASON_SUPERSEDED)
        try:
            if self._behind and not session.discarded:
                return self._shown(await self._present(is_final=session.over))
            delay = self._pacer.delay(self._clock()) if session.ending is None else 0.0
            if delay == 0.0 and (made := self._made_frame()) is not None:
                return self._shown(made)
            if not session.over:
                command = self._inbox.take()
                if command is not None:
                    return await self._obey(command)
                if self._inbox.half_closed():
                    self._go_on_alone()
            if self._made_frame() is not None:
                await hold.wait(delay)
            elif session.over:
                return await self._last_words()
            elif session.paused:
                await hold.wait()
            else:
                self._made = await self._advance()
            return None
        except SupersededError:
            return None

    def _made_frame(self) -> pb.SteerSimulationResponse | None:
        """The frame that waits until it is due, unless the run has ended early: then the final frame replaces it."""
        return self._made if self._session.finished or self._session.ending is None else None

    async def _obey(self, command: pb.SteerSimulationRequest) -> pb.SteerSimulationResponse:
        """Apply a command. A frame that waits until it is due follows the acknowledgement, and so shows the effect."""
        acknowledgement = await self._commands.apply(command, self._hold, self._call)
        if self._made is not None and command.HasField("inject"):
            self._made = await self._present(is_final=False)
        return acknowledgement

    def _go_on_alone(self) -> None:
        """The client will send no more commands: nobody could stop an endless run, or let a paused one go on."""
        if self._session.unlimited:
            self._session.end(Ending.STOPPED)
        else:
            self._session.paused = False

    async def _last_words(self) -> pb.SteerSimulationResponse:
        """The final frame, where it was not sent, then the reason."""
        session = self._session
        # The frame of the run's own last step says that it is final; an early end takes one more.
        early = not session.finished and session.ending in (Ending.STOPPED, Ending.LIMIT)
        if early and not self._final and not session.discarded:
            return self._shown(await self._present(is_final=True))
        if session.finished:
            limit, own = pb.SESSION_END_REASON_LIMIT, pb.SESSION_END_REASON_COMPLETED
            return _ended(session, limit if session.unlimited else own)
        assert session.ending is not None
        return _ended(session, _REASONS[session.ending])

    async def _present(self, *, is_final: bool) -> pb.SteerSimulationResponse:
        """A frame of the state as it is."""
        async with self._hold.exclusively() as engine:
            return await self._compute.run(self._call, lambda _: self._frame(engine, is_final=is_final))

    async def _advance(self) -> pb.SteerSimulationResponse | None:
        """Compute towards the next frame, until it or an interruption."""
        session, every = self._session, self._options.every
        await self._pay()
        async with self._hold.exclusively() as engine:
            target = min((session.step // every + 1) * every, session.end_step)
            steps = min(target, session.paid_steps) - session.step

            def job(cancel: CancelToken) -> pb.SteerSimulationResponse | None:
                session.step += engine.step(steps, _Interruption(cancel, self._hold))
                return self._frame(engine, is_final=session.finished) if session.step == target else None

            return await self._compute.run(self._call, job)

    async def _pay(self) -> None:
        """Have the next steps charged, unless they are already."""
        session = self._session
        if session.step == session.paid_steps:
            cells = session.spec.grid_size**2
            portion = min(max(1, PORTION_CELL_STEPS // cells), session.end_step - session.step)
            await self._call.charge(float(cells * portion))
            session.paid_steps += portion

    def _frame(self, engine: Session, *, is_final: bool) -> pb.SteerSimulationResponse:
        """Describe the state; on a compute thread."""
        return pb.SteerSimulationResponse(
            frame=self._options.view.frame(engine.state(), is_final=is_final, injections=self._session.injections)
        )

    def _shown(self, event: pb.SteerSimulationResponse) -> pb.SteerSimulationResponse:
        """Note that this frame is sent now."""
        self._behind, self._made = False, None
        self._final = event.frame.is_final
        self._pacer.sent(self._clock())
        return event


def _ended(session: SteeredSession, reason: pb.SessionEndReason) -> pb.SteerSimulationResponse:
    return pb.SteerSimulationResponse(ended=pb.SessionEnded(reason=reason, step=session.step))
