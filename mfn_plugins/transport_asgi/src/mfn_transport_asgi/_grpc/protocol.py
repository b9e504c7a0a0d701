"""gRPC over HTTP/2, on ASGI: one request is one call, of any of the four shapes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from mfn_core.call import Call, Metadata, Request
from mfn_core.dispatcher import Dispatcher, Outcome
from mfn_core.errors import Code, MfnError
from mfn_core.operation import Operation
from mfn_grpc import with_reflection
from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, plain_reply
from mfn_transport_asgi._disconnects import Disconnects
from mfn_transport_asgi._exchange import Exchange, Inbound, at_once, read_on, reply_body
from mfn_transport_asgi._framing import frame
from mfn_transport_asgi._grpc.status import status_headers
from mfn_transport_asgi._metadata import RequestHead, encode_metadata
from mfn_transport_asgi._peer import peer_of
from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["CONTENT_TYPES", "GrpcProtocol"]

_log = logging.getLogger(__name__)

CONTENT_TYPES = (b"application/grpc", b"application/grpc+proto")

_HEADERS = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,gzip,deflate")]
_HEADERS_GZIP = [*_HEADERS, (b"grpc-encoding", b"gzip")]
# The server only reads these, so that one of each does for every call.
_START = {"type": "http.response.start", "status": 200, "headers": _HEADERS, "trailers": True}
_END = {"type": "http.response.body", "body": b"", "more_body": False}
_INTERNAL = {
    "type": "http.response.start",
    "status": 200,
    "headers": [*_HEADERS, *status_headers(Outcome(code=Code.INTERNAL, message="internal error"))],
    "trailers": False,
}
_TRAILERS_OK = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")], "more_trailers": False}

_INSTEAD = "call gRPC-Web or Connect at this address, or a listener of Envoy or of the grpc transport"

_Awaited = tuple[float, Operation, RequestHead, Scope, Send]
"""A call whose one message is on its way, and since when. A tuple: one is made for every call."""


class GrpcProtocol:
    """Makes calls of ASGI requests whose content type is gRPC's, for one listener."""

    content_types = CONTENT_TYPES
    for_browsers = False

    def __init__(self, dispatcher: Dispatcher, name: str, settings: AsgiSettings, disconnects: Disconnects) -> None:
        """Serve the dispatcher's operations.

        Args:
            dispatcher: takes every call.
            name: of the transport in the configuration.
            settings: of the listener.
            disconnects: tells the calls whose client is gone.
        """
        self._dispatcher = dispatcher
        self._name = name
        self._limit = settings.max_message_bytes
        self._compress_from = settings.compress_from_bytes
        self._patience = settings.receive_seconds
        self._identifies = settings.identifies
        self._disconnects = disconnects
        offered = with_reflection(dispatcher.operations, settings.reflection, listen=settings.listen)
        self._routes = {path.encode(): operation for path, operation in offered.items()}
        self._awaited: dict[Receive, _Awaited] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.active = 0
        """Requests whose reply has not been handed over to Envoy whole."""

    def start(self) -> None:
        """Begin to look for calls whose message does not come."""
        loop = asyncio.get_running_loop()
        interval = min(1.0, self._patience / 4)

        def look() -> None:
            self._refuse_late()
            self._timer = loop.call_later(interval, look)

        self._timer = loop.call_later(interval, look)

    def stop(self) -> None:
        """Stop looking; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()

    def claims(self, scope: Scope) -> bool:
        """Never: gRPC is told by its content type."""
        return False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a call that fails in any way still gets its status."""
        self.active += 1
        try:
            if scope["method"] != "POST":
                await self._refuse_by_http(scope, send, 405, "gRPC calls are POST requests", [(b"allow", b"POST")])
            elif (lack := _lack(scope)) is not None:
                # Of HTTP, for a version that is not served; clients of gRPC make UNKNOWN of it, the text beside it.
                await self._refuse_by_http(scope, send, 505, lack)
            else:
                operation, head = self._operation(scope), RequestHead(scope["headers"])
                request: Request | None = None
                fault = head.fault
                if not operation.shape.client_streams and fault is None:
                    self._awaited[receive] = (time.monotonic(), operation, head, scope, send)
                    try:
                        first = await receive()
                        request = at_once(first, self._limit) or await read_on(
                            first, receive, limit=self._limit, encoding=head.encoding
                        )
                    except MfnError as found:
                        fault = found
                    if self._awaited.pop(receive, None) is None:
                        return  # it came too late: the call has been refused
                await self._call(operation, head, scope, receive, send, request, fault)
        except OSError as gone:
            _log.debug("the client left before its reply was whole: %r", gone)
        except Exception:  # noqa: BLE001 - the transport's own defect: the client must hear of it, and the log
            # One that escapes is answered by the server with a success that has no message.
            _log.exception("a call failed in its transport")
            await send(_INTERNAL)
            await send(_END)
        finally:
            self.active -= 1

    async def _refuse_by_http(
        self, scope: Scope, send: Send, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """Answer a call whose status could not be sent, and leave a record of it all the same."""
        head = RequestHead(scope["headers"])
        call = Call(
            id=self._dispatcher.new_call_id(),
            operation=self._operation(scope),
            transport=self._name,
            metadata=Metadata(head.metadata),
            peer=peer_of(scope, self._identifies),
            request=None,
            fault=MfnError(Code.UNIMPLEMENTED, text),
            protocol="grpc",
        )
        await self._dispatcher.dispatch(call)
        await plain_reply(send, status, text.encode() + b"\n", headers)

    def _operation(self, scope: Scope) -> Operation:
        path: bytes = scope["raw_path"]
        return self._routes.get(path) or self._dispatcher.unknown(path.decode("latin-1"))

    async def _call(
        self,
        operation: Operation,
        head: RequestHead,
        scope: Scope,
        receive: Receive | None,
        send: Send,
        request: Request | None,
        fault: MfnError | None,
    ) -> None:
        shape = operation.shape
        compress_from = self._compress_from if head.gzip else 0
        exchange: Exchange | None = None
        if receive is not None and (shape.client_streams or shape.server_streams):
            inbound = Inbound(receive, limit=self._limit, encoding=head.encoding)
            exchange = Exchange(inbound, send, body=lambda message: reply_body(message, compress_from))
        call = Call(
            id=self._dispatcher.new_call_id(),
            operation=operation,
            transport=self._name,
            metadata=Metadata(head.metadata),
            peer=peer_of(scope, self._identifies),
            deadline=head.deadline,
            request=request,
            inbound=exchange if shape.client_streams else None,
            deliver=exchange.deliver if exchange is not None and shape.server_streams else None,
            fault=fault,
            protocol="grpc",
        )
        if exchange is not None:
            exchange.begin(call, lambda: _start(call, compress_from))
        stream = head.stream_id
        if stream is not None and not self._disconnects.add(stream, call):
            call.fault = fault or call.aborted()
        try:
            outcome = await self._dispatcher.dispatch(call)
        finally:
            if stream is not None:
                self._disconnects.discard(stream)
        reply = outcome.reply
        # Made before anything is sent: what a handler has left in its metadata may not be fit to be.
        trailers = _trailers(call, outcome)
        if exchange is not None and exchange.started:
            await send(_END)
        elif reply is not None:
            body = await reply_body(reply, compress_from) if compress_from else frame(reply)
            await send(_start(call, compress_from))
            await send({"type": "http.response.body", "body": body, "more_body": False})
        elif call.initial_metadata:
            await send(_start(call, 0))
            await send(_END)
        else:
            # A reply without messages is its head alone, which carries the status as well.
            headers = [*_HEADERS, *trailers["headers"]]
            await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
            await send(_END)
            return
        await send(trailers)

    def _refuse_late(self) -> None:
        """Refuse the calls whose message has not come in time. What reads it is woken by the end of the stream."""
        latest = time.monotonic() - self._patience
        for receive, awaited in tuple(self._awaited.items()):
            if awaited[0] > latest:
                break  # they are in the order of their arrival
            del self._awaited[receive]
            task = asyncio.get_running_loop().create_task(self._refuse(awaited))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _refuse(self, awaited: _Awaited) -> None:
        _, operation, head, scope, send = awaited
        fault = MfnError(
            Code.DEADLINE_EXCEEDED, f"the request's message did not arrive within {self._patience:g} s; send it at once"
        )
        self.active += 1
        try:
            await self._call(operation, head, scope, None, send, None, fault)
        except OSError as gone:
            _log.debug("the client left before it was refused: %r", gone)
        finally:
            self.active -= 1


def _lack(scope: Scope) -> str | None:
    """What the connection lacks to carry gRPC, and what to do instead; None: nothing."""
    if scope["http_version"].startswith("1"):
        return f"gRPC needs HTTP/2 or HTTP/3, and this is HTTP/{scope['http_version'][:3]}; {_INSTEAD}"
    if "http.response.trailers" not in scope["extensions"]:
        return f"gRPC needs HTTP trailers, and this server cannot send them; {_INSTEAD}"
    return None


def _start(call: Call, compress_from: int) -> Message:
    if not call.initial_metadata and not compress_from:
        return _START
    headers = [*(_HEADERS_GZIP if compress_from else _HEADERS), *encode_metadata(call.initial_metadata)]
    return {"type": "http.response.start", "status": 200, "headers": headers, "trailers": True}


def _trailers(call: Call, outcome: Outcome) -> Message:
    if outcome.code is Code.OK and not call.trailing_metadata:
        return _TRAILERS_OK
    headers = [*status_headers(outcome), *encode_metadata(call.trailing_metadata)]
    return {"type": "http.response.trailers", "headers": headers, "more_trailers": False}
