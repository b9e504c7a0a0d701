"""The ASGI application of one listener: each request goes to the protocol that it speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mfn_transport_asgi._asgi import Receive, Scope, Send, WireProtocol, plain_reply
from mfn_transport_asgi._cors import Cors, Handle
from mfn_transport_asgi._disconnects import Disconnects
from mfn_transport_asgi._websocket.link import Link

__all__ = ["Application"]

Lifespan = Callable[[Receive, Send], Awaitable[None]]


class Application:
    """Everything runs on the event loop of the server. One in each worker process where that is Envoy."""

    _asgi_single_callable = True  # an ASGI 3 application, though its `__call__` is a plain function

    def __init__(self, lifespan: Lifespan | None = None) -> None:
        """Speak nothing yet; `lifespan`: what lives as long as the ASGI server, where that tells."""
        self.disconnects = Disconnects()
        """Tells the calls of every protocol that their client is gone."""
        self.cors = Cors()
        """Which pages of other origins may call; set before the protocols are added."""
        self._by_content_type: dict[bytes, Handle] = {}
        self._claiming: dict[WireProtocol, Handle] = {}
        self._lifespan = lifespan
        self.opened: Callable[[Link], None] | None = None
        """Takes the WebSockets; called on the server's loop."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request, or live the lifespan."""
        if scope["type"] == "http":
            handle = self._by_its_content_type(scope)
            return self._by_other_signs(scope, receive, send) if handle is None else handle(scope, receive, send)
        if self._lifespan is None:
            raise ValueError(f"nothing is served here of the type {scope['type']!r}")
        return self._lifespan(receive, send)

    def speak(self, protocol: WireProtocol) -> None:
        """Give the requests of a protocol to it: those of its content types, and what else it claims."""
        handle = self.cors.around(protocol.handle) if protocol.for_browsers else protocol.handle
        self._by_content_type.update(dict.fromkeys(protocol.content_types, handle))
        self._claiming[protocol] = handle

    def fall_silent(self, protocol: WireProtocol) -> None:
        """Take a protocol away again."""
        self._claiming.pop(protocol, None)
        for content_type in protocol.content_types:
            self._by_content_type.pop(content_type, None)

    def _by_its_content_type(self, scope: Scope) -> Handle | None:
        for name, value in scope["headers"]:
            if name == b"content-type":
                by_content_type = self._by_content_type
                # Nearly always it is written as here, without parameters and in lower case.
                return by_content_type.get(value) or by_content_type.get(value.split(b";")[0].strip().lower())
        return None

    def _by_other_signs(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request whose content type is nobody's."""
        preflight = self.cors.preflight(scope, send)
        if preflight is not None:
            return preflight
        for protocol, handle in self._claiming.items():
            if protocol.claims(scope):
                return handle(scope, receive, send)
        return plain_reply(send, *_REFUSED)


_REFUSED = (415, b"the content type is none that is served here\n")
