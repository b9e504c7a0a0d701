"""Steering: what goes out, what comes back, and how a session is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from mfn_client import (
    Acknowledgement,
    Code,
    Credentials,
    Frame,
    MFNClient,
    MfnRpcError,
    SessionEnded,
    SessionEndReason,
    session,
)
from mfn_proto.v1 import field_pb2 as pb

STEER = "/mfn.v1.FieldService/SteerSimulation"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))
PATIENCE = 20.0

OPEN = pb.Session(session_id="unguessable", resume_within_seconds=30, sequence=1)


class Script:
    """A server's side of one call: it records commands, and acknowledges them at the present step."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.step = 0
        self.commands: list[pb.SteerSimulationRequest] = []

    async def command(self) -> pb.SteerSimulationRequest | None:
        raw = await self.call.read()
        if raw is None:
            return None
        command = pb.SteerSimulationRequest.FromString(raw)
        self.commands.append(command)
        return command

    async def send(self, **event: Any) -> None:
        await self.call.write(pb.SteerSimulationResponse(**event))

    async def frame(self, *, step: int, final: bool = False) -> None:
        self.step = step
        request_id = self.commands[0].start.request_id or "first"
        await self.send(frame=pb.Frame(request_id=request_id, step=step, is_final=final))

    async def acknowledge(self, command: pb.SteerSimulationRequest, *, duplicate: bool = False) -> None:
        acknowledged = pb.CommandAcknowledgement(sequence=command.sequence, step=self.step, duplicate=duplicate)
        await self.send(acknowledged=acknowledged)

    async def finish(self, reason: int = pb.SESSION_END_REASON_COMPLETED) -> None:
        await self.send(ended=pb.SessionEnded(reason=reason, step=self.step))  # type: ignore[arg-type] # any number


Play = Callable[[Script], Awaitable[None]]


@pytest.fixture
def scripted(server: Any) -> Callable[[Play], list[Script]]:
    """Serve SteerSimulation by a script; the list fills with one entry a call."""

    def serve(play: Play) -> list[Script]:
        scripts: list[Script] = []

        async def handle(call: Any) -> None:
            script = Script(call)
            scripts.append(script)
            await script.command()
            await play(script)

        server.serve(STEER, handle)
        return scripts

    return serve


async def until_stopped(script: Script) -> None:
    """Open, send a frame, and acknowledge every command until one of them stops the run."""
    await script.send(started=OPEN)
    await script.frame(step=10)
    while (command := await script.command()) is not None:
        await script.acknowledge(command)
        if command.WhichOneof("command") == "stop":
            await script.frame(step=11, final=True)
            await script.finish(pb.SESSION_END_REASON_STOPPED)
            return


async def test_a_session_starts_with_every_field_and_tells_its_identity(client: MFNClient, scripted: Any) -> None:
    scripts = scripted(until_stopped)
    async with client.steer(request_id="mine") as session:
        assert session.session_id == "unguessable"
        assert session.resume_within_seconds == 30
        assert session.opened_at_step == 0
        assert session.opened_paused is False
        assert session.request_id == "mine"
    assert scripts[0].commands[0].start == pb.StartCommand(
        request_id="mine",
        simulation=pb.SimulationSpec(
            model="mycelium",
            grid_size=64,
            seed=42,
            mycelium=pb.MyceliumParameters(alpha=0.18, spike_probability=0.25, turing_enabled=True, jitter=False),
        ),
        total_steps=100,
        frames=pb.FrameOptions(every_n_steps=10, max_frames_per_second=0.0, field_encoding=pb.FIELD_ENCODING_NONE),
    )


async def test_a_run_without_an_end_is_asked_for_as_unlimited(client: MFNClient, scripted: Any) -> None:
    scripts = scripted(until_stopped)
    async with client.steer(total_steps=None, field="float32"):
        pass
    start = scripts[0].commands[0].start
    assert start.WhichOneof("length") == "unlimited"
    assert start.unlimited is True
    assert start.frames.field_encoding == pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN


