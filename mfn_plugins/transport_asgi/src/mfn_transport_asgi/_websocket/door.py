"""Who may come in by WebSocket, and the calls that are made on one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from mfn_core.call import Call, Metadata, Request
from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_core.operation import Operation, Shape
from mfn_transport_asgi._asgi import Scope
from mfn_transport_asgi._metadata import RequestHead
from mfn_transport_asgi._page_origin import PageOrigins
from mfn_transport_asgi._peer import peer_of

if TYPE_CHECKING:
    from mfn_core.dispatcher import Dispatcher
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["Door", "Visitor"]

PROTOCOL = "websocket"
LONGEST_CREDENTIAL = 4096

_CREDENTIALS = frozenset(
    {
        "authorization",
        "x-mfn-key-id",
        "x-mfn-timestamp",
        "x-mfn-nonce",
        "x-mfn-content-sha256",
        "x-mfn-signature",
    }
)
_SIGNED = {
    "key_id": "x-mfn-key-id",
    "timestamp": "x-mfn-timestamp",
    "nonce": "x-mfn-nonce",
    "content_sha256": "x-mfn-content-sha256",
    "signature": "x-mfn-signature",
}
"""What an `auth` message may hold, each with the header that it stands for."""
_OF_THE_SOCKET = frozenset(
    {"upgrade", "origin", "pragma", "cache-control", "x-forwarded-for", "x-forwarded-client-cert"}
)
"""Headers of the handshake that are no metadata; the last two are no client's to write, as on every other request."""


def _opening(admit: Callable[[Call], None]) -> Operation:
    """The call that proves who is at the other end of a socket. A signature covers no message: there is none yet.

    `admit` raises `MfnError` where whoever that is may not have the socket: within the call, so that it is on record.
    """

    async def handler(request: Empty, call: Call) -> Empty:
        admit(call)
        return request

    return Operation(
        service="mfn.WebSocket",
        method="Open",
        shape=Shape.UNARY,
        request_type=Empty,
        response_type=Empty,
        handler=handler,
    )


class Visitor:
    """The other end of one socket, as far as it is known."""

    def __init__(self, scope: Scope, identifies: bool) -> None:
        """Read the handshake."""
        head = RequestHead(scope["headers"], needs_trailers=False)
        self.metadata = [
            (key, value)
            for key, value in head.metadata
            if key not in _OF_THE_SOCKET and not key.startswith("sec-websocket-")
        ]
        self.peer = peer_of(scope, identifies)
        query: bytes = scope["query_string"]
        path: bytes = scope["raw_path"]
        self.signed_path = "GET " + (path + b"?" + query if query else path).decode("latin-1")
        self.path = path
        self.opening: Call | None = None
        """The call that proved who it is."""
        self.counted: str | None = None
        """The principal that the socket is counted for."""

    @property
    def shows_credentials(self) -> bool:
        """Whether the handshake has credentials."""
        return any(key in _CREDENTIALS for key, _ in self.metadata)

    def plain_metadata(self) -> list[tuple[str, str | bytes]]:
        """The metadata of the handshake without its credentials, which stand for the opening alone."""
        return [(key, value) for key, value in self.metadata if key not in _CREDENTIALS]


class Door:
    """Makes the calls of every socket of one listener."""

    def __init__(self, dispatcher: Dispatcher, name: str, settings: AsgiSettings) -> None:
        """Serve the dispatcher's operations under the transport's name."""
        self._dispatcher = dispatcher
        self._name = name
        self._routes = {path.encode(): operation for path, operation in dispatcher.operations.items()}
        self.pages = PageOrigins(settings)
        """Which pages may open a socket."""
        self._most = settings.websocket.max_sockets_per_principal
        self.identifies = settings.identifies
        self._sockets: Counter[str] = Counter()

    async def open(self, visitor: Visitor, shown: Mapping[str, Any] | None) -> Outcome:
        """Find out who it is.

        Args:
            visitor: gets the opening call where that succeeds.
            shown: the payload of an `auth` message; None: what the handshake has, which may be nothing.
        """
        fault: MfnError | None = None
        metadata = list(visitor.metadata)
        if shown is not None:
            metadata = visitor.plain_metadata()
            try:
                metadata += _credentials(shown)
            except MfnError as wrong:
                fault = wrong
        call = Call(
            id=self._dispatcher.new_call_id(),
            operation=_opening(lambda call: self._count(visitor, call)),
            transport=self._name,
            metadata=Metadata(metadata),
            peer=visitor.peer,
            request=Request(),
            fault=fault,
            protocol=PROTOCOL,
            signed_path=visitor.signed_path,
        )
        outcome = await self._dispatcher.dispatch(call)
        if outcome.code is Code.OK and call.principal is not None:
            visitor.opening = call
        return outcome

    def _count(self, visitor: Visitor, opening: Call) -> None:
        """Count the socket for the principal of its opening.

        Raises:
            MfnError: RESOURCE_EXHAUSTED: that principal has as many as it may have.
        """
        name = None if opening.principal is None else opening.principal.name
        if name is None or visitor.counted == name:
            return
        if self._sockets[name] >= self._most:
            raise MfnError(
                Code.RESOURCE_EXHAUSTED,
                f"this principal has {self._most} sockets open, which is the server's limit; close others first",
                details={"limit": "max_sockets_per_principal"},
            )
        self.leave(visitor)
        self._sockets[name] += 1
        visitor.counted = name

    def leave(self, visitor: Visitor) -> None:
        """The socket is closed; safe to call twice."""
        name, visitor.counted = visitor.counted, None
        if name is not None:
            self._sockets[name] -= 1
            if not self._sockets[name]:
                del self._sockets[name]

    def call(
        self,
        visitor: Visitor,
        path: bytes,
        *,
        deliver: Callable[[bytes], Awaitable[None]],
        request: Request | None = None,
        inbound: AsyncIterator[bytes] | None = None,
        fault: MfnError | None = None,
    ) -> Call:
        """A call on the socket, as its visitor."""
        return Call(
            id=self._dispatcher.new_call_id(),
            operation=self._routes.get(path) or self._dispatcher.unknown(path.decode("latin-1")),
            transport=self._name,
            metadata=Metadata(visitor.plain_metadata()),
            peer=visitor.peer,
            request=request,
            inbound=inbound,
            deliver=deliver,
            fault=fault,
            protocol=PROTOCOL,
            signed_path=visitor.signed_path,
            opened_by=visitor.opening,
        )

    async def dispatch(self, call: Call) -> Outcome:
        """Run a call to its end."""
        return await self._dispatcher.dispatch(call)


def _credentials(shown: Mapping[str, Any]) -> list[tuple[str, str | bytes]]:
    token = shown.get("token")
    if token is not None:
        return [("authorization", "Bearer " + _text("token", token))]
    return [(header, _text(name, shown[name])) for name, header in _SIGNED.items() if name in shown]


def _text(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > LONGEST_CREDENTIAL:
        text = f"must be text of at most {LONGEST_CREDENTIAL} characters"
        raise MfnError.invalid([FieldViolation(field=name, description=text)])
    return value
