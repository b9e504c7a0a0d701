"""The transport as the server in the worker knows it: it registers the protocols with the application around it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mfn_core.dispatcher import Dispatcher
from mfn_core.operation import Catalogue
from mfn_transport_asgi._asgi import WireProtocol
from mfn_transport_asgi._carrier import Carrier, carrier_of
from mfn_transport_asgi._settings import AsgiSettings

if TYPE_CHECKING:
    from mfn_transport_asgi._application import Application
    from mfn_transport_asgi._websocket.sockets import WebSockets

__all__ = ["AsgiTransport"]

FLUSH_SECONDS = 2.0
"""Time that clients have, once the last call is over, to be sent what is left of their replies."""
FLUSH_POLL_SECONDS = 0.005


class AsgiTransport:
    """One listener, served by whatever carries it."""

    def __init__(
        self,
        name: str,
        settings: AsgiSettings,
        catalogue: Catalogue | None = None,
        carrier: Carrier | None = None,
        *,
        anonymous: bool = False,
    ) -> None:
        """Serve under the name of the transport in the configuration, with the pages of `catalogue`.

        `carrier`: what brings the requests; that of the settings, for one worker, unless given. `anonymous`: whether
        calls need no credentials.
        """
        self._anonymous = anonymous
        self._catalogue = catalogue or Catalogue()
        self._name = name
        self._settings = settings
        self.carrier = carrier or carrier_of(name, settings, workers=1, allow=())
        """What brings the requests."""
        self._application: Application | None = None
        self._protocols: list[WireProtocol] = []
        self._sockets: WebSockets | None = None

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, or will in a moment."""
        return self.carrier.addresses

    def preflight(self) -> Iterable[str]:
        """The address in use, certificates that cannot be read or do not fit."""
        return self.carrier.preflight()

    async def start(self, dispatcher: Dispatcher) -> None:
        """Begin to take requests.

        Raises:
            OSError: the address cannot be bound, or this process is not one that the carrier can live in.
        """
        from mfn_transport_asgi._connect.protocol import ConnectProtocol
        from mfn_transport_asgi._cors import Cors
        from mfn_transport_asgi._grpc.protocol import GrpcProtocol
        from mfn_transport_asgi._grpc.web import GrpcWebProtocol
        from mfn_transport_asgi._page import PageProtocol
        from mfn_transport_asgi._rest.protocol import RestProtocol

        application = self._application = self.carrier.take()
        application.cors = Cors(self._settings)
        parts, anonymous = (dispatcher, self._name, self._settings, application.disconnects), self._anonymous
        self._protocols.append(GrpcProtocol(*parts))
        self._protocols.append(GrpcWebProtocol(*parts, anonymous=anonymous))
        self._protocols.append(ConnectProtocol(*parts, anonymous=anonymous))
        if self._settings.page:
            self._protocols.append(PageProtocol())
        # The last to be asked: it takes what is nobody else's.
        self._protocols.append(RestProtocol(*parts, pages=self._catalogue.pages, anonymous=anonymous))
        for protocol in self._protocols:
            protocol.start()
            application.speak(protocol)
        if self._settings.websocket.enabled:
            from mfn_transport_asgi._websocket.sockets import WebSockets

            self._sockets = WebSockets(dispatcher, self._name, self._settings, application.disconnects)
            application.opened = self._sockets.open
        await self.carrier.start()

    async def drain(self) -> None:
        """Accept no more connections, and close the WebSockets."""
        self.carrier.drain()
        if self._sockets is not None:
            self._sockets.drain()

    async def stop(self) -> None:
        """Wait until the last replies have left, and take no more requests."""
        application, self._application = self._application, None
        if application is None:
            return
        protocols, self._protocols = self._protocols, []
        sockets, self._sockets = self._sockets, None
        until = time.monotonic() + FLUSH_SECONDS
        if not self.carrier.ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._flush(protocols, sockets)
        await self.carrier.stop(max(0.0, until - time.monotonic()))
        if sockets is not None:
            application.opened = None
            await sockets.stop()
        for protocol in protocols:
            application.fall_silent(protocol)
            protocol.stop()

    async def _flush(self, protocols: Sequence[WireProtocol], sockets: WebSockets | None) -> None:
        """Wait until every reply has been handed over to the carrier."""
        while any(protocol.active for protocol in protocols):  # noqa: ASYNC110 - milliseconds, once in a life
            await asyncio.sleep(FLUSH_POLL_SECONDS)
        while sockets is not None and sockets.active:  # noqa: ASYNC110 - the same
            await asyncio.sleep(FLUSH_POLL_SECONDS)
