"""How the codes of the kernel stand on this wire, and the metadata that carries the rest of an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import grpc

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code
from mfn_proto.rich_status import DETAILS_KEY, bounded_message, encode_rich_status

__all__ = ["RETRY_AFTER_KEY", "STATUS", "status_message", "status_metadata"]

STATUS: Mapping[Code, grpc.StatusCode] = MappingProxyType(
    {
        Code.OK: grpc.StatusCode.OK,
        Code.CANCELLED: grpc.StatusCode.CANCELLED,
        Code.UNKNOWN: grpc.StatusCode.UNKNOWN,
        Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
        Code.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
        Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Code.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        Code.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Code.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
        Code.ABORTED: grpc.StatusCode.ABORTED,
        Code.OUT_OF_RANGE: grpc.StatusCode.OUT_OF_RANGE,
        Code.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
        Code.INTERNAL: grpc.StatusCode.INTERNAL,
        Code.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Code.DATA_LOSS: grpc.StatusCode.DATA_LOSS,
        Code.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    }
)
"""Every code of the kernel, and its status on the wire."""

RETRY_AFTER_KEY = "retry-after-ms"
"""Trailing metadata with the retry delay in whole milliseconds, for clients that do not read rich errors."""


def status_message(outcome: Outcome) -> str:
    """The text of the status, cut so that trailers stay below what clients accept."""
    return bounded_message(outcome.message)


def status_metadata(outcome: Outcome) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata of a failed call: the rich error, and the retry delay for simple clients.

    Nothing where the error is no more than its code and message.
    """
    error = outcome.error
    if error is None or not (error.violations or error.details or error.retry_after is not None):
        return ()
    number, _ = STATUS[outcome.code].value
    rich = encode_rich_status(
        number,
        outcome.message,
        violations=((each.field, each.description) for each in error.violations),
        retry_after=error.retry_after,
        reason=outcome.code.name if error.details else "",
        details=error.details,
    )
    if error.retry_after is None:
        return ((DETAILS_KEY, rich),)
    return ((DETAILS_KEY, rich), (RETRY_AFTER_KEY, str(math.ceil(error.retry_after * 1000))))
