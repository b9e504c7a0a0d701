"""`mfn.v1.FieldService.SteerSimulation`: clients whose calls break and take over each other at any moment."""

from __future__ import annotations

import asyncio
import random
import threading
from functools import lru_cache
from typing import Any

import pytest

from mfn_core import Code, Outcome
from mfn_engine_numpy.backend import NumpyBackend
from mfn_model import mycelium_spec
from mfn_proto.v1 import field_pb2 as pb

STEER = "/mfn.v1.FieldService/SteerSimulation"


def start(*, every: int) -> pb.SteerSimulationRequest:
    parameters = pb.MyceliumParameters(spike_probability=0.5, turing_enabled=True)
    return pb.SteerSimulationRequest(
        start=pb.StartCommand(
            simulation=pb.SimulationSpec(grid_size=8, seed=9, mycelium=parameters),
            total_steps=200,
            frames=pb.FrameOptions(every_n_steps=every, field_encoding=pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN),
        )
    )


def again(session_id: str, last_step: int) -> pb.SteerSimulationRequest:
    return pb.SteerSimulationRequest(resume_session=pb.ResumeSessionCommand(session_id=session_id, last_step=last_step))


@lru_cache(maxsize=1000)
def field_at(step: int) -> bytes:
    session = NumpyBackend().open(mycelium_spec(seed=9, grid_size=8, spike_probability=0.5))
    session.step(step, threading.Event())
    return session.state().field.tobytes()


@pytest.mark.parametrize("seed", range(6))
async def test_sessions_survive_any_storm_of_breaks_and_takeovers(serve: Any, seed: int) -> None:
    served = serve(service={"sessions": 64, "sessions_per_principal": 64})
    chance = random.Random(seed)

    async def live_through() -> None:
        opening = served.open(STEER)
        opening.send(start(every=chance.choice([1, 7, 50])))
        session_id = (await opening.next()).started.session_id
        calls, seen = [opening], 0
        while True:
            call = calls[-1]
            for _ in range(chance.randrange(4)):
                event = await call.next()
                if isinstance(event, Outcome):
                    break
                if event.HasField("frame"):
                    seen = max(seen, event.frame.step)
                    assert event.frame.field.data == field_at(event.frame.step)
                if event.HasField("ended"):
                    assert event.ended.reason == pb.SESSION_END_REASON_COMPLETED
                    for each in calls:
                        each.break_off()
                        await each.outcome()
                    return
            if chance.random() < 0.5:
                call.break_off()
            follower = served.open(STEER)
            follower.send(again(session_id, seen))
            first = await follower.next()
            if isinstance(first, Outcome):
                assert first.code is Code.NOT_FOUND  # `ended` was sent and lost
                for each in calls:
                    each.break_off()
                    await each.outcome()
                return
            calls.append(follower)

    await asyncio.gather(*(live_through() for _ in range(4)))
    await served.until(lambda: served.dispatcher.active == 0)
    served.provider.sessions.stop()
    assert served.backend.live == 0
