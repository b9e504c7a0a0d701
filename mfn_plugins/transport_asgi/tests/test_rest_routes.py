"""Which requests mean which operations."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from google.api import annotations_pb2  # type: ignore[import-untyped] # its stubs come without py.typed
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mfn_core import Code, MfnError, Operation, Shape
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2, model_pb2
from mfn_transport_asgi._rest.routes import Routes, method_of

assert annotations_pb2.http is not None  # its file must be in the pool before those below


def operation(service: str, method: str, request: Any, reply: Any, shape: Shape = Shape.UNARY) -> Operation:
    async def handler(request: Any, call: Any) -> Any:
        return request

    return Operation(
        service=service, method=method, shape=shape, request_type=request, response_type=reply, handler=handler
    )


SIMULATE = operation("mfn.MFNSimulationService", "RunSimulation", w1.SimulationRequest, w1.SimulationResult)
DESCRIBE = operation(
    "mfn.v1.ModelService", "DescribeModel", model_pb2.DescribeModelRequest, model_pb2.DescribeModelResponse
)
STREAM = operation(
    "mfn.v1.FieldService", "Simulate", field_pb2.SimulateRequest, field_pb2.SimulateResponse, Shape.SERVER_STREAM
)
NERNST = operation("mycelium.MyceliumService", "ComputeNernst", w2.NernstRequest, w2.NernstResponse)


def routes(*operations: Operation) -> Routes:
    return Routes({each.path: each for each in operations})


def made(table: Routes, verb: str, path: bytes, body: bytes = b"", query: bytes = b"") -> Any:
    match = table.find(path)
    assert match is not None
    binding, variables = match.by_verb[verb]
    return binding.operation.request_type.FromString(binding.transcode(variables, query)(body))


def test_an_operation_has_the_path_that_is_stated_and_that_of_rpc() -> None:
    table = routes(SIMULATE, STREAM, DESCRIBE)
    for path, verbs, found in (
        (b"/simulate", {"POST"}, SIMULATE),
        (b"/mfn.MFNSimulationService/RunSimulation", {"POST"}, SIMULATE),
        (b"/v1/simulate", {"GET", "POST"}, STREAM),
        (b"/v1/models/mycelium", {"GET"}, DESCRIBE),
    ):
        match = table.find(path)
        assert match is not None
        assert set(match.by_verb) == verbs
        assert {binding.operation for binding, _ in match.by_verb.values()} == {found}
    for path in (b"/", b"/simulate/", b"/Simulate", b"/v1/models/", b"/v1/models/a/b", b"/mfn.MFNSimulationService/No"):
        assert table.find(path) is None


def test_path_query_and_body_say_the_request() -> None:
    table = routes(SIMULATE, STREAM, DESCRIBE)
    assert made(table, "GET", b"/v1/models/a%20b") == model_pb2.DescribeModelRequest(name="a b")
    assert made(table, "GET", b"/v1/simulate", query=b"steps=3") == field_pb2.SimulateRequest(steps=3)
    assert made(table, "POST", b"/v1/simulate", b'{"steps":3}') == field_pb2.SimulateRequest(steps=3)
    with pytest.raises(MfnError, match="name: stands twice"):
        made(table, "GET", b"/v1/models/a", query=b"name=b")
    with pytest.raises(MfnError, match="steps: stands in the query"):
        made(table, "POST", b"/v1/simulate", b"{}", query=b"steps=3")
    with pytest.raises(MfnError, match="name: is not UTF-8"):
        made(table, "GET", b"/v1/models/%ff")


FILLED = {"seed": 42, "grid_size": 64, "steps": 64, "alpha": 0.18, "spike_probability": 0.25, "turing_enabled": True}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"seed": null, "gridSize": null}'])
def test_what_is_left_out_is_filled_in(body: bytes) -> None:
    assert made(routes(SIMULATE), "POST", b"/simulate", body) == w1.SimulationRequest(**FILLED)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"seed": 0, "turing_enabled": False}, {**FILLED, "seed": 0, "turing_enabled": False}),
        ({"gridSize": 8, "spikeProbability": 0}, {**FILLED, "grid_size": 8, "spike_probability": 0}),
        ({"model": ""}, {**FILLED, "model": ""}),
        ({"parameters": {"alpha": 0.1}}, {**FILLED, "alpha": None, "parameters": {"alpha": 0.1}}),
        ({"model": "gray_scott"}, {"seed": 42, "grid_size": 64, "steps": 64, "model": "gray_scott"}),
    ],
)
def test_what_is_said_stays_and_parameters_are_those_of_the_model(
    content: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = made(routes(SIMULATE), "POST", b"/simulate", json.dumps(content).encode())
    assert found == w1.SimulationRequest(**expected)


def test_a_valence_is_that_of_potassium_unless_it_is_said() -> None:
    body = b'{"concentration_out_molar": 0.005, "concentration_in_molar": 0.14}'
    assert made(routes(NERNST), "POST", b"/nernst", body) == w2.NernstRequest(
        z_valence=1, concentration_out_molar=0.005, concentration_in_molar=0.14, temperature_k=310.0
    )


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"{", b"\xff", b'{"seed":1,"seed":2}'])
def test_a_body_that_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(MfnError) as refused:
        made(routes(SIMULATE), "POST", b"/simulate", body)
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_the_first_of_two_operations_keeps_a_path(caplog: pytest.LogCaptureFixture) -> None:
    second = operation("mfn.MFNSimulationService", "RunSimulation", w1.SimulationRequest, w1.SimulationResult)
    with caplog.at_level(logging.ERROR):
        table = Routes({SIMULATE.path: SIMULATE, "/again": second})
    match = table.find(b"/simulate")
    assert match is not None
    assert match.by_verb["POST"][0].operation is SIMULATE
    assert "is not served as POST /simulate" in caplog.text


# Definitions that no file of ours has.

FILE = "rest_routes_test.proto"


@pytest.fixture(scope="module")
def odd() -> dict[str, Operation]:
    """Operations of a service whose annotations are unusual, or wrong."""
    file = descriptor_pb2.FileDescriptorProto(name=FILE, package="rest.routes", syntax="proto3")
    file.dependency.append("google/api/annotations.proto")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="id", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, label=1)
    message = file.message_type.add(name="M")
    message.field.add(name="name", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, label=1)
    message.field.add(
        name="inner",
        number=2,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
        label=1,
        type_name=".rest.routes.Inner",
    )
    service = file.service.add(name="S")

    def method(name: str, *, streams: bool = False, **rule: Any) -> None:
        made = service.method.add(
            name=name, input_type=".rest.routes.M", output_type=".rest.routes.M", client_streaming=streams
        )
        http = made.options.Extensions[annotations_pb2.http]
        for key, value in rule.items():
            setattr(http, key, value)

    method("Patch", patch="/m/{inner.id}", body="inner")
    method("Whole", put="/w/{inner.id}", body="*")
    method("Lost", post="/lost", body="nothing")
    method("Part", get="/part", response_body="name")
    method("Bad", get="bad")
    method("Unknown", get="/u/{nobody}")
    method("Streams", get="/streams", streams=True)
    custom = service.method.add(name="Custom", input_type=".rest.routes.M", output_type=".rest.routes.M")
    rule = custom.options.Extensions[annotations_pb2.http]
    rule.custom.kind, rule.custom.path = "SEARCH", "/search"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    message_type = message_factory.GetMessageClass(pool.FindMessageTypeByName("rest.routes.M"))
    names = [each.name for each in service.method]
    shapes = {"Streams": Shape.CLIENT_STREAM}
    return {
        name: operation("rest.routes.S", name, message_type, message_type, shapes.get(name, Shape.UNARY))
        for name in names
    }


def test_a_body_may_be_one_field_and_the_path_another_part(odd: Any) -> None:
    table = routes(*odd.values())
    found = made(table, "PUT", b"/w/7", b'{"name": "x"}')
    assert (found.name, found.inner.id) == ("x", "7")
    with pytest.raises(MfnError, match=r"inner.id: stands twice"):
        made(table, "PATCH", b"/m/7", b'{"id": "8"}')
    assert made(table, "PATCH", b"/m/7").inner.id == "7"
    search = table.find(b"/search")
    assert search is not None
    assert set(search.by_verb) == {"SEARCH"}


def test_annotations_that_cannot_be_served_are_logged_and_left_out(odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        table = routes(*odd.values())
    for path in (b"/lost", b"/part", b"bad", b"/u/1", b"/streams"):
        assert table.find(path) is None
    for name in ("Lost", "Part", "Bad", "Unknown", "Streams"):
        assert f"/rest.routes.S/{name} is not served as" in caplog.text
        assert table.find(f"/rest.routes.S/{name}".encode()) is not None


def test_an_operation_without_a_definition_has_its_path_of_rpc() -> None:
    unknown = operation("no.Such", "Thing", w1.SimulationRequest, w1.SimulationResult)
    assert method_of(unknown) is None
    assert [binding.template.text for binding in routes(unknown).bindings] == ["/no.Such/Thing"]
