from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from mfn_proto.rich_status import (
    MAX_MESSAGE_BYTES,
    MAX_STATUS_BYTES,
    bounded_message,
    decode_rich_status,
    encode_rich_status,
)


def test_everything_that_is_encoded_comes_back() -> None:
    raw = encode_rich_status(
        8,
        "zu viele Aufrufe · 100 %\nspäter",
        violations=[("alpha", "0.3 is more than 0.25"), ("start.grid_size", "must be positive")],
        retry_after=1.5,
        reason="RESOURCE_EXHAUSTED",
        details={"limit": "rate", "policy": "default"},
    )
    back = decode_rich_status(raw)
    assert back.code == 8
    assert back.message == "zu viele Aufrufe · 100 %\nspäter"
    assert back.violations == (("alpha", "0.3 is more than 0.25"), ("start.grid_size", "must be positive"))
    assert back.retry_after == 1.5
    assert back.reason == "RESOURCE_EXHAUSTED"
    assert back.details == {"limit": "rate", "policy": "default"}


def test_a_bare_error_carries_no_detail_messages() -> None:
    status = Status.FromString(encode_rich_status(5, "no such run"))
    assert (status.code, status.message, len(status.details)) == (5, "no such run", 0)


def test_a_delay_of_zero_is_said_and_an_absent_one_is_not() -> None:
    assert decode_rich_status(encode_rich_status(14, "", retry_after=0.0)).retry_after == 0.0
    assert decode_rich_status(encode_rich_status(14, "")).retry_after is None


@pytest.mark.parametrize("delay", [-0.001, float("nan"), float("inf")])
def test_a_delay_that_is_no_delay_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="retry_after must be between 0"):
        encode_rich_status(8, "", retry_after=delay)


def test_violations_without_room_are_counted() -> None:
    many = [(f"field_{index}", "x" * 100) for index in range(1000)]
    raw = encode_rich_status(3, "invalid", violations=many)
    assert len(raw) <= MAX_STATUS_BYTES
    back = decode_rich_status(raw).violations
    shown = len(back) - 1
    assert shown > 5
    assert back[:shown] == tuple(many[:shown])
    assert back[shown] == ("", f"{1000 - shown} more are left out here")


def test_the_longest_error_still_tells_its_first_violation() -> None:
    raw = encode_rich_status(
        3,
        "m" * 5000,
        violations=[("f" * 300, "d" * 900), ("g", "h")],
        retry_after=123456789.123456789,
        reason="R" * 300,
        details={f"key{index}": "v" * 300 for index in range(50)},
    )
    assert len(raw) <= MAX_STATUS_BYTES
    path, description = decode_rich_status(raw).violations[0]
    assert path == "f" * 197 + "…"
    assert description == "d" * 497 + "…"


@given(
    message=st.text(max_size=3000),
    violations=st.lists(st.tuples(st.text(max_size=500), st.text(max_size=1000)), max_size=20),
    retry_after=st.none() | st.floats(0, 1e9),
    details=st.dictionaries(st.text(max_size=100), st.text(max_size=400), max_size=20),
)
def test_no_error_is_longer_than_its_bound(
    message: str,
    violations: list[tuple[str, str]],
    retry_after: float | None,
    details: dict[str, str],
) -> None:
    raw = encode_rich_status(3, message, violations=violations, retry_after=retry_after, details=details)
    back = decode_rich_status(raw)
    assert len(raw) <= MAX_STATUS_BYTES
    assert bool(back.violations) == bool(violations)
    assert (back.retry_after is None) == (retry_after is None)


@given(st.text(max_size=2000), st.integers(3, 1500))
def test_a_message_is_cut_between_characters_only(text: str, limit: int) -> None:
    cut = bounded_message(text, limit)
    assert len(cut.encode()) <= limit
    if cut != text:
        assert cut.endswith("…")
        assert text.startswith(cut[:-1])


def test_a_message_within_the_bound_is_not_touched() -> None:
    text = "ä" * (MAX_MESSAGE_BYTES // 2)
    assert bounded_message(text) == text


def test_a_lone_surrogate_does_not_keep_an_error_from_being_told() -> None:
    assert bounded_message("bad \ud800 name") == "bad ? name"


def test_bytes_that_are_no_status_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of 3 bytes is not a google\.rpc\.Status"):
        decode_rich_status(b"\xff\xff\xff")


def test_details_of_an_unknown_type_are_passed_over() -> None:
    status = Status(code=9, message="m")
    packed = Any()
    packed.Pack(StringValue(value="x"))
    status.details.append(packed)
    status.details.append(Any(type_url="type.googleapis.com/some.Other", value=b"\xff"))
    back = decode_rich_status(status.SerializeToString())
    assert (back.code, back.message, back.violations, back.details) == (9, "m", (), {})
