"""What is below a transport: the ASGI server that brings it requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mfn_transport_asgi._application import Application
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["Carrier", "carrier_of"]


class Carrier(Protocol):
    """One listener. Everything but `preflight` is called on the event loop of the worker."""

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, or will in a moment; empty where only another knows."""
        ...

    def preflight(self) -> Iterable[str]:
        """What would keep it from listening. Called in the process that supervises the worker."""
        ...

    def take(self) -> Application:
        """The application that it serves, which speaks nothing yet. Called once, before `start`.

        Raises:
            OSError: this process is not one that it can live in.
        """
        ...

    async def start(self) -> None:
        """Serve the application.

        Raises:
            OSError: the address cannot be bound.
        """
        ...

    def drain(self) -> None:
        """Accept no more connections; calls in flight go on. Safe to call twice."""
        ...

    @property
    def ending(self) -> bool:
        """Whether its connections are gone already, so that nothing is left to be sent."""
        ...

    async def stop(self, seconds: float) -> None:
        """Send what clients are owed yet, for at most so many seconds, and serve no more. Safe to call twice."""
        ...


def carrier_of(name: str, settings: AsgiSettings, *, workers: int, allow: Sequence[str]) -> Carrier:
    """The carrier of a listener.

    Args:
        name: of the transport in the configuration.
        settings: of the listener.
        workers: processes that share the address.
        allow: what `[server] allow` opens by name.
    """
    # Each is imported by those alone who have chosen it.
    if settings.server == "uvicorn":
        from mfn_transport_asgi._uvicorn.carrier import UvicornCarrier

        return UvicornCarrier(name, settings, share=workers > 1)
    if settings.server == "mounted":
        from mfn_transport_asgi._mounted.carrier import MountedCarrier

        return MountedCarrier(settings, allow=allow)
    from mfn_transport_asgi._envoy.carrier import EnvoyCarrier

    return EnvoyCarrier(settings)
