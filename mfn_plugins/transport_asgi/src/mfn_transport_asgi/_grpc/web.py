"""gRPC-Web: gRPC for clients that cannot read HTTP trailers, over any version of HTTP.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md. The body is that of gRPC, as it is or in base64; the
status is a last frame of it, with a flag of its own, or stands in the head of a reply that has no message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, Sending
from mfn_transport_asgi._base64_text import TextDecoder, encode_text
from mfn_transport_asgi._exchange import Exchange, Inbound, read_single, reply_body
from mfn_transport_asgi._framing import enveloped
from mfn_transport_asgi._gateway import Gateway, patient
from mfn_transport_asgi._grpc.status import status_headers
from mfn_transport_asgi._metadata import RequestHead, encode_web_metadata

if TYPE_CHECKING:
    from mfn_core.call import Call, Request
    from mfn_core.dispatcher import Dispatcher
    from mfn_transport_asgi._disconnects import Disconnects
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["TRAILERS", "GrpcWebProtocol"]

TRAILERS = 0x80
"""Flag of the frame that holds the trailers."""

_BINARY = b"application/grpc-web"
_TEXT = b"application/grpc-web-text"
_FORMS = {
    _BINARY: (False, b"application/grpc-web+proto"),
    b"application/grpc-web+proto": (False, b"application/grpc-web+proto"),
    _TEXT: (True, b"application/grpc-web-text+proto"),
    b"application/grpc-web-text+proto": (True, b"application/grpc-web-text+proto"),
}
"""Content types: whether the body is base64, and the content type of a reply in the same form."""

_ACCEPTS = (b"grpc-accept-encoding", b"identity,gzip,deflate")
_NOTHING: Message = {"type": "http.response.body", "body": b"", "more_body": False}
_DEFECT: tuple[Message, ...] = (
    {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", _FORMS[_BINARY][1]),
            *status_headers(Outcome(code=Code.INTERNAL, message="internal error")),
        ],
    },
    _NOTHING,
)


@frozen
class _Form:
    """How one request is written, and how its reply is to be."""

    sends_text: bool
    takes_text: bool
    content_type: bytes
    """Of the reply."""


class GrpcWebProtocol:
    """Makes calls of requests whose content type is gRPC-Web's, for one listener. Carries all four shapes: how far a
    client can stream is a matter of its own HTTP."""

    content_types = tuple(_FORMS)
    for_browsers = True

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        settings: AsgiSettings,
        disconnects: Disconnects,
        *,
        anonymous: bool = False,
    ) -> None:
        """Serve the dispatcher's operations under the transport's name; `anonymous`: whether without credentials."""
        self._gateway = Gateway(dispatcher, name, settings, disconnects, protocol="grpc-web", anonymous=anonymous)
        self._limit = settings.max_message_bytes
        self._compress_from = settings.compress_from_bytes

    @property
    def active(self) -> int:
        """Requests whose reply has not been handed over whole."""
        return self._gateway.active

    def start(self) -> None:
        """Nothing is to be done."""

    def stop(self) -> None:
        """Nothing is to be done."""

    def claims(self, scope: Scope) -> bool:
        """Never: gRPC-Web is told by its content type."""
        return False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a call that fails in any way still gets its status."""
        await self._gateway.serve(lambda sending: self._answer(scope, receive, sending), send, defect=_DEFECT)

    async def _answer(self, scope: Scope, receive: Receive, send: Sending) -> None:
        if scope["method"] != "POST":
            error = MfnError(Code.UNIMPLEMENTED, "gRPC-Web calls are POST requests")
            metadata = RequestHead(scope["headers"], needs_trailers=False).metadata
            await self._gateway.refuse(scope, send, 405, error, metadata=metadata, headers=[(b"allow", b"POST")])
            return
        path: bytes = scope["raw_path"]
        found = self._gateway.find(path)
        operation = found or self._gateway.unknown(path)
        shape = operation.shape
        head = RequestHead(scope["headers"], needs_trailers=False)
        form = _form_of(scope)
        compress_from = self._compress_from if head.gzip else 0
        text = TextDecoder() if form.sends_text else None
        fault = head.fault
        request: Request | None = None
        if found is not None and not shape.client_streams and fault is None:
            reading = read_single(patient(receive), limit=self._limit, encoding=head.encoding, text=text)
            try:
                request = await self._gateway.in_time(reading)
            except MfnError as wrong:
                fault = wrong

        async def body(message: bytes) -> bytes:
            framed = await reply_body(message, compress_from)
            return encode_text(framed) if form.takes_text else framed

        exchange: Exchange | None = None
        if shape.client_streams or shape.server_streams:
            inbound = Inbound(receive, limit=self._limit, encoding=head.encoding, text=text)
            exchange = Exchange(inbound, send, body=body)
        call = self._gateway.call(
            scope,
            operation,
            metadata=head.metadata,
            deadline=head.deadline,
            request=request,
            fault=fault,
            inbound=exchange if shape.client_streams else None,
            deliver=exchange.deliver if exchange is not None and shape.server_streams else None,
        )
        if exchange is not None:
            exchange.begin(call, lambda: _start(call, form, compress_from))
        outcome = await self._gateway.dispatch(call, head.stream_id)
        # Made before anything is sent: what a handler has left in its metadata may not be fit to be.
        trailers = [*status_headers(outcome), *encode_web_metadata(call.trailing_metadata)]
        last = _last_frame(trailers, form)
        if exchange is not None and exchange.started:
            await send({"type": "http.response.body", "body": last, "more_body": False})
        elif outcome.reply is not None or call.initial_metadata:
            content = b"" if outcome.reply is None else await body(outcome.reply)
            await send(_start(call, form, 0 if outcome.reply is None else compress_from))
            await send({"type": "http.response.body", "body": content + last, "more_body": False})
        else:
            # A reply without messages is its head alone, which carries the status as well.
            headers = [(b"content-type", form.content_type), _ACCEPTS, *trailers]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send(_NOTHING)


def _form_of(scope: Scope) -> _Form:
    """By its content type; a reply in the other form is what a client names in `accept`."""
    sent, accepted = _BINARY, b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            sent = _bare(value)
        elif name == b"accept":
            accepted = value
    sends_text, content_type = _FORMS[sent]
    takes_text = sends_text
    named = [_FORMS[each] for each in map(_bare, accepted.split(b",")) if each in _FORMS]
    if named:
        takes_text, content_type = named[0]
    return _Form(sends_text, takes_text, content_type)


def _bare(value: bytes) -> bytes:
    return value.split(b";")[0].strip().lower()


def _start(call: Call, form: _Form, compress_from: int) -> Message:
    headers = [(b"content-type", form.content_type), _ACCEPTS]
    if compress_from:
        headers.append((b"grpc-encoding", b"gzip"))
    headers += encode_web_metadata(call.initial_metadata)
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _last_frame(trailers: list[tuple[bytes, bytes]], form: _Form) -> bytes:
    framed = enveloped(TRAILERS, b"".join(b"%b: %b\r\n" % pair for pair in trailers))
    return encode_text(framed) if form.takes_text else framed
