"""An application as any ASGI server calls it.

What the protocols expect is what the listener of Envoy gives: headers that the client did not write for it, the id of
the stream among them; the path as it stands in the request; `receive` that nobody loses bytes by; and word of clients
that leave. Servers differ in all of these (https://asgi.readthedocs.io/en/latest/specs/www.html), so that each scope
is made anew here.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mfn_transport_asgi._application import Application
from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, plain_reply
from mfn_transport_asgi._read_ahead import ReadAhead
from mfn_transport_asgi._websocket.link import carry

__all__ = ["AnyServer"]

STREAM_ID = b"x-mfn-id"

_NOT_THE_CLIENTS = frozenset(
    {
        STREAM_ID,
        b"x-forwarded-for",
        b"x-forwarded-client-cert",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
    }
)
"""Headers that are the listener's to write, or of one hop."""

_PATH = "/%:@!$&'()*+,;=~-._"
"""What stands in a path as it is, where the server has kept no other than the decoded one."""

Refuse = Callable[[Scope], str | None]


class AnyServer:
    """Requests and WebSockets of one listener, from whatever serves it, on the server's own event loop."""

    def __init__(self, application: Application, *, max_header_bytes: int, refuse: Refuse | None = None) -> None:
        """Serve what the application speaks.

        Args:
            application: answers.
            max_header_bytes: of one request, names and values together.
            refuse: why a request must not be served because of where it came in; None: it may.
        """
        self._application = application
        self._max_header_bytes = max_header_bytes
        self._refuse = refuse
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or carry one WebSocket to its end."""
        refusal = None if self._refuse is None else self._refuse(scope)
        if scope["type"] == "websocket":
            opened = self._application.opened if refusal is None else None
            await carry(_fitted(scope), receive, send, home=asyncio.get_running_loop(), opened=opened)
        elif refusal is not None:
            await plain_reply(send, 403, refusal.encode() + b"\n")
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > self._max_header_bytes:
            text = b"the headers have more than %d bytes together\n" % self._max_header_bytes
            await plain_reply(send, 431, text, [(b"connection", b"close")])
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = b"%d" % next(self._numbers)
        reply = _Reply(send)

        def gone() -> None:
            # What comes after the reply is the server's way to say that there is nothing more.
            if not reply.whole:
                self._application.disconnects.ended(stream)

        ahead = ReadAhead(receive, gone)
        try:
            await self._application(_fitted(scope, stream), ahead.receive, reply)
        finally:
            reply.whole = True
            await ahead.close()


class _Reply:
    """ASGI's `send`, and whether all has been sent."""

    __slots__ = ("_send", "_trailers", "whole")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._trailers = False
        self.whole = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._trailers = message.get("trailers", False)
        elif kind == "http.response.trailers" or not (self._trailers or message.get("more_body", False)):
            self.whole = True
        await self._send(message)


def _fitted(scope: Scope, stream: bytes | None = None) -> Mapping[str, Any]:
    """The scope as the protocols read it."""
    headers: list[tuple[bytes, bytes]] = [
        (name, value)
        for name, value in ((bytes(name).lower(), bytes(value)) for name, value in scope["headers"])
        if name not in _NOT_THE_CLIENTS
    ]
    if stream is not None:
        headers.append((STREAM_ID, stream))
    client: Sequence[Any] | None = scope.get("client")
    return {
        "type": scope["type"],
        "method": scope.get("method", "GET"),
        "http_version": scope.get("http_version", "1.1"),
        "scheme": scope.get("scheme", "http"),
        "raw_path": _raw_path(scope),
        "query_string": scope.get("query_string") or b"",
        "headers": headers,
        "client": client if client is not None and client[1] is not None else None,
        "extensions": scope.get("extensions") or {},
    }


def _raw_path(scope: Scope) -> bytes:
    """The path behind the prefix that the application is mounted at."""
    raw: bytes | None = scope.get("raw_path")
    path = raw.partition(b"?")[0] if raw is not None else quote(scope["path"], safe=_PATH).encode()
    prefix = quote(scope.get("root_path") or "", safe=_PATH).encode()
    if prefix and (path == prefix or path.startswith(prefix + b"/")):
        return path[len(prefix) :] or b"/"
    return path
