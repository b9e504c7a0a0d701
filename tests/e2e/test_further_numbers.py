"""Known numbers, over the wire: trainings, gradients, models by name, features of an uploaded field."""

from __future__ import annotations

import itertools
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
from mfn_model import MODELS, FieldSpec, reference
from mfn_model.features import extract_features
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import aggregation_pb2 as aggregation
from mfn_proto.v1 import field_pb2 as v1
from mfn_proto.v1 import model_pb2 as models

TRAINING: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "training_and_aggregation.json").read_text())
"""Validation trainings, and gradients combined by hierarchical Krum."""

FEATURES = "/mfn.MFNFeaturesService/ExtractFeatures"
MYCELIUM = "/mycelium.MyceliumService/Simulate"
VALIDATION, VALIDATION_W2 = "/mfn.MFNValidationService/ValidatePattern", "/mycelium.MyceliumService/Validate"
FEDERATED, AGGREGATE = (
    "/mycelium.MyceliumService/AggregateFederated",
    "/mfn.v1.AggregationService/AggregateGradients",
)
SIMULATE, ANALYZE = "/mfn.v1.FieldService/Simulate", "/mfn.v1.FieldService/AnalyzeField"
MODEL_LIST = "/mfn.v1.ModelService/ListModels"

LOSSES = ("loss_start", "loss_final", "loss_drop")


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)


async def replies(server: Deployment, client: RawClient, path: str, message: Any) -> tuple[bytes, ...]:
    ended = await exchange(client, path, [message.SerializeToString()], server.caller().headers(path, message))
    assert ended.status.ok, ended.status
    return ended.replies


async def reply(server: Deployment, client: RawClient, path: str, message: Any) -> bytes:
    (found,) = await replies(server, client, path, message)
    return found


async def uploaded(server: Deployment, client: RawClient, path: str, sent: list[Any]) -> bytes:
    """The one reply to a call whose client streams."""
    ended = await exchange(client, path, [each.SerializeToString() for each in sent], server.caller().sign(path, None))
    assert ended.status.ok, ended.status
    (found,) = ended.replies
    return found


# Validation trainings.


@pytest.mark.parametrize("row", TRAINING["trainings"], ids=lambda row: "-".join(map(str, row["request"].values())))
async def test_a_training_has_the_known_numbers(server: Deployment, client: RawClient, row: dict[str, Any]) -> None:
    request = w1.ValidationRequest(request_id="run", turing_enabled=True, **row["request"])
    found = w1.ValidationResult.FromString(await reply(server, client, VALIDATION, request))
    assert found.request_id == "run"
    for name, expected in row["result"].items():
        tolerance = 2e-6 if name in LOSSES else 1e-9
        assert math.isclose(getattr(found, name), expected, rel_tol=0.0, abs_tol=tolerance), name


async def test_every_transport_replies_with_the_same_bytes_to_trainings_and_gradients(server: Deployment) -> None:
    training = w1.ValidationRequest(request_id="run", seed=3, epochs=2, grid_size=16, steps=8, turing_enabled=True)
    short = w2.ValidateRequest(seed=3, epochs=2, grid_size=16)
    gradients = np.random.default_rng(1).normal(size=(40, 5))
    federated = w2.FederatedAggregateRequest(gradients=[w2.Gradient(values=row) for row in gradients])
    for path, message in ((VALIDATION, training), (VALIDATION_W2, short), (FEDERATED, federated)):
        found = set()
        for transport in TRANSPORTS:
            async with RawClient(server.address(transport)) as client:
                found.add(await replies(server, client, path, message))
        assert len(found) == 1, path


# Gradients.


