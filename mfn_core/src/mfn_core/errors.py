"""The errors that a call may end with: sixteen canonical codes, and the one exception that carries them.

The codes are those of gRPC by name and meaning; no number of any wire protocol stands here. Every transport owns
one table from `Code` to its own status.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from attrs import frozen

__all__ = ["Code", "FieldViolation", "MfnError"]


class Code(enum.Enum):
    """How a call ended."""

    OK = "OK"
    """The call succeeded."""
    CANCELLED = "CANCELLED"
    """The caller gave up, or its connection broke."""
    UNKNOWN = "UNKNOWN"
    """An error from elsewhere that carries no code of its own; the kernel never raises it."""
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    """The request is wrong whatever the state of the server; repeating it is useless."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The caller's deadline passed before the call was over."""
    NOT_FOUND = "NOT_FOUND"
    """What the request names does not exist, or the caller may not know that it does."""
    ALREADY_EXISTS = "ALREADY_EXISTS"
    """What the request would create exists."""
    PERMISSION_DENIED = "PERMISSION_DENIED"
    """The caller is known and lacks the role."""
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    """A limit or a queue is full; retry after the stated time."""
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    """The state of the system forbids it; repeating it without changing that state is useless."""
    ABORTED = "ABORTED"
    """A concurrent operation won; retry the whole sequence."""
    OUT_OF_RANGE = "OUT_OF_RANGE"
    """Valid in itself, but past the end of what exists now."""
    UNIMPLEMENTED = "UNIMPLEMENTED"
    """No such operation, or it is not built yet."""
    INTERNAL = "INTERNAL"
    """A defect of the server; the log holds the trace under the call id."""
    UNAVAILABLE = "UNAVAILABLE"
    """The server cannot take the call now; retry with backoff."""
    DATA_LOSS = "DATA_LOSS"
    """Data is lost or corrupt beyond repair."""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """The caller did not prove who it is."""


@frozen(kw_only=True)
class FieldViolation:
    """One field of a request that breaks its bound."""

    field: str
    """Path of the field in the request, in the names of its definition: `alpha`, `start.grid_size`. Empty: the request
    as a whole."""
    description: str
    """The value, the bound and the remedy, in one line."""


class MfnError(Exception):
    """A call's failure as its caller will see it.

    `message` reaches the caller. `reason` does not: it goes to the log, the audit and the metrics. Where the two
    are the same, leave `reason` out. A `message` may quote the request, and a `reason` may not: of a refusal for what
    the request says the audit has the fields' paths alone, unless a `reason` of its own is given.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        reason: str | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Make an error.

        Args:
            code: any code but OK.
            message: one line for the caller; names the thing, the bound and the remedy, and no internals.
            reason: the true reason, for the operator alone; `message` unless given.
            violations: the fields of the request that are at fault.
            retry_after: seconds after which a retry may succeed.
            details: machine-readable facts for the caller, such as the name of the limit that refused.
        """
        if code is Code.OK:
            raise ValueError("an error cannot carry Code.OK")
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason if reason is not None else message
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.details: Mapping[str, str] = dict(details or {})

    @classmethod
    def invalid(cls, violations: Iterable[FieldViolation]) -> MfnError:
        """INVALID_ARGUMENT that names every field at fault."""
        found = tuple(violations)
        text = "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in found)
        return cls(Code.INVALID_ARGUMENT, f"invalid argument: {text}", violations=found)

    def __reduce__(self) -> tuple[object, ...]:
        # It may be raised on another machine than the one that answers the call.
        return _rebuilt, (self.code, self.message, self.reason, self.violations, self.retry_after, dict(self.details))

    def __repr__(self) -> str:
        return f"MfnError({self.code.name}, {self.message!r})"


def _rebuilt(
    code: Code,
    message: str,
    reason: str,
    violations: tuple[FieldViolation, ...],
    retry_after: float | None,
    details: dict[str, str],
) -> MfnError:
    return MfnError(code, message, reason=reason, violations=violations, retry_after=retry_after, details=details)
