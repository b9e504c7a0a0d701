"""Rich errors on the wire: a `google.rpc.Status` with field violations, a retry delay and machine-readable facts.

Every RPC transport puts these bytes into the trailing metadata `grpc-status-details-bin`, and clients read them from
there. The values are plain, so that servers and clients share this one place without sharing anything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped] # its stubs come without py.typed
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # its stubs come without py.typed

__all__ = [
    "DETAILS_KEY",
    "DOMAIN",
    "RichStatus",
    "bounded_message",
    "decode_rich_status",
    "encode_rich_status",
]

DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata that holds the encoded status."""

DOMAIN = "mfn"
"""`ErrorInfo.domain` of the errors that MFN defines."""

MAX_MESSAGE_BYTES = 1000
"""Longest message of a status, UTF-8: three times as long when each byte is percent-encoded for the header."""

MAX_STATUS_BYTES = 3000
"""Longest encoded status: 4000 characters in base64, so that with the message it stays below the 8 KiB of trailing
metadata from which on clients refuse a reply."""

_MAX_FIELD_BYTES = 200
_MAX_TEXT_BYTES = 500
_LONGEST_DELAY = 315_576_000_000.0  # seconds; the bound of google.protobuf.Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class RichStatus:
    """What an error says beyond its code."""

    code: int = 0
    """Number of the canonical code, as `google.rpc.Code` has it."""
    message: str = ""
    violations: tuple[tuple[str, str], ...] = ()
    """Field path and description of every field of the request that is at fault."""
    retry_after: float | None = None
    """Seconds after which a retry may succeed; None: nothing is said."""
    reason: str = ""
    """`ErrorInfo.reason`: the error in UPPER_SNAKE_CASE; empty where there is no `ErrorInfo`."""
    details: Mapping[str, str] = field(default_factory=dict)
    """`ErrorInfo.metadata`: machine-readable facts."""


def bounded_message(text: str, limit: int = MAX_MESSAGE_BYTES) -> str:
    """The text, cut to `limit` bytes of UTF-8 and marked with `…` where it was cut.

    Lone surrogates, which UTF-8 does not have, become `?`.
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    return raw[: limit - len("…".encode())].decode("utf-8", "ignore") + "…"


def encode_rich_status(
    code: int,
    message: str,
    *,
    violations: Iterable[tuple[str, str]] = (),
    retry_after: float | None = None,
    reason: str = "",
    details: Mapping[str, str] | None = None,
) -> bytes:
    """Encode one error, in at most `MAX_STATUS_BYTES`.

    Texts that are too long are cut. Violations that have no room are left out, and a last one without a field says
    how many; facts that have no room are left out from the end.

    Args:
        code: number of the canonical code.
        message: what the caller reads.
        violations: field path and description.
        retry_after: seconds, not negative.
        reason: of the `ErrorInfo`, which is there when `reason` or `details` is.
        details: of the `ErrorInfo`.

    Raises:
        ValueError: `retry_after` is negative or not a number.
    """
    status = Status(code=code, message=bounded_message(message))
    if retry_after is not None:
        _pack(status, _retry_info(retry_after))
    facts = dict(details or {})
    if reason or facts:
        info = ErrorInfo(reason=bounded_message(reason, _MAX_FIELD_BYTES), domain=DOMAIN)
        for key, value in facts.items():
            info.metadata[bounded_message(key, 64)] = bounded_message(value, _MAX_FIELD_BYTES)
            if info.ByteSize() > MAX_STATUS_BYTES // 4:
                del info.metadata[bounded_message(key, 64)]
                break
        _pack(status, info)
    found = list(violations)
    if found:
        _pack(status, _bad_request(found, MAX_STATUS_BYTES - status.ByteSize()))
    encoded: bytes = status.SerializeToString()
    return encoded


def decode_rich_status(raw: bytes) -> RichStatus:
    """Read an encoded status; detail messages of types that are not known here are passed over.

    Raises:
        ValueError: the bytes are not a `google.rpc.Status`.
    """
    try:
        status = Status.FromString(raw)
        violations: list[tuple[str, str]] = []
        retry_after: float | None = None
        reason = ""
        details: dict[str, str] = {}
        for packed in status.details:
            if packed.Is(BadRequest.DESCRIPTOR):
                bad = BadRequest.FromString(packed.value)
                violations.extend((each.field, each.description) for each in bad.field_violations)
            elif packed.Is(RetryInfo.DESCRIPTOR):
                delay = RetryInfo.FromString(packed.value).retry_delay
                retry_after = delay.seconds + delay.nanos / 1e9
            elif packed.Is(ErrorInfo.DESCRIPTOR):
                info = ErrorInfo.FromString(packed.value)
                reason = info.reason
                details.update(info.metadata)
    except DecodeError as wrong:
        raise ValueError(f"{DETAILS_KEY} of {len(raw)} bytes is not a google.rpc.Status") from wrong
    return RichStatus(
        code=status.code,
        message=status.message,
        violations=tuple(violations),
        retry_after=retry_after,
        reason=reason,
        details=details,
    )


def _retry_info(seconds: float) -> RetryInfo:
    if not 0.0 <= seconds <= _LONGEST_DELAY:
        raise ValueError(f"retry_after must be between 0 and {_LONGEST_DELAY:.0f} seconds, not {seconds!r}")
    info = RetryInfo()
    info.retry_delay.FromNanoseconds(math.ceil(seconds * 1e9))
    return info


def _bad_request(violations: list[tuple[str, str]], room: int) -> BadRequest:
    """As many of the violations as `room` bytes hold, packed into an `Any`; always the first."""
    # Message and facts leave 1000 bytes at the least, and one violation takes 710 at the most.
    room -= 120  # the wrapping `Any`, and the line that counts what was left out
    bad = BadRequest()
    for index, (path, description) in enumerate(violations):
        bad.field_violations.add(
            field=bounded_message(path, _MAX_FIELD_BYTES),
            description=bounded_message(description, _MAX_TEXT_BYTES),
        )
        if bad.ByteSize() > room and index > 0:
            del bad.field_violations[index]
            bad.field_violations.add(description=f"{len(violations) - index} more are left out here")
            break
    return bad


def _pack(status: Status, message: Message) -> None:
    packed = Any()
    packed.Pack(message)
    status.details.append(packed)
