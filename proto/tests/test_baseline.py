"""What `make lint-proto` compares with holds all that clients may rely on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

import mfn_proto

_BASELINE = Path(__file__).parents[1] / "baseline.binpb"
_THIRD_PARTY = "mfn_proto/third_party/"


def _ours() -> Iterator[FileDescriptorProto]:
    """Every definition file of the package but those that are carried unchanged."""
    root = Path(mfn_proto.__file__).parent
    for path in sorted(root.rglob("*_pb2.py")):
        name = path.relative_to(root.parent).as_posix()
        if not name.startswith(_THIRD_PARTY):
            file = FileDescriptorProto()
            import_module(name.removesuffix(".py").replace("/", ".")).DESCRIPTOR.CopyToProto(file)
            yield file


def _enum(enum: EnumDescriptorProto, prefix: str) -> Iterator[str]:
    for value in enum.value:
        yield f"{prefix}{enum.name}.{value.name} = {value.number}"


def _message(message: DescriptorProto, prefix: str) -> Iterator[str]:
    path = f"{prefix}{message.name}."
    for field in message.field:
        label, kind = FieldDescriptorProto.Label.Name(field.label), FieldDescriptorProto.Type.Name(field.type)
        yield f"{path}{field.name} = {field.number}: {label} {kind} {field.type_name} {field.proto3_optional}"
    for nested in message.nested_type:
        yield from _message(nested, path)
    for enum in message.enum_type:
        yield from _enum(enum, path)


def _file(file: FileDescriptorProto) -> Iterator[str]:
    for message in file.message_type:
        yield from _message(message, f"{file.package}.")
    for enum in file.enum_type:
        yield from _enum(enum, f"{file.package}.")
    for service in file.service:
        for method in service.method:
            shape = f"{method.client_streaming} {method.server_streaming}"
            yield f"{file.package}.{service.name}/{method.name}: {method.input_type} {method.output_type} {shape}"


def test_the_baseline_holds_every_element_of_the_definitions_and_nothing_else() -> None:
    kept = {file.name: file for file in FileDescriptorSet.FromString(_BASELINE.read_bytes()).file}
    ours = {file.name: file for file in _ours()}
    assert {name for name in kept if name.startswith("mfn_proto/")} == set(ours), "run make accept-proto"
    for name, file in ours.items():
        before, after = set(_file(kept[name])), set(_file(file))
        assert before - after == set(), f"{name}: clients that know these would break"
        assert after - before == set(), f"{name}: these are not watched yet; run make accept-proto"
        assert after, name
