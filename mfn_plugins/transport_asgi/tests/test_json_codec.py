"""JSON to protobuf and back: the same numbers, both spellings, and errors that name the field."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2, wrappers_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code, MfnError
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1
from mfn_transport_asgi._json.codec import json_to_protobuf, protobuf_to_json


def read(message_type: type[Message], content: Any) -> Any:
    return message_type.FromString(json_to_protobuf(message_type, json.dumps(content).encode()))


def refused(message_type: type[Message], body: Any) -> MfnError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(MfnError) as error:
        json_to_protobuf(message_type, raw)
    assert error.value.code is Code.INVALID_ARGUMENT
    return error.value


def violations(message_type: type[Message], body: Any) -> dict[str, str]:
    return {each.field: each.description for each in refused(message_type, body).violations}


def test_fields_are_read_in_both_spellings() -> None:
    assert read(w1.SimulationRequest, {"grid_size": 32}) == read(w1.SimulationRequest, {"gridSize": 32})
    assert read(w1.SimulationRequest, {"gridSize": 32, "seed": "7"}) == w1.SimulationRequest(grid_size=32, seed=7)


def test_fields_are_written_in_the_spelling_that_is_asked_for() -> None:
    raw = w1.SimulationRequest(grid_size=32).SerializeToString()
    assert protobuf_to_json(w1.SimulationRequest, raw) == b'{"gridSize":32}'
    assert protobuf_to_json(w1.SimulationRequest, raw, plainly=True).startswith(b'{"grid_size":32,')


def test_zeros_are_written_where_that_is_asked_for() -> None:
    raw = w1.SimulationFrame(step=3).SerializeToString()
    assert protobuf_to_json(w1.SimulationFrame, raw) == b'{"step":3}'
    plain = json.loads(protobuf_to_json(w1.SimulationFrame, raw, plainly=True))
    assert (plain["step"], plain["growth_events"], plain["is_final"], plain["pot_min_mV"]) == (3, 0, False, 0.0)


def test_maps_are_written_in_the_order_of_their_keys() -> None:
    names = [f"key{index}" for index in range(40)]
    backwards = w1.SimulationResult(meta=w1.ResponseMeta(meta=dict.fromkeys(reversed(names), "1")))
    text = protobuf_to_json(w1.SimulationResult, backwards.SerializeToString())
    assert list(json.loads(text)["meta"]["meta"]) == sorted(names)
    spec = v1.SimulationSpec(parameter_values=dict.fromkeys(reversed(names), 1.0))
    text = protobuf_to_json(v1.SimulateRequest, v1.SimulateRequest(simulation=spec).SerializeToString())
    assert list(json.loads(text)["simulation"]["parameterValues"]) == sorted(names)


def test_json_within_a_message_is_written_in_the_order_of_its_keys() -> None:
    names = [f"key{index}" for index in range(40)]
    within = dict.fromkeys(reversed(names), 1.0)
    struct = struct_pb2.Struct()
    struct.update({"list": [within], **within})
    written = json.loads(protobuf_to_json(struct_pb2.Struct, struct.SerializeToString()))
    assert list(written) == [*sorted(names), "list"]
    assert list(written["list"][0]) == sorted(names)


@given(value=st.floats())
def test_a_number_comes_through_to_the_last_bit(value: float) -> None:
    raw = wrappers_pb2.DoubleValue(value=value).SerializeToString()
    back = wrappers_pb2.DoubleValue.FromString(
        json_to_protobuf(wrappers_pb2.DoubleValue, protobuf_to_json(wrappers_pb2.DoubleValue, raw))
    ).value
    if math.isnan(value):
        assert math.isnan(back)
    else:
        assert struct.pack(">d", back) == struct.pack(">d", value)


def test_numbers_that_json_lacks_are_texts() -> None:
    raw = w1.SimulationRequest(alpha=math.inf, spike_probability=math.nan).SerializeToString()
    written = protobuf_to_json(w1.SimulationRequest, raw)
    assert json.loads(written) == {"alpha": "Infinity", "spikeProbability": "NaN"}
    back = w1.SimulationRequest.FromString(json_to_protobuf(w1.SimulationRequest, written))
    assert back.alpha == math.inf
    assert math.isnan(back.spike_probability)
    assert list(violations(w1.SimulationRequest, b'{"alpha":NaN}')) == ["alpha"]


def test_a_misspelt_field_is_refused_with_its_path_and_the_nearest_name() -> None:
    found = violations(v1.SimulateRequest, {"simulation": {"mycelium": {"spike_probabilty": 1}}})
    assert list(found) == ["simulation.mycelium.spike_probabilty"]
    assert "did you mean 'spike_probability'?" in found["simulation.mycelium.spike_probabilty"]


def test_every_field_at_fault_is_named_with_what_it_must_be_and_what_it_is() -> None:
    found = violations(
        v1.SimulateRequest,
        {
            "simulation": {"gridSize": 1.5, "seed": True, "mycelium": {"alpha": "much"}},
            "frames": {"fieldEncoding": "FOO"},
            "steps": None,
        },
    )
    assert set(found) == {
        "simulation.grid_size",
        "simulation.seed",
        "simulation.mycelium.alpha",
        "frames.field_encoding",
    }
    assert "must be an integer from" in found["simulation.grid_size"]
    assert found["simulation.grid_size"].endswith("not 1.5")
    assert found["simulation.seed"].endswith("not true")
    assert found["simulation.mycelium.alpha"].startswith("must be a number")
    assert "FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN" in found["frames.field_encoding"]


def test_an_item_of_an_array_is_named_by_its_index() -> None:
    shape: list[Any] = [8] * 1000
    shape[777] = -1
    assert list(violations(v1.AnalyzeFieldRequest, {"header": {"shape": shape}})) == ["header.shape[777]"]
    assert violations(v1.AnalyzeFieldRequest, {"header": {"shape": 8}})["header.shape"] == "must be a JSON array, not 8"


def test_two_spellings_and_two_members_of_a_choice_exclude_each_other() -> None:
    assert list(violations(w1.SimulationRequest, {"grid_size": 8, "gridSize": 9})) == ["grid_size"]
    assert "chunk" in violations(v1.AnalyzeFieldRequest, {"chunk": "", "header": {}})["header"]
    assert violations(w1.SimulationRequest, b'{"seed":1,"seed":2}') == {
        "seed": "stands twice in one JSON object; keep one"
    }


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff\xfe", b'{"a":' * 5_000, b"[" * 100_000])
def test_what_is_no_json_is_refused_with_its_size(body: bytes) -> None:
    assert f"{len(body)} bytes is not valid JSON" in refused(w1.SimulationRequest, body).message


def test_an_integer_that_is_too_long_is_called_that() -> None:
    error = refused(w1.SimulationRequest, b'{"seed":' + b"1" * 5_000 + b"}")
    assert error.message == (
        "invalid argument: the message of 5009 bytes has an integer of more than 4300 digits; send a smaller one"
    )


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"parameters": {"\\ud800": 1}}', "parameters[\ufffd]", "a key that must be text without lone surrogates"),
        (b'{"model": "\\ud800"}', "model", "must be text without lone surrogates"),
        (b'{"parameters": {"b": 1, "alpha": "much"}}', "parameters[alpha]", 'not "much"'),
        (b'{"alpha": 1e400}', "alpha", "not a number beyond 1.8e308"),
    ],
)
def test_what_is_said_of_a_value_is_true_of_it(body: bytes, field: str, words: str) -> None:
    found = violations(w1.SimulationRequest, body)
    assert list(found) == [field]
    assert words in found[field]


@pytest.mark.parametrize("text", ["***", "AAAA*AAAA8D8#", "AA==AAAA", "AAA=="])
def test_bytes_that_are_no_base64_are_refused(text: str) -> None:
    found = violations(v1.AnalyzeFieldRequest, {"chunk": text})
    assert found == {"chunk": f'must be bytes in base64, not "{text}"'}
    assert violations(wrappers_pb2.BytesValue, text) == {"": f'must be bytes in base64, not "{text}"'}


@pytest.mark.parametrize("text", ["+/+/8A==", "-_-_8A==", "+/+/8A", "-_-_8A"])
def test_bytes_are_read_in_both_alphabets_with_and_without_padding(text: str) -> None:
    assert read(v1.AnalyzeFieldRequest, {"chunk": text}).chunk == b"\xfb\xff\xbf\xf0"


@pytest.mark.parametrize("empty", ["", []])
def test_what_is_empty_is_no_message_within_a_message(empty: Any) -> None:
    given = "an array" if empty == [] else '""'
    text = f"must be a JSON object, not {given}"
    assert violations(v1.SimulateRequest, {"steps": 1, "simulation": empty}) == {"simulation": text}
    assert violations(v1.SteerSimulationRequest, {"start": {"frames": empty}}) == {"start.frames": text}
    found = violations(v1.SimulateRequest, {"steps": "x", "simulation": {"mycelium": empty}, "stray": 1})
    assert list(found) == ["simulation.mycelium", "steps", "stray"]


def test_what_is_wrong_at_the_end_of_much_is_found_without_trying_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read_items = 0
    original = json_format._Parser._ConvertAndAppendScalar  # type: ignore[attr-defined]

    def counted(*arguments: Any) -> None:
        nonlocal read_items
        read_items += 1
        original(*arguments)

    monkeypatch.setattr(json_format._Parser, "_ConvertAndAppendScalar", counted)  # type: ignore[attr-defined]
    values: list[Any] = [0.5] * 20_000
    gradients = {"gradients": [{"values": values}, {"values": [*values, "much"]}]}
    assert list(violations(w2.FederatedAggregateRequest, gradients)) == ["gradients[1].values[20000]"]
    assert read_items < 6 * 2 * len(values)


@pytest.mark.parametrize("content", [None, [], [1], "", "text", 0, 5, False])
def test_what_is_no_object_is_no_message(content: Any) -> None:
    assert violations(w1.SimulationRequest, content)[""].startswith("must be a JSON object, not")


def test_what_the_library_says_is_told_to_nobody() -> None:
    error = refused(w1.SimulationRequest, {"gridSize": "x"})
    assert "ParseError" not in error.message
    assert error.reason == error.message


def test_a_callers_text_is_shown_short_and_on_one_line() -> None:
    (path,) = violations(w1.SimulationRequest, {"a\nb" + "c" * 1000: 1})
    assert path.isprintable()
    assert len(path) < 100


def test_messages_with_a_form_of_their_own_are_read_and_refused() -> None:
    assert read(wrappers_pb2.StringValue, "text").value == "text"
    assert read(struct_pb2.ListValue, [1, "a", None])[1] == "a"
    assert "google.protobuf.StringValue" in violations(wrappers_pb2.StringValue, {})[""]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["simulation", "frames", "gridSize", "grid_size", "mycelium", "alpha", "seed", "field_encoding"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def attempt(message_type: type[Message], body: bytes) -> bytes | MfnError:
    try:
        return json_to_protobuf(message_type, body)
    except MfnError as error:
        return error


@given(content=JSON)
def test_any_json_is_a_message_or_an_invalid_argument(content: Any) -> None:
    found = attempt(v1.SimulateRequest, json.dumps(content).encode())
    if isinstance(found, MfnError):
        assert found.code is Code.INVALID_ARGUMENT
        assert 0 < len(found.violations) <= 20
    else:
        assert protobuf_to_json(v1.SimulateRequest, found).startswith(b"{")


@given(body=st.binary(max_size=40))
def test_any_bytes_are_a_message_or_an_invalid_argument(body: bytes) -> None:
    found = attempt(w1.SimulationRequest, body)
    assert isinstance(found, bytes) or found.code is Code.INVALID_ARGUMENT
