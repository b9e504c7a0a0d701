"""`mfn.v1.FieldService.Simulate`."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import numpy as np
import pytest

from mfn_core import Code
from mfn_model import FieldState, active_mask, estimate_dimension, mycelium_spec, reference_mycelium
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as pb

SIMULATE = "/mfn.v1.FieldService/Simulate"
FLOAT64 = pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN
FLOAT32 = pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN


def request(*, steps: int = 20, every: int = 5, grid: int = 16, **options: Any) -> pb.SimulateRequest:
    return pb.SimulateRequest(
        request_id="run 1",
        simulation=pb.SimulationSpec(
            grid_size=grid,
            seed=42,
            mycelium=pb.MyceliumParameters(alpha=0.18, spike_probability=0.5, turing_enabled=True),
        ),
        steps=steps,
        frames=pb.FrameOptions(every_n_steps=every, **options),
    )


async def frames_of(served: Any, message: pb.SimulateRequest) -> list[pb.Frame]:
    return [reply.frame for reply in await served.frames(SIMULATE, message)]


async def test_frames_are_snapshots_of_the_model_with_their_fields(served: Any) -> None:
    spec = mycelium_spec(seed=42, grid_size=16, spike_probability=0.5)
    frames = await frames_of(served, request(steps=12, every=5, field_encoding=FLOAT64))
    assert [(frame.step, frame.is_final) for frame in frames] == [(5, False), (10, False), (12, True)]
    for frame in frames:
        state = reference_mycelium(spec, frame.step)
        field = np.frombuffer(frame.field.data, dtype="<f8").reshape(tuple(frame.field.shape))
        assert np.array_equal(field, state.field)
        assert (frame.field.encoding, frame.field.unit) == (FLOAT64, "V")
        assert frame.growth_events == state.growth_events
        assert frame.request_id == "run 1"
        assert frame.statistics.min_volts == state.field.min()
        assert frame.statistics.max_volts == state.field.max()
        assert frame.statistics.mean_volts == pytest.approx(state.field.mean(), rel=1e-14)
        assert frame.statistics.std_volts == pytest.approx(state.field.std(), rel=1e-12)


async def test_the_last_frame_does_not_depend_on_the_frame_options(served: Any) -> None:
    last = [
        (await frames_of(served, request(steps=23, every=every, field_encoding=FLOAT64)))[-1]
        for every in (1, 7, 23, 1000)
    ]
    assert all(frame == last[0] for frame in last)
    assert last[0].is_final


async def test_the_numbers_are_those_of_package_mfn(served: Any) -> None:
    frame = (await frames_of(served, request(steps=20)))[-1]
    result = await served.reply(
        "/mfn.MFNSimulationService/RunSimulation",
        w1.SimulationRequest(seed=42, grid_size=16, steps=20, alpha=0.18, spike_probability=0.5, turing_enabled=True),
    )
    assert frame.statistics.mean_volts * 1000.0 == result.pot_mean_mV
    assert frame.statistics.std_volts * 1000.0 == result.pot_std_mV
    assert frame.fractal_dimension == result.fractal_dimension
    assert frame.growth_events == result.growth_events


async def test_a_float32_field_is_the_rounded_one(served: Any) -> None:
    exact = (await frames_of(served, request(field_encoding=FLOAT64)))[-1]
    rounded = (await frames_of(served, request(field_encoding=FLOAT32)))[-1]
    assert len(rounded.field.data) * 2 == len(exact.field.data)
    wide = np.frombuffer(exact.field.data, dtype="<f8")
    assert np.array_equal(np.frombuffer(rounded.field.data, dtype="<f4"), wide.astype("<f4"))


@pytest.mark.parametrize("encoding", [pb.FIELD_ENCODING_UNSPECIFIED, pb.FIELD_ENCODING_NONE])
async def test_without_an_encoding_there_is_no_field(served: Any, encoding: pb.FieldEncoding) -> None:
    frames = await frames_of(served, request(field_encoding=encoding))
    assert not any(frame.HasField("field") for frame in frames)


async def test_the_dimension_comes_with_its_fit_or_with_a_reason(served: Any) -> None:
    spec = mycelium_spec(seed=42, grid_size=16, spike_probability=0.5)
    found = (await frames_of(served, request(steps=0)))[0].dimension
    expected = estimate_dimension(active_mask(reference_mycelium(spec, 0).field))
    assert found.value == expected.value
    assert found.r_squared == expected.r_squared
    assert [(each.box_size, each.occupied_boxes) for each in found.scales] == list(
        zip(expected.scales, expected.counts, strict=True)
    )
    small = (await frames_of(served, request(steps=0, grid=4)))[0].dimension
    assert not small.HasField("value")
    assert not small.HasField("r_squared")
    assert small.reason


async def test_no_steps_give_one_frame_of_the_initial_field(served: Any) -> None:
    frames = await frames_of(served, request(steps=0, field_encoding=FLOAT64))
    assert [(frame.step, frame.is_final) for frame in frames] == [(0, True)]
    initial = reference_mycelium(mycelium_spec(seed=42, grid_size=16), 0)
    assert frames[0].field.data == initial.field.tobytes()


async def test_an_empty_request_runs_the_default_model(served: Any) -> None:
    frames = await frames_of(served, pb.SimulateRequest())
    assert [(frame.step, frame.is_final) for frame in frames] == [(0, True)]
    named = pb.SimulateRequest(simulation=pb.SimulationSpec(model="mycelium", grid_size=64, seed=0))
    assert await frames_of(served, named) == frames
    assert served.charges == [("Simulate", 4096.0)] * 2


async def test_jitter_runs_the_model_with_noise(served: Any, mycelium_runs: list[dict[str, Any]]) -> None:
    run = next(run for run in mycelium_runs if run["jitter"])
    message = pb.SimulateRequest(
        simulation=pb.SimulationSpec(
            grid_size=run["grid_size"],
            seed=run["seed"],
            mycelium=pb.MyceliumParameters(
                alpha=run["alpha"],
                spike_probability=run["spike_probability"],
                turing_enabled=run["turing_enabled"],
                jitter=True,
            ),
        ),
        steps=run["steps"],
    )
    frame = (await frames_of(served, message))[-1]
    expected = run["expected"]
    assert frame.statistics.mean_volts * 1000.0 == pytest.approx(expected["pot_mean_mV"], rel=1e-12)
    assert frame.statistics.std_volts * 1000.0 == pytest.approx(expected["pot_std_mV"], rel=1e-12)
    assert frame.fractal_dimension == pytest.approx(expected["fractal_dimension"], rel=1e-12)


async def test_an_unknown_model_is_unimplemented_and_costs_nothing(served: Any) -> None:
    outcome = await served.open(
        SIMULATE, pb.SimulateRequest(simulation=pb.SimulationSpec(model="other_model"), steps=5)
    ).outcome()
    assert outcome.code is Code.UNIMPLEMENTED
    assert "'other_model'" in outcome.message
    assert "mycelium" in outcome.message
    assert served.charges == []


async def test_a_model_without_an_engine_is_unimplemented(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.backend, "supports", lambda spec: False)
    outcome = await served.open(SIMULATE, pb.SimulateRequest(steps=5)).outcome()
    assert outcome.code is Code.UNIMPLEMENTED
    assert "mycelium" in outcome.message


async def test_frames_are_paced_on_the_clock_of_the_loop(served: Any) -> None:
    loop = asyncio.get_running_loop()
    conversation = served.open(SIMULATE, request(steps=6, every=1, grid=4, max_frames_per_second=50.0))
    times = []
    for step in range(1, 7):
        assert (await conversation.next()).frame.step == step
        times.append(loop.time())
    assert (await conversation.outcome()).code is Code.OK
    assert times[-1] - times[0] >= 5 * 0.02 - 0.005  # six frames, five intervals: never faster than asked for


async def test_unstable_numbers_end_the_call_with_stable_details(served: Any) -> None:
    def spoil(state: FieldState) -> FieldState:
        field = state.field.copy()
        if state.step >= 10:
            field[2, 3] = np.nan
            field[0, 0] = np.inf
        return FieldState(step=state.step, field=field)

    served.backend.spoil = spoil
    replies, outcome = await served.open(SIMULATE, request(steps=20, every=5)).rest()
    assert [reply.frame.step for reply in replies] in ([5], [])  # frames of the job that failed are not sent
    assert outcome.code is Code.FAILED_PRECONDITION
    assert outcome.error.details == {"reason": "numerical_instability", "step": "10", "cells": "2"}
    unary = await served.unary("/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest(grid_size=8, steps=10))
    assert unary.code is Code.FAILED_PRECONDITION


def test_the_details_of_an_operation_are_flags_that_the_kernel_reads(served: Any) -> None:
    operation = served.dispatcher.operations[SIMULATE]
    assert operation.idempotent
    assert operation.deterministic
    assert operation.role == "read"
    assert not operation.public
    assert attrs.fields(type(operation)).cost is not None
