"""A client in another language, with the definition files and the page of the scheme as its only guide."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

import mfn_proto
from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import Deployment
from mfn_e2e.node import run_script
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1
from mfn_signing import encode_secret

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

DEFINITIONS = Path(mfn_proto.__file__).parent

RUN: dict[str, Any] = {"seed": 42, "grid_size": 64, "alpha": 0.18, "spike_probability": 0.25, "turing_enabled": True}
SPEC = v1.SimulationSpec(
    grid_size=32, seed=7, mycelium=v1.MyceliumParameters(alpha=0.12, spike_probability=0.5, turing_enabled=True)
)
FRAMES = v1.FrameOptions(every_n_steps=7, field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)

CALLS: tuple[tuple[str, str, list[Message], type[Message]], ...] = (
    ("mfn.MFNSimulationService", "RunSimulation", [w1.SimulationRequest(**RUN, steps=64)], w1.SimulationResult),
    (
        "mfn.MFNFeaturesService",
        "StreamFeatures",
        [w1.FeatureStreamRequest(**RUN, total_steps=64, steps_per_frame=9)],
        w1.FeatureFrame,
    ),
    (
        "mfn.v1.FieldService",
        "Simulate",
        [v1.SimulateRequest(simulation=SPEC, steps=20, frames=FRAMES)],
        v1.SimulateResponse,
    ),
    (
        "mfn.v1.FieldService",
        "AnalyzeField",
        [
            v1.AnalyzeFieldRequest(
                header=v1.AnalyzeFieldHeader(shape=[8, 8], encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)
            ),
            *(
                v1.AnalyzeFieldRequest(chunk=struct.pack("<8d", *(-0.07 + 0.002 * (i + j) for j in range(8))))
                for i in range(8)
            ),
        ],
        v1.AnalyzeFieldResponse,
    ),
    (
        "mfn.v1.FieldService",
        "SteerSimulation",
        [
            v1.SteerSimulationRequest(start=v1.StartCommand(simulation=SPEC, total_steps=20, frames=FRAMES)),
        ],
        v1.SteerSimulationResponse,
    ),
)
"""One call of each shape, and a second server stream that carries fields."""


def run_node(server: Deployment, transport: str, secret: str) -> dict[str, Any]:
    job = {
        "address": server.address(transport),
        "keyId": "ada",
        "secret": secret,
        "protos": ["mfn.proto", "v1/field.proto"],
        "include": [str(DEFINITIONS), str(DEFINITIONS / "third_party")],
        "calls": [
            {
                "service": service,
                "method": method,
                "messages": [MessageToDict(message, preserving_proto_field_name=True) for message in messages],
            }
            for service, method, messages, _ in CALLS
        ],
    }
    found: dict[str, Any] = run_script("grpc.cjs", job)
    return found


def expected_number(value: float) -> str:
    return struct.pack(">d", value).hex()


def compare(theirs: dict[str, Any], ours: Message, where: str) -> int:
    """Check every field of a message that is set, numbers to the last bit; how many numbers there were."""
    count = 0
    as_text = MessageToDict(ours, preserving_proto_field_name=True)
    for field, value in ours.ListFields():
        path = f"{where}.{field.name}"
        found = theirs[field.name]
        if field.message_type is not None:
            pairs = list(zip(found, value, strict=True)) if field.is_repeated else [(found, value)]
            if field.message_type.GetOptions().map_entry:
                assert found == dict(value), path
            else:
                count += sum(compare(each, own, path) for each, own in pairs)
        elif field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_INT32, field.CPPTYPE_UINT32, field.CPPTYPE_ENUM):
            values = list(value) if field.is_repeated else [value]
            assert (found if field.is_repeated else [found]) == [expected_number(each) for each in values], path
            count += len(values)
        elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
            assert found == str(value), path
            count += 1
        else:
            assert found == as_text[field.name], path  # bytes are base64 on both sides
    return count


async def test_a_javascript_client_gets_the_same_bits_in_every_shape(
    server: Deployment, client: RawClient, transport: str
) -> None:
    found = run_node(server, transport, encode_secret(server.keys["ada"].secret))
    assert found["codes"] == [0] * len(CALLS)
    caller = server.caller()
    for (service, method, messages, reply_type), theirs in zip(CALLS, found["replies"], strict=True):
        path = f"/{service}/{method}"
        sent = [message.SerializeToString() for message in messages]
        streamed = method in ("AnalyzeField", "SteerSimulation")
        ended = await exchange(client, path, sent, caller.sign(path, None if streamed else sent[0]))
        assert ended.status.ok, ended.status
        ours = [reply_type.FromString(raw) for raw in ended.replies]
        assert len(theirs) == len(ours)
        numbers = 0
        for number, (each, own) in enumerate(zip(theirs, ours, strict=True)):
            if isinstance(own, v1.SteerSimulationResponse) and own.WhichOneof("event") == "started":
                assert each["started"]["session_id"] != own.started.session_id
                continue
            numbers += compare(each, own, f"{method}[{number}]")
        assert numbers >= 5, method


async def test_a_javascript_client_with_another_secret_is_refused_in_every_shape(
    server: Deployment, transport: str
) -> None:
    found = run_node(server, transport, encode_secret(server.keys["ben"].secret))
    assert found["codes"] == [16] * len(CALLS)  # UNAUTHENTICATED
    assert found["replies"] == [[]] * len(CALLS)
