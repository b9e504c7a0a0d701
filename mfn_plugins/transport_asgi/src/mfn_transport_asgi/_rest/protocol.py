"""REST: operations as resources of HTTP, in JSON.

A request is made a call by its path: those that google.api.http states, and `POST /package.Service/Method` for every
operation. Failures are problem details (RFC 9457). Fields are named as in their definition, and what a request leaves
out is filled in as `mfn_proto.customary` says. A signature covers `METHOD SP path?query` and the body.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from mfn_core.call import Request
from mfn_core.errors import Code, MfnError
from mfn_signing import MalformedError, http_path
from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, Sending
from mfn_transport_asgi._exchange import Exchange, compressed, off_loop, read_body
from mfn_transport_asgi._gateway import Gateway, patient
from mfn_transport_asgi._json.codec import protobuf_to_json
from mfn_transport_asgi._metadata import encode_web_metadata
from mfn_transport_asgi._rest.head import ENCODING, RestHead, preferred
from mfn_transport_asgi._rest.ndjson import Lines
from mfn_transport_asgi._rest.openapi import describe
from mfn_transport_asgi._rest.pages import Pages
from mfn_transport_asgi._rest.problem import PROBLEM_TYPE, STATUSES, allowance_headers, problem, problem_headers
from mfn_transport_asgi._rest.routes import Binding, Routes
from mfn_transport_asgi._rest.stream import EVENTS, LINES, StreamReply

if TYPE_CHECKING:
    from mfn_core.call import Call
    from mfn_core.dispatcher import Dispatcher, Outcome
    from mfn_core.operation import Operation
    from mfn_core.pages import Page
    from mfn_transport_asgi._disconnects import Disconnects
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["RestProtocol"]

_JSON = b"application/json"
_STREAMS = (LINES, b"application/jsonl", b"application/x-jsonlines")
"""Content types of a request that is a stream: all of them are lines of JSON."""
_OF_READING = {Code.RESOURCE_EXHAUSTED: 413, Code.DEADLINE_EXCEEDED: 408}
"""Statuses of a body that could not be read, where HTTP has one of its own."""
_PLAIN = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_DEFECT: tuple[Message, ...] = (
    {"type": "http.response.start", "status": 500, "headers": [(b"content-type", PROBLEM_TYPE), *_PLAIN]},
    {
        "type": "http.response.body",
        "body": json.dumps(problem(MfnError(Code.INTERNAL, "internal error"))).encode(),
        "more_body": False,
    },
)


@frozen(kw_only=True)
class _Refusal:
    """What is wrong with a request before it is a call of anything."""

    error: MfnError
    status: int | None = None
    """Of HTTP, where it is not that of the error's code."""
    headers: Sequence[tuple[bytes, bytes]] = ()


@frozen(kw_only=True)
class _Asked:
    """A request that is a call."""

    binding: Binding
    variables: Mapping[str, bytes]
    reply_type: bytes


