"""Cross-origin resource sharing: which pages of other origins may call this server from a browser.

https://fetch.spec.whatwg.org/#http-cors-protocol. None may unless `cors_origins` names them. Credentials of the
browser, such as cookies, are never taken: calls prove who they are in headers of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, plain_reply

if TYPE_CHECKING:
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["ANY_ORIGIN", "Cors"]

ANY_ORIGIN = "*"

METHODS = b"GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = frozenset(
    {b"accept", b"authorization", b"content-encoding", b"content-type", b"x-grpc-web", b"x-request-id", b"x-user-agent"}
)
REQUEST_PREFIXES = (b"connect-", b"grpc-", b"x-mfn-")
"""Headers that a page may send: those of the protocols and of the signature."""
EXPOSED = (b"content-encoding", b"grpc-message", b"grpc-status", b"grpc-status-details-bin", b"retry-after")
"""Headers that a page may read beside all that a reply has."""
SAFE = frozenset({b"cache-control", b"content-language", b"content-length", b"content-type", b"expires", b"vary"})
"""Headers that a page may read without being told so, or that are none of its business."""

Handle = Callable[[Scope, Receive, Send], Awaitable[None]]


class Cors:
    """The rules of one listener."""

    def __init__(self, settings: AsgiSettings | None = None) -> None:
        """Allow what the settings name; without any, nothing."""
        origins = () if settings is None else settings.cors_origins
        self._any = ANY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self._headers = frozenset(() if settings is None else (name.encode() for name in settings.cors_headers))
        self._max_age = b"0" if settings is None else b"%d" % settings.cors_max_age

    def around(self, handle: Handle) -> Handle:
        """Tell browsers, in every reply of `handle`, that a page of the request's origin may read it."""
        if not self._origins:
            return handle

        def guarded(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            allowed = self._allowed(_header(scope, b"origin"))
            return handle(scope, receive, lambda message: send(self._told(message, allowed)))

        return guarded

    def preflight(self, scope: Scope, send: Send) -> Coroutine[Any, Any, None] | None:
        """Answer what a browser asks before it lets a page call; None where a request is no such question."""
        if scope["method"] != "OPTIONS":
            return None
        origin = _header(scope, b"origin")
        method = _header(scope, b"access-control-request-method")
        if origin is None or method is None:
            return None
        allowed = self._allowed(origin)
        if allowed is None:
            return plain_reply(send, 403, _DENIED, self._vary())
        asked = _header(scope, b"access-control-request-headers") or b""
        names = [name for each in asked.split(b",") if self._may_send(name := each.strip().lower())]
        headers = [
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", self._max_age),
            *self._vary(),
        ]
        if names:
            headers.append((b"access-control-allow-headers", b", ".join(names)))
        return _no_content(send, headers)

    def _allowed(self, origin: bytes | None) -> bytes | None:
        """What a reply says of the origin; None: it is not allowed, or there is none."""
        if origin is None:
            return None
        if self._any:
            return ANY_ORIGIN.encode()
        return origin if origin in self._origins else None

    def _may_send(self, name: bytes) -> bool:
        return name in REQUEST_HEADERS or name in self._headers or name.startswith(REQUEST_PREFIXES)

    def _vary(self) -> list[tuple[bytes, bytes]]:
        """Unless all origins are told the same, a cache must not give the reply for one to another."""
        return [] if self._any else [(b"vary", b"origin")]

    def _told(self, message: Message, allowed: bytes | None) -> Message:
        if message["type"] != "http.response.start":
            return message
        headers = [*message.get("headers", ()), *self._vary()]
        if allowed is not None:
            # Whatever a reply says is meant for who called.
            exposed = sorted({*EXPOSED, *(name for name, _ in headers)} - SAFE)
            headers.append((b"access-control-allow-origin", allowed))
            headers.append((b"access-control-expose-headers", b", ".join(exposed)))
        return {**message, "headers": headers}


_DENIED = b"pages of this origin may not call this server; its operator can name the origin in cors_origins\n"


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return None


async def _no_content(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
