"""Every outcome has its words on the wire."""

from __future__ import annotations

import base64

import pytest

from mfn_core import Code, FieldViolation, MfnError, Outcome
from mfn_proto.rich_status import decode_rich_status
from mfn_transport_asgi._grpc.status import STATUS_NUMBERS, status_headers


def of(error: MfnError) -> dict[bytes, bytes]:
    return dict(status_headers(Outcome(code=error.code, message=error.message, error=error)))


def test_the_table_covers_every_code_with_a_number_of_its_own() -> None:
    assert set(STATUS_NUMBERS) == set(Code)
    assert sorted(STATUS_NUMBERS.values()) == list(range(17))


def test_the_numbers_are_those_of_grpc() -> None:
    import grpc

    assert {code.name: number for code, number in STATUS_NUMBERS.items()} == {
        code.name: code.value[0] for code in grpc.StatusCode
    }


def test_success_says_nothing_but_its_number() -> None:
    assert status_headers(Outcome(code=Code.OK)) == [(b"grpc-status", b"0")]


def test_a_plain_error_has_no_details() -> None:
    assert of(MfnError(Code.NOT_FOUND, "no field ü")) == {b"grpc-status": b"5", b"grpc-message": b"no field %C3%BC"}


def test_violations_retry_and_facts_travel_as_rich_details_and_the_reason_does_not() -> None:
    error = MfnError(
        Code.RESOURCE_EXHAUSTED,
        "slower",
        reason="the operator alone may know this",
        violations=[FieldViolation(field="alpha", description="0.5 is over 0.25")],
        retry_after=1.25,
        details={"limit": "rate"},
    )
    headers = of(error)
    assert headers[b"retry-after-ms"] == b"1250"
    raw = base64.b64decode(headers[b"grpc-status-details-bin"] + b"==")
    status = decode_rich_status(raw)
    assert (status.code, status.message) == (8, "slower")
    assert status.violations == (("alpha", "0.5 is over 0.25"),)
    assert status.retry_after == 1.25
    assert status.details == {"limit": "rate"}
    assert b"operator" not in b"".join(headers.values()) + raw


@pytest.mark.parametrize(("given", "sent"), [(0.0, b"0"), (-3.0, b"0"), (0.0001, b"1"), (1e300, b"86400000")])
def test_a_retry_delay_is_whole_milliseconds_within_a_day(given: float, sent: bytes) -> None:
    assert of(MfnError(Code.UNAVAILABLE, "later", retry_after=given))[b"retry-after-ms"] == sent


def test_the_longest_error_stays_below_what_clients_accept() -> None:
    error = MfnError(
        Code.INVALID_ARGUMENT,
        "ü" * 100_000,
        violations=[FieldViolation(field="f" * 500, description="d" * 5000)] * 100,
        retry_after=1.0,
        details={f"k{i}": "v" * 1000 for i in range(100)},
    )
    assert sum(len(name) + len(value) + 32 for name, value in of(error).items()) < 8192
