"""A simulation that is steered while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from mfn_client import _replies
from mfn_client._requests import Parameters, filled, named_parameters
from mfn_client._steering_call import STEER, SteeringCalls
from mfn_client.errors import Code, MfnRpcError, broken_contract, closing_translated, from_status
from mfn_client.raw import RawCall, RawStatus
from mfn_client.results import Acknowledgement, Frame, SessionEnded, SessionEndReason
from mfn_client.retrying import broke
from mfn_proto.v1 import field_pb2

__all__ = ["SessionEvent", "SteeringSession"]

SessionEvent = Frame | Acknowledgement | SessionEnded
"""What iterating over a session gives."""

STOP_SECONDS = 5.0
"""How long leaving the block waits for the server to end the session."""

MAX_UNACKNOWLEDGED = 256
"""Commands that may wait for their acknowledgements; they are kept, to be repeated on another connection."""


class SteeringSession:
    """Steers one simulation; an async context manager and an asynchronous iterator of its events.

    Entering opens the session. Iterating gives frames in rising order of `step`, an `Acknowledgement` for each command
    before every frame that shows its effect, and `SessionEnded` as the last event; it raises `MfnRpcError` when the
    session fails. Nothing is read ahead: who does not iterate holds the simulation up.

    When the connection breaks, iterating takes the session up again, for as long as the server keeps it
    (`resume_within_seconds`). Commands whose acknowledgements were lost are repeated under their numbers, so that
    none is applied twice and each is acknowledged once, as `duplicate` where it had been applied. Frames that were
    computed and lost are not sent again: one of the present state follows, and the run goes on as if nothing had
    happened. `automatic_resume=False` leaves all this to the caller.

    Leaving the block ends the session for good, unless it is left by an exception or after `detach`: then the call is
    broken off, and the session stays paused on the server for `resume_within_seconds`, to be taken up with
    `MFNClient.resume(session.session_id, session.last_step)`.

    One task iterates; commands may come from it or from another one.
    """

    def __init__(
        self,
        calls: SteeringCalls,
        first: field_pb2.SteerSimulationRequest,
        *,
        request_id: str,
        automatic_resume: bool,
    ) -> None:
        """Made by the client's methods."""
        self._calls = calls
        self._first = first
        self._request_id = request_id
        self._automatic_resume = automatic_resume
        self._entered = False
        self._call: RawCall | None = None
        self._session = field_pb2.Session()
        self._sequence = 0
        self._unacknowledged: dict[int, bytes] = {}
        self._sending = asyncio.Lock()
        self._ended: SessionEnded | None = None
        self._stopped: int | None = None
        self._over = False
        self._detached = False
        self._final = False
        self.last_step = self._first.resume_session.last_step
        """Step of the last frame that was seen; 0: none yet."""
        self.resumptions = 0
        """How often the session was taken up again after its connection broke."""

    @property
    def request_id(self) -> str:
        """The call's; frames carry that of the session's start."""
        return self._request_id

    @property
    def session_id(self) -> str:
        """Names the session to its principal and to nobody else; a secret between the two."""
        return self._session.session_id

    @property
    def resume_within_seconds(self) -> int:
        """How long the session can be resumed after its call broke, s."""
        return self._session.resume_within_seconds

    @property
    def opened_at_step(self) -> int:
        """Steps that were completed when the session was opened or last taken up."""
        return self._session.step

    @property
    def opened_paused(self) -> bool:
        """Whether the session was paused when it was last taken up."""
        return self._session.paused

    @property
    def ended(self) -> SessionEnded | None:
        """How the session ended, once that event has been read."""
        return self._ended

    # Commands. Each returns its number, which its acknowledgement carries. It is on its way then, or waits for the
    # connection to be made again.

    async def pause(self) -> int:
        """Hold the simulation after the step in progress; the number of the command.

        Raises:
            MfnRpcError: FAILED_PRECONDITION, when the session is over; iterating tells how it ended.
                RESOURCE_EXHAUSTED, when 256 commands wait for their acknowledgements; iterate to receive them.
        """
        return await self._send(field_pb2.SteerSimulationRequest(pause=field_pb2.PauseCommand()))

    async def resume(self) -> int:
        """Let a paused simulation go on; otherwise as `pause`."""
        return await self._send(field_pb2.SteerSimulationRequest(resume=field_pb2.ResumeCommand()))

    async def change(
        self,
        *,
        alpha: float | None = None,
        spike_probability: float | None = None,
        parameters: Parameters | None = None,
    ) -> int:
        """Change parameters from the next step on; otherwise as `pause`.

        All of them take effect together, or none. A value out of its bounds, and a parameter that the model does not
        have, ends the call with INVALID_ARGUMENT and changes nothing; the session can be resumed.

        Args:
            alpha: cells² per step, 0 < alpha ≤ 0.25; None: unchanged.
            spike_probability: 0 to 1; None: unchanged.
            parameters: any parameters of the model by name; those that are not named are unchanged.

        Raises:
            ValueError: nothing is given.
        """
        given = {"alpha": alpha, "spike_probability": spike_probability}
        changed = {name: value for name, value in given.items() if value is not None}
        if not changed and not parameters:
            raise ValueError("nothing to change: give alpha, spike_probability or parameters")
        command = filled(field_pb2.ChangeCommand(), **changed)
        named_parameters(command.parameters, parameters)
        return await self._send(field_pb2.SteerSimulationRequest(change=command))

    async def inject(
        self, row: int, column: int, amplitude_volts: float | None = None, *, amplitude: float | None = None
    ) -> int:
        """Add to the first species in one cell before the next step; otherwise as `pause`.

        A cell beyond the grid or an amplitude beyond ±0.135 V ends the call with INVALID_ARGUMENT and changes
        nothing; the session can be resumed.

        Args:
            row: of the cell, from 0.
            column: of the cell, from 0.
            amplitude_volts: potential to add, V; None: 0.020, unless `amplitude` is given.
            amplitude: what to add, in the unit of the species; needed where that is no potential.

        Raises:
            ValueError: both amplitudes are given.
        """
        command = filled(field_pb2.InjectCommand(), row=row, column=column)
        if amplitude is None:
            filled(command, amplitude_volts=0.020 if amplitude_volts is None else amplitude_volts)
        elif amplitude_volts is None:
            filled(command, amplitude=amplitude)
        else:
            raise ValueError("give amplitude_volts or amplitude, not both")
        return await self._send(field_pb2.SteerSimulationRequest(inject=command))

    async def stop(self) -> int:
        """End the session for good after the step in progress; otherwise as `pause`. Safe twice.

        A last frame and `SessionEnded` follow. The frame may repeat the step of the one before, and `is_final` then.
        """
        if self._stopped is None:
            self._stopped = await self._send(field_pb2.SteerSimulationRequest(stop=field_pb2.StopCommand()))
        return self._stopped

    def detach(self) -> None:
        """Leave the session to a later `MFNClient.resume`: leaving the block will not end it."""
        self._detached = True

    # Events.

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self

    async def __anext__(self) -> SessionEvent:
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._next_event()
        except BaseException:
            self._break_off()
            raise

    async def _next_event(self) -> SessionEvent:
        try:
            reply = await self._receive()
        except MfnRpcError as failed:
            if self._final and failed.code is Code.NOT_FOUND:
                # The run was over when the connection broke, and how it ended was lost with it.
                self._ended = SessionEnded(reason=SessionEndReason.UNSPECIFIED, step=self.last_step)
                self._break_off()
                return self._ended
            raise
        if reply is None:
            if self._ended is None:
                raise self._broken("the call ended without saying how the session ended")
            raise StopAsyncIteration
        kind = reply.WhichOneof("event")
        if kind == "frame":
            try:
                frame = _replies.frame(reply.frame)
            except ValueError as wrong:
                raise self._broken(str(wrong)) from wrong
            self.last_step, self._final = frame.step, frame.is_final
            return frame
        if kind == "acknowledged":
            acknowledged = _replies.acknowledgement(reply.acknowledged)
            self._unacknowledged.pop(acknowledged.sequence, None)
            return acknowledged
        if kind == "ended":
            self._ended = _replies.ended(reply.ended)
            return self._ended
        raise self._broken(f"an event {kind or 'of no known kind'} in the middle of a session")

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("the session has been entered already; make another one")
        self._entered = True
        try:
            opened = await self._calls.open(self._first)
        except BaseException:
            self._break_off()
            raise
        self._call, self._session = opened.call, opened.session
        self._sequence = opened.session.sequence
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._detached and not self._over:
                await self._end()
        finally:
            self._break_off()

    async def _end(self) -> None:
        """Stop the simulation and pass over what is still under way; a server that does not end it is left."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if self._ended is None:
                    await self.stop()
                async for _ in self:
                    pass
        except (TimeoutError, MfnRpcError):
            # The session ended by itself meanwhile, or the connection broke: there is nobody to tell.
            return

    async def _send(self, request: field_pb2.SteerSimulationRequest) -> int:
        self._opened()
        # One at a time: a stream takes one message at once, and numbers must rise in the order of sending.
        async with self._sending:
            if len(self._unacknowledged) >= MAX_UNACKNOWLEDGED:
                message = f"{MAX_UNACKNOWLEDGED} commands wait for their acknowledgements; iterate to receive them"
                raise self._failed(Code.RESOURCE_EXHAUSTED, message)
            request.sequence = number = self._sequence + 1
            encoded = request.SerializeToString()
            sent = False
            if not self._is_over:
                # Noted before it leaves: its acknowledgement may be read while the sending is still awaited.
                self._sequence = number
                self._unacknowledged[number] = encoded
                with closing_translated(STEER, self._request_id):
                    sent = await self._opened().send(encoded)
            # Over a broken connection the command is under way too: whoever iterates makes another one.
            if not sent and (self._is_over or not self._resumes):
                raise self._failed(Code.FAILED_PRECONDITION, "the session is over; its events tell how it ended")
            return number

    async def _receive(self) -> field_pb2.SteerSimulationResponse | None:
        """The next reply, or None after the last one of a call that ended well."""
        while True:
            call = self._opened()
            with closing_translated(STEER, self._request_id):
                raw = await call.receive()
                status = None if raw is not None else await call.status()
            if raw is not None:
                break
            if status is None or status.ok:
                return None
            if not broke(status) or self._over or not self._resumes:
                raise from_status(status, STEER, self._request_id)
            await self._take_up(status)
        try:
            return _replies.parsed(field_pb2.SteerSimulationResponse, raw)
        except ValueError as wrong:
            raise self._broken(str(wrong)) from wrong

    async def _take_up(self, broken: RawStatus) -> None:
        """Go on with another call, and repeat on it the commands that were not acknowledged."""
        opened = await self._calls.resume(self._session, self.last_step, broken)
        async with self._sending:
            if self._over:
                opened.call.cancel()
                return
            self._call, self._session = opened.call, opened.session
            self.resumptions += 1
            for encoded in tuple(self._unacknowledged.values()):
                with closing_translated(STEER, self._request_id):
                    if not await opened.call.send(encoded):
                        return  # it broke again: reading tells

    @property
    def _resumes(self) -> bool:
        """Whether the session is taken up again when the connection breaks."""
        return self._automatic_resume and self._session.resume_within_seconds > 0

    @property
    def _is_over(self) -> bool:
        """Whether no command can reach the session any more."""
        return self._over or self._ended is not None

    def _opened(self) -> RawCall:
        if self._call is None:
            raise RuntimeError("enter the session first: async with client.steer(…) as session")
        return self._call

    def _failed(self, code: Code, message: str) -> MfnRpcError:
        return MfnRpcError(code, message, method=STEER, request_id=self._request_id)

    def _broken(self, problem: str) -> MfnRpcError:
        return broken_contract(problem, STEER, self._request_id)

    def _break_off(self) -> None:
        self._over = True
        if self._call is not None:
            self._call.cancel()  # does nothing to a call that is over
