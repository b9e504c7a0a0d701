"""The error codes of WebSockets."""

from __future__ import annotations

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_transport_asgi._websocket.status import AUTH_CODES, SUBSCRIBE_CODES, failure

FAILURES = set(Code) - {Code.OK}


def test_every_code_has_a_word_for_each_phase() -> None:
    assert set(AUTH_CODES) == FAILURES
    assert set(SUBSCRIBE_CODES) == FAILURES
    assert set(AUTH_CODES.values()) == {"AUTH_FAILED", "AUTH_ERROR"}
    assert set(SUBSCRIBE_CODES.values()) == {"NOT_AUTHENTICATED", "SUBSCRIBE_FAILED", "SUBSCRIBE_ERROR"}


def test_what_the_caller_can_mend_is_told_from_what_it_cannot() -> None:
    assert AUTH_CODES[Code.UNAUTHENTICATED] == "AUTH_FAILED"
    assert AUTH_CODES[Code.INVALID_ARGUMENT] == "AUTH_FAILED"
    assert AUTH_CODES[Code.RESOURCE_EXHAUSTED] == "AUTH_ERROR"
    assert SUBSCRIBE_CODES[Code.INVALID_ARGUMENT] == "SUBSCRIBE_FAILED"
    assert SUBSCRIBE_CODES[Code.UNAVAILABLE] == "SUBSCRIBE_ERROR"


def test_a_failure_tells_all_that_its_caller_may_know_and_no_reason() -> None:
    error = MfnError(
        Code.RESOURCE_EXHAUSTED,
        "slower",
        reason="for the operator alone",
        violations=[FieldViolation(field="alpha", description="too large")],
        retry_after=1.2501,
        details={"limit": "rate"},
    )
    told = failure("SUBSCRIBE_ERROR", Outcome(code=error.code, message=error.message, error=error))
    assert told == {
        "error_code": "SUBSCRIBE_ERROR",
        "code": "RESOURCE_EXHAUSTED",
        "message": "slower",
        "violations": [{"field": "alpha", "description": "too large"}],
        "retry_after_ms": 1251,
        "details": {"limit": "rate"},
    }
