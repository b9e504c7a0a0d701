"""Queries as requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code, MfnError
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1
from mfn_transport_asgi._json.codec import content_to_protobuf
from mfn_transport_asgi._rest.query import add_variables, query_content


def read(message_type: Any, query: bytes) -> Any:
    return message_type.FromString(content_to_protobuf(message_type, query_content(query, message_type.DESCRIPTOR)))


def refused(message_type: Any, query: bytes) -> dict[str, str]:
    with pytest.raises(MfnError) as error:
        read(message_type, query)
    assert error.value.code is Code.INVALID_ARGUMENT
    return {each.field: each.description for each in error.value.violations}


def test_every_kind_of_field_can_stand_in_a_query() -> None:
    query = b"seed=7&gridSize=32&alpha=1e-1&turing_enabled=true&model=mycelium&parameters[jitter]=1&parameters%5Bx%5D=2"
    assert read(w1.FeatureStreamRequest, query) == w1.FeatureStreamRequest(
        seed=7, grid_size=32, alpha=0.1, turing_enabled=True, model="mycelium", parameters={"jitter": 1, "x": 2}
    )
    query = b"simulation.model=gray_scott&simulation.parameter_values[feed]=0.03&frames.species=u&frames.species=v"
    query += b"&frames.field_encoding=FIELD_ENCODING_NONE&simulation.mycelium.jitter=false"
    assert read(v1.SimulateRequest, query) == v1.SimulateRequest(
        simulation=v1.SimulationSpec(
            model="gray_scott", parameter_values={"feed": 0.03}, mycelium=v1.MyceliumParameters()
        ),
        frames=v1.FrameOptions(species=["u", "v"], field_encoding=v1.FIELD_ENCODING_NONE),
    )


def test_nothing_is_an_empty_request() -> None:
    assert read(w1.FeatureStreamRequest, b"") == read(w1.FeatureStreamRequest, b"&&") == w1.FeatureStreamRequest()


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_through(text: str) -> None:
    query = b"request_id=" + quote_plus(text).encode()
    assert read(w1.FeatureStreamRequest, query).request_id == text


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        (b"sed=1", "sed", "did you mean 'seed'"),
        (b"seed", "seed", "an integer"),
        (b"seed=1&seed=2", "seed", "twice"),
        (b"seed=1.5", "seed", "an integer"),
        (b"seed.x=1", "seed.x", "no such field"),
        (b"seed[x]=1", "seed[x]", "no values by name"),
        (b"turing_enabled=yes", "turing_enabled", "true or false"),
        (b"parameters=1", "parameters", "parameters[NAME]=VALUE"),
        (b"parameters[a]=1&parameters[a]=2", "parameters[a]", "twice"),
        (b"parameters[a]=much", "parameters[a]", "a number"),
        (b"request_id=%ff", "request_id", "UTF-8"),
        (b"%ff=1", "%ff", "UTF-8"),
        (b"=1", "", "no such field"),
        (b"a[b[c]=1", "a[b[c]", "no such field"),
        (b".".join([b"a"] * 17) + b"=1", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", "17 names"),
    ],
)
def test_what_is_no_field_or_no_value_is_named(query: bytes, field: str, words: str) -> None:
    found = refused(w1.FeatureStreamRequest, query)
    assert words in found[field]


def test_a_list_of_messages_cannot_stand_in_a_query() -> None:
    assert "gradients" in refused(w2.FederatedAggregateRequest, b"gradients=1").popitem()[0]
    assert "gradients.values" in refused(w2.FederatedAggregateRequest, b"gradients.values=1")


def test_what_the_path_says_is_not_said_twice() -> None:
    content: dict[str, Any] = {"seed": 1}
    add_variables(content, {"model": b"mycelium"}, w1.FeatureRequest.DESCRIPTOR)
    assert content == {"seed": 1, "model": "mycelium"}
    with pytest.raises(MfnError, match="model: stands twice"):
        add_variables(content, {"model": b"other"}, w1.FeatureRequest.DESCRIPTOR)


@given(query=st.binary(max_size=200))
def test_any_query_is_a_request_or_refused(query: bytes) -> None:
    try:
        read(v1.SimulateRequest, query)
    except MfnError as error:
        assert error.code is Code.INVALID_ARGUMENT  # noqa: PT017 - either outcome is right
