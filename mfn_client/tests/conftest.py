"""A small server of real sockets that checks signatures by the public functions of the scheme."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import trustme

from mfn_client import Credentials, MFNClient
from mfn_signing import (
    HEADERS,
    STREAM,
    TIMESTAMP_WINDOW_SECONDS,
    ReplayWindow,
    WindowedNonce,
    content_hash,
    parse_nonce,
    parse_timestamp,
    verify_signature,
)

SECRET = bytes(range(32))
CREDENTIALS = Credentials(key_id="lab-1", secret=SECRET)

ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
STEER = "/mfn.v1.FieldService/SteerSimulation"
CLIENT_STREAMED = {ANALYZE, STEER}


class ServedCall:
    """One call as its handler sees it."""

    def __init__(self, path: str, context: Any, first: bytes) -> None:
        self.path = path
        self.context = context
        self.first = first
        """The request, of methods with a single one."""
        self.metadata: list[tuple[str, str]] = [(key, value) for key, value in context.invocation_metadata()]
        self.seconds_left: float | None = context.time_remaining()

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.metadata if key == name), None)

    async def read(self) -> bytes | None:
        message = await self.context.read()
        if message is not grpc.aio.EOF:
            return bytes(message)
        # grpc.aio reads the end of the stream when the client has cancelled too; the news of that comes with the
        # completion of a second read.
        await self.context.read()
        await asyncio.sleep(0)
        return None

    async def read_all(self) -> list[bytes]:
        messages = []
        while (message := await self.read()) is not None:
            messages.append(message)
        return messages

    async def write(self, message: Any) -> None:
        await self.context.write(message if isinstance(message, bytes) else message.SerializeToString())


Handler = Callable[[ServedCall], Awaitable[None]]


class TinyServer(grpc.GenericRpcHandler):
    """Serves what a test tells it to, to callers whose signatures verify."""

    def __init__(self, secret: bytes | None = SECRET) -> None:
        self.address = ""
        self.secret = secret
        """None: every caller is served."""
        self.handlers: dict[str, Handler] = {}
        self.calls: list[ServedCall] = []
        self.cancelled = asyncio.Event()
        """Set when a handler saw its caller give up."""
        self._windows: dict[str, ReplayWindow] = {}

    def serve(self, path: str, handler: Handler) -> None:
        self.handlers[path] = handler

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method

        async def handle(_: object, context: Any) -> None:
            await self._call(path, context)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _call(self, path: str, context: Any) -> None:
        first = b"" if path in CLIENT_STREAMED else bytes(await context.read())
        call = ServedCall(path, context, first)
        self.calls.append(call)
        if self.secret is not None and not self._verified(call, self.secret):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the request is not authenticated")
        handler = self.handlers.get(path)
        if handler is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"no method {path}")
            return
        try:
            await handler(call)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def _verified(self, call: ServedCall, secret: bytes) -> bool:
        if sorted(key for key, _ in call.metadata if key in HEADERS) != sorted(HEADERS):
            return False
        key_id, timestamp, nonce, hashed, signed = (call.header(name) or "" for name in HEADERS)
        wanted = STREAM if call.path in CLIENT_STREAMED else content_hash(call.first)
        counted = parse_nonce(nonce)
        return (
            key_id == "lab-1"
            and hashed == wanted
            and abs(time.time() - parse_timestamp(timestamp)) <= TIMESTAMP_WINDOW_SECONDS
            and verify_signature(secret, call.path, timestamp, nonce, hashed, signed)
            and isinstance(counted, WindowedNonce)
            and self._windows.setdefault(counted.instance, ReplayWindow()).accept(counted.counter)
        )


async def started(tiny: TinyServer, credentials: grpc.ServerCredentials | None = None) -> grpc.aio.Server:
    """A server on a free port of loopback that has started."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((tiny,))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    tiny.address = f"127.0.0.1:{port}"
    await server.start()
    return server


@pytest.fixture
async def server() -> AsyncIterator[TinyServer]:
    tiny = TinyServer()
    running = await started(tiny)
    yield tiny
    await running.stop(None)


@pytest.fixture
async def client(server: TinyServer) -> AsyncIterator[MFNClient]:
    async with MFNClient(server.address, credentials=CREDENTIALS) as client:
        yield client


@pytest.fixture
async def tiny_tls() -> AsyncIterator[tuple[TinyServer, trustme.CA]]:
    """A server with a certificate for its address, and the authority that signed it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    tiny = TinyServer()
    running = await started(tiny, grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)]))
    yield tiny, authority
    await running.stop(None)
