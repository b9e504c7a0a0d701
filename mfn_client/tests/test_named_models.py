"""Models by name: what the SDK sends of them, and what it makes of frames in other units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mfn_client import MFNClient, Model, ModelParameter, ModelSpecies, SpeciesFrame, SpeciesStatistics
from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.v1 import field_pb2, model_pb2

SIMULATE = "/mfn.v1.FieldService/Simulate"

OPERATIONS: dict[str, tuple[str, Any, Any]] = {
    "extract_features": ("mfn.MFNFeaturesService/ExtractFeatures", mfn_pb2.FeatureRequest, mfn_pb2.FeatureResponse),
    "run_simulation": ("mfn.MFNSimulationService/RunSimulation", mfn_pb2.SimulationRequest, mfn_pb2.SimulationResult),
    "stream_features": ("mfn.MFNFeaturesService/StreamFeatures", mfn_pb2.FeatureStreamRequest, mfn_pb2.FeatureFrame),
    "stream_simulation": (
        "mfn.MFNSimulationService/StreamSimulation",
        mfn_pb2.SimulationStreamRequest,
        mfn_pb2.SimulationFrame,
    ),
    "validate_pattern": (
        "mfn.MFNValidationService/ValidatePattern",
        mfn_pb2.ValidationRequest,
        mfn_pb2.ValidationResult,
    ),
    "simulate_history": (
        "mycelium.MyceliumService/Simulate",
        mycelium_pb2.SimulateRequest,
        mycelium_pb2.SimulateResponse,
    ),
    "stream_history": (
        "mycelium.MyceliumService/SimulateStream",
        mycelium_pb2.SimulateRequest,
        mycelium_pb2.SimulationUpdate,
    ),
    "validate": ("mycelium.MyceliumService/Validate", mycelium_pb2.ValidateRequest, mycelium_pb2.ValidateResponse),
}


async def asked(server: Any, client: MFNClient, method: str, **arguments: Any) -> Any:
    """The request that a method sends."""
    path, request_type, reply_type = OPERATIONS[method]

    async def handle(call: Any) -> None:
        reply = reply_type()
        if "request_id" in reply_type.DESCRIPTOR.fields_by_name:
            reply.request_id = request_type.FromString(call.first).request_id
        await call.write(reply)

    server.serve(f"/{path}", handle)
    result = getattr(client, method)(**arguments)
    if "stream" in method:
        assert len([each async for each in result]) == 1
    else:
        await result
    return request_type.FromString(server.calls[-1].first)


@pytest.mark.parametrize("method", OPERATIONS)
async def test_a_model_and_its_parameters_are_sent_by_name(server: Any, client: MFNClient, method: str) -> None:
    request = await asked(server, client, method, model="mycelium_turing", parameters={"leak": 0.02, "jitter": True})
    assert request.model == "mycelium_turing"
    assert dict(request.parameters) == {"leak": 0.02, "jitter": 1.0}
    for name in ("alpha", "spike_probability"):
        if name in type(request).DESCRIPTOR.fields_by_name:
            assert not request.HasField(name), f"{name} is left to the model"


@pytest.mark.parametrize("method", OPERATIONS)
async def test_without_a_model_none_is_sent(server: Any, client: MFNClient, method: str) -> None:
    request = await asked(server, client, method)
    assert not request.HasField("model")
    assert not request.parameters
    if "alpha" in type(request).DESCRIPTOR.fields_by_name:
        assert request.alpha == 0.18


async def test_what_is_given_is_sent_for_any_model(server: Any, client: MFNClient) -> None:
    request = await asked(
        server, client, "extract_features", model="other", alpha=0.1, spike_probability=0.0, turing_enabled=False
    )
    assert (request.alpha, request.spike_probability, request.turing_enabled) == (0.1, 0.0, False)
    assert request.HasField("spike_probability")
    historic = await asked(server, client, "run_simulation", model="mycelium_rd")
    assert (historic.alpha, historic.spike_probability, historic.turing_enabled) == (0.18, 0.25, True)


async def simulated(server: Any, client: MFNClient, reply: field_pb2.Frame, **arguments: Any) -> tuple[Any, Any]:
    """The simulation that `simulate` asks for, and the frame that it makes of the reply."""

    async def handle(call: Any) -> None:
        reply.request_id = field_pb2.SimulateRequest.FromString(call.first).request_id
        await call.write(field_pb2.SimulateResponse(frame=reply))

    server.serve(SIMULATE, handle)
    (frame,) = [frame async for frame in client.simulate(**arguments)]
    return field_pb2.SimulateRequest.FromString(server.calls[-1].first), frame


async def test_a_simulation_of_another_model_says_everything_by_name(server: Any, client: MFNClient) -> None:
    request, _ = await simulated(
        server,
        client,
        field_pb2.Frame(),
        model="gray_scott",
        boundary="neumann",
        parameters={"feed": 0.03},
        species=["substrate", "autocatalyst"],
        threshold=0.2,
    )
    assert request.simulation == field_pb2.SimulationSpec(
        model="gray_scott", seed=42, grid_size=64, boundary="neumann", parameter_values={"feed": 0.03}
    )
    assert list(request.frames.species) == ["substrate", "autocatalyst"]
    assert request.frames.threshold == 0.2
    request, _ = await simulated(server, client, field_pb2.Frame(), model="mycelium_turing", alpha=0.1, jitter=True)
    assert dict(request.simulation.parameter_values) == {"alpha": 0.1, "jitter": 1.0}
    assert not request.simulation.HasField("mycelium")


async def test_a_simulation_of_a_historic_model_has_the_defaults_of_the_sdk(server: Any, client: MFNClient) -> None:
    request, _ = await simulated(
        server,
        client,
        field_pb2.Frame(),
        model="mycelium_rd",
        alpha=0.1,
        parameters={"spike_probability": 0.5, "d_inhibitor": 0.2},
    )
    assert request.simulation.mycelium == field_pb2.MyceliumParameters(
        alpha=0.1, spike_probability=0.5, turing_enabled=True, jitter=False
    )
    assert dict(request.simulation.parameter_values) == {"d_inhibitor": 0.2}


async def test_what_is_given_twice_or_cannot_be_a_list_is_refused(client: MFNClient) -> None:
    with pytest.raises(ValueError, match="alpha is given twice, as an argument and in parameters"):
        client.simulate(model="other", alpha=0.1, parameters={"alpha": 0.2})
    with pytest.raises(ValueError, match="species are names in a list, got the text 'substrate'"):
        client.simulate(species="substrate")


async def test_a_frame_in_another_unit_has_no_volts(server: Any, client: MFNClient) -> None:
    values = np.arange(9.0).reshape(3, 3)
    encoded = field_pb2.Field(data=values.tobytes(), encoding=2, shape=[3, 3], unit="1")
    described = field_pb2.SpeciesFrame(name="substrate", unit="1", min=0.0, max=8.0, mean=4.0, std=2.5, field=encoded)
    _, frame = await simulated(server, client, field_pb2.Frame(species=[described]), model="gray_scott")
    assert all(math.isnan(each) for each in (frame.statistics.mean_volts, frame.statistics.max_mv))
    assert frame.unit == "1"
    (species,) = frame.species
    assert species == SpeciesFrame(
        statistics=SpeciesStatistics(name="substrate", unit="1", min=0.0, max=8.0, mean=4.0, std=2.5), field=values
    )
    assert species.field is not None
    assert not species.field.flags.writeable


async def test_models_are_listed_and_described(server: Any, client: MFNClient) -> None:
    message = model_pb2.Model(
        name="decay",
        summary="decays",
        species=[
            model_pb2.Species(
                name="potential",
                unit="V",
                description="p",
                symbol="v",
                when="on",
                minimum=-0.1,
                initial="0",
                outside="0",
            )
        ],
        parameters=[
            model_pb2.Parameter(name="on", kind=model_pb2.PARAMETER_KIND_SWITCH, default_value=1.0, unit="1"),
            model_pb2.Parameter(
                name="rate", kind=model_pb2.PARAMETER_KIND_NUMBER, minimum=0.0, minimum_exclusive=True, maximum=1.0
            ),
        ],
        boundaries=["periodic", "neumann"],
        equations=["v <- v + -rate * v"],
        source="nowhere",
        computed=True,
        potential=True,
    )

    async def listed(call: Any) -> None:
        await call.write(model_pb2.ListModelsResponse(models=[message, model_pb2.Model(name="other")]))

    async def described(call: Any) -> None:
        assert model_pb2.DescribeModelRequest.FromString(call.first).name == "decay"
        await call.write(model_pb2.DescribeModelResponse(model=message))

    server.serve("/mfn.v1.ModelService/ListModels", listed)
    server.serve("/mfn.v1.ModelService/DescribeModel", described)
    first, second = await client.list_models(request_id="mine")
    assert server.calls[-1].header("x-request-id") == "mine"
    assert second.name == "other"
    assert first == await client.describe_model("decay")
    assert first == Model(
        name="decay",
        summary="decays",
        species=(
            ModelSpecies(
                name="potential",
                unit="V",
                description="p",
                symbol="v",
                when="on",
                minimum=-0.1,
                maximum=None,
                initial="0",
                outside="0",
            ),
        ),
        parameters=(
            ModelParameter(
                name="on",
                switch=True,
                default=1.0,
                unit="1",
                description="",
                minimum=None,
                maximum=None,
                minimum_exclusive=False,
                maximum_exclusive=False,
            ),
            ModelParameter(
                name="rate",
                switch=False,
                default=0.0,
                unit="",
                description="",
                minimum=0.0,
                maximum=1.0,
                minimum_exclusive=True,
                maximum_exclusive=False,
            ),
        ),
        boundaries=("periodic", "neumann"),
        equations=("v <- v + -rate * v",),
        sequential=False,
        source="nowhere",
        instability="",
        computed=True,
        potential=True,
    )
