"""A small server of real sockets that checks signatures by the public functions of the scheme."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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

AGGREGATE = "/mfn.v1.AggregationService/AggregateGradients"
ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
STEER = "/mfn.v1.FieldService/SteerSimulation"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
REFLECTION_ALPHA = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CLIENT_STREAMED = {AGGREGATE, ANALYZE, STEER, REFLECTION, REFLECTION_ALPHA}


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


async def started(
    tiny: TinyServer, credentials: grpc.ServerCredentials | None = None, *, port: int = 0
) -> grpc.aio.Server:
    """A server on a port of loopback, a free one unless it is given, that has started."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((tiny,))
    if credentials is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    tiny.address = f"127.0.0.1:{port}"
    await server.start()
    return server


class Restarted:
    """A server that goes away and comes back at its address."""

    def __init__(self, tiny: TinyServer) -> None:
        self.tiny = tiny
        self._port = 0
        self._running: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._running = await started(self.tiny, port=self._port)
        self._port = int(self.tiny.address.rpartition(":")[2])

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.stop(None)


@pytest.fixture
async def restarted() -> AsyncIterator[Restarted]:
    """A server that has started, and may be stopped and started again."""
    server = Restarted(TinyServer())
    await server.start()
    yield server
    await server.stop()


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


class ServerThread:
    """The tiny server on a loop of its own, so that the test may block."""

    def __init__(self) -> None:
        self.tiny = TinyServer()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> TinyServer:
        self._thread.start()
        assert self._ready.wait(20.0)
        return self.tiny

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20.0)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        running = await started(self.tiny)
        self._ready.set()
        await self._stop.wait()
        await running.stop(None)


@pytest.fixture
def threaded() -> Iterator[TinyServer]:
    """A server on a loop of its own, for tests that block."""
    with ServerThread() as tiny:
        yield tiny


@pytest.fixture
def parts() -> tuple[type[TinyServer], Callable[..., Awaitable[grpc.aio.Server]]]:
    """What servers of a test's own making are made of."""
    return TinyServer, started


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


class CuttingProxy:
    """Passes bytes between clients and one server, and cuts all connections when it is told to."""

    def __init__(self, upstream: str) -> None:
        self._host, _, port = upstream.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self.address = ""
        self.connections = 0
        """How many there have been."""
        self.muted = False
        """Whether what the server says is swallowed from now on, on all connections."""

    async def start(self) -> None:
        """Listen, at the address of before if there was one."""
        port = int(self.address.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection."""
        self.muted = False
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        """Refuse connections, and reset those that there are."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream[1]}
        for source, target, answers in ((reader, upstream[1], False), (upstream[0], writer, True)):
            task = asyncio.create_task(self._pass(source, target, answers))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while chunk := await source.read(65536):
                if not (answers and self.muted):
                    target.write(chunk)
                    await target.drain()
        except OSError:
            pass  # it was cut, or the other end was
        finally:
            self._writers.discard(target)
            target.transport.abort()


@pytest.fixture
async def cutting() -> AsyncIterator[Callable[[str], Awaitable[CuttingProxy]]]:
    """Makes proxies before servers that a test names."""
    made: list[CuttingProxy] = []

    async def before(upstream: str) -> CuttingProxy:
        proxy = CuttingProxy(upstream)
        made.append(proxy)
        await proxy.start()
        return proxy

    yield before
    for proxy in made:
        await proxy.stop()


@pytest.fixture
async def proxy(server: TinyServer, cutting: Callable[[str], Awaitable[CuttingProxy]]) -> CuttingProxy:
    """Stands between clients and `server`."""
    return await cutting(server.address)