def gradients_of(row: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = np.random.default_rng(row["seed"]).normal(0.0, 1.0, (row["clients"], row["dimension"]))
    found[: row["outliers"]] += 1000.0
    return found


def upload(gradients: np.ndarray[Any, Any], method: str, cell: str = "<f8", **options: Any) -> list[Any]:
    """The messages of an upload, each gradient cut into three."""
    header = aggregation.AggregateGradientsHeader(
        request_id="run",
        clients=gradients.shape[0],
        coordinates=gradients.shape[1],
        type=1 if cell == "<f8" else 2,  # type: ignore[arg-type] # its number
        method=f"AGGREGATION_METHOD_{method}",
        **options,
    )
    sent = [aggregation.AggregateGradientsRequest(header=header)]
    for client, row in enumerate(gradients):
        data = row.astype(cell).tobytes()
        cuts = (0, len(data) // 3, len(data) // 2, len(data))
        sent += [
            aggregation.AggregateGradientsRequest(chunk=aggregation.GradientChunk(client=client, data=data[first:last]))
            for first, last in itertools.pairwise(cuts)
            if last > first
        ]
    return sent


@pytest.mark.parametrize("row", TRAINING["aggregations"], ids=lambda row: f"{row['clients']}x{row['dimension']}")
async def test_gradients_have_the_known_aggregate(server: Deployment, client: RawClient, row: dict[str, Any]) -> None:
    gradients, options = gradients_of(row), {name: row[name] for name in ("num_clusters", "byzantine_fraction")}
    request = w2.FederatedAggregateRequest(gradients=[w2.Gradient(values=each) for each in gradients], **options)
    found = w2.FederatedAggregateResponse.FromString(await reply(server, client, FEDERATED, request))
    assert np.allclose(found.aggregated_gradient, row["aggregated"], rtol=1e-12, atol=1e-14)
    assert found.num_accepted + found.num_rejected == row["clients"]
    assert 0 < found.num_accepted <= row["num_clusters"]
    streamed = aggregation.AggregateGradientsResponse.FromString(
        await uploaded(server, client, AGGREGATE, upload(gradients, "HIERARCHICAL_KRUM", **options))
    )
    assert np.frombuffer(streamed.gradient, "<f8").tolist() == list(found.aggregated_gradient)
    assert (len(streamed.accepted), len(streamed.rejected)) == (found.num_accepted, found.num_rejected)


@pytest.mark.parametrize("cell", ["<f8", "<f4"])
async def test_a_long_gradient_is_aggregated_in_its_own_type(server: Deployment, client: RawClient, cell: str) -> None:
    gradients = np.random.default_rng(6).normal(1.0, 0.1, (11, 20_000)).astype(cell)
    gradients[9:] = -1000.0
    found = aggregation.AggregateGradientsResponse.FromString(
        await uploaded(server, client, AGGREGATE, upload(gradients, "TRIMMED_MEAN", cell, byzantine=2))
    )
    ordered = np.sort(gradients.astype(np.float64), axis=0)[2:-2]
    assert np.allclose(np.frombuffer(found.gradient, cell), ordered.mean(axis=0), rtol=1e-6 if cell == "<f4" else 1e-12)


# Models by name.


async def test_every_model_is_listed_with_its_parameters(server: Deployment, client: RawClient) -> None:
    found = models.ListModelsResponse.FromString(await reply(server, client, MODEL_LIST, models.ListModelsRequest()))
    assert {model.name for model in found.models} >= set(MODELS)
    for model in found.models:
        if model.name in MODELS:
            assert [each.name for each in model.parameters] == [each.name for each in MODELS[model.name].parameters]
            assert model.computed


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_a_model_by_name_has_the_field_of_its_plain_evaluation(
    server: Deployment, client: RawClient, name: str
) -> None:
    historic = {"spike_probability": 0.0, "turing_enabled": False} if name in ("mycelium", "mycelium_rd") else {}
    spec = FieldSpec(model=name, grid_size=16, seed=5, parameters=historic)
    state, field = reference(spec, 12), MODELS[name].species[0].name
    species = [each.name for each in spec.declaration.present(spec.parameters)]
    request = v1.SimulateRequest(
        simulation=v1.SimulationSpec(model=name, grid_size=16, seed=5),
        steps=12,
        frames=v1.FrameOptions(
            every_n_steps=12, field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN, species=species
        ),
    )
    frame = v1.SimulateResponse.FromString(await reply(server, client, SIMULATE, request)).frame
    assert [each.name for each in frame.species] == species
    for each in frame.species:
        expected = state.field if each.name == field else state.species[each.name]
        assert np.allclose(np.frombuffer(each.field.data, "<f8").reshape(16, 16), expected, rtol=1e-12, atol=1e-15)
        assert close(each.mean, float(expected.mean()))
    assert frame.growth_events == state.growth_events


async def test_potentials_of_models_by_name_are_told_in_millivolts_by_both_packages(
    server: Deployment, client: RawClient
) -> None:
    spec = FieldSpec(
        model="mycelium_turing", grid_size=24, seed=2, parameters={"alpha": 0.1, "leak": 0.02, "turing_enabled": True}
    )
    expected = reference(spec, 30).field
    features = w1.FeatureRequest(
        seed=2,
        grid_size=24,
        steps=30,
        alpha=0.1,
        turing_enabled=True,
        model="mycelium_turing",
        parameters={"leak": 0.02},
    )
    found = w1.FeatureResponse.FromString(await reply(server, client, FEATURES, features))
    assert close(found.pot_mean_mV, float(expected.mean()) * 1000.0)
    run = w2.SimulateRequest(
        seed=2,
        grid_size=24,
        steps=30,
        alpha=0.1,
        turing_enabled=True,
        model="mycelium_turing",
        parameters={"leak": 0.02},
    )
    described = w2.SimulateResponse.FromString(await reply(server, client, MYCELIUM, run))
    assert close(described.field_stats.mean, float(expected.mean()))
    training = w1.ValidationRequest(seed=2, grid_size=8, steps=4, model="mycelium", parameters={"alpha": 0.18})
    plain = w1.ValidationRequest(seed=2, grid_size=8, steps=4)
    assert await reply(server, client, VALIDATION, training) == await reply(server, client, VALIDATION, plain)


# Features of an uploaded field.


async def test_features_of_a_rectangle_are_those_of_the_mathematics(server: Deployment, client: RawClient) -> None:
    field = np.random.default_rng(9).normal(-0.062, 0.01, (48, 80))
    header = v1.AnalyzeFieldHeader(shape=field.shape, encoding=2, features=v1.FeatureOptions())  # type: ignore[arg-type]
    sent = [v1.AnalyzeFieldRequest(header=header), v1.AnalyzeFieldRequest(chunk=field.tobytes())]
    found = v1.AnalyzeFieldResponse.FromString(await uploaded(server, client, ANALYZE, sent))
    expected = extract_features(field)
    undefined = dict(expected.undefined)
    for told in found.features[:18]:
        assert told.HasField("value") == (told.name not in undefined), told.name
        if told.name not in undefined:
            assert close(told.value, float(expected.as_dict()[told.name])), told.name
    assert [each.name for each in found.dimensions] == ["nested_boxes", "offset_averaged", "information", "correlation"]
    assert all(each.interval_low <= each.value <= each.interval_high for each in found.dimensions)