async def test_commands_are_numbered_upwards_and_answered_by_that_number(client: MFNClient, scripted: Any) -> None:
    scripts = scripted(until_stopped)
    async with client.steer() as session:
        with pytest.raises(ValueError, match="amplitude_volts or amplitude, not both"):
            await session.inject(1, 2, 0.02, amplitude=0.02)
        numbers = [
            await session.pause(),
            await session.change(alpha=0.1),
            await session.change(spike_probability=0.0),
            await session.inject(1, 2),
            await session.inject(3, 4, amplitude_volts=-0.1),
            await session.inject(5, 6, amplitude=0.75),
            await session.change(parameters={"feed": 0.03}),
            await session.resume(),
            await session.stop(),
        ]
        assert await session.stop() == 10  # it is sent once
        events = [event async for event in session]
        assert await session.stop() == 10
    assert numbers == list(range(2, 11))
    acknowledged = [event for event in events if isinstance(event, Acknowledgement)]
    assert acknowledged == [Acknowledgement(sequence=number, step=10, duplicate=False) for number in numbers]
    sent = scripts[0].commands[1:]
    assert [command.sequence for command in sent] == numbers
    assert sent[0].HasField("pause")
    assert sent[1].change == pb.ChangeCommand(alpha=0.1)
    assert sent[2].change == pb.ChangeCommand(spike_probability=0.0)
    assert sent[2].change.HasField("spike_probability")
    assert sent[3].inject == pb.InjectCommand(row=1, column=2, amplitude_volts=0.020)
    assert sent[4].inject == pb.InjectCommand(row=3, column=4, amplitude_volts=-0.1)
    assert sent[5].inject == pb.InjectCommand(row=5, column=6, amplitude=0.75)
    assert sent[6].change == pb.ChangeCommand(parameters={"feed": 0.03})
    assert sent[7].HasField("resume")
    assert sent[8].HasField("stop")


async def test_tasks_that_command_at_once_are_served_in_the_order_of_their_numbers(
    client: MFNClient, scripted: Any
) -> None:
    scripts = scripted(until_stopped)
    async with client.steer() as session:
        numbers = await asyncio.gather(*(session.inject(row, 0) for row in range(50)))
    assert numbers == list(range(2, 52))
    assert [command.sequence for command in scripts[0].commands[1:51]] == numbers
    assert [command.inject.row for command in scripts[0].commands[1:51]] == list(range(50))


async def test_events_come_in_order_and_end_with_how_it_ended(client: MFNClient, scripted: Any) -> None:
    async def play(script: Script) -> None:
        await script.send(started=OPEN)
        await script.frame(step=10)
        await script.frame(step=20, final=True)
        await script.finish()

    scripted(play)
    async with client.steer(total_steps=20) as session:
        events = [event async for event in session]
        assert [type(event) for event in events] == [Frame, Frame, SessionEnded]
        assert events[-1] == session.ended == SessionEnded(reason=SessionEndReason.COMPLETED, step=20)
        assert session.last_step == 20
        assert [event async for event in session] == []
        with pytest.raises(MfnRpcError, match="its events tell how it ended") as caught:
            await session.pause()
        assert caught.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (1, "COMPLETED"),
        (2, "STOPPED"),
        (3, "SUPERSEDED"),
        (4, "LIMIT"),
        (5, "DRAINING"),
        (0, "UNSPECIFIED"),
        (99, "UNSPECIFIED"),
    ],
)
async def test_every_reason_has_its_name_and_those_of_later_versions_have_none(
    client: MFNClient, scripted: Any, number: int, reason: str
) -> None:
    async def play(script: Script) -> None:
        await script.send(started=OPEN)
        await script.finish(number)

    scripted(play)
    async with client.steer() as session:
        (ended,) = [event async for event in session]
    assert isinstance(ended, SessionEnded)
    assert ended.reason == reason


async def test_leaving_the_block_stops_the_session_and_waits_for_its_end(client: MFNClient, scripted: Any) -> None:
    scripts = scripted(until_stopped)
    async with client.steer(total_steps=None) as session:
        async for event in session:
            assert isinstance(event, Frame)
            break
    assert scripts[0].commands[-1].WhichOneof("command") == "stop"
    assert session.ended == SessionEnded(reason=SessionEndReason.STOPPED, step=11)


