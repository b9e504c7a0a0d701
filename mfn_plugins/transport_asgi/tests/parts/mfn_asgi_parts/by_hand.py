"""Requests driven by hand: what a well-behaved client never sends, and what a real socket never shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from google.protobuf.wrappers_pb2 import BytesValue

from mfn_core import Call, Code, Dispatcher, MfnError, Next, Operation, Service, Shape
from mfn_transport_asgi._asgi import WireProtocol
from mfn_transport_asgi._disconnects import Disconnects
from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["DISCONNECT", "LIMIT", "Client", "Recorder", "Server", "body", "message"]

LIMIT = 1024
DISCONNECT = {"type": "http.disconnect"}


def message(value: bytes) -> bytes:
    return BytesValue(value=value).SerializeToString()


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


async def _echo(request: BytesValue, call: Call) -> BytesValue:
    return request


async def _sleep(request: BytesValue, call: Call) -> BytesValue:
    await asyncio.sleep(3600)
    return request


async def _mirror(requests: AsyncIterator[BytesValue], call: Call) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def _count(requests: AsyncIterator[BytesValue], call: Call) -> BytesValue:
    return BytesValue(value=b"%d" % len([request async for request in requests]))


async def _repeat(request: BytesValue, call: Call) -> AsyncIterator[BytesValue]:
    for _ in range(3):
        yield request


async def _broken(request: BytesValue, call: Call) -> BytesValue:
    call.trailing_metadata.append(("x-count", cast("Any", 3)))
    return request


async def _broken_stream(request: BytesValue, call: Call) -> AsyncIterator[BytesValue]:
    call.trailing_metadata.append(("x-count", cast("Any", 3)))
    yield request


def _failure() -> MfnError:
    return MfnError(Code.RESOURCE_EXHAUSTED, "slower, 100 %", reason="for the operator alone", retry_after=1.25)


async def _fail(request: BytesValue, call: Call) -> BytesValue:
    call.initial_metadata.append(("x-initial", "first"))
    call.trailing_metadata.append(("x-trailing-bin", b"\x00\xff"))
    raise _failure()


async def _fail_stream(request: BytesValue, call: Call) -> AsyncIterator[BytesValue]:
    yield request
    raise _failure()


async def _labelled(request: BytesValue, call: Call) -> BytesValue:
    call.initial_metadata.append(("x-initial", "first"))
    call.initial_metadata.append(("content-encoding", "br"))
    call.trailing_metadata.append(("x-trailing-bin", b"\x00\xff"))
    call.trailing_metadata.append(("access-control-allow-origin", "*"))
    return request


class Client:
    """One request: what it sends stands ready, and what is answered is kept. After the last piece it is silent."""

    def __init__(self, pieces: Iterable[Mapping[str, Any]], *, sends_fail: bool = False) -> None:
        self._pieces = list(pieces)
        self._silence: list[asyncio.Future[Any]] = []
        self._sends_fail = sends_fail
        self.sent: list[Mapping[str, Any]] = []
        self.silent = asyncio.Event()
        """Set once the server waits for more than was said."""
        self.answered = asyncio.Event()
        """Set once the reply is whole."""

    def receive(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._pieces:
            future.set_result(self._pieces.pop(0))
        else:
            self._silence.append(future)
            self.silent.set()
        return future

    def send(self, message: Mapping[str, Any]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._sends_fail and message["type"] == "http.response.body":
            future.set_exception(OSError("the client is gone"))
        else:
            self.sent.append(message)
            future.set_result(None)
            if len(self.sent) > 1 and self.whole:
                self.answered.set()
        return future

    def say(self, piece: Mapping[str, Any]) -> None:
        """Answer what waits; fails if its waiter has cancelled it, as the real server does."""
        self._silence.pop(0).set_result(piece)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return {name: value for sent in self.sent for name, value in sent.get("headers", ())}

    @property
    def status(self) -> int:
        """Of gRPC."""
        return int(self.headers[b"grpc-status"])

    @property
    def http(self) -> int:
        """Status of HTTP."""
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(sent.get("body", b"") for sent in self.sent)

    @property
    def whole(self) -> bool:
        """Whether the reply has been finished as ASGI demands."""
        start, *rest = self.sent
        bodies = [sent for sent in rest if sent["type"] == "http.response.body"]
        ended = bool(bodies) and not bodies[-1]["more_body"]
        trailed = rest[-1]["type"] == "http.response.trailers"
        return start["type"] == "http.response.start" and ended and trailed == start.get("trailers", False)


class Recorder:
    """The outermost step: how every call ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, Code]] = []
        self.calls: list[Call] = []
        self.begun = asyncio.Event()

    async def __call__(self, call: Call, call_next: Next) -> None:
        self.calls.append(call)
        self.begun.set()
        try:
            await call_next(call)
        except MfnError as error:
            self.ended.append((call.operation.path, error.code))
            raise
        self.ended.append((call.operation.path, Code.OK))


class Server:
    """One protocol in front of operations of every shape."""

    def __init__(self, protocol: Callable[..., WireProtocol], **settings: Any) -> None:
        handlers: Sequence[tuple[str, Shape, Any]] = [
            ("Echo", Shape.UNARY, _echo),
            ("Sleep", Shape.UNARY, _sleep),
            ("Fail", Shape.UNARY, _fail),
            ("Labelled", Shape.UNARY, _labelled),
            ("Broken", Shape.UNARY, _broken),
            ("BrokenStream", Shape.SERVER_STREAM, _broken_stream),
            ("FailStream", Shape.SERVER_STREAM, _fail_stream),
            ("Mirror", Shape.BIDI, _mirror),
            ("Count", Shape.CLIENT_STREAM, _count),
            ("Repeat", Shape.SERVER_STREAM, _repeat),
        ]
        operations = [
            Operation(
                service="t.T",
                method=name,
                shape=shape,
                request_type=BytesValue,
                response_type=BytesValue,
                handler=h,
                idempotent=name in ("Echo", "Fail"),
                deterministic=name in ("Echo", "Fail"),
            )
            for name, shape, h in handlers
        ]
        self.recorder = Recorder()
        self.disconnects = Disconnects()
        dispatcher = Dispatcher([Service(name="t.T", operations=operations)], [self.recorder], outer=1)
        self.dispatcher = dispatcher
        self.protocol = protocol(
            dispatcher, "asgi", AsgiSettings(max_message_bytes=LIMIT, **settings), self.disconnects
        )

    async def ask(
        self,
        client: Client,
        method: str,
        *headers: tuple[bytes, bytes],
        http: str = "2",
        verb: str = "POST",
        query: bytes = b"",
        trailers: bool = True,
    ) -> Client:
        """Answer a request of the client; `trailers`: whether the ASGI server can send them."""
        scope = {
            "type": "http",
            "method": verb,
            "http_version": http,
            "raw_path": f"/t.T/{method}".encode(),
            "query_string": query,
            "headers": list(headers),
            "client": ["::1", 4711],
            "extensions": {"http.response.trailers": {}} if trailers else {},
        }
        async with asyncio.timeout(10):
            await self.protocol.handle(scope, client.receive, client.send)
        assert self.protocol.active == 0
        assert self.dispatcher.active == 0
        return client
