from __future__ import annotations

import grpc

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_proto.rich_status import DETAILS_KEY, decode_rich_status
from mfn_transport_grpc._status import STATUS, status_message, status_metadata


def test_every_code_has_a_status_of_its_own_and_of_the_same_name() -> None:
    assert set(STATUS) == set(Code)
    assert set(STATUS.values()) == set(grpc.StatusCode)
    assert all(code.name == status.name for code, status in STATUS.items())


def outcome(error: MfnError) -> Outcome:
    return Outcome(code=error.code, message=error.message, error=error)


def test_an_error_that_is_only_a_code_and_a_message_adds_no_metadata() -> None:
    assert status_metadata(outcome(MfnError(Code.NOT_FOUND, "no such run"))) == ()


def test_the_rich_error_and_the_delay_stand_in_the_trailing_metadata() -> None:
    error = MfnError(
        Code.RESOURCE_EXHAUSTED,
        "too many calls",
        reason="bucket of principal k1 is empty",
        violations=[FieldViolation(field="a", description="b")],
        retry_after=0.0301,
        details={"limit": "rate"},
    )
    metadata = dict(status_metadata(outcome(error)))
    raw = metadata[DETAILS_KEY]
    assert isinstance(raw, bytes)
    rich = decode_rich_status(raw)
    assert (rich.code, rich.message) == (8, "too many calls")
    assert rich.violations == (("a", "b"),)
    assert rich.retry_after == 0.0301
    assert (rich.reason, rich.details) == ("RESOURCE_EXHAUSTED", {"limit": "rate"})
    assert metadata["retry-after-ms"] == "31"
    assert b"k1" not in raw


def test_a_message_is_cut_where_clients_would_refuse_the_trailers() -> None:
    assert len(status_message(outcome(MfnError(Code.INTERNAL, "x" * 100_000))).encode()) == 1000
