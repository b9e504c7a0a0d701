"""How an outcome is put into the words of Connect: the table of codes, error JSON and the end of a stream.

https://connectrpc.com/docs/protocol#error-codes.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen
from google.protobuf import json_format
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # noqa: F401 - registers the types of details
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # its stubs come without py.typed

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code
from mfn_proto.rich_status import bounded_message, encode_rich_status
from mfn_transport_asgi._grpc.status import LONGEST_RETRY_SECONDS, STATUS_NUMBERS

__all__ = ["STATUSES", "ConnectStatus", "end_of_stream", "error_body", "retry_headers"]


@frozen
class ConnectStatus:
    """What a code is called, and the HTTP status of a unary reply with it."""

    name: str
    http: int


STATUSES: Mapping[Code, ConnectStatus] = MappingProxyType(
    {
        Code.OK: ConnectStatus("", 200),  # success has no name
        Code.CANCELLED: ConnectStatus("canceled", 499),
        Code.UNKNOWN: ConnectStatus("unknown", 500),
        Code.INVALID_ARGUMENT: ConnectStatus("invalid_argument", 400),
        Code.DEADLINE_EXCEEDED: ConnectStatus("deadline_exceeded", 504),
        Code.NOT_FOUND: ConnectStatus("not_found", 404),
        Code.ALREADY_EXISTS: ConnectStatus("already_exists", 409),
        Code.PERMISSION_DENIED: ConnectStatus("permission_denied", 403),
        Code.RESOURCE_EXHAUSTED: ConnectStatus("resource_exhausted", 429),
        Code.FAILED_PRECONDITION: ConnectStatus("failed_precondition", 400),
        Code.ABORTED: ConnectStatus("aborted", 409),
        Code.OUT_OF_RANGE: ConnectStatus("out_of_range", 400),
        Code.UNIMPLEMENTED: ConnectStatus("unimplemented", 501),
        Code.INTERNAL: ConnectStatus("internal", 500),
        Code.UNAVAILABLE: ConnectStatus("unavailable", 503),
        Code.DATA_LOSS: ConnectStatus("data_loss", 500),
        Code.UNAUTHENTICATED: ConnectStatus("unauthenticated", 401),
    }
)


def error_body(outcome: Outcome) -> bytes:
    """The JSON of an error, which is the body of a unary reply that failed."""
    return _json(_error(outcome))


def end_of_stream(outcome: Outcome, trailing: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The JSON that ends a stream: the error, where there is one, and the trailing metadata, encoded as headers."""
    content: dict[str, Any] = {}
    if outcome.code is not Code.OK:
        content["error"] = _error(outcome)
    metadata: dict[str, list[str]] = {}
    for name, value in trailing:
        metadata.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    if metadata:
        content["metadata"] = metadata
    return _json(content)


def _retry_after(outcome: Outcome) -> float | None:
    """Seconds, at most a day; None where nothing is said."""
    if outcome.error is None or outcome.error.retry_after is None:
        return None
    return min(max(0.0, outcome.error.retry_after), LONGEST_RETRY_SECONDS)


def retry_headers(outcome: Outcome) -> list[tuple[bytes, bytes]]:
    """`retry-after` in whole seconds, as HTTP has it."""
    seconds = _retry_after(outcome)
    return [] if seconds is None else [(b"retry-after", b"%d" % math.ceil(seconds))]


def _error(outcome: Outcome) -> dict[str, Any]:
    error: dict[str, Any] = {"code": STATUSES[outcome.code].name}
    if outcome.message:
        error["message"] = bounded_message(outcome.message)
    details = [
        {
            "type": packed.type_url.rpartition("/")[2],
            "value": base64.b64encode(packed.value).rstrip(b"=").decode(),
            "debug": _readable(packed),
        }
        for packed in _details(outcome)
    ]
    if details:
        error["details"] = details
    return error


def _details(outcome: Outcome) -> Iterable[Any]:
    error = outcome.error
    if error is None or not (error.violations or error.details or error.retry_after is not None):
        return ()
    raw = encode_rich_status(
        STATUS_NUMBERS[outcome.code],
        "",
        violations=[(violation.field, violation.description) for violation in error.violations],
        retry_after=_retry_after(outcome),
        details=error.details,
    )
    details: Iterable[Any] = Status.FromString(raw).details
    return details


def _readable(packed: Any) -> dict[str, Any]:
    """The detail for a person's eyes."""
    content: dict[str, Any] = json_format.MessageToDict(packed)
    content.pop("@type")
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
