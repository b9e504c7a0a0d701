"""`mfn.v1.FieldService.SteerSimulation`: what one call says and hears."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from mfn_core import Code
from mfn_engine_numpy.backend import NumpyBackend
from mfn_model import FieldState, mycelium_spec
from mfn_proto.v1 import field_pb2 as pb

STEER = "/mfn.v1.FieldService/SteerSimulation"
SIMULATE = "/mfn.v1.FieldService/Simulate"
FLOAT64 = pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN
SIMULATION = pb.SimulationSpec(
    grid_size=16, seed=42, mycelium=pb.MyceliumParameters(alpha=0.18, spike_probability=0.5, turing_enabled=True)
)
SPEC = mycelium_spec(seed=42, grid_size=16, alpha=0.18, spike_probability=0.5)


def command(sequence: int | None = None, **one: Any) -> pb.SteerSimulationRequest:
    return pb.SteerSimulationRequest(sequence=sequence, **one)


def start(steps: int | None = 20, *, every: int = 5, **frames: Any) -> pb.SteerSimulationRequest:
    length: dict[str, Any] = {"unlimited": True} if steps is None else {"total_steps": steps}
    options = pb.FrameOptions(every_n_steps=every, field_encoding=FLOAT64, **frames)
    return command(start=pb.StartCommand(request_id="steered", simulation=SIMULATION, frames=options, **length))


PAUSE, RESUME, STOP = (command(**{name: {}}) for name in ("pause", "resume", "stop"))


def kinds(events: list[Any]) -> list[str]:
    return [event.WhichOneof("event") for event in events]


def is_replay(events: list[Any], commands: list[pb.SteerSimulationRequest]) -> bool:
    """Whether every frame shows what a plain engine computes when it obeys the commands at the acknowledged steps."""
    session = NumpyBackend().open(SPEC)
    never, step, injected = threading.Event(), 0, 0
    remaining = iter(commands)
    for event in events:
        if event.HasField("acknowledged") and not event.acknowledged.duplicate:
            step += session.step(event.acknowledged.step - step, never)
            obeyed = next(remaining)
            if obeyed.HasField("change"):
                for name in ("alpha", "spike_probability"):
                    if obeyed.change.HasField(name):
                        session.set_parameter(name, getattr(obeyed.change, name))
            elif obeyed.HasField("inject"):
                given = obeyed.inject.HasField("amplitude_volts")
                amplitude = obeyed.inject.amplitude_volts if given else 0.020
                session.inject(obeyed.inject.row, obeyed.inject.column, amplitude)
                injected += 1
        elif event.HasField("frame"):
            step += session.step(event.frame.step - step, never)
            state = session.state()
            if event.frame.field.data != state.field.tobytes():
                return False
            if event.frame.growth_events != state.growth_events - injected:
                return False
    return True


async def test_a_run_without_commands_is_a_simulation(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(23, every=5))
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert kinds(events) == ["started", *["frame"] * 5, "ended"]
    opened = events[0].started
    assert (opened.step, opened.sequence, opened.paused, opened.resume_within_seconds) == (0, 1, False, 30)
    assert 32 <= len(opened.session_id) <= 128
    request = pb.SimulateRequest(
        request_id="steered",
        simulation=SIMULATION,
        steps=23,
        frames=pb.FrameOptions(every_n_steps=5, field_encoding=FLOAT64),
    )
    assert [event.frame for event in events[1:-1]] == [reply.frame for reply in await served.frames(SIMULATE, request)]
    assert events[-1].ended == pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED, step=23)
    assert served.provider.sessions.live == 0


async def test_an_empty_start_runs_a_hundred_steps_of_the_default_model(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(command(start=pb.StartCommand()))
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert [event.frame.step for event in events[1:-1]] == list(range(10, 101, 10))
    assert not any(event.frame.HasField("field") for event in events[1:-1])


async def test_commands_take_effect_where_their_acknowledgement_says(served: Any) -> None:
    conversation = served.open(STEER)
    commands = [
        command(inject=pb.InjectCommand(row=3, column=15)),
        command(change=pb.ChangeCommand(alpha=0.05)),
        PAUSE,
        command(change=pb.ChangeCommand(alpha=0.25, spike_probability=1.0)),
        command(inject=pb.InjectCommand(row=0, column=0, amplitude_volts=-0.135)),
        command(inject=pb.InjectCommand(row=15, column=0, amplitude_volts=0.135)),
        RESUME,
        command(change=pb.ChangeCommand(spike_probability=0.0)),
    ]
    conversation.send(start(1000, every=10))
    events = [await conversation.next()]
    for each in commands:
        while not events[-1].HasField("frame"):
            events.append(await conversation.next())
        conversation.send(each)
        while not events[-1].HasField("acknowledged"):
            events.append(await conversation.next())
        if events[-1].acknowledged.sequence in (4, 5, 6, 7):  # paused: no frame will come
            events.append(pb.SteerSimulationResponse(frame=events[-2].frame))
    rest, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    heard = [event for k, event in enumerate(events) if not (event.HasField("frame") and event in events[:k])] + rest
    acknowledged = [event.acknowledged for event in heard if event.HasField("acknowledged")]
    assert [each.sequence for each in acknowledged] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert not any(each.duplicate for each in acknowledged)
    paused_at = acknowledged[2].step
    assert [each.step for each in acknowledged[2:7]] == [paused_at] * 5
    assert is_replay(heard, commands)
    assert not is_replay(heard, [*commands[:-1], PAUSE])  # the check above sees what a command does
    steps = [event.frame.step for event in heard if event.HasField("frame")]
    assert steps == list(range(10, 1001, 10))


async def test_a_paused_simulation_does_not_step(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(None, every=1), PAUSE)
    event = await conversation.next()
    while not event.HasField("acknowledged"):
        event = await conversation.next()
    engine = served.backend.sessions[0]
    before = engine.steps
    assert before == event.acknowledged.step
    conversation.send(PAUSE)
    again = await conversation.next()
    assert (again.acknowledged.sequence, again.acknowledged.step) == (3, before)
    assert engine.steps == before
    conversation.send(RESUME)
    assert (await conversation.next()).acknowledged.sequence == 4
    assert (await conversation.next()).frame.step == before + 1
    conversation.send(STOP)
    await conversation.rest()


async def test_stop_is_acknowledged_then_shown_then_ended(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(None, every=1_000_000), command(stop={}))
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert kinds(events) == ["started", "acknowledged", "frame", "ended"]
    step = events[1].acknowledged.step
    assert (events[2].frame.step, events[2].frame.is_final) == (step, True)
    assert events[3].ended == pb.SessionEnded(reason=pb.SESSION_END_REASON_STOPPED, step=step)
    assert is_replay(events, [STOP])
    assert served.provider.sessions.live == 0


async def test_repeated_numbers_are_acknowledged_and_change_nothing(served: Any) -> None:
    conversation = served.open(STEER)
    opening = start(None, every=1_000_000)
    opening.sequence = 5
    conversation.send(opening, command(8, pause={}))
    assert (await conversation.next()).started.sequence == 5
    paused = (await conversation.next()).acknowledged
    assert (paused.sequence, paused.duplicate) == (8, False)
    inject = pb.InjectCommand(row=1, column=1)
    for number in (8, 5, 1):
        conversation.send(command(number, inject=inject))
        assert (await conversation.next()).acknowledged == pb.CommandAcknowledgement(
            sequence=number, step=paused.step, duplicate=True
        )
    conversation.send(command(7, inject=pb.InjectCommand(row=500, column=1)))  # a repetition is not judged again
    assert (await conversation.next()).acknowledged.duplicate
    conversation.send(command(inject=inject), command(stop={}))
    events, _ = await conversation.rest()
    assert [event.acknowledged.sequence for event in events[:2]] == [9, 10]
    heard = [pb.SteerSimulationResponse(acknowledged=paused), *events]
    assert is_replay(heard, [PAUSE, command(inject=inject), STOP])


async def test_a_client_that_closes_its_side_lets_a_bounded_run_finish(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(300, every=100), PAUSE)  # paused, and nobody could let it go on
    conversation.half_close()
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert events[-1].ended == pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED, step=300)
    assert is_replay(events, [PAUSE])


async def test_a_client_that_closes_its_side_stops_an_endless_run(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(None, every=1_000_000))
    conversation.half_close()
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert kinds(events) == ["started", "frame", "ended"]
    assert events[1].frame.is_final
    assert events[2].ended.reason == pb.SESSION_END_REASON_STOPPED


async def test_an_endless_run_ends_at_the_limit_of_the_server(serve: Any) -> None:
    served = serve(service={"session_steps": 25})
    conversation = served.open(STEER)
    conversation.send(start(None, every=10))
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert [(event.frame.step, event.frame.is_final) for event in events[1:-1]] == [
        (10, False),
        (20, False),
        (25, True),
    ]
    assert events[-1].ended == pb.SessionEnded(reason=pb.SESSION_END_REASON_LIMIT, step=25)


async def test_a_session_ends_when_its_time_is_over(serve: Any, clock: Any) -> None:
    served = serve(clock=clock, service={"session_seconds": 60.0})
    conversation = served.open(STEER)
    conversation.send(start(None, every=1_000_000), PAUSE)
    assert kinds([await conversation.next(), await conversation.next()]) == ["started", "acknowledged"]
    clock.advance(60.0)
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert kinds(events) == ["frame", "ended"]
    assert events[0].frame.is_final
    assert events[1].ended.reason == pb.SESSION_END_REASON_LIMIT


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "command"),
        ([PAUSE], "pause"),
        ([STOP], "stop"),
        ([command(inject=pb.InjectCommand())], "inject"),
        ([start(), start()], "start"),
        ([start(), command(resume_session=pb.ResumeSessionCommand(session_id="x"))], "resume_session"),
        ([command()], "command"),
        ([start(), command()], "command"),
        ([start(), command(change=pb.ChangeCommand())], "change"),
        ([start(), command(change=pb.ChangeCommand(alpha=float("nan")))], "change.alpha"),
        ([start(), command(change=pb.ChangeCommand(spike_probability=1.5))], "change.spike_probability"),
        ([start(), command(inject=pb.InjectCommand(row=-1))], "inject.row"),
        ([start(), command(inject=pb.InjectCommand(row=16))], "inject.row"),
        ([start(), command(inject=pb.InjectCommand(column=16))], "inject.column"),
        ([start(), command(inject=pb.InjectCommand(amplitude_volts=0.2))], "inject.amplitude_volts"),
        ([start(), command(inject=pb.InjectCommand(amplitude_volts=float("inf")))], "inject.amplitude_volts"),
        ([command(resume_session=pb.ResumeSessionCommand())], "resume_session.session_id"),
        ([start(), command(0, pause={})], "sequence"),
        ([start(), command(2**62 + 1, pause={})], "sequence"),
    ],
)
async def test_a_message_that_may_not_come_ends_the_call(
    serve: Any, messages: list[pb.SteerSimulationRequest], field: str
) -> None:
    served = serve(service={"resume_within_seconds": 0})
    served.backend.gate = threading.Semaphore(0)  # the run waits for its commands
    conversation = served.open(STEER)
    conversation.send(*messages)
    conversation.half_close()
    _, outcome = await conversation.rest()
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == [field]


async def test_commands_before_a_bad_one_are_obeyed(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(None, every=1_000_000), PAUSE, command(inject=pb.InjectCommand(row=99)), STOP)
    events, outcome = await conversation.rest()
    assert kinds(events) == ["started", "acknowledged"]
    assert outcome.code is Code.INVALID_ARGUMENT


async def test_a_client_that_floods_is_not_read_beyond_the_bound(serve: Any) -> None:
    served = serve(service={"pending_commands": 4})
    served.backend.gate = threading.Semaphore(0)
    conversation = served.open(STEER, window=1)
    conversation.send(start(None), *[PAUSE] * 100)
    assert (await conversation.next()).HasField("started")
    await served.until(conversation._outbound.full)
    for _ in range(50):
        await served.until(lambda: True)
    # Taken: the first message, one in the window, one being sent, four that wait and one in the reader's hand.
    assert conversation.unread >= 101 - 8
    conversation.break_off()
    assert (await conversation.outcome()).code is Code.CANCELLED


async def test_commands_are_obeyed_while_a_frame_waits_until_it_is_due(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(None, every=1, max_frames_per_second=0.001))
    assert kinds([await conversation.next(), await conversation.next()]) == ["started", "frame"]
    await served.until(lambda: served.backend.sessions[0].steps == 2)  # and the next frame is due in 1000 s
    inject = command(inject=pb.InjectCommand(row=2, column=2))
    conversation.send(inject, PAUSE, RESUME, STOP)
    events, _ = await conversation.rest()
    assert kinds(events) == [*["acknowledged"] * 4, "frame", "ended"]
    assert events[4].frame.step == 2
    assert is_replay(events, [inject, PAUSE, RESUME, STOP])


async def test_a_frame_that_waits_shows_what_was_acknowledged_before_it(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(6, every=2, max_frames_per_second=2.0))
    assert kinds([await conversation.next(), await conversation.next()]) == ["started", "frame"]
    await served.until(lambda: served.backend.sessions[0].steps == 4)
    inject = command(inject=pb.InjectCommand(row=2, column=2))
    conversation.send(inject)
    events, _ = await conversation.rest()
    assert kinds(events) == ["acknowledged", "frame", "frame", "ended"]
    assert events[0].acknowledged.step == 4
    assert is_replay(events, [inject])


async def test_a_bounded_run_is_charged_at_its_start_and_an_endless_one_in_portions(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(20))
    await conversation.rest()
    assert served.charges == [("SteerSimulation", 16.0 * 16 * 20)]
    served.charges.clear()
    conversation = served.open(STEER)
    conversation.send(start(None, every=5000))
    assert (await conversation.next()).HasField("started")
    assert (await conversation.next()).frame.step == 5000
    conversation.send(STOP)
    events, _ = await conversation.rest()
    portion = 1_000_000 // 256
    assert {cost for _, cost in served.charges} == {256.0 * portion}
    done = events[-1].ended.step
    assert portion * (len(served.charges) - 1) <= done <= portion * len(served.charges)


async def test_a_refused_charge_leaves_no_session_that_nobody_knows(served: Any) -> None:
    served.refuse_charges_from = 0
    conversation = served.open(STEER)
    conversation.send(start(20))
    assert (await conversation.outcome()).code is Code.RESOURCE_EXHAUSTED
    assert served.provider.sessions.live == 0
    assert served.backend.sessions == []


async def test_unstable_numbers_end_the_session(served: Any) -> None:
    def spoil(state: FieldState) -> FieldState:
        return FieldState(step=state.step, field=np.full_like(state.field, np.nan))

    served.backend.spoil = spoil
    conversation = served.open(STEER)
    conversation.send(start(20))
    events, outcome = await conversation.rest()
    assert kinds(events) == ["started"]
    assert outcome.code is Code.FAILED_PRECONDITION
    assert outcome.error.details["reason"] == "numerical_instability"
    assert served.provider.sessions.live == 0


async def test_a_defect_of_the_engine_ends_the_session(
    served: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = served.open(STEER)
    conversation.send(start(None, every=1_000_000), PAUSE)
    assert kinds([await conversation.next(), await conversation.next()]) == ["started", "acknowledged"]

    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(served.backend.sessions[0]._session, "inject", fail)
    conversation.send(command(inject=pb.InjectCommand()))
    outcome = await conversation.outcome()
    assert outcome.code is Code.INTERNAL
    assert "defect" not in outcome.message
    assert conversation.call.id in caplog.text
    assert served.provider.sessions.live == 0


async def test_an_engine_that_cannot_be_steered_is_unimplemented(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = served.backend.open

    class Unsteered:
        def __init__(self, session: Any) -> None:
            self.step, self.state, self.close = session.step, session.state, session.close

    monkeypatch.setattr(served.backend, "open", lambda spec: Unsteered(real_open(spec)))
    conversation = served.open(STEER)
    conversation.send(start())
    outcome = await conversation.outcome()
    assert outcome.code is Code.UNIMPLEMENTED
    assert "numpy" in outcome.message
    assert served.provider.sessions.live == 0
    assert served.backend.live == 0


async def test_an_unknown_model_is_unimplemented(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(command(start=pb.StartCommand(simulation=pb.SimulationSpec(model="other_model"))))
    assert (await conversation.outcome()).code is Code.UNIMPLEMENTED
    assert served.provider.sessions.live == 0


async def test_an_unlimited_that_is_false_is_refused(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(command(start=pb.StartCommand(unlimited=False)))
    outcome = await conversation.outcome()
    assert [violation.field for violation in outcome.error.violations] == ["start.unlimited"]
