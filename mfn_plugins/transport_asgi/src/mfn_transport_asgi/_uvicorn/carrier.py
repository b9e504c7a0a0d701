"""The listener of uvicorn, on the event loop of a plain worker: HTTP/1.1 and WebSockets, without Envoy."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mfn_transport_asgi._any_server import AnyServer
from mfn_transport_asgi._application import Application
from mfn_transport_asgi._binding import bound, name_of, probe
from mfn_transport_asgi._settings import AsgiSettings
from mfn_transport_asgi._tls_files import server_context, tls_problems

if TYPE_CHECKING:
    import uvicorn

__all__ = ["LISTEN", "UvicornCarrier"]

LISTEN = "MFN_ASGI_LISTEN"
"""Environment variable by which the supervisor tells its workers the address that it holds: JSON, by the transport's
name."""

KEEP_ALIVE_SECONDS = 60
MIN_HEAD_BYTES = 8 * 1024
"""The first line of a request counts there too."""


class UvicornCarrier:
    """Runs uvicorn on the loop of the worker. Its signals are the worker's own, so that it never handles any."""

    def __init__(self, name: str, settings: AsgiSettings, *, share: bool) -> None:
        """For one listener; `share`: whether other workers listen on the same address."""
        self._name = name
        self._settings = settings
        self._share = share
        self._application = Application()
        self._server: uvicorn.Server | None = None
        self._socket: socket.socket | None = None
        self._address = ""
        self._running: asyncio.Task[None] | None = None
        self.ending = False
        """Never by itself: it lives in this process."""

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens; empty before `start`."""
        return (self._address,) if self._address else ()

    def preflight(self) -> Iterable[str]:
        """The address in use, certificates that cannot be read or do not fit."""
        try:
            probe(self._settings.listen)
        except OSError as failed:
            yield str(failed)
        if self._settings.tls is not None:
            yield from tls_problems(self._settings.tls)

    def take(self) -> Application:
        """An application of this listener alone."""
        return self._application

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OSError: the address cannot be bound, or the certificate cannot be used.
        """
        import uvicorn

        from mfn_transport_asgi._uvicorn.admission import Admission

        settings = self._settings
        context = None if settings.tls is None else server_context(settings.tls)
        held: Mapping[str, str] = json.loads(os.environ.get(LISTEN, "{}"))
        listener = bound(held.get(self._name, settings.listen), share=self._share)
        config = uvicorn.Config(
            AnyServer(self._application, max_header_bytes=settings.max_header_bytes),
            interface="asgi3",
            lifespan="off",
            http="h11",  # the one whose heads are bounded
            ws="websockets-sansio" if settings.websocket.enabled else "none",
            ws_max_size=settings.websocket.max_message_bytes,
            ws_ping_interval=None,  # the protocol has heartbeats of its own
            ws_per_message_deflate=False,  # numbers gain little by it, and every socket would have its window
            h11_max_incomplete_event_size=max(settings.max_header_bytes, MIN_HEAD_BYTES),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            proxy_headers=False,  # the peer's own address is the client's, whatever a client writes
            server_header=False,
            access_log=False,
            log_config=None,
            log_level=logging.ERROR,  # what a client does wrong is no event of the server's
        )
        config.load()
        config.ssl = context
        # Called as the class that it makes instances of.
        config.http_protocol_class = Admission(settings.max_connections)  # type: ignore[assignment]
        server = self._server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        self._socket = listener
        # Not `serve`, which handles signals: those are for the supervisor alone.
        await server.startup(sockets=[listener])
        self._address = name_of(listener)
        self._running = asyncio.get_running_loop().create_task(server.main_loop())

    def drain(self) -> None:
        """Close the listener."""
        for each in () if self._server is None else self._server.servers:
            each.close()

    async def stop(self, seconds: float) -> None:
        """Close every connection once its reply is sent."""
        server, self._server = self._server, None
        if server is None or self._socket is None:
            return
        server.should_exit = True
        if self._running is not None:
            await self._running
            # Whole seconds by its type; what it waits with takes any.
            server.config.timeout_graceful_shutdown = max(seconds, 0.1)  # type: ignore[assignment]
            await server.shutdown(sockets=[self._socket])
        self._socket.close()
