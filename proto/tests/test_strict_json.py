"""What the library takes for a message and is none."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google.protobuf import empty_pb2, struct_pb2, wrappers_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.strict_json import is_base64, map_path, misread
from mfn_proto.v1 import field_pb2


def found(message_type: type[Message], content: Any) -> dict[str, str]:
    return {path: expected for path, expected, _ in misread(content, message_type)}


@given(st.binary(max_size=20), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]), st.booleans())
def test_either_alphabet_with_and_without_padding_is_base64(raw: bytes, encode: Any, padded: bool) -> None:
    text = encode(raw).decode()
    assert is_base64(text if padded else text.rstrip("="))


@pytest.mark.parametrize(
    "text",
    [
        *("***", "AAAA*AAAA", "AAAA#", "AA==AAAA", "AA=", "AAA==", "AAAA=", "A", "AAAAA", "=", "====", "AA =="),
        *("A\nAA", "AAAA\n", "é", "+_AA", "-/", "\ud800AAA"),
    ],
)
def test_everything_else_is_not(text: str) -> None:
    assert not is_base64(text)
    assert found(field_pb2.AnalyzeFieldRequest, {"chunk": text}) == {"chunk": "bytes in base64"}
    assert found(wrappers_pb2.BytesValue, text) == {"": "bytes in base64"}


@pytest.mark.parametrize("empty", [[], "", 0, False])
def test_nothing_but_an_object_is_a_message_however_deep_it_stands(empty: Any) -> None:
    assert found(mfn_pb2.SimulationRequest, empty) == {"": "a JSON object"}
    assert found(empty_pb2.Empty, empty) == {"": "a JSON object"}
    deep = {"simulation": {"mycelium": empty}, "frames": empty, "steps": 1}
    assert found(field_pb2.SimulateRequest, deep) == {
        "simulation.mycelium": "a JSON object",
        "frames": "a JSON object",
    }
    gradients = {"gradients": [{}, empty, {"values": [1]}]}
    assert found(mycelium_pb2.FederatedAggregateRequest, gradients) == {"gradients[1]": "a JSON object"}


def test_values_of_maps_are_looked_at() -> None:
    assert found(struct_pb2.Struct, []) == {}  # it has a form of its own, and the library knows it
    assert found(mfn_pb2.SimulationRequest, {"parameters": []}) == {}  # the library refuses it
    assert map_path("parameters", "a\nb" + "c" * 100) == "parameters[a�b" + "c" * 61 + "…]"


def test_what_is_left_out_is_nothing_to_look_at() -> None:
    assert found(field_pb2.SimulateRequest, {"simulation": None, "stray": []}) == {}
    assert found(field_pb2.SimulateRequest, {"simulation": {"gridSize": 8}}) == {}
