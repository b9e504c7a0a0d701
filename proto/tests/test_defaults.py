"""What unset means: the table, the comments of the .proto files, and presence agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.defaults import UNSET, effective
from mfn_proto.v1 import aggregation_pb2, field_pb2

_SOURCES = Path(__file__).resolve().parents[1] / "src"
_FILES = (
    "mfn_proto/mfn.proto",
    "mfn_proto/mycelium.proto",
    *(f"mfn_proto/v1/{name}.proto" for name in ("aggregation", "field", "model")),
)
_UNSET = re.compile(r"Unset:\s(-?\d+(?:\.\d+)?)\.(?:\s|$)")
# Fields of which unset is not a number.
_OTHERWISE = {
    "mycelium.NernstRequest.z_valence": "Unset: INVALID_ARGUMENT.",
    "mycelium.NernstRequest.concentration_out_molar": "Unset: INVALID_ARGUMENT.",
    "mycelium.NernstRequest.concentration_in_molar": "Unset: INVALID_ARGUMENT.",
    "mfn.v1.ChangeCommand.alpha": "Unset: unchanged.",
    "mfn.v1.ChangeCommand.spike_probability": "Unset: unchanged.",
    "mfn.v1.SteerSimulationRequest.sequence": "Unset: one above the last.",
    "mfn.v1.FractalDimension.value": "Unset where it is undefined.",
    "mfn.v1.FractalDimension.r_squared": "Unset where `value` is.",
    "mfn.v1.FrameOptions.threshold": "Unset: -0.060 V for a potential;",
    "mfn.v1.InjectCommand.amplitude": "Unset: `amplitude_volts` says it.",
    "mfn.v1.ThresholdUsed.value": "Unset where it differs from cell to cell.",
    "mfn.v1.Feature.value": "Unset where it is undefined.",
    "mfn.v1.DimensionEstimate.value": "Unset where it is undefined.",
    "mfn.v1.DimensionEstimate.r_squared": "Unset where `value` is.",
    "mfn.v1.DimensionEstimate.standard_error": "Unset where `value` is, and for two scales",
    "mfn.v1.DimensionEstimate.interval_low": "Unset where `standard_error` is.",
    "mfn.v1.DimensionEstimate.interval_high": "Unset where `standard_error` is.",
    "mfn.v1.Species.minimum": "Unset where there is none.",
    "mfn.v1.Species.maximum": "Unset where there is none.",
    "mfn.v1.Parameter.minimum": "Unset where there is no bound.",
    "mfn.v1.Parameter.maximum": "Unset where there is no bound.",
    "mfn.v1.AggregateGradientsHeader.keep": "Unset: n - f - 2.",
    "mycelium.SimulateRequest.model": 'Unset or empty: "mycelium_rd".',
    **{
        f"{message}.model": 'Unset or empty: "mycelium".'
        for message in (
            "mfn.FeatureRequest",
            "mfn.SimulationRequest",
            "mfn.FeatureStreamRequest",
            "mfn.SimulationStreamRequest",
            "mfn.ValidationRequest",
            "mycelium.ValidateRequest",
        )
    },
}


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    out = tmp_path_factory.mktemp("descriptors") / "all.binpb"
    roots = (_SOURCES, _SOURCES / "mfn_proto/third_party", resources.files("grpc_tools") / "_proto")
    flags = ["--include_source_info", f"--descriptor_set_out={out}"]
    assert protoc.main(["protoc", *(f"-I{root}" for root in roots), *flags, *_FILES]) == 0
    return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def _comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): place.leading_comments for place in file.source_code_info.location}


def _fields(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> Iterator[tuple[str, DescriptorProto, FieldDescriptorProto, str]]:
    for file in files:
        comments = _comments(file)
        for m, message in enumerate(file.message_type):
            for f, field in enumerate(message.field):
                comment = " ".join(comments.get((4, m, 2, f), "").split())
                yield f"{file.package}.{message.name}.{field.name}", message, field, comment


def test_every_part_of_the_contracts_has_a_comment(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    bare = []
    for file in files:
        comments = _comments(file)
        paths: list[tuple[tuple[int, ...], str]] = []
        for i, message in enumerate(file.message_type):
            paths.append(((4, i), message.name))
            paths += [((4, i, 2, j), f"{message.name}.{field.name}") for j, field in enumerate(message.field)]
            paths += [
                ((4, i, 8, j), f"{message.name}.{oneof.name}")
                for j, oneof in enumerate(message.oneof_decl)
                if not oneof.name.startswith("_")
            ]
        for i, enum in enumerate(file.enum_type):
            paths.append(((5, i), enum.name))
            paths += [((5, i, 2, j), value.name) for j, value in enumerate(enum.value)]
        for i, service in enumerate(file.service):
            paths.append(((6, i), service.name))
            paths += [((6, i, 2, j), method.name) for j, method in enumerate(service.method)]
        bare += [name for path, name in paths if not comments.get(path, "").strip()]
    assert bare == []


def test_the_comment_of_every_field_with_presence_says_what_unset_means(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    stated: dict[str, float] = {}
    for name, _, field, comment in _fields(files):
        if not field.proto3_optional:
            continue
        if name in _OTHERWISE:
            assert _OTHERWISE[name] in comment
            continue
        found = _UNSET.search(comment)
        assert found is not None, f"{name}: {comment!r}"
        stated[name] = float(found[1])
    table = {f"{message}.{field}": value for message, fields in UNSET.items() for field, value in fields.items()}
    # The one entry that is a member of a oneof; the oneof's comment states it.
    assert table.pop("mfn.v1.StartCommand.total_steps") == 100
    assert table == stated


def test_every_number_of_a_request_of_the_older_packages_carries_presence(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    numbers = {FieldDescriptorProto.TYPE_INT32, FieldDescriptorProto.TYPE_DOUBLE}
    without = [
        name
        for name, message, field, _ in _fields(files)
        if not name.startswith("mfn.v1.")
        and message.name.endswith("Request")
        and field.type in numbers
        and field.label != FieldDescriptorProto.LABEL_REPEATED
        and not field.proto3_optional
    ]
    assert without == []


def test_unset_means_the_default_and_a_zero_that_was_sent_means_zero() -> None:
    unset = mfn_pb2.FeatureRequest()
    assert [effective(unset, name) for name in ("seed", "grid_size", "steps")] == [0, 64, 0]
    assert (effective(unset, "alpha"), effective(unset, "spike_probability")) == (0.18, 0.0)
    zero = mfn_pb2.FeatureRequest.FromString(mfn_pb2.FeatureRequest(grid_size=0, alpha=0.0).SerializeToString())
    assert (effective(zero, "grid_size"), effective(zero, "alpha")) == (0, 0.0)
    assert not unset.HasField("grid_size")


def test_a_value_that_was_sent_is_the_value_meant() -> None:
    request = mfn_pb2.SimulationStreamRequest(total_steps=7, steps_per_frame=3, alpha=0.1)
    assert effective(request, "total_steps") == 7
    assert effective(request, "steps_per_frame") == 3
    assert effective(request, "alpha") == 0.1


@pytest.mark.parametrize("request_type", [mfn_pb2.FeatureStreamRequest, mfn_pb2.SimulationStreamRequest])
def test_steps_per_frame_is_ten_whether_unset_or_sent_as_zero(
    request_type: type[mfn_pb2.FeatureStreamRequest | mfn_pb2.SimulationStreamRequest],
) -> None:
    assert effective(request_type(), "steps_per_frame") == 10
    assert effective(request_type(steps_per_frame=0), "steps_per_frame") == 10


@pytest.mark.parametrize("message_name", sorted(UNSET))
def test_defaults_have_the_type_of_their_field_and_break_no_rule(message_name: str) -> None:
    from mfn_proto.validation import violations

    package, _, name = message_name.rpartition(".")
    modules = {"mfn": (mfn_pb2,), "mycelium": (mycelium_pb2,), "mfn.v1": (field_pb2, aggregation_pb2)}[package]
    (type_,) = (getattr(module, name) for module in modules if name in module.DESCRIPTOR.message_types_by_name)
    message = type_()
    for field, value in UNSET[message_name].items():
        assert effective(message, field) == value
        # protobuf refuses a float for an integer field.
        setattr(message, field, value)
        assert isinstance(getattr(message, field), type(value))
    assert [found for found in violations(message) if found.field in UNSET[message_name]] == []


def test_an_unlimited_start_says_so_itself() -> None:
    start = field_pb2.StartCommand(unlimited=True)
    assert start.WhichOneof("length") == "unlimited"
    assert effective(field_pb2.StartCommand(), "total_steps") == 100


@pytest.mark.parametrize("field", ["turing_enabled", "no_such_field"])
def test_a_field_without_such_a_value_is_a_key_error(field: str) -> None:
    with pytest.raises(KeyError, match=field):
        effective(mfn_pb2.FeatureRequest(), field)


def test_a_message_without_such_fields_is_a_key_error() -> None:
    with pytest.raises(KeyError, match=r"mfn\.FeatureResponse"):
        effective(mfn_pb2.FeatureResponse(), "growth_events")
