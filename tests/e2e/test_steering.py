"""A steered simulation on every transport: commands, a broken call taken up again, and nobody else's hands on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import numpy.typing as npt
import pytest

from mfn_client.raw import RawCall, RawClient, RawStatus
from mfn_core.compute import NeverCancelled
from mfn_e2e.calls import Caller
from mfn_e2e.deployment import Deployment
from mfn_e2e.installed import TRANSPORTS
from mfn_engine_numpy.backend import NumpyBackend
from mfn_model import FieldSpec, mycelium_spec
from mfn_proto.v1 import field_pb2 as v1

STEER = "/mfn.v1.FieldService/SteerSimulation"

TOTAL, EVERY = 200, 40
"""Steps of a run, and from one frame to the next."""

SPEC = v1.SimulationSpec(
    grid_size=24, seed=5, mycelium=v1.MyceliumParameters(alpha=0.18, spike_probability=0.4, turing_enabled=True)
)
LOCAL: FieldSpec = mycelium_spec(seed=5, grid_size=24, alpha=0.18, spike_probability=0.4, turing_enabled=True)

Event = v1.SteerSimulationResponse


def start(*, frames_per_second: float = 0.0, total_steps: int = TOTAL) -> v1.SteerSimulationRequest:
    return v1.SteerSimulationRequest(
        start=v1.StartCommand(
            request_id="steered",
            simulation=SPEC,
            total_steps=total_steps,
            frames=v1.FrameOptions(
                every_n_steps=EVERY,
                max_frames_per_second=frames_per_second,
                field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN,
            ),
        )
    )


def resume(session_id: str, last_step: int) -> v1.SteerSimulationRequest:
    return v1.SteerSimulationRequest(resume_session=v1.ResumeSessionCommand(session_id=session_id, last_step=last_step))


class Steering:
    """One call of the operation."""

    def __init__(self, call: RawCall) -> None:
        self.call = call

    async def say(self, message: v1.SteerSimulationRequest) -> None:
        assert await self.call.send(message.SerializeToString())

    async def hear(self, kind: str) -> Event:
        """The next event, which is of this kind."""
        raw = await self.call.receive()
        assert raw is not None, await self.call.status()
        event = Event.FromString(raw)
        assert event.WhichOneof("event") == kind, event
        return event

    async def rest(self) -> list[Event]:
        """Everything up to the end of a call that ends with OK."""
        return [Event.FromString(raw) async for raw in self.call]

    async def refused(self) -> RawStatus:
        """How a call ended that had nothing more to say."""
        assert await self.call.receive() is None
        return await self.call.status()

    async def hold(self) -> tuple[str, int]:
        """Start a run and pause it in the middle: its session's id, and the step where it stands."""
        await self.say(start(frames_per_second=5.0))
        session_id = (await self.hear("started")).started.session_id
        await self.say(v1.SteerSimulationRequest(pause=v1.PauseCommand()))
        while True:
            raw = await self.call.receive()
            assert raw is not None, await self.call.status()
            event = Event.FromString(raw)
            if event.HasField("acknowledged"):
                assert event.acknowledged.step < TOTAL
                return session_id, event.acknowledged.step


@asynccontextmanager
async def steering(server: Deployment, transport: str, caller: Caller) -> AsyncIterator[Steering]:
    async with (
        RawClient(server.address(transport)) as client,
        client.open(STEER, metadata=caller.headers(STEER, None), timeout=60.0) as call,
    ):
        yield Steering(call)


def field_of(event: Event) -> npt.NDArray[np.float64]:
    return np.frombuffer(event.frame.field.data, "<f8").reshape(tuple(event.frame.field.shape))


def here(*commands: tuple[int, str, tuple[str | float, ...]]) -> npt.NDArray[np.float64]:
    """The last field of the run when these commands take effect at these steps, computed in this process."""
    session = NumpyBackend().open(LOCAL)
    done = 0
    for step, name, arguments in commands:
        session.step(step - done, NeverCancelled())
        done = step
        getattr(session, name)(*arguments)
    session.step(TOTAL - done, NeverCancelled())
    return session.state().field


async def test_a_run_without_commands_is_the_simulation(server: Deployment, transport: str) -> None:
    async with steering(server, transport, server.caller()) as run:
        await run.say(start())
        await run.call.half_close()
        started = (await run.hear("started")).started
        assert (started.step, started.sequence, started.paused) == (0, 1, False)
        assert len(started.session_id) >= 22
        *frames, ended = await run.rest()
    assert [event.frame.step for event in frames] == list(range(EVERY, TOTAL + 1, EVERY))
    assert [event.frame.is_final for event in frames] == [False] * (len(frames) - 1) + [True]
    assert {event.frame.request_id for event in frames} == {"steered"}
    assert (ended.ended.reason, ended.ended.step) == (v1.SESSION_END_REASON_COMPLETED, TOTAL)
    assert np.array_equal(field_of(frames[-1]), here())


