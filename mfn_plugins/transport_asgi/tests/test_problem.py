"""The table of statuses, and problem details."""

from __future__ import annotations

import json

import pytest

from mfn_core import Allowance, Code, FieldViolation, MfnError
from mfn_transport_asgi._rest.problem import MOST_VIOLATIONS, STATUSES, allowance_headers, problem, problem_headers


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_status_and_a_title(code: Code) -> None:
    status = STATUSES[code]
    assert (status.number == 200) == (code is Code.OK)
    assert 200 <= status.number <= 599
    assert status.title


# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, but for FAILED_PRECONDITION.
@pytest.mark.parametrize(
    ("code", "number"),
    [
        (Code.CANCELLED, 499),
        (Code.UNKNOWN, 500),
        (Code.INVALID_ARGUMENT, 400),
        (Code.DEADLINE_EXCEEDED, 504),
        (Code.NOT_FOUND, 404),
        (Code.ALREADY_EXISTS, 409),
        (Code.PERMISSION_DENIED, 403),
        (Code.UNAUTHENTICATED, 401),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.FAILED_PRECONDITION, 422),
        (Code.ABORTED, 409),
        (Code.OUT_OF_RANGE, 400),
        (Code.UNIMPLEMENTED, 501),
        (Code.INTERNAL, 500),
        (Code.UNAVAILABLE, 503),
        (Code.DATA_LOSS, 500),
    ],
)
def test_codes_have_the_statuses_that_http_knows(code: Code, number: int) -> None:
    assert STATUSES[code].number == number


def test_a_problem_says_everything_that_the_caller_may_know() -> None:
    error = MfnError(
        Code.RESOURCE_EXHAUSTED,
        "limit reached",
        reason="of the operator alone",
        violations=[FieldViolation(field="alpha", description="too large")],
        retry_after=1.25,
        details={"limit": "rate"},
    )
    found = problem(error, call_id="c1", request_id="r1")
    assert found == {
        "type": "/docs#resource-exhausted",
        "title": "Limit reached",
        "status": 429,
        "code": "RESOURCE_EXHAUSTED",
        "detail": "limit reached",
        "instance": "/calls/c1",
        "request_id": "r1",
        "errors": [{"field": "alpha", "message": "too large"}],
        "retry_after": 1.25,
        "details": {"limit": "rate"},
    }
    assert dict(problem_headers(error, 429)) == {b"content-type": b"application/problem+json", b"retry-after": b"2"}


def test_a_status_of_the_door_has_a_title_of_its_own() -> None:
    found = problem(MfnError(Code.INVALID_ARGUMENT, "no"), status=415)
    assert (found["title"], found["status"], found["code"]) == ("Unsupported media type", 415, "INVALID_ARGUMENT")
    assert not {"instance", "request_id", "errors", "retry_after", "details"} & found.keys()


def test_who_is_not_authenticated_is_told_how_to_be() -> None:
    headers = problem_headers(MfnError(Code.UNAUTHENTICATED, "no"), 401)
    assert dict(headers)[b"www-authenticate"] == b'MFN2-HMAC-SHA256 realm="mfn", Bearer realm="mfn"'


def test_a_problem_has_a_bound() -> None:
    violations = [FieldViolation(field=f"f{i}", description="x" * 10_000) for i in range(1000)]
    found = problem(MfnError.invalid(violations))
    assert len(found["errors"]) == MOST_VIOLATIONS
    assert len(json.dumps(found)) < 500_000


@pytest.mark.parametrize("retry_after", [-1.0, 0.0, 0.2, 1e9])
def test_the_time_to_wait_is_whole_seconds_and_at_most_a_day(retry_after: float) -> None:
    error = MfnError(Code.UNAVAILABLE, "later", retry_after=retry_after)
    seconds = int(dict(problem_headers(error, 503))[b"retry-after"])
    assert 0 <= seconds <= 86_400
    assert problem(error)["retry_after"] <= seconds


def test_what_is_left_is_told_in_both_forms() -> None:
    allowance = Allowance(policy="default", limit=100, remaining=40, window=50.0)
    assert dict(allowance_headers(allowance)) == {
        b"ratelimit-policy": b'"default";q=100;w=50',
        b"ratelimit": b'"default";r=40;t=30',
        b"x-ratelimit-limit": b"100",
        b"x-ratelimit-remaining": b"40",
    }