class RestProtocol:
    """Makes calls of REST requests, for one listener. It takes whatever no other protocol claims."""

    content_types: Sequence[bytes] = ()
    for_browsers = True

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        settings: AsgiSettings,
        disconnects: Disconnects,
        pages: Sequence[Page] = (),
        *,
        anonymous: bool = False,
    ) -> None:
        """Serve the dispatcher's operations under the transport's name, and `pages` of other components; `anonymous`:
        whether without credentials."""
        self._gateway = Gateway(dispatcher, name, settings, disconnects, protocol="rest", anonymous=anonymous)
        self._limit = settings.max_message_bytes
        self._compress_from = settings.compress_from_bytes
        self._heartbeat = settings.heartbeat_seconds
        self._routes = Routes(self._gateway.operations)
        self._pages = Pages(dispatcher, pages, docs=settings.docs, openapi=lambda: describe(self._routes.bindings))

    @property
    def active(self) -> int:
        """Requests whose reply has not been handed over whole."""
        return self._gateway.active

    def start(self) -> None:
        """Nothing is to be done."""

    def stop(self) -> None:
        """Nothing is to be done."""

    def claims(self, scope: Scope) -> bool:
        """Every request: one that is nothing is told so in the words of this protocol."""
        return True

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a call that fails in any way still gets its status."""
        await self._gateway.serve(lambda sending: self._answer(scope, receive, sending), send, defect=_DEFECT)

    async def _answer(self, scope: Scope, receive: Receive, send: Sending) -> None:
        if self._pages.has(scope["raw_path"]):
            await self._pages.answer(scope, send)
            return
        head = RestHead(scope["headers"])
        match = self._routes.find(scope["raw_path"])
        if match is None:
            shown = scope["raw_path"][:200].decode("ascii", "backslashreplace")
            refusal = _Refusal(error=MfnError(Code.NOT_FOUND, f"nothing is at {shown}; /openapi.json has every path"))
            await self._refuse(scope, send, head, self._gateway.unknown(scope["raw_path"]), refusal)
            return
        allow = ", ".join(sorted({*match.by_verb, "OPTIONS"})).encode()
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if scope["method"] not in match.by_verb:
            operation = next(iter(match.by_verb.values()))[0].operation
            text = f"this path takes {allow.decode()}, not {scope['method'][:32]}"
            refusal = _Refusal(error=MfnError(Code.UNIMPLEMENTED, text), status=405, headers=[(b"allow", allow)])
            await self._refuse(scope, send, head, operation, refusal)
            return
        binding, variables = match.by_verb[scope["method"]]
        reply_types = (LINES, EVENTS) if binding.operation.shape.server_streams else (_JSON,)
        reply_type = preferred(head.accept, reply_types)
        if reply_type is None:
            await self._refuse(scope, send, head, binding.operation, _unacceptable(reply_types))
            return
        unreadable = _unreadable(binding, head)
        if unreadable is not None:
            await self._refuse(scope, send, head, binding.operation, unreadable)
            return
        asked = _Asked(binding=binding, variables=variables, reply_type=reply_type)
        await self._call(scope, receive, send, head, asked)

    async def _refuse(
        self, scope: Scope, send: Sending, head: RestHead, operation: Operation, refusal: _Refusal
    ) -> None:
        """Answer what is no call, and leave a record of it all the same."""
        call = self._gateway.call(
            scope, operation, metadata=head.metadata, deadline=None, request=None, fault=refusal.error
        )
        call.decoded_request_id = _request_id(head)
        outcome = await self._gateway.dispatch(call, head.stream_id)
        await self._fail(send, call, head, outcome, refusal)

    async def _call(self, scope: Scope, receive: Receive, send: Sending, head: RestHead, asked: _Asked) -> None:
        operation = asked.binding.operation
        shape = operation.shape
        transcode = asked.binding.transcode(asked.variables, scope["query_string"])
        request: Request | None = None
        refusal = None if head.fault is None else _Refusal(error=head.fault)
        path, malformed = _signed(scope)
        if malformed is not None:
            refusal = _Refusal(error=malformed)
        if refusal is None and not shape.client_streams:
            try:
                raw = await self._read(receive, head) if asked.binding.body else b""
                request = Request(raw=raw, transcode=transcode)
            except MfnError as wrong:
                refusal = _Refusal(error=wrong, status=_OF_READING.get(wrong.code))
        exchange = Exchange(Lines(receive, limit=self._limit, transcode=transcode), send, body=_as_it_is)
        reply = StreamReply(
            send,
            content_type=asked.reply_type,
            encode=lambda message: _encoded(operation, message),
            heartbeat=self._heartbeat,
            # What is computed again is the same only where the request alone determines it.
            seen=head.last_event if operation.deterministic else 0,
        )
        call = self._gateway.call(
            scope,
            operation,
            metadata=head.metadata,
            deadline=head.deadline,
            request=request,
            fault=None if refusal is None else refusal.error,
            inbound=exchange if shape.client_streams else None,
            deliver=reply.deliver if shape.server_streams else None,
            signed_path=path,
        )
        call.decoded_request_id = _request_id(head)
        exchange.begin(call, _no_head)
        reply.begin(call, lambda: _headers(call, head))
        outcome = await self._gateway.dispatch(call, head.stream_id)
        if outcome.error is not None and not reply.started:
            await self._fail(send, call, head, outcome, refusal)
        elif shape.server_streams:
            ended = None if outcome.error is None else _problem_of(call, head, outcome.error, None)
            await reply.finish(ended)
        else:
            await self._reply(send, call, head, await _encoded(operation, outcome.reply or b""))

    async def _read(self, receive: Receive, head: RestHead) -> bytes:
        reading = read_body(patient(receive), limit=self._limit, encoding=head.coding)
        return await self._gateway.in_time(reading)

    async def _reply(self, send: Sending, call: Call, head: RestHead, content: bytes) -> None:
        headers = [(b"content-type", _JSON), *_headers(call, head)]
        if self._compress_from > 0:
            headers.append((b"vary", b"accept-encoding"))
            if head.gzip and self._compress_from <= len(content):
                content = await compressed(content)
                headers.append((b"content-encoding", ENCODING))
        await _send_whole(send, STATUSES[Code.OK].number, headers, content)

    async def _fail(
        self, send: Sending, call: Call, head: RestHead, outcome: Outcome, refusal: _Refusal | None
    ) -> None:
        error = outcome.error or MfnError(outcome.code, outcome.message)
        status = STATUSES[error.code].number
        further: Sequence[tuple[bytes, bytes]] = ()
        if refusal is not None and error is refusal.error:
            status, further = refusal.status or status, refusal.headers
        headers = [*problem_headers(error, status), *further, *_headers(call, head)]
        content = json.dumps(_problem_of(call, head, error, status), ensure_ascii=False).encode()
        await _send_whole(send, status, headers, content)


def _unreadable(binding: Binding, head: RestHead) -> _Refusal | None:
    """Why a body cannot be read, whatever is in it; None: it may be."""
    if not binding.body:
        return None
    streams = binding.operation.shape.client_streams
    taken = _STREAMS if streams else (_JSON,)
    given = head.content_type
    if given.name not in taken or not given.is_utf8:
        shown = given.name[:64].decode("ascii", "backslashreplace") or "none"
        if not given.is_utf8:
            shown += f" in {given.charset[:64].decode('ascii', 'backslashreplace') or 'no charset'}"
        text = f"the content type must be {taken[0].decode()} in UTF-8, not {shown}"
        error = MfnError(Code.INVALID_ARGUMENT, text)
        accepted = b"accept-post" if binding.verb == "POST" else b"accept"
        return _Refusal(error=error, status=415, headers=[(accepted, b", ".join(taken))])
    codings = () if streams else (ENCODING,)
    if head.coding is not None and head.coding not in codings:
        text = f"the content coding must be {' or '.join([*(each.decode() for each in codings), 'identity'])}"
        accepted_codings = b", ".join([*codings, b"identity"])
        error = MfnError(Code.INVALID_ARGUMENT, text)
        return _Refusal(error=error, status=415, headers=[(b"accept-encoding", accepted_codings)])
    return None


def _unacceptable(offered: Sequence[bytes]) -> _Refusal:
    text = f"the reply is {' or '.join(each.decode() for each in offered)}, and 'accept' takes nothing of it"
    return _Refusal(error=MfnError(Code.INVALID_ARGUMENT, text), status=406)


def _signed(scope: Scope) -> tuple[str | None, MfnError | None]:
    """What a signature covers as the path, or why there can be none."""
    query: bytes = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    try:
        return http_path(scope["method"], target), None
    except MalformedError:
        text = "the path and query of a request are visible ASCII; percent-encode what is not"
        return None, MfnError(Code.INVALID_ARGUMENT, text, reason="a path or query that is not visible ASCII")


def _request_id(head: RestHead) -> str:
    """The client's own id of the call, or one for it."""
    return head.request_id or str(uuid.uuid4())


