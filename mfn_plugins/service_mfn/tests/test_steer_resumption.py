"""`mfn.v1.FieldService.SteerSimulation`: calls that break, are resumed, taken over and drained."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

from mfn_core import Code, Outcome
from mfn_engine_numpy.backend import NumpyBackend
from mfn_model import FieldState, mycelium_spec
from mfn_proto.v1 import field_pb2 as pb

STEER = "/mfn.v1.FieldService/SteerSimulation"
FLOAT64 = pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN
SIMULATION = pb.SimulationSpec(
    grid_size=8, seed=9, mycelium=pb.MyceliumParameters(spike_probability=0.5, turing_enabled=True)
)
SPEC = mycelium_spec(seed=9, grid_size=8, spike_probability=0.5)


def command(sequence: int | None = None, **one: Any) -> pb.SteerSimulationRequest:
    return pb.SteerSimulationRequest(sequence=sequence, **one)


def start(steps: int | None = 50, *, every: int = 5) -> pb.SteerSimulationRequest:
    length: dict[str, Any] = {"unlimited": True} if steps is None else {"total_steps": steps}
    options = pb.FrameOptions(every_n_steps=every, field_encoding=FLOAT64)
    return command(start=pb.StartCommand(request_id="steered", simulation=SIMULATION, frames=options, **length))


def again(session_id: str, last_step: int = 0, sequence: int | None = None) -> pb.SteerSimulationRequest:
    return command(sequence, resume_session=pb.ResumeSessionCommand(session_id=session_id, last_step=last_step))


PAUSE, RESUME, STOP = (command(**{name: {}}) for name in ("pause", "resume", "stop"))


@lru_cache(maxsize=1000)
def field_at(step: int) -> bytes:
    session = NumpyBackend().open(SPEC)
    session.step(step, threading.Event())
    return session.state().field.tobytes()


async def resumed(served: Any, session_id: str, last_step: int = 0, **arguments: Any) -> Any:
    conversation = served.open(STEER, **arguments)
    conversation.send(again(session_id, last_step))
    return conversation


async def paused_session(served: Any, steps: int | None = 50) -> tuple[Any, str, int]:
    """A call whose session is paused, with its id and step."""
    conversation = served.open(STEER)
    conversation.send(start(steps, every=1_000_000), PAUSE)
    opened = (await conversation.next()).started
    return conversation, opened.session_id, (await conversation.next()).acknowledged.step


async def test_a_broken_run_goes_on_as_if_nothing_had_happened(served: Any) -> None:
    conversation = served.open(STEER)
    conversation.send(start(500, every=5))
    session_id = (await conversation.next()).started.session_id
    seen = 0
    frames = []
    for _ in range(200):
        for _ in range(3):
            event = await conversation.next()
            if isinstance(event, Outcome) or event.HasField("ended"):
                break
            assert event.frame.step > seen
            seen = event.frame.step
            frames.append(event.frame)
        if isinstance(event, Outcome) or event.HasField("ended"):
            break
        conversation.break_off()
        assert (await conversation.outcome()).code in (Code.CANCELLED, Code.OK)
        if conversation.call.messages_out and not served.provider.sessions.live:
            break
        conversation = await resumed(served, session_id, seen)
        reopened = (await conversation.next()).resumed
        assert reopened.session_id == session_id
        assert reopened.step >= seen
    assert frames
    for frame in frames:
        assert frame.field.data == field_at(frame.step)
        assert frame.request_id == "steered"


async def test_the_present_state_is_shown_only_where_it_was_missed(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    first.break_off()
    await first.outcome()
    second = await resumed(served, session_id, step)
    opened = (await second.next()).resumed
    assert (opened.step, opened.paused, opened.sequence) == (step, True, 2)
    second.send(RESUME)
    assert (await second.next()).HasField("acknowledged")  # and no frame before
    events, outcome = await second.rest()
    assert outcome.code is Code.OK
    assert [event.frame.step for event in events if event.HasField("frame")] == [50]
    assert events[0].frame.field.data == field_at(50)


async def test_a_missed_state_is_shown_once(served: Any) -> None:
    conversation = served.open(STEER)
    served.backend.gate = threading.Semaphore(7)
    conversation.send(start(20, every=5))
    session_id = (await conversation.next()).started.session_id
    assert (await conversation.next()).frame.step == 5
    await served.until(lambda: served.backend.sessions[0].steps == 7)
    conversation.break_off()
    await conversation.outcome()
    for _ in range(100):
        served.backend.gate.release()
    second = await resumed(served, session_id, 5)
    events, outcome = await second.rest()
    assert outcome.code is Code.OK
    assert events[0].resumed.step == 7
    steps = [(event.frame.step, event.frame.is_final) for event in events[1:-1]]
    assert steps == [(7, False), (10, False), (15, False), (20, True)]
    assert all(event.frame.field.data == field_at(event.frame.step) for event in events[1:-1])


async def test_a_run_that_finished_unheard_can_be_heard_later(served: Any) -> None:
    conversation = served.open(STEER, window=1)
    conversation.send(start(10, every=5))
    await served.until(lambda: bool(served.backend.sessions) and conversation._outbound.full())
    session_id = (await conversation.next()).started.session_id
    await served.until(lambda: served.backend.sessions[0].steps == 10 and conversation._outbound.full())
    conversation.break_off()
    assert (await conversation.outcome()).code is Code.CANCELLED
    for last_step, expected in ((5, ["resumed", "frame", "ended"]), (10, ["resumed", "ended"])):
        other = await resumed(served, session_id, last_step, window=1)
        heard = [(await other.next()).WhichOneof("event") for _ in expected[:-1]]
        assert heard == expected[:-1]
        if last_step == 5:
            other.break_off()  # with `ended` perhaps in the window, and perhaps lost
            await other.outcome()
            if not served.provider.sessions.live:
                return
        else:
            events, outcome = await other.rest()
            assert outcome.code is Code.OK
            assert events[-1].ended == pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED, step=10)


async def test_parameters_pause_and_generator_survive(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    first.send(
        command(change=pb.ChangeCommand(alpha=0.07, spike_probability=1.0)),
        command(inject=pb.InjectCommand(row=1, column=2)),
    )
    await first.next()
    await first.next()
    first.break_off()
    await first.outcome()
    second = await resumed(served, session_id, step)
    second.send(RESUME)
    events, _ = await second.rest()
    session = NumpyBackend().open(SPEC)
    session.step(step, threading.Event())
    session.set_parameter("alpha", 0.07)
    session.set_parameter("spike_probability", 1.0)
    session.inject(1, 2, 0.020)
    session.step(50 - step, threading.Event())
    last = next(event.frame for event in events if event.HasField("frame"))
    assert last.field.data == session.state().field.tobytes()
    assert last.growth_events == session.state().growth_events - 1


async def test_a_bad_command_changes_nothing_and_its_session_can_be_resumed(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    first.send(command(7, change=pb.ChangeCommand(alpha=0.07, spike_probability=7.0)))
    assert (await first.outcome()).code is Code.INVALID_ARGUMENT
    second = await resumed(served, session_id, step)
    assert (await second.next()).resumed.sequence == 2
    second.send(RESUME)
    events, _ = await second.rest()
    assert next(event.frame for event in events if event.HasField("frame")).field.data == field_at(50)


async def test_lost_commands_can_be_repeated_under_their_own_numbers(served: Any) -> None:
    first, session_id, step = await paused_session(served)  # numbers 1 and 2
    first.send(command(3, inject=pb.InjectCommand(row=0, column=0)))
    assert (await first.next()).acknowledged.sequence == 3
    first.break_off()
    await first.outcome()
    second = await resumed(served, session_id, step)
    assert (await second.next()).resumed.sequence == 3
    second.send(
        command(3, inject=pb.InjectCommand(row=0, column=0)),
        command(4, inject=pb.InjectCommand(row=1, column=1)),
        STOP,
    )
    duplicates = [(await second.next()).acknowledged.duplicate for _ in range(3)]
    assert duplicates == [True, False, False]
    events, _ = await second.rest()
    session = NumpyBackend().open(SPEC)
    session.step(step, threading.Event())
    session.inject(0, 0, 0.020)
    session.inject(1, 1, 0.020)
    assert events[0].frame.field.data == session.state().field.tobytes()


async def test_a_numbered_resumption_takes_its_number(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    first.break_off()
    await first.outcome()
    second = served.open(STEER)
    second.send(again(session_id, step, sequence=10), command(10, stop={}), command(11, stop={}))
    assert (await second.next()).resumed.sequence == 2
    assert (await second.next()).acknowledged.duplicate
    assert not (await second.next()).acknowledged.duplicate
    await second.rest()


async def test_after_the_largest_number_commands_still_count_on(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    first.send(command(2**62, pause={}), command(pause={}))
    numbers = [(await first.next()).acknowledged.sequence for _ in range(2)]
    assert numbers == [2**62, 2**62 + 1]
    first.break_off()
    await first.outcome()
    beyond = served.open(STEER)
    beyond.send(again(session_id, step, sequence=2**63 - 1))
    assert (await beyond.outcome()).error.violations[0].field == "sequence"
    second = served.open(STEER)
    second.send(again(session_id, step), command(stop={}))
    assert (await second.next()).resumed.sequence == 2**62 + 1
    assert (await second.next()).acknowledged.sequence == 2**62 + 2
    await second.rest()


async def test_an_expired_session_is_gone(serve: Any, clock: Any) -> None:
    served = serve(clock=clock, service={"resume_within_seconds": 20})
    first, session_id, step = await paused_session(served)
    first.break_off()
    await first.outcome()
    clock.advance(19.0)
    second = await resumed(served, session_id, step)
    assert (await second.next()).resumed.resume_within_seconds == 20
    second.break_off()
    await second.outcome()
    clock.advance(20.0)
    assert served.backend.live == 0
    third = await resumed(served, session_id, step)
    assert (await third.outcome()).code is Code.NOT_FOUND


async def test_a_session_of_another_principal_does_not_exist(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    stranger = await (await resumed(served, session_id, step, principal="mallory")).outcome()
    nothing = await (await resumed(served, "no-such-session", 0, principal="mallory")).outcome()
    assert stranger.code is nothing.code is Code.NOT_FOUND
    assert stranger.message == nothing.message
    first.send(STOP)  # and nothing happened to it
    events, outcome = await first.rest()
    assert outcome.code is Code.OK
    assert events[-1].ended.reason == pb.SESSION_END_REASON_STOPPED


async def test_a_step_that_was_never_seen_is_out_of_range(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    assert (await (await resumed(served, session_id, step + 1)).outcome()).code is Code.OUT_OF_RANGE
    first.send(STOP)
    assert (await first.rest())[1].code is Code.OK


async def test_a_paused_call_is_taken_over(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    second = await resumed(served, session_id, step)
    assert (await second.next()).resumed.paused
    events, outcome = await first.rest()
    assert outcome.code is Code.OK
    assert [event.ended for event in events] == [pb.SessionEnded(reason=pb.SESSION_END_REASON_SUPERSEDED, step=step)]
    second.send(RESUME)
    events, _ = await second.rest()
    assert events[-1].ended.reason == pb.SESSION_END_REASON_COMPLETED
    assert events[-2].frame.field.data == field_at(50)


async def test_a_computing_call_is_taken_over_at_a_whole_step(served: Any) -> None:
    first = served.open(STEER)
    served.backend.gate = threading.Semaphore(3)
    first.send(start(10, every=10))
    session_id = (await first.next()).started.session_id
    await served.until(lambda: served.backend.sessions[0].steps == 3)
    second = await resumed(served, session_id)
    assert (await second.next()).resumed.step == 3
    for _ in range(100):
        served.backend.gate.release()
    old, outcome = await first.rest()
    assert outcome.code is Code.OK
    assert [event.ended.reason for event in old] == [pb.SESSION_END_REASON_SUPERSEDED]
    events, _ = await second.rest()
    assert [event.frame.step for event in events[:-1]] == [3, 10]
    assert events[1].frame.field.data == field_at(10)


async def test_a_call_whose_client_does_not_read_is_taken_over(served: Any) -> None:
    first = served.open(STEER, window=1)
    first.send(start(None, every=1))
    session_id = (await first.next()).started.session_id
    await served.until(first._outbound.full)
    second = await resumed(served, session_id)
    assert (await second.next()).HasField("resumed")  # without waiting for the first one's client
    second.send(STOP)
    events, outcome = await second.rest()
    assert outcome.code is Code.OK
    assert events[-1].ended.reason == pb.SESSION_END_REASON_STOPPED
    old, outcome = await first.rest()
    assert outcome.code is Code.OK
    assert old[-1].ended.reason == pb.SESSION_END_REASON_SUPERSEDED


async def test_of_many_calls_that_take_a_session_over_the_last_one_has_it(served: Any) -> None:
    _, session_id, step = await paused_session(served)
    calls = [await resumed(served, session_id, step) for _ in range(8)]
    await served.until(lambda: all(call.call.messages_out for call in calls))
    calls[-1].send(STOP)
    last, outcome = await calls[-1].rest()
    assert outcome.code is Code.OK
    assert last[-1].ended.reason == pb.SESSION_END_REASON_STOPPED
    for call in calls[:-1]:
        events, outcome = await call.rest()
        assert outcome.code is Code.OK
        assert [event.WhichOneof("event") for event in events] == ["resumed", "ended"]
        assert events[-1].ended.reason == pb.SESSION_END_REASON_SUPERSEDED
    assert served.provider.sessions.live == 0


async def test_a_takeover_that_is_cancelled_while_it_waits_leaves_the_session_resumable(served: Any) -> None:
    describing, described = threading.Event(), threading.Event()

    def describe_slowly(state: FieldState) -> FieldState:
        describing.set()
        assert described.wait(30)
        return state

    served.backend.spoil = describe_slowly
    first = served.open(STEER)
    first.send(start(10, every=5))
    session_id = (await first.next()).started.session_id
    await served.until(describing.is_set)
    second = await resumed(served, session_id)
    await served.until(lambda: first_is_superseded(served))
    second.break_off()
    assert (await second.outcome()).code is Code.CANCELLED
    described.set()
    old, outcome = await first.rest()
    assert outcome.code is Code.OK
    assert old[-1].ended.reason == pb.SESSION_END_REASON_SUPERSEDED
    third = await resumed(served, session_id, 5)
    events, _ = await third.rest()
    assert [event.frame.step for event in events[1:-1]] == [10]
    assert events[-1].ended.reason == pb.SESSION_END_REASON_COMPLETED


def first_is_superseded(served: Any) -> bool:
    """Whether a second call waits for the session of the first."""
    (session,) = served.provider.sessions._sessions.values()
    return session._lock.locked() and bool(session._lock._waiters)


async def test_draining_tells_every_client_and_keeps_nothing(served: Any) -> None:
    paused, _, _ = await paused_session(served)
    broken, lost, _ = await paused_session(served)
    broken.break_off()
    await broken.outcome()
    running = served.open(STEER)
    running.send(start(None, every=1))
    assert (await running.next()).HasField("started")
    await served.provider.drain()
    for call in (paused, running):
        events, outcome = await call.rest()
        assert outcome.code is Code.OK
        assert events[-1].ended.reason == pb.SESSION_END_REASON_DRAINING
    assert events[-1].ended.step >= 0
    assert served.provider.sessions.live == 0
    for first in (start(), again(lost)):
        refused = served.open(STEER)
        refused.send(first)
        assert (await refused.outcome()).code is Code.UNAVAILABLE
    await served.provider.drain()
    await served.provider.stop()


async def test_sessions_are_bounded_for_each_principal_and_freed(serve: Any) -> None:
    served = serve(service={"sessions": 3, "sessions_per_principal": 2})
    first, _, _ = await paused_session(served)
    await paused_session(served)
    third = served.open(STEER)
    third.send(start())
    refused = await third.outcome()
    assert refused.code is Code.RESOURCE_EXHAUSTED
    assert refused.error.details == {"limit": "sessions_per_principal"}
    assert refused.error.retry_after == 1.0
    first.send(STOP)
    await first.rest()
    third = served.open(STEER)
    third.send(start())
    assert (await third.rest())[1].code is Code.OK
    for call in tuple(served.dispatcher._active):
        call.abort()
    await served.until(lambda: served.dispatcher.active == 0)


async def test_a_session_is_not_charged_twice(served: Any) -> None:
    first, session_id, step = await paused_session(served)
    first.break_off()
    await first.outcome()
    second = await resumed(served, session_id, step)
    second.send(RESUME)
    await second.rest()
    assert [cost for _, cost in served.charges] == [64.0 * 50]


async def test_a_charge_that_is_refused_on_the_way_leaves_the_session_resumable(served: Any) -> None:
    served.refuse_charges_from = 1
    first = served.open(STEER)
    first.send(start(None, every=15_000))
    session_id = (await first.next()).started.session_id
    frame = (await first.next()).frame
    assert frame.step == 15_000
    outcome = await first.outcome()
    assert outcome.code is Code.RESOURCE_EXHAUSTED
    served.refuse_charges_from = None
    second = await resumed(served, session_id, frame.step)
    opened = (await second.next()).resumed
    assert opened.step == 1_000_000 // 64  # as far as it was paid
    second.send(STOP)
    assert (await second.rest())[1].code is Code.OK
