"""Every numeric field of every operation, out of its bounds: INVALID_ARGUMENT that names it, and nothing computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from mfn_core import Code
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1

FIELDS = "/mfn.v1.FieldService/"
NAN, INFINITE = math.nan, math.inf

SEED = ("seed", (-1, -(2**31)))
GRID = ("grid_size", (0, -1, 3, 129, 2**31 - 1, -(2**31)))
ALPHA = ("alpha", (0.0, -0.1, 0.2500001, 1e300, NAN, INFINITE, -INFINITE))
PROBABILITY = ("spike_probability", (-0.001, 1.001, NAN, INFINITE, -INFINITE))
STEPS = ("steps", (-1, 1001, 2**31 - 1))
TOTAL = ("total_steps", (0, -1, 1001, 2**31 - 1))
EVERY = ("steps_per_frame", (-1, -(2**31)))
UNARY = (SEED, GRID, STEPS, ALPHA, PROBABILITY)
PACE = ("max_frames_per_second", (-0.5, NAN, INFINITE, -INFINITE))
STREAM = (SEED, GRID, TOTAL, EVERY, ALPHA, PROBABILITY, PACE)
VALIDATION = (SEED, GRID, STEPS, ("epochs", (0, -1, 1001, 2**31 - 1)), ("batch_size", (0, -1, -(2**31))))
MYCELIUM = "/mycelium.MyceliumService/"
W2_VALIDATION = (SEED, GRID, ("epochs", (0, -1, 1001, 2**31 - 1)))
W2_RUN = (
    SEED,
    GRID,
    ("steps", (0, -1, 1001, 2**31 - 1)),
    ("alpha", (0.0, 0.0499999, 0.25, -0.18, 1e300, NAN, INFINITE, -INFINITE)),
    ("gamma", (1e-300, 0.5, -1.0, NAN, INFINITE, -INFINITE)),
)
CONCENTRATION = (0.0, -0.0, -1e-300, -0.1, NAN, INFINITE, -INFINITE)
NERNST = (
    ("z_valence", (0, 3, -3, 2**31 - 1, -(2**31))),
    ("concentration_out_molar", CONCENTRATION),
    ("concentration_in_molar", CONCENTRATION),
    ("temperature_k", (0.0, -310.0, 37.0, 272.99, 373.01, 1e300, NAN, INFINITE, -INFINITE)),
)


def simulation(**fields: Any) -> v1.SimulationSpec:
    own = {name: fields.pop(name) for name in ("alpha", "spike_probability") if name in fields}
    return v1.SimulationSpec(mycelium=v1.MyceliumParameters(**own), **fields)


def cases() -> Iterator[Any]:
    for path, request_type, fields in (
        ("/mfn.MFNFeaturesService/ExtractFeatures", w1.FeatureRequest, UNARY),
        ("/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest, UNARY),
        ("/mfn.MFNFeaturesService/StreamFeatures", w1.FeatureStreamRequest, STREAM),
        ("/mfn.MFNSimulationService/StreamSimulation", w1.SimulationStreamRequest, STREAM),
        ("/mfn.MFNValidationService/ValidatePattern", w1.ValidationRequest, VALIDATION),
        (MYCELIUM + "Validate", w2.ValidateRequest, W2_VALIDATION),
    ):
        for name, values in fields:
            for value in values:
                yield case(path, request_type(**{name: value}), name, value)
    for method in ("Simulate", "SimulateStream"):
        for name, values in W2_RUN:
            for value in values:
                yield case(MYCELIUM + method, w2.SimulateRequest(**{name: value}), name, value)
    ion = {"z_valence": 1, "concentration_out_molar": 0.005, "concentration_in_molar": 0.14, "temperature_k": 310.0}
    for name, values in NERNST:
        for value in values:
            yield case(MYCELIUM + "ComputeNernst", w2.NernstRequest(**{**ion, name: value}), name, value)
    for name, values in (SEED, GRID):
        for value in values:
            request = v1.SimulateRequest(simulation=simulation(**{name: value}))
            yield case(FIELDS + "Simulate", request, f"simulation.{name}", value)
            start = v1.SteerSimulationRequest(start=v1.StartCommand(simulation=simulation(**{name: value})))
            yield case(FIELDS + "SteerSimulation", start, f"start.simulation.{name}", value)
    for name, values in (ALPHA, PROBABILITY):
        for value in values:
            request = v1.SimulateRequest(simulation=simulation(**{name: value}))
            yield case(FIELDS + "Simulate", request, f"simulation.mycelium.{name}", value)
            start = v1.SteerSimulationRequest(start=v1.StartCommand(simulation=simulation(**{name: value})))
            yield case(FIELDS + "SteerSimulation", start, f"start.simulation.mycelium.{name}", value)
    for value in STEPS[1]:
        yield case(FIELDS + "Simulate", v1.SimulateRequest(steps=value), "steps", value)
    for value in TOTAL[1]:
        start = v1.SteerSimulationRequest(start=v1.StartCommand(total_steps=value))
        yield case(FIELDS + "SteerSimulation", start, "start.total_steps", value)
    for name, values in (
        ("every_n_steps", (0, -1)),
        ("max_frames_per_second", (-0.5, NAN, INFINITE, -INFINITE)),
        ("field_encoding", (4, -1)),
    ):
        for value in values:
            frames = v1.FrameOptions(**{name: value})
            yield case(FIELDS + "Simulate", v1.SimulateRequest(frames=frames), f"frames.{name}", value)
            start = v1.SteerSimulationRequest(start=v1.StartCommand(frames=frames))
            yield case(FIELDS + "SteerSimulation", start, f"start.frames.{name}", value)
    resume = v1.ResumeSessionCommand(session_id="x", last_step=-1)
    request = v1.SteerSimulationRequest(resume_session=resume)
    yield case(FIELDS + "SteerSimulation", request, "resume_session.last_step", -1)
    for value in (0, 2**62 + 1, 2**63 - 1):
        request = v1.SteerSimulationRequest(sequence=value, start=v1.StartCommand())
        yield case(FIELDS + "SteerSimulation", request, "sequence", value)
    for shape in ((0, 0), (129, 129), (4, 129), (129, 4), (65537, 65537), (4,), (4, 4, 4), ()):
        header = v1.AnalyzeFieldHeader(shape=shape, encoding=2)
        yield case(FIELDS + "AnalyzeField", v1.AnalyzeFieldRequest(header=header), "header.shape", shape)
    for value in (0, 1, 4):
        header = v1.AnalyzeFieldHeader(shape=(4, 4), encoding=value)
        yield case(FIELDS + "AnalyzeField", v1.AnalyzeFieldRequest(header=header), "header.encoding", value)
    for value in (NAN, INFINITE, -INFINITE):
        header = v1.AnalyzeFieldHeader(shape=(4, 4), encoding=2, threshold_volts=value)
        yield case(FIELDS + "AnalyzeField", v1.AnalyzeFieldRequest(header=header), "header.threshold_volts", value)
        for name in ("value", "percentile"):
            header = v1.AnalyzeFieldHeader(shape=(4, 4), encoding=2, threshold=v1.Threshold(**{name: value}))
            request = v1.AnalyzeFieldRequest(header=header)
            yield case(FIELDS + "AnalyzeField", request, f"header.threshold.{name}", value)
        frames = v1.FrameOptions(threshold=value)
        yield case(FIELDS + "Simulate", v1.SimulateRequest(frames=frames), "frames.threshold", value)
    for block in (0, 1, 4, -3, 65537):
        local = v1.Threshold(adaptive=v1.AdaptiveThreshold(block=block))
        header = v1.AnalyzeFieldHeader(shape=(4, 4), encoding=2, threshold=local)
        request = v1.AnalyzeFieldRequest(header=header)
        yield case(FIELDS + "AnalyzeField", request, "header.threshold.adaptive.block", block)
    for connectivity in (0, 6):
        header = v1.AnalyzeFieldHeader(shape=(4, 4), encoding=2, features=v1.FeatureOptions(connectivity=connectivity))
        request = v1.AnalyzeFieldRequest(header=header)
        yield case(FIELDS + "AnalyzeField", request, "header.features.connectivity", connectivity)


def case(path: str, request: Any, field: str, value: object) -> Any:
    return pytest.param(path, request, field, id=f"{path.rpartition('/')[2]}-{field}={value}")


@pytest.mark.parametrize(("path", "request_message", "field"), list(cases()))
async def test_a_value_out_of_bounds_is_refused_by_name(
    served: Any, path: str, request_message: Any, field: str
) -> None:
    if served.dispatcher.operations[path].shape.client_streams:
        conversation = served.open(path)
        conversation.send(request_message)
        conversation.half_close()
        outcome = await conversation.outcome()
    else:
        outcome = await served.open(path, request_message).outcome()
    assert outcome.code is Code.INVALID_ARGUMENT
    named = [violation.field.partition("[")[0] for violation in outcome.error.violations]
    assert named == [field] or set(named) == {field}
    assert all("got " in violation.description for violation in outcome.error.violations)
    assert all("; " in violation.description for violation in outcome.error.violations)
    assert served.charges == []
    assert served.backend.sessions == []


async def test_every_field_at_fault_is_named_at_once(served: Any) -> None:
    request = w1.FeatureRequest(seed=-1, grid_size=500, steps=5000, alpha=math.nan, spike_probability=2)
    outcome = await served.unary("/mfn.MFNFeaturesService/ExtractFeatures", request)
    assert {violation.field for violation in outcome.error.violations} == {
        "seed",
        "grid_size",
        "steps",
        "alpha",
        "spike_probability",
    }
    assert outcome.error.details == {"limit": "max_grid,max_steps"}


@pytest.mark.parametrize(
    ("fields", "limit", "text"),
    [
        ({"grid_size": 3}, "min_grid", "got 3, this server takes at least 4 (server.min_grid); ask for a larger grid"),
        (
            {"grid_size": 129},
            "max_grid",
            "got 129, this server takes at most 128 (server.max_grid); ask for a smaller grid",
        ),
        (
            {"steps": 1001},
            "max_steps",
            "got 1001, this server takes at most 1000 (server.max_steps); ask for fewer steps",
        ),
        (
            {"grid_size": 128, "steps": 611},
            "max_cell_steps",
            "got 611, which on 128 x 128 cells is 10010624 cell-steps, and this server takes at most 10000000 "
            "(server.max_cell_steps); ask for at most 610 steps, or for a smaller grid",
        ),
    ],
)
async def test_a_limit_of_the_server_is_named_with_its_remedy(
    served: Any, fields: dict[str, int], limit: str, text: str
) -> None:
    outcome = await served.unary("/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest(**fields))
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.description for violation in outcome.error.violations] == [text]
    assert outcome.error.details == {"limit": limit}


async def test_the_limits_themselves_are_allowed(served: Any) -> None:
    run = "/mfn.MFNSimulationService/RunSimulation"
    for fields in ({"grid_size": 4, "steps": 1000}, {"grid_size": 128, "steps": 1}, {"alpha": 0.25}):
        await served.reply(run, w1.SimulationRequest(spike_probability=1.0, **fields))
    await served.reply(run, w1.SimulationRequest(grid_size=100, steps=1000))  # 10,000,000 cell-steps


@pytest.mark.parametrize("length", [129, 5000])
async def test_a_long_request_id_is_refused(served: Any, length: int) -> None:
    outcome = await served.unary(
        "/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest(request_id="x" * length)
    )
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == ["request_id"]


async def test_a_default_outside_the_limits_of_the_server_is_refused(serve: Any) -> None:
    served = serve(max_grid=32)
    outcome = await served.unary("/mfn.MFNSimulationService/RunSimulation", w1.SimulationRequest())
    assert outcome.code is Code.INVALID_ARGUMENT
    assert outcome.error.violations[0].field == "grid_size"
    assert outcome.error.violations[0].description.startswith("got 64, ")