async def test_commands_take_effect_at_the_steps_that_are_acknowledged(server: Deployment, transport: str) -> None:
    async with steering(server, transport, server.caller()) as run:
        _, step = await run.hold()
        await run.say(v1.SteerSimulationRequest(sequence=10, pause=v1.PauseCommand()))
        await run.say(v1.SteerSimulationRequest(change=v1.ChangeCommand(alpha=0.05, spike_probability=0.9)))
        await run.say(v1.SteerSimulationRequest(inject=v1.InjectCommand(row=3, column=20, amplitude_volts=0.03)))
        await run.say(v1.SteerSimulationRequest(sequence=12, inject=v1.InjectCommand(row=3, column=20)))
        await run.say(v1.SteerSimulationRequest(resume=v1.ResumeCommand()))
        await run.call.half_close()
        events = await run.rest()
    acknowledged = [event.acknowledged for event in events if event.HasField("acknowledged")]
    # The fourth repeats the number of the third: a repetition after a lost acknowledgement, which changes nothing.
    assert [(each.sequence, each.duplicate) for each in acknowledged] == [
        (10, False),
        (11, False),
        (12, False),
        (12, True),
        (13, False),
    ]
    assert {each.step for each in acknowledged} == {step}  # it was paused
    frames = [event for event in events if event.HasField("frame")]
    assert frames[-1].frame.is_final
    expected = here(
        (step, "set_parameter", ("alpha", 0.05)),
        (step, "set_parameter", ("spike_probability", 0.9)),
        (step, "inject", (3, 20, 0.03)),
    )
    assert np.array_equal(field_of(frames[-1]), expected)
    assert not np.array_equal(expected, here())


async def test_stop_gives_a_last_frame_and_ends_the_session(server: Deployment, transport: str) -> None:
    async with steering(server, transport, server.caller()) as run:
        await run.say(start(frames_per_second=5.0))
        session_id = (await run.hear("started")).started.session_id
        await run.hear("frame")
        await run.say(v1.SteerSimulationRequest(stop=v1.StopCommand()))
        events = await run.rest()
    assert events[-1].ended.reason == v1.SESSION_END_REASON_STOPPED
    assert events[-2].frame.is_final
    assert events[-2].frame.step == events[-1].ended.step < TOTAL
    async with steering(server, transport, server.caller()) as late:
        await late.say(resume(session_id, 0))
        assert (await late.refused()).code == "NOT_FOUND"


@pytest.mark.parametrize("second", TRANSPORTS)
@pytest.mark.parametrize("first", TRANSPORTS)
async def test_a_broken_call_is_taken_up_by_its_owner_as_if_nothing_had_happened(
    server: Deployment, first: str, second: str
) -> None:
    async with steering(server, first, server.caller()) as broken:
        session_id, step = await broken.hold()
        broken.call.cancel()
    # Another key of the same principal will do.
    async with steering(server, second, server.caller("ada-reads")) as again:
        await again.say(resume(session_id, step))
        resumed = (await again.hear("resumed")).resumed
        assert (resumed.session_id, resumed.step, resumed.sequence, resumed.paused) == (session_id, step, 2, True)
        await again.say(v1.SteerSimulationRequest(resume=v1.ResumeCommand()))
        assert (await again.hear("acknowledged")).acknowledged.sequence == 3
        await again.call.half_close()
        *frames, ended = await again.rest()
    assert ended.ended.reason == v1.SESSION_END_REASON_COMPLETED
    assert [event.frame.step for event in frames] == list(range((step // EVERY + 1) * EVERY, TOTAL + 1, EVERY))
    assert np.array_equal(field_of(frames[-1]), here())


async def test_a_session_is_not_found_by_anyone_but_its_owner(server: Deployment, transport: str) -> None:
    said = set()
    async with steering(server, transport, server.caller("ada")) as broken:
        session_id, _ = await broken.hold()
        # While it is held, and while it waits.
        for held in (True, False):
            if not held:
                broken.call.cancel()
            async with steering(server, transport, server.caller("ben")) as thief:
                await thief.say(resume(session_id, 0))
                status = await thief.refused()
            assert (status.code, status.violations, status.details) == ("NOT_FOUND", (), {})
            said.add(status.message)
    async with steering(server, transport, server.caller("ben")) as guess:
        await guess.say(resume("a" * 32, 0))
        said.add((await guess.refused()).message)
    assert len(said) == 1, "whether a session exists can be told from the answer"
    async with steering(server, transport, server.caller("ada")) as owner:
        await owner.say(resume(session_id, 0))
        await owner.hear("resumed")
        await owner.say(v1.SteerSimulationRequest(stop=v1.StopCommand()))
        assert (await owner.rest())[-1].ended.reason == v1.SESSION_END_REASON_STOPPED


@pytest.mark.parametrize("second", TRANSPORTS)
@pytest.mark.parametrize("first", TRANSPORTS)
async def test_a_session_that_another_call_takes_over_ends_the_first_call(
    server: Deployment, first: str, second: str
) -> None:
    async with (
        steering(server, first, server.caller()) as former,
        steering(server, second, server.caller()) as latter,
    ):
        session_id, step = await former.hold()
        await latter.say(resume(session_id, step))
        await latter.hear("resumed")
        assert (await former.rest())[-1].ended.reason == v1.SESSION_END_REASON_SUPERSEDED
        await latter.call.half_close()
        *frames, ended = await latter.rest()
    assert ended.ended.reason == v1.SESSION_END_REASON_COMPLETED
    assert np.array_equal(field_of(frames[-1]), here())


async def test_a_command_that_breaks_a_bound_changes_nothing_and_its_session_goes_on(
    server: Deployment, transport: str
) -> None:
    async with steering(server, transport, server.caller()) as run:
        session_id, step = await run.hold()
        await run.say(v1.SteerSimulationRequest(change=v1.ChangeCommand(alpha=0.3)))
        while await run.call.receive() is not None:
            pass
        status = await run.call.status()
        assert status.code == "INVALID_ARGUMENT"
        assert [violation.field for violation in status.violations] == ["change.alpha"]
    async with steering(server, transport, server.caller()) as again:
        await again.say(resume(session_id, step))
        await again.call.half_close()
        assert (await again.hear("resumed")).resumed.sequence == 2
        *frames, _ = await again.rest()
    assert np.array_equal(field_of(frames[-1]), here())
