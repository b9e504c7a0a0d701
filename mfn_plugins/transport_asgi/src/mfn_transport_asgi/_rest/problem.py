"""How an outcome is put into the words of HTTP: the table of codes, and problem details (RFC 9457)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_proto.rich_status import bounded_message
from mfn_transport_asgi._grpc.status import LONGEST_RETRY_SECONDS

if TYPE_CHECKING:
    from mfn_core.call import Allowance

__all__ = ["CHALLENGES", "PROBLEM_TYPE", "STATUSES", "HttpStatus", "allowance_headers", "problem", "problem_headers"]

PROBLEM_TYPE = b"application/problem+json"
CHALLENGES = b'MFN2-HMAC-SHA256 realm="mfn", Bearer realm="mfn"'
"""How a caller may prove who it is, so far as the server's plugins take it."""
MOST_VIOLATIONS = 100


@frozen
class HttpStatus:
    """The status of a reply with a code, and what that is called."""

    number: int
    title: str


STATUSES: Mapping[Code, HttpStatus] = MappingProxyType(
    {
        Code.OK: HttpStatus(200, "OK"),
        Code.CANCELLED: HttpStatus(499, "Cancelled by the client"),
        Code.UNKNOWN: HttpStatus(500, "Unknown error"),
        Code.INVALID_ARGUMENT: HttpStatus(400, "Invalid argument"),
        Code.DEADLINE_EXCEEDED: HttpStatus(504, "Deadline exceeded"),
        Code.NOT_FOUND: HttpStatus(404, "Not found"),
        Code.ALREADY_EXISTS: HttpStatus(409, "Already exists"),
        Code.PERMISSION_DENIED: HttpStatus(403, "Permission denied"),
        Code.RESOURCE_EXHAUSTED: HttpStatus(429, "Limit reached"),
        # The request is sound, and cannot be carried out: the numbers of its run became unstable.
        Code.FAILED_PRECONDITION: HttpStatus(422, "Cannot be carried out"),
        Code.ABORTED: HttpStatus(409, "Aborted"),
        Code.OUT_OF_RANGE: HttpStatus(400, "Out of range"),
        Code.UNIMPLEMENTED: HttpStatus(501, "Not implemented"),
        Code.INTERNAL: HttpStatus(500, "Internal error"),
        Code.UNAVAILABLE: HttpStatus(503, "Unavailable"),
        Code.DATA_LOSS: HttpStatus(500, "Data loss"),
        Code.UNAUTHENTICATED: HttpStatus(401, "Not authenticated"),
    }
)
"""After the mapping of google.rpc.Code, but for FAILED_PRECONDITION."""

_TITLES: Mapping[int, str] = MappingProxyType(
    {
        405: "Method not allowed",
        406: "Not acceptable",
        408: "Request timeout",
        413: "Content too large",
        415: "Unsupported media type",
    }
)
"""Of statuses that the door itself gives: no code has them."""


def problem(
    error: MfnError, *, status: int | None = None, call_id: str | None = None, request_id: str | None = None
) -> dict[str, Any]:
    """Problem details, as JSON.

    Args:
        error: what the call ended with.
        status: of HTTP, where it is not that of the error's code.
        call_id: id of the call; the server's log and audit have it.
        request_id: the caller's own.
    """
    own = STATUSES[error.code]
    number = own.number if status is None else status
    content: dict[str, Any] = {
        "type": f"/docs#{error.code.value.lower().replace('_', '-')}",
        "title": own.title if number == own.number else _TITLES.get(number, own.title),
        "status": number,
        "code": error.code.value,
        "detail": bounded_message(error.message),
    }
    if call_id is not None:
        content["instance"] = f"/calls/{call_id}"
    if request_id is not None:
        content["request_id"] = request_id
    if error.violations:
        content["errors"] = _violations(error.violations)
    retry_after = _retry_after(error)
    if retry_after is not None:
        content["retry_after"] = retry_after
    if error.details:
        content["details"] = dict(error.details)
    return content


def problem_headers(error: MfnError, status: int) -> list[tuple[bytes, bytes]]:
    """What a reply with the problem says beside it."""
    headers: list[tuple[bytes, bytes]] = [(b"content-type", PROBLEM_TYPE)]
    if status == STATUSES[Code.UNAUTHENTICATED].number:
        headers.append((b"www-authenticate", CHALLENGES))
    retry_after = _retry_after(error)
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(retry_after)))
    return headers


def allowance_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    """What is left to the caller: the fields of the IETF's draft of RateLimit, and those that came before it."""
    name = json.dumps(allowance.policy)  # its strings are those of structured fields, for the names that policies have
    policy = f"{name};q={allowance.limit};w={max(1, math.ceil(allowance.window))}"
    missing = allowance.limit - allowance.remaining
    full_in = math.ceil(missing * allowance.window / allowance.limit) if allowance.limit else 0
    return [
        (b"ratelimit-policy", policy.encode()),
        (b"ratelimit", f"{name};r={allowance.remaining};t={full_in}".encode()),
        (b"x-ratelimit-limit", b"%d" % allowance.limit),
        (b"x-ratelimit-remaining", b"%d" % allowance.remaining),
    ]


def _violations(violations: Sequence[FieldViolation]) -> list[dict[str, str]]:
    return [
        {"field": each.field, "message": bounded_message(each.description)} for each in violations[:MOST_VIOLATIONS]
    ]


def _retry_after(error: MfnError) -> float | None:
    """Seconds, at most a day; None where nothing is said."""
    return None if error.retry_after is None else min(max(0.0, error.retry_after), LONGEST_RETRY_SECONDS)
