"""How an outcome is put into the words of gRPC: the table of codes, the message and the rich details."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from types import MappingProxyType

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code
from mfn_proto.rich_status import DETAILS_KEY, bounded_message, encode_rich_status
from mfn_transport_asgi._metadata import percent_encode

__all__ = ["STATUS_NUMBERS", "status_headers"]

STATUS_NUMBERS: Mapping[Code, int] = MappingProxyType(
    {
        Code.OK: 0,
        Code.CANCELLED: 1,
        Code.UNKNOWN: 2,
        Code.INVALID_ARGUMENT: 3,
        Code.DEADLINE_EXCEEDED: 4,
        Code.NOT_FOUND: 5,
        Code.ALREADY_EXISTS: 6,
        Code.PERMISSION_DENIED: 7,
        Code.RESOURCE_EXHAUSTED: 8,
        Code.FAILED_PRECONDITION: 9,
        Code.ABORTED: 10,
        Code.OUT_OF_RANGE: 11,
        Code.UNIMPLEMENTED: 12,
        Code.INTERNAL: 13,
        Code.UNAVAILABLE: 14,
        Code.DATA_LOSS: 15,
        Code.UNAUTHENTICATED: 16,
    }
)
"""Every code's number on the wire; https://github.com/grpc/grpc/blob/master/doc/statuscodes.md."""

LONGEST_RETRY_SECONDS = 86_400.0

_NUMERALS = {code: str(number).encode() for code, number in STATUS_NUMBERS.items()}


def status_headers(outcome: Outcome) -> list[tuple[bytes, bytes]]:
    """`grpc-status`, and where there is more to say `grpc-message`, `retry-after-ms` and the rich details.

    Together they stay below the 8 KiB of trailers from which on clients refuse a reply.
    """
    headers = [(b"grpc-status", _NUMERALS[outcome.code])]
    if outcome.message:
        headers.append((b"grpc-message", percent_encode(bounded_message(outcome.message))))
    error = outcome.error
    if error is None:
        return headers
    retry_after = error.retry_after
    if retry_after is not None:
        retry_after = min(max(0.0, retry_after), LONGEST_RETRY_SECONDS)
        headers.append((b"retry-after-ms", b"%d" % math.ceil(retry_after * 1000)))
    if error.violations or error.details or retry_after is not None:
        details = encode_rich_status(
            STATUS_NUMBERS[outcome.code],
            outcome.message,
            violations=[(violation.field, violation.description) for violation in error.violations],
            retry_after=retry_after,
            details=error.details,
        )
        headers.append((DETAILS_KEY.encode(), base64.b64encode(details).rstrip(b"=")))
    return headers
