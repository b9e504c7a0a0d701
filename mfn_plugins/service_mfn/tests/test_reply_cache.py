"""Keys of cached replies, and the id that is put into them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code
from mfn_proto import mfn_pb2 as pb
from mfn_service._reply_cache import cache_key, stamp

PATHS = (
    ("/mfn.MFNFeaturesService/ExtractFeatures", pb.FeatureRequest),
    ("/mfn.MFNSimulationService/RunSimulation", pb.SimulationRequest),
)
IDS = ("", "a", "x" * 127, "y" * 128, "ä€𝄞", "0123456789" * 12)


@pytest.mark.parametrize(("path", "request_type"), PATHS)
async def test_a_stamped_reply_is_the_reply_of_the_other_request(served: Any, path: str, request_type: Any) -> None:
    operation = served.dispatcher.operations[path]
    raw = {
        name: request_type(request_id=name, seed=7, grid_size=16, steps=9, spike_probability=0.5).SerializeToString()
        for name in IDS
    }
    replies = {}
    for name in IDS:
        outcome = await served.unary(path, raw[name])
        assert outcome.code is Code.OK
        replies[name] = outcome.reply
    for one in IDS:
        for other in IDS:
            assert operation.stamp(replies[one], raw[other]) == replies[other]
    assert len({operation.cache_key(each) for each in raw.values()}) == 1


fields = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 3),
        "grid_size": st.integers(0, 3),
        "steps": st.integers(0, 3),
        "alpha": st.sampled_from([0.0, 0.1, 0.18]),
        "spike_probability": st.sampled_from([0.0, 0.5]),
        "turing_enabled": st.booleans(),
    },
)


@given(fields, fields, st.text(max_size=20), st.text(max_size=20))
def test_keys_are_equal_where_all_but_the_id_is(
    one: dict[str, Any], other: dict[str, Any], first: str, second: str
) -> None:
    key = cache_key(pb.FeatureRequest)
    left = pb.FeatureRequest(request_id=first, **one)
    right = pb.FeatureRequest(request_id=second, **other)
    left_key, right_key = key(left.SerializeToString()), key(right.SerializeToString())
    left.request_id = right.request_id = ""
    assert (left_key == right_key) == (left == right)


def test_a_sent_zero_and_an_unset_field_have_different_keys() -> None:
    key = cache_key(pb.FeatureRequest)
    assert key(pb.FeatureRequest(alpha=0.0).SerializeToString()) != key(pb.FeatureRequest().SerializeToString())


def test_the_order_and_repetition_of_fields_on_the_wire_do_not_change_the_key() -> None:
    key = cache_key(pb.FeatureRequest)
    canonical = key(bytes.fromhex("102a1840"))
    assert canonical is not None
    assert key(bytes.fromhex("1840102a")) == canonical
    assert key(bytes.fromhex("10071840102a")) == canonical  # the last of two seeds counts
    assert key(bytes.fromhex("0a0161102a18400a0162")) == canonical  # an id before and after
    assert key(bytes.fromhex("102b1840")) != canonical


@pytest.mark.parametrize(
    "raw",
    [
        bytes.fromhex("0a05"),  # cut short
        bytes.fromhex("0a02ffff102a"),  # not UTF-8
        pb.FeatureRequest(request_id="x" * 129).SerializeToString(),
        pb.FeatureRequest(request_id="é" * 65).SerializeToString(),  # 130 bytes
    ],
)
async def test_a_request_that_must_be_refused_for_its_id_has_no_key(served: Any, raw: bytes) -> None:
    assert cache_key(pb.FeatureRequest)(raw) is None
    outcome = await served.unary("/mfn.MFNFeaturesService/ExtractFeatures", raw)
    assert outcome.code is Code.INVALID_ARGUMENT


@given(st.text(max_size=42), st.text(max_size=42))
def test_stamping_changes_the_id_and_nothing_else(first: str, second: str) -> None:
    stamped = stamp(pb.FeatureRequest)
    reply = pb.FeatureResponse(request_id=first, fractal_dimension=1.5, growth_events=3)
    raw = pb.FeatureRequest(request_id=second, seed=1).SerializeToString()
    found = pb.FeatureResponse.FromString(stamped(reply.SerializeToString(), raw))
    reply.request_id = second
    assert found == reply
