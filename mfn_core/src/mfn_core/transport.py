"""How operations are called: the transport contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from mfn_core.dispatcher import Dispatcher

__all__ = ["Listener", "SupportsPreflight", "Transport"]


class Transport(Protocol):
    """Turns bytes of one wire protocol into calls, and outcomes into bytes.

    One instance serves one listener. Everything is called on the event loop of the worker. For each call it builds a
    `Call`, awaits `dispatcher.dispatch(call)`, and only then sends a single reply or the final status. It tells the
    call by `call.abort()` when the client cancels or disconnects. A call that the transport itself finds faulty,
    unknown method or oversized message, still goes through the dispatcher, as a call with a `fault`.
    """

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, as `host:port` with the real port; empty before `start`."""
        ...

    async def start(self, dispatcher: Dispatcher) -> None:
        """Open the listener and serve. Called once, after everything else has started.

        Raises:
            OSError: the address cannot be bound; it names the address.
        """
        ...

    async def drain(self) -> None:
        """Accept no more connections. Returns at once; calls in flight go on, and the dispatcher counts them."""
        ...

    async def stop(self) -> None:
        """Close everything that is still open. Called after `drain` and after the last call is over; safe twice."""
        ...


@runtime_checkable
class SupportsPreflight(Protocol):
    """A transport that can say before any port is opened that it would fail."""

    def preflight(self) -> Iterable[str]:
        """What is in the way: an address in use, a certificate that cannot be read. Opens nothing that stays open."""
        ...


class Listener(Protocol):
    """What the configuration of a transport tells the kernel, so that unsafe bindings are refused for all alike.

    A transport's config class has these attributes.
    """

    @property
    def listen(self) -> str:
        """`host:port`; port 0 asks for a free one."""
        ...

    @property
    def encrypted(self) -> bool:
        """Whether TLS is configured."""
        ...
