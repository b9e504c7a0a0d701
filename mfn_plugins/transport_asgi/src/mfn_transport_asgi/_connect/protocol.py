"""The Connect protocol, with protobuf or JSON: https://connectrpc.com/docs/protocol.

A unary call is a POST whose body is the message, or a GET where the operation has no side effects; its status is that
of HTTP. Every other call is enveloped as in gRPC, and its status is a last envelope of JSON. No trailers are needed,
so every version of HTTP carries it; only a conversation needs HTTP/2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from mfn_core.call import Request
from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, MfnError
from mfn_core.operation import Shape
from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, Sending
from mfn_transport_asgi._connect.get import GetQuery, is_connect_query
from mfn_transport_asgi._connect.head import ENCODING, ConnectHead
from mfn_transport_asgi._connect.status import STATUSES, end_of_stream, error_body, retry_headers
from mfn_transport_asgi._exchange import (
    Exchange,
    Inbound,
    compressed,
    decompressed,
    off_loop,
    read_body,
    read_single,
    reply_body,
)
from mfn_transport_asgi._framing import enveloped
from mfn_transport_asgi._gateway import Gateway, patient
from mfn_transport_asgi._json.codec import json_to_protobuf, protobuf_to_json
from mfn_transport_asgi._metadata import encode_web_metadata

if TYPE_CHECKING:
    from mfn_core.call import Call
    from mfn_core.dispatcher import Dispatcher
    from mfn_core.operation import Operation
    from mfn_transport_asgi._disconnects import Disconnects
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["END_OF_STREAM", "ConnectProtocol"]

END_OF_STREAM = 0x02
"""Flag of the envelope that ends a stream."""

_JSON = b"application/json"
_OF_ERRORS = (b"content-type", _JSON)


@frozen
class _Form:
    """How the messages of a request are written."""

    content_type: bytes
    json: bool
    enveloped: bool

    def transcode(self, operation: Operation) -> Callable[[bytes], bytes] | None:
        """Makes protobuf of a request message; None where it is that."""
        return partial(json_to_protobuf, operation.request_type) if self.json else None

    async def encode(self, operation: Operation, reply: bytes) -> bytes:
        """Make what the client reads of a reply message."""
        return await off_loop(len(reply), protobuf_to_json, operation.response_type, reply) if self.json else reply


_UNARY = {form.content_type: form for form in (_Form(b"application/proto", False, False), _Form(_JSON, True, False))}
_ENVELOPED = {
    form.content_type: form
    for form in (_Form(b"application/connect+proto", False, True), _Form(b"application/connect+json", True, True))
}
_FORMS = _UNARY | _ENVELOPED
_CODECS = {b"proto": _UNARY[b"application/proto"], b"json": _UNARY[_JSON]}

_OF_GET = ((b"cache-control", b"private"), (b"vary", b"accept-encoding"))
"""Credentials stand in headers that no cache knows of, so that only the reader's own may keep a reply."""
_INTERNAL = error_body(Outcome(code=Code.INTERNAL, message="internal error"))
_DEFECT: tuple[Message, ...] = (
    {"type": "http.response.start", "status": 500, "headers": [_OF_ERRORS]},
    {"type": "http.response.body", "body": _INTERNAL, "more_body": False},
)


