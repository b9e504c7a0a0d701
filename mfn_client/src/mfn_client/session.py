"""A simulation that is steered while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from mfn_client import _replies
from mfn_client._requests import filled
from mfn_client.errors import Code, MfnRpcError, broken_contract, from_status, translated
from mfn_client.raw import RawCall
from mfn_client.results import Acknowledgement, Frame, SessionEnded
from mfn_proto.v1 import field_pb2

__all__ = ["STEER", "SessionEvent", "SteeringSession"]

STEER = "/mfn.v1.FieldService/SteerSimulation"

SessionEvent = Frame | Acknowledgement | SessionEnded
"""What iterating over a session gives."""

STOP_SECONDS = 5.0
"""How long leaving the block waits for the server to end the session."""


class SteeringSession:
    """One call that steers one simulation; an async context manager and an asynchronous iterator of its events.

    Entering opens the session. Iterating gives frames in rising order of `step`, an `Acknowledgement` for each command
    before every frame that shows its effect, and `SessionEnded` as the last event; it raises `MfnRpcError` when the
    call fails. Nothing is read ahead: who does not iterate holds the simulation up.

    Leaving the block ends the session for good, unless it is left by an exception or after `detach`: then the call is
    broken off, and the session stays paused on the server for `resume_within_seconds`, to be taken up with
    `MFNClient.resume(session.session_id, session.last_step)`.

    One task iterates; commands may come from it or from another one.
    """

    def __init__(
        self,
        start: Callable[[], RawCall],
        first: field_pb2.SteerSimulationRequest,
        *,
        request_id: str,
        open_timeout: float | None,
    ) -> None:
        """Made by the client's methods."""
        self._start = start
        self._first = first
        self._request_id = request_id
        self._open_timeout = open_timeout
        self._call: RawCall | None = None
        self._session = field_pb2.Session()
        self._sequence = 0
        self._sending = asyncio.Lock()
        self._ended: SessionEnded | None = None
        self._stopped: int | None = None
        self._over = False
        self._detached = False
        self.last_step = self._first.resume_session.last_step
        """Step of the last frame that was seen; 0: none yet."""

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
        """Steps that were completed when this call opened or took up the session."""
        return self._session.step

    @property
    def opened_paused(self) -> bool:
        """Whether the session was paused when this call took it up."""
        return self._session.paused

    @property
    def ended(self) -> SessionEnded | None:
        """How the session ended, once that event has been read."""
        return self._ended

    # Commands. Each returns its number, which its acknowledgement carries.

    async def pause(self) -> int:
        """Hold the simulation after the step in progress; the number of the command.

        Raises:
            MfnRpcError: FAILED_PRECONDITION, when the call is over; iterating tells how it ended.
        """
        return await self._send(field_pb2.SteerSimulationRequest(pause=field_pb2.PauseCommand()))

    async def resume(self) -> int:
        """Let a paused simulation go on; otherwise as `pause`."""
        return await self._send(field_pb2.SteerSimulationRequest(resume=field_pb2.ResumeCommand()))

    async def change(self, *, alpha: float | None = None, spike_probability: float | None = None) -> int:
        """Change parameters from the next step on; otherwise as `pause`.

        A value out of its bounds ends the call with INVALID_ARGUMENT and changes nothing; the session can be resumed.

        Args:
            alpha: cells² per step, 0 < alpha ≤ 0.25; None: unchanged.
            spike_probability: 0 to 1; None: unchanged.

        Raises:
            ValueError: neither is given.
        """
        given = {"alpha": alpha, "spike_probability": spike_probability}
        changed = {name: value for name, value in given.items() if value is not None}
        if not changed:
            raise ValueError("nothing to change: give alpha, spike_probability or both")
        command = filled(field_pb2.ChangeCommand(), **changed)
        return await self._send(field_pb2.SteerSimulationRequest(change=command))

    async def inject(self, row: int, column: int, amplitude_volts: float = 0.020) -> int:
        """Add potential to one cell before the next step; otherwise as `pause`.

        A cell beyond the grid or an amplitude beyond ±0.135 V ends the call with INVALID_ARGUMENT and changes
        nothing; the session can be resumed.
        """
        command = filled(field_pb2.InjectCommand(), row=row, column=column, amplitude_volts=amplitude_volts)
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
        reply = await self._receive()
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
            self.last_step = frame.step
            return frame
        if kind == "acknowledged":
            return _replies.acknowledgement(reply.acknowledged)
        if kind == "ended":
            self._ended = _replies.ended(reply.ended)
            return self._ended
        raise self._broken(f"an event {kind or 'of no known kind'} in the middle of a session")

    async def __aenter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("the session has been entered already; make another one")
        try:
            async with asyncio.timeout(self._open_timeout):
                await self._open()
        except TimeoutError:
            self._break_off()
            message = f"the session did not open within {self._open_timeout:g} s"
            raise MfnRpcError(Code.DEADLINE_EXCEEDED, message, method=STEER, request_id=self._request_id) from None
        except BaseException:
            self._break_off()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._detached and not self._over:
                await self._end()
        finally:
            self._break_off()

    async def _open(self) -> None:
        with translated(STEER, self._request_id):
            self._call = self._start()
            # A call that fails takes no message; reading tells why.
            await self._call.send(self._first.SerializeToString())
        reply = await self._receive()
        expected = "started" if self._first.WhichOneof("command") == "start" else "resumed"
        found = None if reply is None else reply.WhichOneof("event")
        if reply is None or found != expected:
            raise self._broken(f"the first event is {found or 'missing'}, not {expected}")
        self._session = getattr(reply, expected)
        self._sequence = self._session.sequence

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
        if self._call is None:
            raise RuntimeError("enter the session first: async with client.steer(…) as session")
        # One at a time: a stream takes one message at once, and numbers must rise in the order of sending.
        async with self._sending:
            request.sequence = self._sequence + 1
            sent = False
            if not self._over and self._ended is None:
                with translated(STEER, self._request_id):
                    sent = await self._call.send(request.SerializeToString())
            if not sent:
                message = "the session's call is over; its events tell how it ended"
                raise MfnRpcError(Code.FAILED_PRECONDITION, message, method=STEER, request_id=self._request_id)
            self._sequence += 1
            return self._sequence

    async def _receive(self) -> field_pb2.SteerSimulationResponse | None:
        """The next reply, or None after the last one of a call that ended well."""
        if self._call is None:
            raise RuntimeError("enter the session first: async with client.steer(…) as session")
        with translated(STEER, self._request_id):
            raw = await self._call.receive()
            if raw is None:
                status = await self._call.status()
                if not status.ok:
                    raise from_status(status, STEER, self._request_id)
                return None
        try:
            return _replies.parsed(field_pb2.SteerSimulationResponse, raw)
        except ValueError as wrong:
            raise self._broken(str(wrong)) from wrong

    def _broken(self, problem: str) -> MfnRpcError:
        return broken_contract(problem, STEER, self._request_id)

    def _break_off(self) -> None:
        self._over = True
        if self._call is not None:
            self._call.cancel()  # does nothing to a call that is over
