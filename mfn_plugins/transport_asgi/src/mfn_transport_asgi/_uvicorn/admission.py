"""Which connections uvicorn takes: by itself it bounds neither their number nor the time for the head of a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.server import ServerState

__all__ = ["Admission"]

HEAD_SECONDS = 10.0
"""Time that a client has for the head of its first request, as under Envoy."""


class Admission:
    """Makes the protocol of each connection that was accepted."""

    def __init__(self, most: int, *, head_seconds: float = HEAD_SECONDS) -> None:
        """Take `most` connections at a time; further ones are closed at once."""
        from uvicorn.protocols.http.h11_impl import H11Protocol  # an extra

        self._make = H11Protocol
        self._most = most
        self._head_seconds = head_seconds

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """As uvicorn calls a class of protocols."""
        if len(server_state.connections) >= self._most:
            return _Closed()
        protocol = self._make(config, server_state, app_state, _loop)
        asyncio.get_running_loop().call_later(self._head_seconds, _look, protocol, server_state)
        return protocol


def _look(protocol: H11Protocol, state: ServerState) -> None:
    """Close a connection on which no request has begun; one that has become a WebSocket is another's."""
    if protocol in state.connections and protocol.cycle is None:
        protocol.transport.close()


class _Closed(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
