"""Package `mfn`: numbers, frames, defaults and the echo of what was sent."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import pytest

from mfn_core import Code
from mfn_proto import mfn_pb2 as pb

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
RUN = "/mfn.MFNSimulationService/RunSimulation"
STREAM_SIMULATION = "/mfn.MFNSimulationService/StreamSimulation"

NUMBERS = ("growth_events", "fractal_dimension", "pot_min_mV", "pot_max_mV", "pot_mean_mV", "pot_std_mV")
STATISTICS = ("growth_events", "pot_min_mV", "pot_max_mV", "pot_mean_mV", "pot_std_mV")


def arguments(run: dict[str, Any]) -> dict[str, Any]:
    names = ("seed", "grid_size", "alpha", "spike_probability", "turing_enabled")
    return {name: run[name] for name in names}


def numbers(message: Any, names: tuple[str, ...] = NUMBERS) -> dict[str, float]:
    return {name: getattr(message, name) for name in names}


@pytest.mark.parametrize(("path", "request_type"), [(EXTRACT, pb.FeatureRequest), (RUN, pb.SimulationRequest)])
async def test_a_unary_reply_has_the_numbers_of_the_model(
    serve: Any, mycelium_runs: list[dict[str, Any]], path: str, request_type: Any
) -> None:
    served = serve()
    runs = [run for run in mycelium_runs if not run["jitter"]]
    assert len(runs) >= 8
    for run in runs:
        reply = await served.reply(path, request_type(steps=run["steps"], **arguments(run)))
        assert numbers(reply) == pytest.approx(run["expected"], rel=1e-12, abs=1e-12), run


@pytest.mark.parametrize("turing", [False, True])
@pytest.mark.parametrize(("total", "every"), [(25, 10), (30, 10), (7, 1), (5, 100), (200, 1)])
async def test_the_last_frame_equals_the_unary_reply_bit_for_bit(
    served: Any, total: int, every: int, turing: bool
) -> None:
    common = {"seed": 42, "grid_size": 16, "alpha": 0.18, "spike_probability": 0.5, "turing_enabled": turing}
    features = await served.reply(EXTRACT, pb.FeatureRequest(steps=total, **common))
    result = await served.reply(RUN, pb.SimulationRequest(steps=total, **common))
    lengths = {"total_steps": total, "steps_per_frame": every}
    frames = await served.frames(STREAM_FEATURES, pb.FeatureStreamRequest(**lengths, **common))
    plain = await served.frames(STREAM_SIMULATION, pb.SimulationStreamRequest(**lengths, **common))

    assert numbers(frames[-1]) == numbers(features) == numbers(result)
    assert numbers(plain[-1], STATISTICS) == numbers(result, STATISTICS)
    expected = [min((k + 1) * every, total) for k in range(-(-total // every))]
    for stream in (frames, plain):
        assert [frame.step for frame in stream] == expected
        assert [frame.is_final for frame in stream] == [False] * (len(expected) - 1) + [True]


async def test_every_frame_is_a_snapshot_of_the_same_run(served: Any) -> None:
    common = {"seed": 3, "grid_size": 12, "spike_probability": 0.8, "turing_enabled": True}
    frames = await served.frames(STREAM_FEATURES, pb.FeatureStreamRequest(total_steps=40, steps_per_frame=7, **common))
    for frame in frames:
        whole = await served.reply(EXTRACT, pb.FeatureRequest(steps=frame.step, **common))
        assert numbers(frame) == numbers(whole)
    growth = [frame.growth_events for frame in frames]
    assert growth == sorted(growth)
    assert growth[-1] > growth[0]


async def test_the_request_id_is_echoed_in_every_reply(served: Any) -> None:
    name = "Größe/7 ✓"
    small = {"request_id": name, "grid_size": 8}
    assert (await served.reply(EXTRACT, pb.FeatureRequest(steps=1, **small))).request_id == name
    assert (await served.reply(RUN, pb.SimulationRequest(steps=1, **small))).request_id == name
    for path, request_type in (
        (STREAM_FEATURES, pb.FeatureStreamRequest),
        (STREAM_SIMULATION, pb.SimulationStreamRequest),
    ):
        frames = await served.frames(path, request_type(total_steps=3, steps_per_frame=1, **small))
        assert [frame.request_id for frame in frames] == [name] * 3


async def test_a_unary_reply_says_which_server_made_it(served: Any) -> None:
    for path, request_type in ((EXTRACT, pb.FeatureRequest), (RUN, pb.SimulationRequest)):
        reply = await served.reply(path, request_type(grid_size=4))
        assert dict(reply.meta.meta) == {"server": "mfn", "version": version("mfn-service")}


async def test_an_empty_request_means_the_documented_defaults(served: Any) -> None:
    explicit = pb.FeatureRequest(seed=0, grid_size=64, steps=0, alpha=0.18, spike_probability=0.0, turing_enabled=False)
    assert numbers(await served.reply(EXTRACT, pb.FeatureRequest())) == numbers(await served.reply(EXTRACT, explicit))

    frames = await served.frames(STREAM_FEATURES, pb.FeatureStreamRequest(grid_size=8))
    assert [frame.step for frame in frames] == list(range(10, 101, 10))
    zero = await served.frames(STREAM_FEATURES, pb.FeatureStreamRequest(grid_size=8, steps_per_frame=0))
    assert zero == frames


async def test_no_steps_describe_the_initial_field(served: Any, mycelium_runs: list[dict[str, Any]]) -> None:
    run = next(run for run in mycelium_runs if run["steps"] == 0)
    reply = await served.reply(RUN, pb.SimulationRequest(steps=0, **arguments(run)))
    assert numbers(reply) == pytest.approx(run["expected"], rel=1e-12)
    assert reply.fractal_dimension > 1.0


async def test_a_unary_call_is_one_whole_run_and_closes_its_session(served: Any) -> None:
    wanted = []
    final_state = served.compute.final_state

    async def counting(call: Any, spec: Any, steps: int, measure: Any) -> Any:
        wanted.append((spec.grid_size, steps))
        return await final_state(call, spec, steps, measure)

    async def forbidden(*arguments: Any) -> Any:
        raise AssertionError("it is not one whole run")

    served.compute.final_state, served.compute.run = counting, forbidden
    await served.reply(EXTRACT, pb.FeatureRequest(grid_size=8, steps=5))
    assert wanted == [(8, 5)]
    assert [session.closed for session in served.backend.sessions] == [True]


@pytest.mark.parametrize(
    ("path", "request_type"),
    [(STREAM_FEATURES, pb.FeatureStreamRequest), (STREAM_SIMULATION, pb.SimulationStreamRequest)],
)
async def test_frames_come_no_faster_than_asked_for(served: Any, path: str, request_type: Any) -> None:
    loop = asyncio.get_running_loop()
    request = request_type(grid_size=8, total_steps=6, steps_per_frame=1, max_frames_per_second=50.0)
    conversation, times = served.open(path, request), []
    for step in range(1, 7):
        assert (await conversation.next()).step == step
        times.append(loop.time())
    assert (await conversation.outcome()).code is Code.OK
    assert times[-1] - times[0] >= 5 * 0.02 - 0.005


async def test_the_cost_of_a_call_is_its_cell_steps(served: Any) -> None:
    await served.reply(EXTRACT, pb.FeatureRequest(grid_size=8, steps=5))
    await served.reply(RUN, pb.SimulationRequest(grid_size=8))
    await served.frames(STREAM_FEATURES, pb.FeatureStreamRequest(grid_size=8, total_steps=30))
    assert served.charges == [("ExtractFeatures", 320.0), ("RunSimulation", 64.0), ("StreamFeatures", 1920.0)]


def test_replies_of_unary_runs_can_be_kept(served: Any) -> None:
    operations = served.dispatcher.operations
    flags = {
        path: (each.idempotent, each.deterministic, each.cache_key is not None) for path, each in operations.items()
    }
    assert flags[EXTRACT] == flags[RUN] == (True, True, True)
    assert flags[STREAM_FEATURES] == flags[STREAM_SIMULATION] == (True, True, False)


async def test_a_slow_reader_slows_the_simulation(served: Any) -> None:
    request = pb.FeatureStreamRequest(grid_size=64, total_steps=1000, steps_per_frame=1)
    conversation = served.open(STREAM_FEATURES, request, window=1)
    first = await conversation.next()
    assert first.step == 1
    await served.until(lambda: conversation._outbound.full())
    taken = served.backend.sessions[0].steps
    assert taken <= 1 + 2 * 64  # the frames of two compute jobs at most
    frames, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert [frame.step for frame in frames] == list(range(2, 1001))
