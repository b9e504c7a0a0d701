"""What a client may say to a running simulation, and what each command does to it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mfn_core import Call, CancelToken, FieldViolation, MfnError, SupportsSteering
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec, ParameterValue, SpecError
from mfn_proto.defaults import effective
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._limits import invalid
from mfn_service._models import Own, Wanted
from mfn_service._session import Ending, Hold, SteeredSession

__all__ = ["LAST_SEQUENCE", "OPENINGS", "Commands", "numbered"]

OPENINGS = ("start", "resume_session")
"""The commands that open a call, and may not come later in it."""

LAST_SEQUENCE = 2**62
"""The largest number that a client may give a command. What is unnumbered counts on from it, and no session lives long
enough to count from there to the end of the 64 bits that a number has on the wire."""


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
        # Checked as a whole first, so that a change of several parameters is not left half done.
        wanted = _changed(session.spec, command)
        spec = wanted.spec()
        changes = {name: spec[name] for name in _named(command)}
        async with hold.exclusively() as engine:
            assert isinstance(engine, SupportsSteering)  # checked when the session was opened

            def job(cancel: CancelToken) -> None:
                try:
                    set_together(engine, changes, session.spec.parameters)
                except SpecError as refused:
                    raise _told_of(refused, wanted) from refused
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
        amplitude = _amplitude(command, session, beyond)
        if beyond:
            raise MfnError.invalid(beyond)
        async with hold.exclusively() as engine:
            assert isinstance(engine, SupportsSteering)  # checked when the session was opened

            def job(cancel: CancelToken) -> None:
                engine.inject(command.row, command.column, amplitude)
                session.injections += 1
                session.sequence = sequence

            await self.compute.run(call, job)


def set_together(
    engine: SupportsSteering, changes: Mapping[str, ParameterValue], before: Mapping[str, ParameterValue]
) -> None:
    """Change several parameters that are valid together, or none.

    An engine takes one after the other, and one alone may break a bound that it keeps with the others: what is refused
    is tried again after them.

    Raises:
        SpecError: the engine refuses one in any order; nothing is changed.
    """
    waiting, done = list(changes), list[str]()
    while waiting:
        refused: SpecError | None = None
        for name in tuple(waiting):
            try:
                engine.set_parameter(name, changes[name])
            except SpecError as wrong:
                refused = wrong
            else:
                waiting.remove(name)
                done.append(name)
                refused = None
                break
        if refused is not None:
            for name in reversed(done):
                engine.set_parameter(name, before[name])
            raise refused


def _named(command: pb.ChangeCommand) -> list[str]:
    """The parameters that a command changes."""
    return [*(name for name in ("alpha", "spike_probability") if command.HasField(name)), *command.parameters]


def _changed(spec: FieldSpec, command: pb.ChangeCommand) -> Wanted:
    """The specification of a session with the command's parameters, to be asked about."""
    own: dict[str, Own] = {
        name: Own(path=f"change.parameters[{name}]", value=value, sent=False) for name, value in spec.parameters.items()
    }
    for name in ("alpha", "spike_probability"):
        if command.HasField(name):
            own[name] = Own(path=f"change.{name}", value=float(getattr(command, name)), sent=True)
    return Wanted(
        model=spec.declaration,
        grid_size=spec.grid_size,
        seed=spec.seed,
        boundary=spec.boundary,
        own=own,
        named=command.parameters,
        named_path="change.parameters",
        prefix="change.",
    )


def _told_of(refused: SpecError, wanted: Wanted) -> MfnError:
    """INVALID_ARGUMENT from what an engine refused in a running session."""
    return MfnError.invalid(
        FieldViolation(field=wanted.path(each.field), description=each.message) for each in refused.violations
    )


def _amplitude(command: pb.InjectCommand, session: SteeredSession, beyond: list[FieldViolation]) -> float:
    """What is added, in the unit of the field; what is wrong with it is appended to `beyond`."""
    view = session.options.view
    in_volts = command.HasField("amplitude_volts")
    if command.HasField("amplitude"):
        if in_volts:
            beyond.append(
                FieldViolation(
                    field="inject.amplitude_volts",
                    description=f"got {command.amplitude_volts!r}, and amplitude says it too; send one of them",
                )
            )
        return command.amplitude
    if view.potential:
        return float(effective(command, "amplitude_volts"))
    field, unit = view.field, view.units[view.field]
    said = f"got {command.amplitude_volts!r} V" if in_volts else "got none"
    beyond.append(
        FieldViolation(
            field="inject.amplitude_volts" if in_volts else "inject.amplitude",
            description=f"{said}, and the field of this session is {field!r} in the unit {unit!r}; send amplitude",
        )
    )
    return 0.0


def _acknowledged(sequence: int, session: SteeredSession, *, duplicate: bool) -> pb.SteerSimulationResponse:
    return pb.SteerSimulationResponse(
        acknowledged=pb.CommandAcknowledgement(sequence=sequence, step=session.step, duplicate=duplicate)
    )
