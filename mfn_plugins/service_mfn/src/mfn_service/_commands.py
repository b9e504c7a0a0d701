"""What a client may say to a running simulation, and what each command does to it."""

from __future__ import annotations

from attrs import frozen

from mfn_core import Call, CancelToken, FieldViolation, MfnError, SupportsSteering
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec, SpecError
from mfn_proto.defaults import effective
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._limits import invalid
from mfn_service._session import Ending, Hold, SteeredSession
from mfn_service._specs import spec_refused

__all__ = ["OPENINGS", "Commands", "numbered"]

OPENINGS = ("start", "resume_session")
"""The commands that open a call, and may not come later in it."""


def numbered(message: pb.SteerSimulationRequest, session: SteeredSession) -> int:
    """The number of a command: its own, or one above the last."""
    return message.sequence if message.HasField("sequence") else session.sequence + 1


@frozen
class Commands:
    """Applies commands to sessions."""

    compute: ComputePool

    async def apply(self, message: pb.SteerSimulationRequest, hold: Hold, call: Call) -> pb.SteerSimulationResponse:
        """Apply one command between two steps and acknowledge it; a repetition changes nothing.

        Raises:
            MfnError: INVALID_ARGUMENT, when it breaks a bound or may not come here: nothing was changed.
            SupersededError: the session is another call's now: nothing was changed.
        """
        session, kind = hold.session, message.WhichOneof("command")
        if kind in OPENINGS:
            raise invalid(str(kind), f"{kind} is the first message of a call alone; open another call for it")
        sequence = numbered(message, session)
        if sequence <= session.sequence:
            return _acknowledged(sequence, session, duplicate=True)
        if kind == "change":
            await self._change(message.change, sequence, hold, call)
        elif kind == "inject":
            await self._inject(message.inject, sequence, hold, call)
        else:
            session.sequence = sequence
            if kind == "stop":
                session.end(Ending.STOPPED)
            else:
                session.paused = kind == "pause"
        return _acknowledged(sequence, session, duplicate=False)

    async def _change(self, command: pb.ChangeCommand, sequence: int, hold: Hold, call: Call) -> None:
        session = hold.session
        changes = {
            name: float(getattr(command, name)) for name in ("alpha", "spike_probability") if command.HasField(name)
        }
        # Checked as a whole first, so that a change of two parameters is not left half done.
        spec = _changed(session.spec, changes)
        async with hold.exclusively() as engine:
            assert isinstance(engine, SupportsSteering)  # checked when the session was opened

            def job(cancel: CancelToken) -> None:
                for name, value in changes.items():
                    engine.set_parameter(name, value)
                session.spec, session.sequence = spec, sequence

            await self.compute.run(call, job)

    async def _inject(self, command: pb.InjectCommand, sequence: int, hold: Hold, call: Call) -> None:
        session = hold.session
        last = session.spec.grid_size - 1
        beyond = [
            FieldViolation(
                field=f"inject.{name}",
                description=f"got {index}, the grid of this session has {name}s 0 to {last}; name a cell of the grid",
            )
            for name, index in (("row", command.row), ("column", command.column))
            if index > last
        ]
        if beyond:
            raise MfnError.invalid(beyond)
        amplitude = float(effective(command, "amplitude_volts"))
        async with hold.exclusively() as engine:
            assert isinstance(engine, SupportsSteering)  # checked when the session was opened

            def job(cancel: CancelToken) -> None:
                engine.inject(command.row, command.column, amplitude)
                session.injections += 1
                session.sequence = sequence

            await self.compute.run(call, job)


def _changed(spec: FieldSpec, changes: dict[str, float]) -> FieldSpec:
    try:
        return spec.with_parameters(**changes)
    except SpecError as wrong:
        raise spec_refused(wrong, "change", "change") from wrong


def _acknowledged(sequence: int, session: SteeredSession, *, duplicate: bool) -> pb.SteerSimulationResponse:
    return pb.SteerSimulationResponse(
        acknowledged=pb.CommandAcknowledgement(sequence=sequence, step=session.step, duplicate=duplicate)
    )
