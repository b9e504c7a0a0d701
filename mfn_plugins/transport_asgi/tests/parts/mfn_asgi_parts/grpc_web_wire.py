"""A gRPC-Web client in the terms of `TransportSuite`, written from the specification alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import unquote

from mfn_asgi_parts.http_wire import Failure, Http, HttpExchange, Status, Violation, frame, metadata_of, to_headers
from mfn_core.errors import Code
from mfn_core.testing.wire import Pairs
from mfn_proto.rich_status import RichStatus, decode_rich_status

__all__ = ["GrpcWebCall", "GrpcWebClient", "parse_trailers", "status_of"]

TRAILERS = 0x80
# The numbers of gRPC are in the order of its document, which the kernel's follow.
_NAMES = [
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
]
assert {code.name for code in Code} == set(_NAMES)


def parse_trailers(content: bytes) -> list[tuple[str, str]]:
    """A block of headers as HTTP/1.1 writes them."""
    lines = content.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    pairs = [line.split(":", 1) for line in lines]
    assert all(name == name.lower() for name, _ in pairs)
    return [(name, value.strip()) for name, value in pairs]


def status_of(trailers: list[tuple[str, str]]) -> Status:
    """Of trailers, wherever they stood."""
    found = dict(trailers)
    rich = RichStatus()
    if details := found.get("grpc-status-details-bin"):
        rich = decode_rich_status(base64.b64decode(details + "=" * (-len(details) % 4)))
    return Status(
        code=_NAMES[int(found["grpc-status"])],
        message=unquote(found.get("grpc-message", "")),
        violations=[Violation(field=path, description=text) for path, text in rich.violations],
        retry_after=rich.retry_after,
        trailing=metadata_of((key, value) for key, value in trailers if not key.startswith("grpc-")),
    )


class GrpcWebCall:
    """One call, of any shape that HTTP carries."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._ended: Status | None = None

    async def send(self, message: bytes) -> bool:
        return await self._exchange.send(frame(message))

    async def half_close(self) -> None:
        await self._exchange.send(None)

    async def receive(self) -> bytes | None:
        if self._ended is not None:
            return None
        try:
            response = await self._exchange.response()
            assert response.status == 200
            if "grpc-status" in response.headers:
                assert await self._exchange.rest() == b""
                self._ended = status_of(list(response.headers.items()))
                return None
            taken = await self._exchange.take_frame()
            if taken is None:
                raise Failure("the reply has no trailers")
            flags, content = taken
            if flags != TRAILERS:
                assert flags == 0
                return content
            assert await self._exchange.rest() == b"", "something follows the trailers"
        except Failure:
            self._ended = Status(code="CANCELLED" if self._exchange.cancelled else "UNAVAILABLE")
            return None
        self._ended = status_of(parse_trailers(content))
        return None

    async def initial_metadata(self) -> Pairs:
        try:
            headers = (await self._exchange.response()).headers
        except Failure:
            return ()
        return () if "grpc-status" in headers else metadata_of(headers.items())

    async def status(self) -> Status:
        if self._exchange.cancelled:
            return Status(code="CANCELLED")
        while self._ended is None:
            await self.receive()
        return self._ended

    def cancel(self) -> None:
        self._exchange.cancel()


class GrpcWebClient:
    """A `mfn_core.testing.wire.WireClient`."""

    def __init__(self, address: str, *, http2: bool = True) -> None:
        self._http = Http(address, http2=http2)

    def open(self, path: str, *, metadata: Iterable[tuple[str, str | bytes]], timeout: float | None) -> Any:
        own = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")]
        if timeout is not None:
            own.append(("grpc-timeout", f"{int(timeout * 1000)}m"))
        return GrpcWebCall(self._http.begin(path, to_headers(own, metadata)))

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await self._http.__aexit__(*failure)
