"""The WebSockets of one listener: which paths there are, how many may be open, and how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from mfn_transport_asgi._page_origin import DENIED
from mfn_transport_asgi._websocket.connection import Connection, Talk
from mfn_transport_asgi._websocket.door import Door
from mfn_transport_asgi._websocket.field import FieldTalk
from mfn_transport_asgi._websocket.subscriptions import Subscriptions

if TYPE_CHECKING:
    from mfn_core.dispatcher import Dispatcher
    from mfn_transport_asgi._disconnects import Disconnects
    from mfn_transport_asgi._settings import AsgiSettings
    from mfn_transport_asgi._websocket.link import Link

__all__ = ["WebSockets"]

_log = logging.getLogger(__name__)

PATHS: Mapping[bytes, Callable[[Connection], Talk]] = MappingProxyType(
    {
        b"/ws/simulation_live": Subscriptions,
        b"/ws/stream_features": Subscriptions,
        b"/ws/field": FieldTalk,
    }
)

NO_SUCH_PATH, TOO_MANY = 1008, 1013
CLOSING_SECONDS = 1.0


class WebSockets:
    """Opens a connection for each socket, on the server's own loop."""

    def __init__(self, dispatcher: Dispatcher, name: str, settings: AsgiSettings, disconnects: Disconnects) -> None:
        """Serve the dispatcher's operations under the transport's name."""
        self._settings = settings.websocket
        self._door = Door(dispatcher, name, settings)
        self._disconnects = disconnects
        self._connections: dict[asyncio.Task[None], Connection | None] = {}
        self._draining = False

    @property
    def active(self) -> int:
        """Sockets that are open."""
        return len(self._connections)

    def open(self, link: Link) -> None:
        """Serve a socket that was asked for."""
        refusal = self._refusal(link)
        if refusal is not None:
            self._keep(asyncio.create_task(link.close(*refusal, patience=CLOSING_SECONDS)), None)
            return
        connection = Connection(link, self._door, self._settings, PATHS[link.scope["raw_path"]])
        address = connection.visitor.peer.address.encode()
        self._disconnects.add_connection(address, link.end)
        task = asyncio.create_task(self._run(connection, address))
        self._keep(task, connection)

    def drain(self) -> None:
        """Open no further sockets, and close each when its last call is over."""
        self._draining = True
        for connection in tuple(self._connections.values()):
            if connection is not None:
                connection.leave()

    async def stop(self) -> None:
        """Cut what is still open."""
        tasks = tuple(self._connections)
        for task, connection in tuple(self._connections.items()):
            if connection is not None:
                connection.link.end()
            else:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _refusal(self, link: Link) -> tuple[int, str] | None:
        if self._draining or len(self._connections) >= self._settings.max_sockets:
            return TOO_MANY, "too many sockets"
        if link.scope["raw_path"] not in PATHS:
            return NO_SUCH_PATH, "no such path"
        if not self._door.pages.are_own(link.scope):
            return NO_SUCH_PATH, DENIED
        return None

    async def _run(self, connection: Connection, address: bytes) -> None:
        try:
            await connection.run()
        except Exception:  # noqa: BLE001 - the transport's own defect: the log must hear of it
            _log.exception("a socket failed in its transport")
        finally:
            connection.link.end()
            self._disconnects.discard_connection(address)

    def _keep(self, task: asyncio.Task[None], connection: Connection | None) -> None:
        self._connections[task] = connection
        task.add_done_callback(lambda done: self._connections.pop(done, None))
