"""The comments of the definitions, at run time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.comments import comments
from mfn_proto.v1 import aggregation_pb2, field_pb2, model_pb2


def _names() -> Iterator[str]:
    for module in (mfn_pb2, mycelium_pb2, field_pb2, model_pb2, aggregation_pb2):
        file: Any = module.DESCRIPTOR
        for service in file.services_by_name.values():
            yield service.full_name
            yield from (method.full_name for method in service.methods)
        for message in file.message_types_by_name.values():
            yield message.full_name
            yield from (field.full_name for field in message.fields)
        for enum in file.enum_types_by_name.values():
            yield enum.full_name
            yield from (f"{enum.full_name}.{value.name}" for value in enum.values)


def test_everything_that_is_defined_has_a_comment_and_nothing_else() -> None:
    assert set(comments()) == set(_names())


def test_a_comment_is_that_of_the_definition_with_its_lines_joined() -> None:
    found = comments()
    assert found["mfn.FeatureRequest.seed"] == "Seed of the generator, at least 0. Unset: 0."
    assert found["mfn.v1.GradientType.GRADIENT_TYPE_FLOAT64"] == "IEEE 754 binary64, 8 bytes a coordinate."
    steering = found["mfn.v1.FieldService.SteerSimulation"].split("\n\n")
    assert steering[0] == "Runs one simulation that the client steers while it runs."
    assert steering[1].startswith("Opening. ")
    assert not any("\n" in paragraph for paragraph in steering)
