"""A Connect client in the terms of `TransportSuite`, written from the specification alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Self

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status as RpcStatus

from mfn_asgi_parts.http_wire import Failure, Http, HttpExchange, Status, Violation, frame, metadata_of, to_headers
from mfn_core.errors import Code
from mfn_core.operation import Shape
from mfn_core.testing.suite_service import PROBE, path_of
from mfn_core.testing.wire import Pairs
from mfn_proto.rich_status import decode_rich_status

__all__ = ["ConnectCall", "ConnectClient", "StreamingCall", "UnaryCall", "status_of"]

END = 0x02
_CODES = {"canceled": "CANCELLED"} | {code.name.lower(): code.name for code in Code}


def status_of(error: dict[str, Any] | None, trailing: Pairs) -> Status:
    """Of the JSON of an error, or of None for success."""
    if error is None:
        return Status(code="OK", trailing=trailing)
    details = RpcStatus()
    for each in error.get("details", ()):
        value = base64.b64decode(each["value"] + "=" * (-len(each["value"]) % 4))
        details.details.append(AnyMessage(type_url=f"type.googleapis.com/{each['type']}", value=value))
    rich = decode_rich_status(details.SerializeToString())
    return Status(
        code=_CODES[error["code"]],
        message=error.get("message", ""),
        violations=[Violation(field=path, description=text) for path, text in rich.violations],
        retry_after=rich.retry_after,
        trailing=trailing,
    )


class ConnectCall:
    """What calls of both forms share: an end that was seen, or was made here."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._ended: Status | None = None

    def cancel(self) -> None:
        self._exchange.cancel()

    def _broken(self) -> Status:
        return Status(code="CANCELLED" if self._exchange.cancelled else "UNAVAILABLE")


class UnaryCall(ConnectCall):
    """The message is the body, of the request and of the reply."""

    def __init__(self, exchange: HttpExchange) -> None:
        super().__init__(exchange)
        self._message = b""
        self._initial: Pairs = ()

    async def send(self, message: bytes) -> bool:
        self._message = message
        return self._ended is None

    async def half_close(self) -> None:
        await self._exchange.send(self._message)
        await self._exchange.send(None)

    async def receive(self) -> bytes | None:
        if self._ended is not None:
            return None
        try:
            response = await self._exchange.response()
            body = await self._exchange.rest()
        except Failure:
            self._ended = self._broken()
            return None
        named = list(response.headers.items())
        self._initial = metadata_of((key, value) for key, value in named if not key.startswith("trailer-"))
        prefix = len("trailer-")
        trailing = metadata_of((key[prefix:], value) for key, value in named if key.startswith("trailer-"))
        if response.status == 200:
            self._ended = status_of(None, trailing)
            return body
        self._ended = status_of(json.loads(body), trailing)
        return None

    async def initial_metadata(self) -> Pairs:
        await self.receive()
        return self._initial

    async def status(self) -> Status:
        if self._exchange.cancelled:
            return self._broken()
        await self.receive()
        assert self._ended is not None
        return self._ended


class StreamingCall(ConnectCall):
    """Every message in an envelope; the last one says how it ended."""

    async def send(self, message: bytes) -> bool:
        return await self._exchange.send(frame(message))

    async def half_close(self) -> None:
        await self._exchange.send(None)

    async def receive(self) -> bytes | None:
        if self._ended is not None:
            return None
        try:
            taken = await self._exchange.take_frame()
            if taken is None:
                raise Failure("the stream has no end")
            flags, content = taken
            if flags != END:
                assert flags == 0
                return content
            assert await self._exchange.rest() == b"", "something follows the end of the stream"
        except Failure:
            self._ended = self._broken()
            return None
        end = json.loads(content)
        pairs = [(key, value) for key, values in end.get("metadata", {}).items() for value in values]
        self._ended = status_of(end.get("error"), metadata_of(pairs))
        return None

    async def initial_metadata(self) -> Pairs:
        try:
            return metadata_of((await self._exchange.response()).headers.items())
        except Failure:
            return ()

    async def status(self) -> Status:
        if self._exchange.cancelled:
            return self._broken()
        while self._ended is None:
            await self.receive()
        return self._ended


class ConnectClient:
    """A `mfn_core.testing.wire.WireClient`."""

    def __init__(self, address: str, *, http2: bool = True) -> None:
        self._http = Http(address, http2=http2)

    def open(self, path: str, *, metadata: Iterable[tuple[str, str | bytes]], timeout: float | None) -> Any:
        unary = path in (PROBE, path_of(Shape.UNARY))
        own = [
            ("content-type", "application/proto" if unary else "application/connect+proto"),
            ("connect-protocol-version", "1"),
        ]
        if timeout is not None:
            own.append(("connect-timeout-ms", str(int(timeout * 1000))))
        exchange = self._http.begin(path, to_headers(own, metadata))
        return UnaryCall(exchange) if unary else StreamingCall(exchange)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self._http.__aexit__(*failure)
