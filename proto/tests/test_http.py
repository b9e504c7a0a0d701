"""The paths under which a door for HTTP and JSON offers the operations."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2, http_pb2  # type: ignore[import-untyped] # they come without py.typed
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.v1 import aggregation_pb2, field_pb2, model_pb2

_ROOT = Path(__file__).resolve().parents[1]
_FILES = tuple(module.DESCRIPTOR for module in (mfn_pb2, mycelium_pb2, field_pb2, model_pb2, aggregation_pb2))

_BINDINGS = {
    "mfn.MFNFeaturesService.ExtractFeatures": ["POST /features"],
    "mfn.MFNFeaturesService.StreamFeatures": ["POST /features/stream", "GET /features/stream"],
    "mfn.MFNSimulationService.RunSimulation": ["POST /simulate"],
    "mfn.MFNSimulationService.StreamSimulation": ["POST /simulate/stream", "GET /simulate/stream"],
    "mfn.MFNValidationService.ValidatePattern": ["POST /validate"],
    "mycelium.MyceliumService.Validate": ["POST /mycelium/validate"],
    "mycelium.MyceliumService.Simulate": ["POST /mycelium/simulate"],
    "mycelium.MyceliumService.SimulateStream": ["POST /mycelium/simulate/stream", "GET /mycelium/simulate/stream"],
    "mycelium.MyceliumService.ComputeNernst": ["POST /nernst"],
    "mycelium.MyceliumService.AggregateFederated": ["POST /federated/aggregate"],
    "mycelium.MyceliumService.HealthCheck": ["GET /mycelium/health"],
    "mfn.v1.FieldService.Simulate": ["POST /v1/simulate", "GET /v1/simulate"],
    "mfn.v1.FieldService.AnalyzeField": ["POST /v1/analyze"],
    "mfn.v1.FieldService.SteerSimulation": [],
    "mfn.v1.ModelService.ListModels": ["GET /v1/models"],
    "mfn.v1.ModelService.DescribeModel": ["GET /v1/models/{name}"],
    "mfn.v1.AggregationService.AggregateGradients": ["POST /v1/aggregate"],
}


def _methods() -> Iterator[MethodDescriptor]:
    for file in _FILES:
        for service in file.services_by_name.values():
            yield from service.methods


def _rules(method: MethodDescriptor) -> list[Any]:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return [rule, *rule.additional_bindings] if rule.WhichOneof("pattern") else []


def _bound(rule: Any) -> str:
    verb = rule.WhichOneof("pattern")
    return f"{verb.upper()} {getattr(rule, verb)}"


def test_every_operation_has_these_paths() -> None:
    assert {method.full_name: [_bound(rule) for rule in _rules(method)] for method in _methods()} == _BINDINGS


def test_no_two_operations_share_a_path() -> None:
    bound = [re.sub(r"\{.*?\}", "{}", each) for bindings in _BINDINGS.values() for each in bindings]
    assert len(set(bound)) == len(bound)


@pytest.mark.parametrize("method", [pytest.param(each, id=each.name) for each in _methods()])
def test_a_request_travels_in_the_body_or_in_path_and_query(method: MethodDescriptor) -> None:
    for rule in _rules(method):
        posted = rule.WhichOneof("pattern") == "post"
        assert rule.body == ("*" if posted else "")
        assert posted or not method.client_streaming
        for name in re.findall(r"\{(.*?)\}", getattr(rule, rule.WhichOneof("pattern"))):
            assert method.input_type.fields_by_name[name].type == FieldDescriptor.TYPE_STRING


def test_the_carried_definitions_are_those_that_the_generated_code_imports(tmp_path: Path) -> None:
    carried = _ROOT / "src/mfn_proto/third_party"
    out = tmp_path / "api.binpb"
    roots = (f"-I{carried}", f"-I{resources.files('grpc_tools') / '_proto'}")
    names = ["google/api/annotations.proto", "google/api/http.proto"]
    assert protoc.main(["protoc", *roots, f"--descriptor_set_out={out}", *names]) == 0
    found = {file.name: file for file in FileDescriptorSet.FromString(out.read_bytes()).file}
    for module in (annotations_pb2, http_pb2):
        installed = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(installed)
        ours = found[installed.name]
        assert {(each.name, each.number) for each in ours.extension} <= {
            (each.name, each.number) for each in installed.extension
        }
        fields = {
            (message.name, each.name, each.number, each.type)
            for message in installed.message_type
            for each in message.field
        }
        assert {
            (message.name, each.name, each.number, each.type) for message in ours.message_type for each in message.field
        } <= fields
    dependencies = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert any(each.startswith("googleapis-common-protos") for each in dependencies)
