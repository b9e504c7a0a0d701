"""The transport as the server in the worker knows it: it registers the protocols with the application around it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfn_core.dispatcher import Dispatcher
from mfn_core.operation import Catalogue
from mfn_transport_asgi._admin import Admin
from mfn_transport_asgi._asgi import WireProtocol
from mfn_transport_asgi._binding import probe
from mfn_transport_asgi._envoy import ADMIN_SOCKET, STAT_PREFIX
from mfn_transport_asgi._settings import AsgiSettings, TlsSettings

if TYPE_CHECKING:
    from mfn_transport_asgi._ws import WebSockets

__all__ = ["AsgiTransport"]

FLUSH_SECONDS = 2.0
"""Time that clients have, once the last call is over, to be sent what is left of their replies."""
FLUSH_POLL_SECONDS = 0.005


class AsgiTransport:
    """One listener, served by the Envoy that this process is."""

    def __init__(self, name: str, settings: AsgiSettings, catalogue: Catalogue | None = None) -> None:
        """Serve under the name of the transport in the configuration, with the pages of `catalogue`."""
        self._catalogue = catalogue or Catalogue()
        self._name = name
        self._settings = settings
        self._addresses: Sequence[str] = ()
        self._admin: Admin | None = None
        self._protocols: list[WireProtocol] = []
        self._sockets: WebSockets | None = None

    @property
    def addresses(self) -> Sequence[str]:
        """Where Envoy listens, or will in a moment."""
        return self._addresses

    def preflight(self) -> Iterable[str]:
        """The address in use, certificates that cannot be read or do not fit."""
        try:
            probe(self._settings.listen)
        except OSError as failed:
            yield str(failed)
        if self._settings.tls is not None:
            yield from _tls_problems(self._settings.tls)

    async def start(self, dispatcher: Dispatcher) -> None:
        """Begin to take requests; Envoy opens the listener once the whole worker has started.

        Raises:
            OSError: this process is not Envoy.
        """
        # Not before: in another process than Envoy the module is not wanted.
        from mfn_transport_asgi._app import application
        from mfn_transport_asgi._connect import ConnectProtocol
        from mfn_transport_asgi._cors import Cors
        from mfn_transport_asgi._grpc import GrpcProtocol
        from mfn_transport_asgi._grpc_web import GrpcWebProtocol
        from mfn_transport_asgi._page import PageProtocol
        from mfn_transport_asgi._rest import RestProtocol

        if application.handover is None:
            raise OSError("the asgi transport lives in a worker of its own kind; start the server with `mfn serve`")
        self._addresses = tuple(application.handover.addresses)
        self._admin = Admin(Path(application.handover.directory) / ADMIN_SOCKET)
        application.cors = Cors(self._settings)
        for kind in (GrpcProtocol, GrpcWebProtocol, ConnectProtocol):
            self._protocols.append(kind(dispatcher, self._name, self._settings, application.disconnects))
        if self._settings.page:
            self._protocols.append(PageProtocol())
        # The last to be asked: it takes what is nobody else's.
        rest = RestProtocol(
            dispatcher, self._name, self._settings, application.disconnects, pages=self._catalogue.pages
        )
        self._protocols.append(rest)
        for protocol in self._protocols:
            protocol.start()
            application.speak(protocol)
        if self._settings.websocket.enabled:
            from mfn_transport_asgi._ws import WebSockets

            self._sockets = WebSockets(dispatcher, self._name, self._settings, application.disconnects)
            application.opened = self._sockets.open

    async def drain(self) -> None:
        """Close the WebSockets; otherwise the supervisor has told Envoy to accept no more connections."""
        if self._sockets is not None:
            self._sockets.drain()

    async def stop(self) -> None:
        """Wait until the last replies have left, and take no more requests."""
        if not self._protocols:
            return
        from mfn_transport_asgi._app import application

        protocols, self._protocols = self._protocols, []
        sockets, self._sockets = self._sockets, None
        if not application.ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._flush(protocols, sockets)
        if sockets is not None:
            application.opened = None
            await sockets.stop()
        for protocol in protocols:
            application.fall_silent(protocol)
            protocol.stop()

    async def _flush(self, protocols: Sequence[WireProtocol], sockets: WebSockets | None) -> None:
        """Wait for the last bytes: after this Envoy is told to end, and then cuts every connection at once."""
        while any(protocol.active for protocol in protocols):  # noqa: ASYNC110 - milliseconds, once in a life
            await asyncio.sleep(FLUSH_POLL_SECONDS)
        while sockets is not None and sockets.active:  # noqa: ASYNC110 - the same
            await asyncio.sleep(FLUSH_POLL_SECONDS)
        if self._admin is None:
            return
        # An answer that cannot be had means that Envoy is ending already.
        with contextlib.suppress(OSError):
            while await self._admin.unsent(STAT_PREFIX):  # noqa: ASYNC110 - Envoy can only be asked
                await asyncio.sleep(FLUSH_POLL_SECONDS)


def _tls_problems(tls: TlsSettings) -> Iterable[str]:
    """What Envoy would stumble over; nothing of a file's content is shown."""

    def encrypted() -> str:
        raise ValueError("the key is encrypted; decrypt it, and keep it readable by the server alone")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    unreadable = False
    for what, path in (("certificate", tls.certificate), ("key", tls.key), ("client_ca", tls.client_ca)):
        if path is not None and (problem := _unreadable(path)) is not None:
            unreadable = True
            yield f"tls.{what}: {path}: {problem}"
    if unreadable:
        return
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=encrypted)
    except ValueError as wrong:
        yield f"tls.key: {tls.key}: {wrong}"
    except ssl.SSLError as wrong:
        if wrong.reason == "KEY_VALUES_MISMATCH":
            yield f"tls.key: {tls.key} is not the key of {tls.certificate}"
        else:
            yield f"tls: {tls.certificate} and {tls.key} are not a certificate and its key in PEM ({wrong.reason})"
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as wrong:
            yield f"tls.client_ca: {tls.client_ca} has no certificate in PEM ({wrong.reason})"


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as failed:
        return (failed.strerror or str(failed)).lower()
    return None
