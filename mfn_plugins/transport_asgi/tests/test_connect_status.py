"""Every outcome has its words in Connect."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from mfn_core import Code, FieldViolation, MfnError, Outcome
from mfn_transport_asgi._connect.status import STATUSES, end_of_stream, error_body, retry_headers

OF_THE_SPECIFICATION = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}
"""https://connectrpc.com/docs/protocol#error-codes."""


def outcome_of(error: MfnError) -> Outcome:
    return Outcome(code=error.code, message=error.message, error=error)


def test_the_table_covers_every_code() -> None:
    assert set(STATUSES) == set(Code)
    assert STATUSES[Code.OK].http == 200


def test_names_and_statuses_are_those_of_the_specification() -> None:
    assert {
        status.name: status.http for code, status in STATUSES.items() if code is not Code.OK
    } == OF_THE_SPECIFICATION
    for code, status in STATUSES.items():
        assert status.name in ("", "canceled", code.name.lower())


def test_a_plain_error_is_its_code_and_message() -> None:
    assert json.loads(error_body(outcome_of(MfnError(Code.NOT_FOUND, "no field ü")))) == {
        "code": "not_found",
        "message": "no field ü",
    }
    assert json.loads(error_body(Outcome(code=Code.UNKNOWN))) == {"code": "unknown"}


def test_violations_retry_and_facts_are_details_and_the_reason_is_not_told() -> None:
    error = MfnError(
        Code.RESOURCE_EXHAUSTED,
        "slower",
        reason="the operator alone may know this",
        violations=[FieldViolation(field="alpha", description="0.5 is over 0.25")],
        retry_after=1.25,
        details={"limit": "rate"},
    )
    body = error_body(outcome_of(error))
    assert b"operator" not in body
    details: dict[str, Any] = {each["type"]: each for each in json.loads(body)["details"]}

    def raw(name: str) -> bytes:
        value = details[name]["value"]
        assert "=" not in value
        return base64.b64decode(value + "=" * (-len(value) % 4))

    (violation,) = BadRequest.FromString(raw("google.rpc.BadRequest")).field_violations
    assert (violation.field, violation.description) == ("alpha", "0.5 is over 0.25")
    assert RetryInfo.FromString(raw("google.rpc.RetryInfo")).retry_delay.ToMilliseconds() == 1250
    assert dict(ErrorInfo.FromString(raw("google.rpc.ErrorInfo")).metadata) == {"limit": "rate"}
    assert details["google.rpc.RetryInfo"]["debug"] == {"retryDelay": "1.250s"}
    assert set(details) == {"google.rpc.BadRequest", "google.rpc.RetryInfo", "google.rpc.ErrorInfo"}


def test_a_retry_delay_is_whole_seconds_within_a_day() -> None:
    for given, sent in ((0.0, b"0"), (-3.0, b"0"), (0.2, b"1"), (2.0, b"2"), (1e300, b"86400")):
        error = MfnError(Code.UNAVAILABLE, "later", retry_after=given)
        assert retry_headers(outcome_of(error)) == [(b"retry-after", sent)]
    assert retry_headers(outcome_of(MfnError(Code.UNAVAILABLE, "later"))) == []


def test_a_stream_ends_with_its_error_and_its_metadata() -> None:
    trailing = [(b"x-t", b"1"), (b"x-t", b"2"), (b"x-b-bin", b"AP8")]
    assert json.loads(end_of_stream(Outcome(code=Code.OK), ())) == {}
    assert json.loads(end_of_stream(Outcome(code=Code.OK), trailing)) == {
        "metadata": {"x-t": ["1", "2"], "x-b-bin": ["AP8"]}
    }
    failed = end_of_stream(outcome_of(MfnError(Code.ABORTED, "lost")), trailing[:1])
    assert json.loads(failed) == {"error": {"code": "aborted", "message": "lost"}, "metadata": {"x-t": ["1"]}}


def test_the_longest_error_is_bounded() -> None:
    error = MfnError(
        Code.INVALID_ARGUMENT,
        "ü" * 100_000,
        violations=[FieldViolation(field="f" * 500, description="d" * 5000)] * 100,
        retry_after=1.0,
        details={f"k{i}": "v" * 1000 for i in range(100)},
    )
    assert len(error_body(outcome_of(error))) < 16 * 1024
