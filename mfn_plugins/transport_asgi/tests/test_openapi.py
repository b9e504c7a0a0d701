"""The description of the operations: valid, whole, and true to the rules and comments of the definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseDict
from openapi_spec_validator import OpenAPIV31SpecValidator

from mfn_core import Operation, Shape
from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.customary import EXAMPLES
from mfn_proto.v1 import aggregation_pb2, field_pb2, model_pb2
from mfn_proto.validation import violations
from mfn_transport_asgi._rest.openapi import describe
from mfn_transport_asgi._rest.routes import Routes

FILES = (mfn_pb2, mycelium_pb2, field_pb2, model_pb2, aggregation_pb2)
SHAPES = {(shape.client_streams, shape.server_streams): shape for shape in Shape}


def methods() -> Iterator[MethodDescriptor]:
    for module in FILES:
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def operation(method: MethodDescriptor) -> Operation:
    async def handler(request: Any, call: Any) -> Any:
        return request

    return Operation(
        service=method.containing_service.full_name,
        method=method.name,
        shape=SHAPES[method.client_streaming, method.server_streaming],
        request_type=message_factory.GetMessageClass(method.input_type),
        response_type=message_factory.GetMessageClass(method.output_type),
        handler=handler,
        public=method.name == "HealthCheck",
    )


@pytest.fixture(scope="module")
def document() -> Any:
    operations = [operation(method) for method in methods()]
    return json.loads(describe(Routes({each.path: each for each in operations}).bindings))


def test_it_is_valid_openapi(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_operation_is_there_under_every_path(document: Any) -> None:
    for method in methods():
        path = f"/{method.containing_service.full_name}/{method.name}"
        assert document["paths"][path]["post"]["operationId"] == method.full_name
    assert document["paths"]["/v1/simulate"].keys() == {"get", "post"}
    assert document["paths"]["/v1/models/{name}"]["get"]["operationId"] == "mfn.v1.ModelService.DescribeModel:get"
    ids = [each["operationId"] for item in document["paths"].values() for each in item.values()]
    assert len(set(ids)) == len(ids)


def test_every_field_and_operation_has_the_words_of_its_definition(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or name.endswith("Entry"), name
        for field, described in schema.get("properties", {}).items():
            assert name == "Problem" or described.get("description"), f"{name}.{field}"
    for path, item in document["paths"].items():
        for each in item.values():
            assert each["summary"]
            assert each.get("description") or path in ("/health", "/livez", "/readyz")


def schema_of(document: Any, message: str, field: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["components"]["schemas"][message]["properties"][field]
    return {key: value for key, value in found.items() if key != "description"}


@pytest.mark.parametrize(
    ("message", "field", "expected"),
    [
        (
            "mfn.SimulationRequest",
            "alpha",
            {"type": "number", "exclusiveMinimum": 0.0, "maximum": 0.25, "default": 0.18},
        ),
        (
            "mfn.SimulationRequest",
            "seed",
            {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "format": "int32", "default": 42},
        ),
        ("mfn.SimulationRequest", "turing_enabled", {"type": "boolean", "default": True}),
        ("mfn.SimulationRequest", "request_id", {"type": "string", "maxLength": 128}),
        (
            "mycelium.SimulateRequest",
            "alpha",
            {"type": "number", "minimum": 0.05, "exclusiveMaximum": 0.25, "default": 0.18},
        ),
        ("mycelium.SimulateRequest", "gamma", {"type": "number", "const": 0.0, "default": 0.0}),
        (
            "mycelium.NernstRequest",
            "z_valence",
            {"type": "integer", "enum": [-2, -1, 1, 2], "minimum": -(2**31), "maximum": 2**31 - 1, "format": "int32"}
            | {"default": 1},
        ),
        ("mycelium.NernstRequest", "concentration_in_molar", {"type": "number", "exclusiveMinimum": 0.0}),
        (
            "mycelium.FederatedAggregateRequest",
            "gradients",
            {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/mycelium.Gradient"}},
        ),
        ("mfn.v1.SimulationSpec", "boundary", {"type": "string", "enum": ["", "periodic", "neumann", "dirichlet"]}),
        ("mfn.v1.StartCommand", "unlimited", {"const": True}),
        (
            "mfn.v1.GradientChunk",
            "data",
            {"type": "string", "contentEncoding": "base64", "minLength": 2, "maxLength": 1398104},
        ),
        (
            "mfn.v1.AggregateGradientsHeader",
            "type",
            {"type": "string", "enum": ["GRADIENT_TYPE_FLOAT64", "GRADIENT_TYPE_FLOAT32"]},
        ),
        (
            "mfn.v1.AggregateGradientsHeader",
            "coordinates",
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
                    {"type": "string", "pattern": "^-?[0-9]{1,20}$"},
                ],
                "format": "int64",
            },
        ),
    ],
)
def test_rules_are_bounds(document: Any, message: str, field: str, expected: Mapping[str, Any]) -> None:
    assert schema_of(document, message, field) == expected


def test_requests_are_closed_and_replies_are_not(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["mfn.SimulationRequest"]["additionalProperties"] is False
    assert schemas["mycelium.NernstRequest"]["required"] == ["concentration_out_molar", "concentration_in_molar"]
    assert "additionalProperties" not in schemas["mfn.SimulationResult"]
    assert schemas["mfn.SimulationRequest"]["properties"]["parameters"]["maxProperties"] == 64
    choice = schemas["mfn.v1.StartCommand"]
    assert {"required": ["total_steps", "unlimited"]} in choice["not"]["anyOf"]


def test_who_calls_is_proved_by_all_five_headers_or_a_token(document: Any) -> None:
    (signed, bearer) = document["paths"]["/simulate"]["post"]["security"]
    assert len(signed) == 5
    assert bearer == {"bearer": []}
    assert document["paths"]["/mycelium/health"]["get"]["security"] == []
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for name, scheme in schemes.items() if name != "bearer"} == {"apiKey"}


def test_a_query_has_every_field_that_can_stand_in_one(document: Any) -> None:
    named = {each["name"]: each for each in document["paths"]["/v1/simulate"]["get"]["parameters"] if "name" in each}
    assert {"steps", "simulation.seed", "simulation.mycelium.alpha", "frames.every_n_steps"} <= named.keys()
    assert named["simulation.parameter_values"]["style"] == "deepObject"
    (name,) = [each for each in document["paths"]["/v1/models/{name}"]["get"]["parameters"] if each.get("in") == "path"]
    assert (name["name"], name["required"], name["example"]) == ("name", True, "mycelium")


def test_streams_are_described_line_by_line(document: Any) -> None:
    stream = document["paths"]["/simulate/stream"]["post"]["responses"]["200"]["content"]
    assert stream.keys() == {"application/x-ndjson", "text/event-stream"}
    assert stream["text/event-stream"]["x-mfn-line"] == {"$ref": "#/components/schemas/mfn.SimulationFrame"}
    assert document["paths"]["/v1/analyze"]["post"]["requestBody"]["content"].keys() == {"application/x-ndjson"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_requests_that_break_no_rule(name: str) -> None:
    descriptor = next(
        module.DESCRIPTOR.message_types_by_name[name.rpartition(".")[2]]
        for module in FILES
        if module.DESCRIPTOR.package == name.rpartition(".")[0]
        and name.rpartition(".")[2] in module.DESCRIPTOR.message_types_by_name
    )
    message = ParseDict(dict(EXAMPLES[name]), message_factory.GetMessageClass(descriptor)())
    assert violations(message) == ()
