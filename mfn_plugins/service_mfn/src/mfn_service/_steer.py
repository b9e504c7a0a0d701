"""`mfn.v1.FieldService.SteerSimulation`: opening a steered simulation, and taking one up again.

Of the numbers of commands: `started` states the number of the start; `resumed` states that of the last command that
was applied before its call, so that the client knows which of its commands were lost. A resumption that is sent
without a number takes none, so that lost commands may be repeated under their own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from mfn_core import Call, CancelToken, Code, FieldViolation, MfnError, Operation, Shape, SupportsSteering
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec
from mfn_proto.defaults import effective
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._commands import LAST_SEQUENCE, OPENINGS, Commands, numbered
from mfn_service._inbox import Inbox
from mfn_service._limits import Breach, WorkLimits, invalid, refuse, rule_breaches
from mfn_service._session import Hold, SteeredSession
from mfn_service._sessions import SessionRegistry
from mfn_service._specs import named_breaches, require_engine, simulation, wanted_simulation
from mfn_service._steered_run import FrameOptions, SteeredRun
from mfn_service._views import view_breaches

__all__ = ["Steering"]


class Steering:
    """The operation and what it needs. The sessions outlive the calls."""

    def __init__(
        self, compute: ComputePool, limits: WorkLimits, sessions: SessionRegistry, *, pending_commands: int
    ) -> None:
        """Run sessions of `sessions` on `compute`.

        Args:
            compute: runs the engine.
            limits: what one session may ask for.
            sessions: keeps the sessions.
            pending_commands: commands of one call that may wait to take effect.
        """
        self._compute = compute
        self._limits = limits
        self._sessions = sessions
        self._commands = Commands(compute)
        self._pending_commands = pending_commands

    def operation(self, service: str) -> Operation:
        """The operation, in the service of this name."""
        return Operation(
            service=service,
            method="SteerSimulation",
            shape=Shape.BIDI,
            request_type=pb.SteerSimulationRequest,
            response_type=pb.SteerSimulationResponse,
            handler=self._steer,
            validate=self._validate,
        )

    def _validate(self, message: pb.SteerSimulationRequest) -> Sequence[FieldViolation]:
        found = rule_breaches(message)
        if message.sequence > LAST_SEQUENCE:
            found.append(
                Breach(
                    field="sequence",
                    description=f"got {message.sequence}, must be at most 2^62; number commands from 1 on, one by one, "
                    "or leave it unset",
                )
            )
        if message.WhichOneof("command") == "start":
            start = message.start
            found = self._limits.run(
                found,
                grid_path="start.simulation.grid_size",
                grid_size=int(effective(start.simulation, "grid_size")),
                steps_path="start.total_steps",
                steps=_total_steps(start) or 0,
            )
            found = named_breaches(found, lambda: wanted_simulation(start.simulation, "start.simulation"))
            if not found:
                spec = simulation(start.simulation, "start.simulation")
                found.extend(view_breaches(start.frames, spec, "start.frames"))
        return refuse(found)

    async def _steer(
        self, requests: AsyncIterator[pb.SteerSimulationRequest], call: Call
    ) -> AsyncGenerator[pb.SteerSimulationResponse, None]:
        hold, seen, greeting = await self._open(requests, call)
        inbox = Inbox(requests, hold.notify, self._pending_commands)
        try:
            yield greeting
            run = SteeredRun(self._compute, self._commands, call, hold, inbox, seen=seen)
            while True:
                event = await run.turn()
                if event is not None:
                    yield event
                    if event.HasField("ended"):
                        hold.close()
                        return
        except MfnError as error:
            if error.code is Code.FAILED_PRECONDITION:
                hold.close()  # it became unstable, and would at every resumption
            raise
        finally:
            hold.release()
            await inbox.close()

    async def _open(
        self, requests: AsyncIterator[pb.SteerSimulationRequest], call: Call
    ) -> tuple[Hold, int, pb.SteerSimulationResponse]:
        """Carry out the first message: the hold, the step of the last frame that the client has, and the reply."""
        first = await anext(requests, None)
        if first is None:
            raise invalid("command", f"the call carried no message; send {' or '.join(OPENINGS)} first")
        match first.WhichOneof("command"):
            case "start":
                return await self._start(first, call)
            case "resume_session":
                return await self._resume(first, call)
            case other:
                raise invalid(str(other), f"it came before {' or '.join(OPENINGS)}; send one of them first")

    async def _start(
        self, message: pb.SteerSimulationRequest, call: Call
    ) -> tuple[Hold, int, pb.SteerSimulationResponse]:
        start = message.start
        call.decoded_request_id = start.request_id or None
        spec = simulation(start.simulation, "start.simulation")
        require_engine(self._compute, spec)
        total_steps = _total_steps(start)
        hold = self._sessions.open(_owner(call), spec, total_steps=total_steps, options=FrameOptions.of(start, spec))
        try:
            if total_steps is not None:
                await call.charge(float(spec.grid_size**2 * total_steps))
                hold.session.paid_steps = total_steps
            await self._open_engine(hold, spec, call)
        except BaseException:
            hold.close()  # the client never heard of it
            raise
        hold.session.sequence = numbered(message, hold.session)
        return hold, 0, pb.SteerSimulationResponse(started=self._session(hold.session))

    async def _open_engine(self, hold: Hold, spec: FieldSpec, call: Call) -> None:
        name, backend = self._compute.backend_for(spec)

        def job(cancel: CancelToken) -> None:
            engine = backend.open(spec)
            if not isinstance(engine, SupportsSteering):
                engine.close()
                raise MfnError(
                    Code.UNIMPLEMENTED, f"the engine {name!r} of this server cannot steer the model {spec.model!r}"
                )
            hold.session.opened(engine)

        async with hold.opening():
            await self._compute.run(call, job)

    async def _resume(
        self, message: pb.SteerSimulationRequest, call: Call
    ) -> tuple[Hold, int, pb.SteerSimulationResponse]:
        command = message.resume_session
        hold = self._sessions.take_up(command.session_id, _owner(call), command.last_step)
        session = hold.session
        call.decoded_request_id = session.options.request_id or None
        try:
            await hold.settle()
        except BaseException:
            hold.release()
            raise
        resumed = pb.SteerSimulationResponse(resumed=self._session(session))
        if message.HasField("sequence") and not hold.superseded:
            session.sequence = max(session.sequence, message.sequence)
        return hold, command.last_step, resumed

    def _session(self, session: SteeredSession) -> pb.Session:
        return pb.Session(
            session_id=session.id,
            resume_within_seconds=self._sessions.limits.resume_within,
            step=session.step,
            sequence=session.sequence,
            paused=session.paused,
        )


def _total_steps(start: pb.StartCommand) -> int | None:
    """Steps of the whole run; None where it has no end of its own."""
    return None if start.WhichOneof("length") == "unlimited" else int(effective(start, "total_steps"))


def _owner(call: Call) -> str:
    """Whose sessions the caller may use. Without any authentication every caller is the same."""
    return call.principal.name if call.principal is not None else ""
