"""How a call ended, as a value: the code, and all that a server says beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import grpc
from attrs import field, frozen

from mfn_proto.rich_status import DETAILS_KEY, RichStatus, decode_rich_status

__all__ = ["FieldViolation", "MetadataPairs", "RawStatus", "RpcFailed", "metadata_pairs", "status_of"]

MetadataPairs = tuple[tuple[str, str | bytes], ...]
"""Lower-case keys, in order, which may repeat. Values are text, or bytes where the key ends in `-bin`."""

_RETRY_AFTER = {"retry-after-ms": 1000.0, "retry-after": 1.0}
"""Metadata that says when to come back, for servers and gateways that send no RetryInfo; units a second."""


@frozen(kw_only=True)
class FieldViolation:
    """One field of a request that breaks its bound."""

    field: str
    """Path of the field in the request: `alpha`, `start.grid_size`."""
    description: str


@frozen(kw_only=True)
class RawStatus:
    """How a call ended."""

    code: str
    """Name of the canonical code: `OK`, `INVALID_ARGUMENT`, …"""
    message: str = ""
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    """Seconds after which the server thinks that a retry may succeed; None: it says nothing of it."""
    reason: str = ""
    """`ErrorInfo.reason`, where the server sent one."""
    details: Mapping[str, str] = field(factory=dict)
    """`ErrorInfo.metadata`: machine-readable facts, such as the name of the limit that refused."""
    trailing: MetadataPairs = ()
    """Metadata that came with the status, the encoded error included."""
    local: bool = False
    """Whether this side gave the call up: the status is CANCELLED then, and the server's own is not known."""

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.code == "OK"


class RpcFailed(Exception):
    """A call that did not end with OK."""

    def __init__(self, status: RawStatus) -> None:
        super().__init__(f"{status.code}: {status.message}" if status.message else status.code)
        self.status = status

    @property
    def code(self) -> str:
        """Name of the canonical code."""
        return self.status.code

    @property
    def message(self) -> str:
        """What the server says, for a person."""
        return self.status.message

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The fields of the request that are at fault."""
        return self.status.violations

    @property
    def retry_after(self) -> float | None:
        """Seconds after which a retry may succeed; None: the server says nothing of it."""
        return self.status.retry_after

    @property
    def trailing(self) -> MetadataPairs:
        """Metadata that came with the status."""
        return self.status.trailing


def metadata_pairs(metadata: Any) -> MetadataPairs:
    """What grpc.aio holds as metadata, which may be None."""
    return () if metadata is None else tuple((key, value) for key, value in metadata)


def status_of(code: grpc.StatusCode, message: str | None, trailing: Any, *, local: bool = False) -> RawStatus:
    """The status with everything that its trailing metadata says."""
    pairs = metadata_pairs(trailing)
    rich = _rich(pairs)
    retry_after = rich.retry_after
    if retry_after is None or retry_after < 0.0:
        retry_after = _retry_after(pairs)
    return RawStatus(
        code=code.name,
        message=message or "",
        violations=tuple(FieldViolation(field=path, description=said) for path, said in rich.violations),
        retry_after=retry_after,
        reason=rich.reason,
        details=rich.details,
        trailing=pairs,
        local=local,
    )


def _rich(trailing: MetadataPairs) -> RichStatus:
    """The encoded error, or an empty one where the server or a proxy sent none that can be read."""
    for key, value in trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            with contextlib.suppress(ValueError):
                return decode_rich_status(value)
    return RichStatus()


def _retry_after(trailing: MetadataPairs) -> float | None:
    for key, value in trailing:
        units = _RETRY_AFTER.get(key)
        if units is not None and isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value[:15]) / units
    return None