async def test_an_exception_breaks_the_call_off_and_leaves_the_session_to_be_resumed(
    server: Any, client: MFNClient, scripted: Any
) -> None:
    scripts = scripted(until_stopped)
    session = client.steer()

    async def fail() -> None:
        async with session:
            await anext(session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with asyncio.timeout(PATIENCE):
        await server.cancelled.wait()
    assert [command.WhichOneof("command") for command in scripts[0].commands] == ["start"]
    assert (session.session_id, session.last_step) == ("unguessable", 10)


async def test_a_detached_session_is_left_and_can_be_resumed(server: Any, client: MFNClient, scripted: Any) -> None:
    scripts = scripted(until_stopped)
    async with client.steer() as session:
        await anext(session)
        session.detach()
    async with asyncio.timeout(PATIENCE):
        await server.cancelled.wait()
    assert [command.WhichOneof("command") for command in scripts[0].commands] == ["start"]

    async def resumed(script: Script) -> None:
        await script.send(
            resumed=pb.Session(session_id="unguessable", resume_within_seconds=30, step=40, sequence=7, paused=True)
        )
        await script.frame(step=40)
        command = await script.command()
        assert command is not None
        await script.acknowledge(command)
        await script.finish()

    scripts = scripted(resumed)
    async with client.resume(session.session_id, session.last_step) as again:
        assert (again.opened_at_step, again.opened_paused) == (40, True)
        assert again.last_step == 10
        assert await again.resume() == 8
        events = [event async for event in again]
    assert [type(event) for event in events] == [Frame, Acknowledgement, SessionEnded]
    assert scripts[0].commands[0].resume_session == pb.ResumeSessionCommand(session_id="unguessable", last_step=10)
    assert not scripts[0].commands[0].HasField("sequence")


async def test_a_server_that_does_not_end_the_session_is_left_after_a_while(
    server: Any, client: MFNClient, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(script: Script) -> None:
        await script.send(started=OPEN)
        await asyncio.Event().wait()

    scripted(deaf)
    monkeypatch.setattr(session, "STOP_SECONDS", 0.2)
    async with client.steer() as opened:
        pass
    assert opened.ended is None
    async with asyncio.timeout(PATIENCE):
        await server.cancelled.wait()


async def test_a_session_that_is_refused_says_why_when_it_is_entered(
    server: Any, client: MFNClient, scripted: Any
) -> None:
    async def refuse(script: Script) -> None:
        await script.call.context.abort(grpc.StatusCode.NOT_FOUND, "no such session")

    scripted(refuse)
    with pytest.raises(MfnRpcError, match="NOT_FOUND: no such session") as caught:
        async with client.resume("gone"):
            raise AssertionError("it opened")
    assert caught.value.method == STEER


async def test_a_session_that_does_not_open_is_given_up_after_the_timeout_of_the_client(
    server: Any, scripted: Any
) -> None:
    async def deaf(script: Script) -> None:
        await asyncio.Event().wait()

    scripted(deaf)
    async with MFNClient(server.address, credentials=CREDENTIALS, timeout=0.2) as hasty:
        with pytest.raises(MfnRpcError, match=r"the session did not open within 0\.2 s") as caught:
            async with hasty.steer():
                raise AssertionError("it opened")
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    async with asyncio.timeout(PATIENCE):
        await server.cancelled.wait()


async def test_a_failure_in_the_middle_is_raised_where_events_are_read(client: MFNClient, scripted: Any) -> None:
    async def fail(script: Script) -> None:
        await script.send(started=OPEN)
        await script.frame(step=10)
        await script.command()
        await script.call.context.abort(grpc.StatusCode.INVALID_ARGUMENT, "inject.row: got 900")

    scripted(fail)
    async with client.steer() as session:
        await session.inject(900, 0)
        assert isinstance(await anext(session), Frame)
        with pytest.raises(MfnRpcError, match=r"INVALID_ARGUMENT: inject\.row: got 900"):
            await anext(session)
        with pytest.raises(MfnRpcError) as caught:
            await session.pause()
    assert caught.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (pb.SteerSimulationResponse(resumed=OPEN), "the first event is resumed, not started"),
        (pb.SteerSimulationResponse(), "the first event is missing, not started"),
        (None, "the first event is missing, not started"),
    ],
)
async def test_a_session_that_opens_with_another_event_is_an_error(
    client: MFNClient, scripted: Any, first: Any, said: str
) -> None:
    async def play(script: Script) -> None:
        if first is not None:
            await script.call.write(first)

    scripted(play)
    with pytest.raises(MfnRpcError, match=said):
        async with client.steer():
            raise AssertionError("it opened")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (pb.SteerSimulationResponse(started=OPEN), "an event started in the middle of a session"),
        (pb.SteerSimulationResponse(), "an event of no known kind"),
        (None, "the call ended without saying how the session ended"),
    ],
)
async def test_an_event_that_does_not_belong_there_is_an_error(
    client: MFNClient, scripted: Any, event: Any, said: str
) -> None:
    async def play(script: Script) -> None:
        await script.send(started=OPEN)
        if event is not None:
            await script.call.write(event)

    scripted(play)
    async with client.steer() as session:
        with pytest.raises(MfnRpcError, match=said):
            await anext(session)


async def test_a_change_of_nothing_is_refused(client: MFNClient, scripted: Any) -> None:
    scripted(until_stopped)
    async with client.steer() as session:
        with pytest.raises(ValueError, match="nothing to change: give alpha, spike_probability or parameters"):
            await session.change()


async def test_a_session_is_entered_once_and_used_inside(client: MFNClient, scripted: Any) -> None:
    scripted(until_stopped)
    session = client.steer()
    with pytest.raises(RuntimeError, match="enter the session first"):
        await session.pause()
    async with session:
        pass
    with pytest.raises(RuntimeError, match="entered already"):
        await session.__aenter__()


async def test_cancelling_the_task_that_reads_breaks_the_call_off(
    server: Any, client: MFNClient, scripted: Any
) -> None:
    opened = asyncio.Event()

    async def silent(script: Script) -> None:
        await script.send(started=OPEN)
        opened.set()
        await asyncio.Event().wait()

    scripted(silent)

    async def read() -> None:
        async with client.steer() as session:
            await anext(session)

    task = asyncio.ensure_future(read())
    async with asyncio.timeout(PATIENCE):
        await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(PATIENCE):
        await server.cancelled.wait()
