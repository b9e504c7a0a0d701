"""Known numbers, over the wire: every reply of every operation on every transport."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import Deployment
from mfn_e2e.installed import TRANSPORTS
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1

ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "mycelium_fields.json").read_text())
"""Inputs and what the model must give for them; `diagonal_V` are eight cells of the diagonal, evenly apart."""

QUIET = [row for row in ROWS if not row["input"]["quantum_jitter"]]
"""Package `mfn` has no jitter."""

PACKAGE_MYCELIUM: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "package_mycelium.json").read_text())
"""A run of package `mycelium`, and potentials."""

FEATURES = "/mfn.MFNFeaturesService/ExtractFeatures"
FEATURE_STREAM = "/mfn.MFNFeaturesService/StreamFeatures"
SIMULATION = "/mfn.MFNSimulationService/RunSimulation"
SIMULATION_STREAM = "/mfn.MFNSimulationService/StreamSimulation"
MYCELIUM, MYCELIUM_STREAM, NERNST = (
    f"/mycelium.MyceliumService/{name}" for name in ("Simulate", "SimulateStream", "ComputeNernst")
)
SIMULATE = "/mfn.v1.FieldService/Simulate"

MILLIVOLTS = ("pot_min_mV", "pot_max_mV", "pot_mean_mV", "pot_std_mV")


def name_of(row: dict[str, Any]) -> str:
    given = row["input"]
    return "-".join(str(given[key]) for key in ("seed", "grid_size", "steps", "turing_enabled"))


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)


def parameters(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("seed", "grid_size", "steps", "alpha", "spike_probability", "turing_enabled")}


def stream_parameters(given: dict[str, Any], steps_per_frame: int) -> dict[str, Any]:
    found = parameters(given)
    found["total_steps"] = found.pop("steps")
    return {**found, "steps_per_frame": steps_per_frame}


def simulate_request(given: dict[str, Any], **frames: Any) -> v1.SimulateRequest:
    return v1.SimulateRequest(
        request_id="run",
        simulation=v1.SimulationSpec(
            grid_size=given["grid_size"],
            seed=given["seed"],
            mycelium=v1.MyceliumParameters(
                alpha=given["alpha"],
                spike_probability=given["spike_probability"],
                turing_enabled=given["turing_enabled"],
                jitter=given["quantum_jitter"],
            ),
        ),
        steps=given["steps"],
        frames=v1.FrameOptions(**frames),
    )


async def replies(server: Deployment, client: RawClient, path: str, message: Any) -> tuple[bytes, ...]:
    ended = await exchange(client, path, [message.SerializeToString()], server.caller().headers(path, message))
    assert ended.status.ok, ended.status
    return ended.replies


async def reply(server: Deployment, client: RawClient, path: str, message: Any) -> bytes:
    (found,) = await replies(server, client, path, message)
    return found


@pytest.mark.parametrize("row", QUIET, ids=name_of)
async def test_unary_replies_have_the_known_numbers(server: Deployment, client: RawClient, row: dict[str, Any]) -> None:
    expected = row["output"]
    given = parameters(row["input"])
    features = w1.FeatureResponse.FromString(
        await reply(server, client, FEATURES, w1.FeatureRequest(request_id="run", **given))
    )
    result = w1.SimulationResult.FromString(
        await reply(server, client, SIMULATION, w1.SimulationRequest(request_id="run", **given))
    )
    for found in (features, result):
        assert found.request_id == "run"
        assert found.growth_events == expected["growth_events"]
        for name in (*MILLIVOLTS, "fractal_dimension"):
            assert close(getattr(found, name), expected[name]), name
    assert set(features.meta.meta) >= {"server", "version"}


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_a_simulated_field_has_the_known_numbers(
    server: Deployment, client: RawClient, row: dict[str, Any]
) -> None:
    expected, size = row["output"], row["input"]["grid_size"]
    request = simulate_request(
        row["input"],
        every_n_steps=max(1, row["input"]["steps"]),
        field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN,
    )
    frame = v1.SimulateResponse.FromString(await reply(server, client, SIMULATE, request)).frame
    assert (frame.request_id, frame.step, frame.is_final) == ("run", row["input"]["steps"], True)
    assert frame.growth_events == expected["growth_events"]
    assert close(frame.fractal_dimension, expected["fractal_dimension"])
    for name, volts in zip(MILLIVOLTS, ("min_volts", "max_volts", "mean_volts", "std_volts"), strict=True):
        assert close(getattr(frame.statistics, volts) * 1000.0, expected[name]), volts
    assert (tuple(frame.field.shape), frame.field.unit) == ((size, size), "V")
    field = np.frombuffer(frame.field.data, "<f8").reshape(size, size)
    assert close(float(field[0, 0]), expected["corner_V"])
    for k, volts_there in enumerate(expected["diagonal_V"]):
        cell = k * size // len(expected["diagonal_V"])
        assert close(float(field[cell, cell]), volts_there), cell
    assert close(float(field.min()) * 1000.0, expected["pot_min_mV"])


@pytest.mark.parametrize("row", QUIET, ids=name_of)
async def test_every_transport_replies_with_the_same_bytes(server: Deployment, row: dict[str, Any]) -> None:
    given = parameters(row["input"])
    found: dict[str, set[tuple[bytes, ...]]] = {}
    for transport in TRANSPORTS:
        async with RawClient(server.address(transport)) as client:
            for path, message in (
                (FEATURES, w1.FeatureRequest(request_id="run", **given)),
                (SIMULATION, w1.SimulationRequest(request_id="run", **given)),
                (SIMULATE, simulate_request(row["input"], field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)),
            ):
                found.setdefault(path, set()).add(await replies(server, client, path, message))
    assert {path: len(different) for path, different in found.items()} == {FEATURES: 1, SIMULATION: 1, SIMULATE: 1}


@pytest.mark.parametrize("steps_per_frame", [1, 7, 13, 10_000])
@pytest.mark.parametrize("row", [row for row in QUIET if 0 < row["input"]["steps"] <= 64], ids=name_of)
async def test_the_last_frame_of_a_stream_is_the_unary_result_bit_for_bit(
    server: Deployment, client: RawClient, row: dict[str, Any], steps_per_frame: int
) -> None:
    given, steps = row["input"], row["input"]["steps"]
    unary = w1.FeatureResponse.FromString(await reply(server, client, FEATURES, w1.FeatureRequest(**parameters(given))))
    spaced = stream_parameters(given, steps_per_frame)
    features = [
        w1.FeatureFrame.FromString(raw)
        for raw in await replies(server, client, FEATURE_STREAM, w1.FeatureStreamRequest(**spaced))
    ]
    simulated = [
        w1.SimulationFrame.FromString(raw)
        for raw in await replies(server, client, SIMULATION_STREAM, w1.SimulationStreamRequest(**spaced))
    ]
    expected_steps = [*range(steps_per_frame, steps, steps_per_frame), steps]
    for frames, names in (
        (features, (*MILLIVOLTS, "growth_events", "fractal_dimension")),
        (simulated, (*MILLIVOLTS, "growth_events")),
    ):
        assert [frame.step for frame in frames] == expected_steps
        assert [frame.is_final for frame in frames] == [False] * (len(frames) - 1) + [True]
        for name in names:
            assert getattr(frames[-1], name) == getattr(unary, name), name


@pytest.mark.parametrize("row", [row for row in ROWS if row["input"]["grid_size"] <= 64], ids=name_of)
async def test_a_float32_field_is_the_float64_field_rounded(
    server: Deployment, client: RawClient, row: dict[str, Any]
) -> None:
    fields = {}
    for encoding, cell in (
        (v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN, "<f8"),
        (v1.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN, "<f4"),
    ):
        request = simulate_request(row["input"], every_n_steps=10_000, field_encoding=encoding)
        frame = v1.SimulateResponse.FromString(await reply(server, client, SIMULATE, request)).frame
        assert frame.field.encoding == encoding
        fields[cell] = np.frombuffer(frame.field.data, cell)
    assert np.array_equal(fields["<f8"].astype("<f4"), fields["<f4"])
    assert not np.array_equal(fields["<f8"], fields["<f4"].astype("<f8"))


async def test_a_run_of_package_mycelium_has_the_known_numbers(server: Deployment, client: RawClient) -> None:
    expected = PACKAGE_MYCELIUM["numbers"]
    request = w2.SimulateRequest(**PACKAGE_MYCELIUM["run"])
    result = w2.SimulateResponse.FromString(await reply(server, client, MYCELIUM, request))
    assert result.growth_events == expected["growth_events"]
    assert close(result.fractal_dimension, expected["fractal_dimension"])
    for name in ("min", "max", "mean", "std"):
        assert close(getattr(result.field_stats, name) * 1000.0, expected[f"pot_{name}_mV"]), name
    updates = [w2.SimulationUpdate.FromString(raw) for raw in await replies(server, client, MYCELIUM_STREAM, request)]
    assert [update.step for update in updates] == list(range(request.steps))
    assert [update.completed for update in updates] == [False] * (request.steps - 1) + [True]
    assert [update.pot_mean_mV for update in updates] == [volts * 1000.0 for volts in result.field_mean]
    assert [update.pot_std_mV for update in updates] == [volts * 1000.0 for volts in result.field_std]
    assert updates[-1].growth_events == result.growth_events


async def test_every_transport_replies_with_the_same_bytes_in_package_mycelium(server: Deployment) -> None:
    request = w2.SimulateRequest(seed=3, grid_size=48, steps=20, alpha=0.12)
    for path in (MYCELIUM, MYCELIUM_STREAM):
        found = set()
        for transport in TRANSPORTS:
            async with RawClient(server.address(transport)) as client:
                found.add(await replies(server, client, path, request))
        assert len(found) == 1, path


@pytest.mark.parametrize("row", PACKAGE_MYCELIUM["nernst"], ids=lambda row: f"{row['potential_mV']:.3f}")
async def test_potentials_have_the_known_numbers(server: Deployment, client: RawClient, row: dict[str, Any]) -> None:
    request = w2.NernstRequest(**{name: value for name, value in row.items() if name != "potential_mV"})
    found = w2.NernstResponse.FromString(await reply(server, client, NERNST, request))
    assert close(found.potential_mV, row["potential_mV"])
