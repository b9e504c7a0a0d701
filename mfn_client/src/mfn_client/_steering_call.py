"""Opening the call of a steered session, and opening another one in its place when it breaks."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from attrs import frozen

from mfn_client import _replies
from mfn_client._attempts import Attempts, Retrying
from mfn_client._calls import SignedCalls
from mfn_client._status import RawStatus
from mfn_client.errors import Code, MfnRpcError, broken_contract, closing_translated, from_status
from mfn_client.raw import RawCall
from mfn_client.retrying import RetryPolicy
from mfn_proto.v1 import field_pb2

__all__ = ["STEER", "Opened", "SteeringCalls"]

STEER: Final = "/mfn.v1.FieldService/SteerSimulation"

RESUMING = RetryPolicy(max_attempts=100, max_backoff_seconds=1.0)
"""A session is lost for good when its time to be resumed is over: until then it is tried for."""


@frozen(kw_only=True)
class Opened:
    """A call that holds the session."""

    call: RawCall
    session: field_pb2.Session
    """What the server said of the session when the call took hold of it."""


class SteeringCalls:
    """The calls of one steered session, one after the other."""

    def __init__(self, calls: SignedCalls, *, request_id: str, timeout: float | None) -> None:
        """Make none yet.

        Args:
            calls: the client's.
            request_id: for errors.
            timeout: seconds for the whole session, counted from its first call; None: no deadline. Opening has the
                client's timeout in any case.
        """
        self._calls = calls
        self._request_id = request_id
        self._timeout = timeout
        self._deadline: float | None = None

    async def open(self, first: field_pb2.SteerSimulationRequest) -> Opened:
        """Start a session, or take one up, by `first`.

        Raises:
            MfnRpcError: it did not open. A start is attempted again only where none can have been executed.
        """
        if self._timeout is not None:
            self._deadline = time.monotonic() + self._timeout
        taken_up = first.HasField("resume_session")
        attempts = self._calls.attempts(STEER, self._request_id, self._calls.timeout, idempotent=taken_up)
        return await self._attempted(first, attempts)

    async def resume(self, session: field_pb2.Session, last_step: int, broken: RawStatus) -> Opened:
        """Take the session up again after its call broke.

        Args:
            session: as it was opened.
            last_step: step of the last frame that was seen.
            broken: how the call ended.

        Raises:
            MfnRpcError: the session cannot be resumed, or not within its time.
        """
        first = field_pb2.SteerSimulationRequest()
        # Without a number: commands that were lost with the connection are repeated under their own.
        first.resume_session.session_id = session.session_id
        first.resume_session.last_step = last_step
        seconds = float(session.resume_within_seconds)
        if self._deadline is not None:
            seconds = max(0.001, min(seconds, self._deadline - time.monotonic()))
        retrying = Retrying(policy=RESUMING, wait_for_ready=True)
        attempts = self._calls.attempts(STEER, self._request_id, seconds, retrying=retrying)
        try:
            return await self._attempted(first, attempts)
        except MfnRpcError as failed:
            if failed.code is Code.CANCELLED:
                raise
            late = failed.code is Code.DEADLINE_EXCEEDED
            raise MfnRpcError(
                Code.UNAVAILABLE if late and not self._late() else failed.code,
                f"the connection broke ({broken.message}), and the session could not be resumed: {failed.message}",
                method=STEER,
                request_id=self._request_id,
                attempts=failed.attempts,
            ) from failed

    def _late(self) -> bool:
        """Whether the time of the whole session is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    async def _attempted(self, first: field_pb2.SteerSimulationRequest, attempts: Attempts) -> Opened:
        message = first.SerializeToString()
        expected = "resumed" if first.HasField("resume_session") else "started"
        while True:
            left = await attempts.begin()
            rest = None if self._deadline is None else max(0.001, self._deadline - time.monotonic())
            call = self._calls.open(STEER, timeout=rest)
            opened = False
            try:
                with closing_translated(STEER, self._request_id):
                    async with asyncio.timeout(left):
                        # A call that fails takes no message; reading tells why.
                        sent = await call.send(message)
                        raw = await call.receive()
                        status = None if raw is not None else await call.status()
                if raw is not None:
                    session = self._opening(raw, expected)
                    opened = True
                    attempts.answered()
                    return Opened(call=call, session=session)
            except TimeoutError:
                said = f"the session did not open within {attempts.timeout:g} s"
                raise MfnRpcError(
                    Code.DEADLINE_EXCEEDED, said, method=STEER, request_id=self._request_id, attempts=attempts.made
                ) from None
            finally:
                if not opened:
                    call.cancel()
            if status is None or status.ok:
                raise self._broken(f"the first event is missing, not {expected}")
            if not await attempts.again(status, sent=sent):
                raise from_status(status, STEER, self._request_id, attempts.made)

    def _opening(self, raw: bytes, expected: str) -> field_pb2.Session:
        try:
            reply = _replies.parsed(field_pb2.SteerSimulationResponse, raw)
        except ValueError as wrong:
            raise self._broken(str(wrong)) from wrong
        found = reply.WhichOneof("event")
        if found != expected:
            raise self._broken(f"the first event is {found or 'missing'}, not {expected}")
        return reply.resumed if expected == "resumed" else reply.started

    def _broken(self, problem: str) -> MfnRpcError:
        return broken_contract(problem, STEER, self._request_id)
