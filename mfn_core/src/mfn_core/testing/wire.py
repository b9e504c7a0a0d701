"""What `TransportSuite` needs of a client, in the terms of no transport in particular."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from attrs import frozen
from google.protobuf.wrappers_pb2 import StringValue

__all__ = ["Ended", "Pairs", "WireCall", "WireClient", "WireStatus", "WireViolation", "run_call"]

Pairs = Sequence[tuple[str, str | bytes]]
"""Metadata: lower-case keys, values of text, or of bytes where the key ends in `-bin`."""


class WireViolation(Protocol):
    """One field that is at fault."""

    @property
    def field(self) -> str:
        """Its path in the request."""
        ...

    @property
    def description(self) -> str:
        """What is wrong."""
        ...


class WireStatus(Protocol):
    """How a call ended, as its client saw it."""

    @property
    def code(self) -> str:
        """Name of a `mfn_core.errors.Code`."""
        ...

    @property
    def message(self) -> str:
        """The server's text."""
        ...

    @property
    def violations(self) -> Sequence[WireViolation]:
        """The fields at fault."""
        ...

    @property
    def retry_after(self) -> float | None:
        """Seconds."""
        ...

    @property
    def trailing(self) -> Pairs:
        """Metadata that came with the status."""
        ...


class WireCall(Protocol):
    """One call, message by message, of any shape. Nothing here raises because of how the call ends."""

    async def send(self, message: bytes) -> bool:
        """Send one message; False when the call is over."""
        ...

    async def half_close(self) -> None:
        """Say that no further message comes."""
        ...

    async def receive(self) -> bytes | None:
        """The next reply; None once there is none."""
        ...

    async def initial_metadata(self) -> Pairs:
        """What came before the first reply."""
        ...

    async def status(self) -> WireStatus:
        """How the call ended; waits for it, once every reply has been received."""
        ...

    def cancel(self) -> None:
        """Give the call up."""
        ...


class WireClient(Protocol):
    """A connection of its own to one server; an async context manager."""

    def open(self, path: str, *, metadata: Iterable[tuple[str, str | bytes]], timeout: float | None) -> WireCall:
        """Begin a call with a deadline in `timeout` seconds."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@frozen(kw_only=True)
class Ended:
    """A call that is over."""

    replies: list[str]
    """The texts of the replies."""
    initial: Pairs
    status: WireStatus


async def run_call(
    client: WireClient, path: str, messages: Sequence[bytes], *, metadata: Pairs = (), seconds: float
) -> Ended:
    """Send every message, half-close, and receive everything, with a deadline in so many seconds."""
    call = client.open(path, metadata=metadata, timeout=seconds)
    for message in messages:
        if not await call.send(message):
            break
    await call.half_close()
    replies: list[str] = []
    while (raw := await call.receive()) is not None:
        replies.append(StringValue.FromString(raw).value)
    status = await call.status()
    return Ended(replies=replies, initial=await call.initial_metadata(), status=status)
