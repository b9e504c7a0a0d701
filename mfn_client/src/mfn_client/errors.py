"""What the client raises when a call does not end with OK."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mfn_client._status import FieldViolation, RawStatus

__all__ = ["Code", "FieldViolation", "MfnRpcError"]


class Code(enum.StrEnum):
    """How a call ended: the canonical codes of gRPC. A member equals its name: `error.code == "UNAVAILABLE"`."""

    OK = "OK"
    CANCELLED = "CANCELLED"
    """Given up on this side: the client was closed, or the call was cancelled; or the server shut down under it."""
    UNKNOWN = "UNKNOWN"
    """An error that says no more of itself, or a code that this version does not know."""
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    """A field of the request breaks a bound; `violations` names each. Repeating the call is useless."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The timeout passed; the computing stopped with it."""
    NOT_FOUND = "NOT_FOUND"
    """No such session, or it expired, or it belongs to another principal."""
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    """The key is good and lacks the role."""
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    """A rate, a limit or a queue is full; `retry_after` says when to come back."""
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    """The state forbids it: the numbers became unstable, or the session is over."""
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    """`last_step` lies after the session's step."""
    UNIMPLEMENTED = "UNIMPLEMENTED"
    """This server has no such model, or no such method."""
    INTERNAL = "INTERNAL"
    """A defect of the server, or a reply that breaks the contract."""
    UNAVAILABLE = "UNAVAILABLE"
    """No connection, or the server drains or starts; try again."""
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """The server did not accept the signature. It does not say why: check clock, key id and secret."""

    @classmethod
    def _missing_(cls, value: object) -> Code:
        return cls.UNKNOWN


class MfnRpcError(Exception):
    """A call that did not end with OK. It can be pickled, and shows no secret."""

    def __init__(
        self,
        code: Code | str,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
        method: str = "",
        reason: str = "",
        details: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> None:
        """Make an error; the arguments are the attributes."""
        super().__init__(code, message)
        self.code = Code(code)
        """How the call ended."""
        self.message = message
        """What the server says, for a person."""
        self.violations = violations
        """The fields of the request that are at fault, all of them."""
        self.retry_after = retry_after
        """Seconds after which the server thinks that a retry may succeed; None: it says nothing of it."""
        self.request_id = request_id
        """The call's, for whoever reads the server's audit."""
        self.method = method
        """`/package.Service/Method`."""
        self.reason = reason
        """Machine-readable name of the error, where the server sent one."""
        self.details: Mapping[str, str] = dict(details or {})
        """Machine-readable facts, such as the name of the limit that refused."""
        self.attempts = attempts
        """How often the call was attempted; the error is that of the last attempt."""

    def __str__(self) -> str:
        tried = f", {self.attempts} attempts" if self.attempts > 1 else ""
        where = f" [{self.method}, request {self.request_id}{tried}]" if self.method else ""
        return f"{self.code}: {self.message}{where}" if self.message else f"{self.code}{where}"

    def __repr__(self) -> str:
        return f"MfnRpcError({self.code.value!r}, {self.message!r}, request_id={self.request_id!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (str(self.code), self.message, {k: v for k, v in self.__dict__.items() if k[0] != "_"})


def _rebuilt(code: str, message: str, state: dict[str, object]) -> MfnRpcError:
    error = MfnRpcError(code, message)
    error.__dict__.update(state)
    return error


def from_status(status: RawStatus, method: str, request_id: str, attempts: int = 1) -> MfnRpcError:
    """The status of a failed call as an error of the call that had it."""
    return MfnRpcError(
        status.code,
        status.message,
        violations=status.violations,
        retry_after=status.retry_after,
        request_id=request_id,
        method=method,
        reason=status.reason,
        details=status.details,
        attempts=attempts,
    )


def broken_contract(problem: str, method: str, request_id: str) -> MfnRpcError:
    """A reply that no server of this contract sends."""
    message = f"the server's reply breaks the contract: {problem}"
    return MfnRpcError(Code.INTERNAL, message, method=method, request_id=request_id)


def client_closed(method: str, request_id: str) -> MfnRpcError:
    """The client was closed under its call."""
    message = "the client was closed while the call was in flight"
    return MfnRpcError(Code.CANCELLED, message, method=method, request_id=request_id)


@contextmanager
def closing_translated(method: str, request_id: str) -> Iterator[None]:
    """Errors where grpc.aio tells that the client was closed by the exception that cancels tasks.

    A task that is really cancelled stays so.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise client_closed(method, request_id) from None