class ConnectProtocol:
    """Makes calls of Connect requests, for one listener."""

    content_types = (b"application/proto", *_ENVELOPED)
    """`application/json` is not among them: it is Connect's only where the request says so."""
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
        self._gateway = Gateway(dispatcher, name, settings, disconnects, protocol="connect", anonymous=anonymous)
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
        """A GET whose query says `connect=`, and a POST of JSON that says `connect-protocol-version`."""
        if scope["method"] == "GET":
            return is_connect_query(scope["query_string"])
        if scope["method"] != "POST":
            return False
        headers = scope["headers"]
        return _content_type(scope) == _JSON and any(name == b"connect-protocol-version" for name, _ in headers)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a call that fails in any way still gets its status."""
        await self._gateway.serve(lambda sending: self._answer(scope, receive, sending), send, defect=_DEFECT)

    async def _answer(self, scope: Scope, receive: Receive, send: Sending) -> None:
        method = scope["method"]
        if method == "GET":
            await self._get(scope, send)
            return
        form = _FORMS.get(_content_type(scope))
        path: bytes = scope["raw_path"]
        operation = self._gateway.find(path)
        if method != "POST":
            text, allow = "Connect calls are POST or GET requests", [(b"allow", b"GET, POST")]
            await self._refuse(scope, send, 405, MfnError(Code.UNIMPLEMENTED, text), allow)
        elif form is None or (operation is not None and form.enveloped != (operation.shape is not Shape.UNARY)):
            accepted = _FORMS if operation is None else _UNARY if operation.shape is Shape.UNARY else _ENVELOPED
            await self._unsupported(scope, send, b", ".join(accepted))
        elif operation is not None and operation.shape is Shape.BIDI and scope["http_version"].startswith("1"):
            text = "a call that streams both ways needs HTTP/2"
            await self._refuse(scope, send, 505, MfnError(Code.UNIMPLEMENTED, text))
        elif form.enveloped:
            await self._enveloped(scope, receive, send, form, operation)
        else:
            await self._post(scope, receive, send, form, operation)

    async def _unsupported(self, scope: Scope, send: Send, accepted: bytes) -> None:
        error = MfnError(Code.INVALID_ARGUMENT, f"this call has another content type: {accepted.decode()}")
        await self._refuse(scope, send, 415, error, [(b"accept-post", accepted)])

    async def _refuse(
        self, scope: Scope, send: Send, status: int, error: MfnError, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        metadata = ConnectHead(scope["headers"], streaming=False).metadata
        await self._gateway.refuse(scope, send, status, error, metadata=metadata, headers=headers)

    # Unary calls.

    async def _post(self, scope: Scope, receive: Receive, send: Sending, form: _Form, found: Operation | None) -> None:
        head = ConnectHead(scope["headers"], streaming=False)
        fault, body = head.fault, None
        if found is not None and fault is None:
            reading = read_body(patient(receive), limit=self._limit, encoding=head.encoding)
            try:
                body = await self._gateway.in_time(reading)
            except MfnError as wrong:
                fault = wrong
        await self._unary(scope, send, form, found, head, body, fault)

    async def _get(self, scope: Scope, send: Sending) -> None:
        query = GetQuery.parse(scope["query_string"])
        form = _CODECS.get(query.encoding)
        found = self._gateway.find(scope["raw_path"])
        if form is None:
            text = "the query's encoding must be proto or json"
            await self._refuse(scope, send, 415, MfnError(Code.INVALID_ARGUMENT, text))
            return
        if found is not None and found.shape is not Shape.UNARY:
            await self._unsupported(scope, send, b", ".join(_ENVELOPED))
            return
        if found is not None and not (found.idempotent and found.deterministic):
            text = "this call may have side effects, so it is a POST request"
            await self._refuse(scope, send, 405, MfnError(Code.UNIMPLEMENTED, text), [(b"allow", b"POST")])
            return
        head = ConnectHead(scope["headers"], streaming=False, compression=query.compression or b"identity")
        fault, body = query.fault or head.fault, None
        if found is not None and fault is None:
            try:
                body = await decompressed(query.message, head.encoding, self._limit)
            except MfnError as wrong:
                fault = wrong
        await self._unary(scope, send, form, found, head, body, fault, further=_OF_GET)

    async def _unary(
        self,
        scope: Scope,
        send: Sending,
        form: _Form,
        found: Operation | None,
        head: ConnectHead,
        body: bytes | None,
        fault: MfnError | None,
        *,
        further: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        operation = found or self._gateway.unknown(scope["raw_path"])
        request = None if body is None else Request(raw=body, transcode=form.transcode(operation))
        call = self._gateway.call(
            scope, operation, metadata=head.metadata, deadline=head.deadline, request=request, fault=fault
        )
        outcome = await self._gateway.dispatch(call, head.stream_id)
        headers = [(b"accept-encoding", ENCODING), *further]
        headers += encode_web_metadata(call.initial_metadata)
        headers += encode_web_metadata(call.trailing_metadata, prefix=b"trailer-")
        if outcome.code is Code.OK:
            content = await form.encode(operation, outcome.reply or b"")
            headers.append((b"content-type", form.content_type))
            if head.gzip and 0 < self._compress_from <= len(content):
                content = await compressed(content)
                headers.append((b"content-encoding", ENCODING))
        else:
            content = error_body(outcome)
            headers += [_OF_ERRORS, *retry_headers(outcome)]
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": STATUSES[outcome.code].http, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})

    # Calls that stream.

    async def _enveloped(
        self, scope: Scope, receive: Receive, send: Sending, form: _Form, found: Operation | None
    ) -> None:
        operation = found or self._gateway.unknown(scope["raw_path"])
        shape = operation.shape
        head = ConnectHead(scope["headers"], streaming=True)
        fault, request = head.fault, None
        transcode = form.transcode(operation)
        if found is not None and not shape.client_streams and fault is None:
            reading = read_single(patient(receive), limit=self._limit, encoding=head.encoding)
            try:
                request = Request(raw=(await self._gateway.in_time(reading)).raw, transcode=transcode)
            except MfnError as wrong:
                fault = wrong
        compress_from = self._compress_from if head.gzip else 0
        body = _body(form, operation, compress_from)
        inbound = Inbound(receive, limit=self._limit, encoding=head.encoding, transcode=transcode)
        exchange = Exchange(inbound, send, body=body)
        call = self._gateway.call(
            scope,
            operation,
            metadata=head.metadata,
            deadline=head.deadline,
            request=request,
            fault=fault,
            inbound=exchange if shape.client_streams else None,
            deliver=exchange.deliver if shape.server_streams else None,
        )
        exchange.begin(call, lambda: _start(call, form, compress_from))
        outcome = await self._gateway.dispatch(call, head.stream_id)
        # Made before anything is sent: what a handler has left in its metadata may not be fit to be.
        last = enveloped(END_OF_STREAM, end_of_stream(outcome, encode_web_metadata(call.trailing_metadata)))
        if not exchange.started:
            if outcome.reply is not None:
                last = await body(outcome.reply) + last
            await send(_start(call, form, compress_from))
        await send({"type": "http.response.body", "body": last, "more_body": False})


def _content_type(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-type":
            found: bytes = value
            return found.split(b";")[0].strip().lower()
    return b""


def _body(form: _Form, operation: Operation, compress_from: int) -> Callable[[bytes], Awaitable[bytes]]:
    """Makes an envelope of a reply message."""

    async def body(reply: bytes) -> bytes:
        return await reply_body(await form.encode(operation, reply), compress_from)

    return body


def _start(call: Call, form: _Form, compress_from: int) -> Message:
    headers = [(b"content-type", form.content_type), (b"connect-accept-encoding", ENCODING)]
    if compress_from:
        headers.append((b"connect-content-encoding", ENCODING))
    headers += encode_web_metadata(call.initial_metadata)
    return {"type": "http.response.start", "status": 200, "headers": headers}