def _headers(call: Call, head: RestHead) -> list[tuple[bytes, bytes]]:
    """What every reply to a call says. There are no trailers, so that what would be in them comes with the rest, where
    it is there in time."""
    shown = head.request_id or _visible(call.decoded_request_id)
    headers = [*_PLAIN]
    if shown is not None:
        headers.append((b"x-request-id", shown.encode()))
    if call.allowance is not None:
        headers += allowance_headers(call.allowance())
    return headers + encode_web_metadata([*call.initial_metadata, *call.trailing_metadata])


def _visible(text: str | None) -> str | None:
    """An id that came in a message, where it can stand in a header."""
    return text if text is not None and text.isascii() and text.isprintable() and " " not in text else None


def _problem_of(call: Call, head: RestHead, error: MfnError, status: int | None) -> dict[str, object]:
    request_id = head.request_id or call.decoded_request_id
    return problem(error, status=status, call_id=call.id, request_id=request_id)


async def _encoded(operation: Operation, message: bytes) -> bytes:
    return await off_loop(len(message), _plain_json, operation.response_type, message)


def _plain_json(message_type: type, raw: bytes) -> bytes:
    return protobuf_to_json(message_type, raw, plainly=True)


async def _as_it_is(message: bytes) -> bytes:
    return message


def _no_head() -> Message:
    raise RuntimeError("the reading side of a call does not reply")


async def _send_whole(send: Sending, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> None:
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": content, "more_body": False})
