"""How a failure is told on a WebSocket: the protocol's own error codes, by what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code

__all__ = ["AUTH_CODES", "STREAM_CODE", "SUBSCRIBE_CODES", "failure"]

STREAM_CODE = "STREAM_ERROR"
"""Of whatever ends a stream that had begun."""

_REFUSED_SUBSCRIPTIONS = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
    }
)
_REFUSED_CREDENTIALS = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT})

AUTH_CODES: Mapping[Code, str] = MappingProxyType(
    {code: "AUTH_FAILED" if code in _REFUSED_CREDENTIALS else "AUTH_ERROR" for code in Code if code is not Code.OK}
)
"""Of an `auth` message: what the caller showed is wrong, or it could not be looked at."""
SUBSCRIBE_CODES: Mapping[Code, str] = MappingProxyType(
    {
        code: "NOT_AUTHENTICATED"
        if code is Code.UNAUTHENTICATED
        else "SUBSCRIBE_FAILED"
        if code in _REFUSED_SUBSCRIPTIONS
        else "SUBSCRIBE_ERROR"
        for code in Code
        if code is not Code.OK
    }
)
"""Of a `subscribe` message: the request is at fault, or it could not be served now."""


def failure(error_code: str, outcome: Outcome) -> dict[str, Any]:
    """The payload that tells a client why a call ended.

    Args:
        error_code: the protocol's own.
        outcome: how it ended; its canonical code stands in `code`.
    """
    content: dict[str, Any] = {"error_code": error_code, "code": outcome.code.value, "message": outcome.message}
    error = outcome.error
    if error is not None:
        if error.violations:
            content["violations"] = [
                {"field": each.field, "description": each.description} for each in error.violations
            ]
        if error.retry_after is not None:
            content["retry_after_ms"] = math.ceil(max(0.0, error.retry_after) * 1000)
        if error.details:
            content["details"] = dict(error.details)
    return content
