"""The wire: names, numbers and types that clients of long standing speak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.v1 import aggregation_pb2, field_pb2, model_pb2

_TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_BOOL: "bool",
}

_FILES = {"mfn": mfn_pb2.DESCRIPTOR, "mycelium": mycelium_pb2.DESCRIPTOR}

_MESSAGES: dict[str, dict[str, dict[str, list[Any]]]] = {
    package: json.loads((Path(__file__).parent / "data" / f"{package}_messages.json").read_text("utf-8"))
    for package in _FILES
}

_METHODS = {
    "/mycelium.MyceliumService/Validate": ("ValidateRequest", "ValidateResponse", False),
    "/mycelium.MyceliumService/Simulate": ("SimulateRequest", "SimulateResponse", False),
    "/mycelium.MyceliumService/SimulateStream": ("SimulateRequest", "SimulationUpdate", True),
    "/mycelium.MyceliumService/ComputeNernst": ("NernstRequest", "NernstResponse", False),
    "/mycelium.MyceliumService/AggregateFederated": ("FederatedAggregateRequest", "FederatedAggregateResponse", False),
    "/mycelium.MyceliumService/HealthCheck": ("HealthCheckRequest", "HealthCheckResponse", False),
    "/mfn.MFNFeaturesService/ExtractFeatures": ("FeatureRequest", "FeatureResponse", False),
    "/mfn.MFNFeaturesService/StreamFeatures": ("FeatureStreamRequest", "FeatureFrame", True),
    "/mfn.MFNSimulationService/RunSimulation": ("SimulationRequest", "SimulationResult", False),
    "/mfn.MFNSimulationService/StreamSimulation": ("SimulationStreamRequest", "SimulationFrame", True),
    "/mfn.MFNValidationService/ValidatePattern": ("ValidationRequest", "ValidationResult", False),
}


def _type(field: FieldDescriptor) -> str:
    if field.message_type is None:
        name = _TYPES[field.type]
    elif field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return f"map<{_type(key)},{_type(value)}>"
    else:
        name = field.message_type.name
    return f"repeated {name}" if field.is_repeated else name


@pytest.mark.parametrize(("package", "name"), [(package, name) for package in _FILES for name in _MESSAGES[package]])
def test_every_field_of_a_message_keeps_its_name_number_and_type(package: str, name: str) -> None:
    descriptor = _FILES[package].message_types_by_name[name]
    assert {field.name: [field.number, _type(field)] for field in descriptor.fields} == _MESSAGES[package][name]


@pytest.mark.parametrize("package", sorted(_FILES))
def test_the_package_holds_these_messages_and_no_other(package: str) -> None:
    assert _FILES[package].package == package
    assert set(_FILES[package].message_types_by_name) == set(_MESSAGES[package])


def test_the_packages_offer_these_methods_and_no_other() -> None:
    assert {
        f"/{service.full_name}/{method.name}": (
            method.input_type.name,
            method.output_type.name,
            method.server_streaming,
        )
        for file in _FILES.values()
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.client_streaming
    } == _METHODS


_V1 = {
    "mfn.v1.FieldService": {
        "Simulate": ("SimulateRequest", False, "SimulateResponse", True),
        "AnalyzeField": ("AnalyzeFieldRequest", True, "AnalyzeFieldResponse", False),
        "SteerSimulation": ("SteerSimulationRequest", True, "SteerSimulationResponse", True),
    },
    "mfn.v1.ModelService": {
        "ListModels": ("ListModelsRequest", False, "ListModelsResponse", False),
        "DescribeModel": ("DescribeModelRequest", False, "DescribeModelResponse", False),
    },
    "mfn.v1.AggregationService": {
        "AggregateGradients": ("AggregateGradientsRequest", True, "AggregateGradientsResponse", False),
    },
}


def test_the_services_of_the_newer_package_offer_these_methods_in_these_shapes() -> None:
    assert {
        service.full_name: {
            method.name: (
                method.input_type.name,
                method.client_streaming,
                method.output_type.name,
                method.server_streaming,
            )
            for method in service.methods
        }
        for file in (field_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR, aggregation_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
    } == _V1


def test_what_was_added_to_the_older_packages_is_numbered_from_twenty() -> None:
    # Lower numbers are left to the clients of long standing, in whose files they may mean something else.
    for package, messages in _MESSAGES.items():
        for name, fields in messages.items():
            added = {field: number for field, (number, _) in fields.items() if field in ("model", "parameters")}
            assert added in ({}, {"model": 20, "parameters": 21}), f"{package}.{name}"


def test_equal_parameters_are_written_in_the_same_bytes_whatever_their_order() -> None:
    forth, back = mfn_pb2.FeatureRequest(), mfn_pb2.FeatureRequest()
    for request, names in ((forth, ("leak", "alpha")), (back, ("alpha", "leak"))):
        for name in names:
            request.parameters[name] = 0.125
    assert forth.SerializeToString(deterministic=True) == back.SerializeToString(deterministic=True)


def test_bytes_of_a_client_without_presence_are_read_as_it_meant_them() -> None:
    request = mfn_pb2.FeatureRequest.FromString(bytes.fromhex("0a0172102a1840"))
    assert (request.request_id, request.seed, request.grid_size) == ("r", 42, 64)
    assert not request.HasField("steps")
    assert not request.HasField("alpha")


def test_a_request_is_written_in_the_bytes_that_signatures_cover() -> None:
    request = mfn_pb2.FeatureRequest(request_id="r", seed=42, grid_size=64)
    assert request.SerializeToString(deterministic=True).hex() == "0a0172102a1840"


def test_a_zero_that_was_sent_takes_bytes_and_an_unset_field_takes_none() -> None:
    assert mfn_pb2.FeatureRequest(seed=0).SerializeToString().hex() == "1000"
    assert mfn_pb2.FeatureRequest().SerializeToString() == b""


def test_json_names_of_millivolt_fields_are_those_of_proto3() -> None:
    result = mfn_pb2.ValidationResult(pot_min_mV=-71.5, nernst_symbolic_mV=-89.0)
    assert json_format.MessageToDict(result) == {"potMinMV": -71.5, "nernstSymbolicMV": -89.0}
    update = mycelium_pb2.SimulationUpdate(pot_mean_mV=-70.0)
    assert json_format.MessageToDict(update) == {"potMeanMV": -70.0}
    assert json_format.MessageToDict(mycelium_pb2.NernstResponse(potential_mV=-89.0)) == {"potentialMV": -89.0}


def test_growth_events_of_a_validation_is_a_double_on_the_wire() -> None:
    wire = mfn_pb2.ValidationResult(growth_events=20).SerializeToString()
    assert wire.hex() == "510000000000003440"


def test_the_lists_of_a_run_are_packed() -> None:
    wire = mycelium_pb2.SimulateResponse(field_mean=[1.0, 2.0]).SerializeToString()
    assert wire.hex() == "0a10" + "000000000000f03f" + "0000000000000040"
