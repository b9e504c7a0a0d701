"""What the parts of `TransportSuite` share: the server, and calls of its test service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core.operation import Shape
from mfn_core.testing.process import ServerProcess
from mfn_core.testing.suite_service import PROBE, Script, path_of
from mfn_core.testing.wire import Ended, Pairs, WireCall, WireClient, run_call

__all__ = [
    "CLIENT_STREAMS",
    "SERVER_STREAMS",
    "SHAPES",
    "Tally",
    "TransportHarness",
    "by_key",
    "encoded",
    "receive_all",
    "receive_text",
]

SHAPES = [pytest.param(shape, id=shape.label) for shape in Shape]
CLIENT_STREAMS = [pytest.param(shape, id=shape.label) for shape in Shape if shape.client_streams]
SERVER_STREAMS = [pytest.param(shape, id=shape.label) for shape in Shape if shape.server_streams]

Tally = dict[str, Any]
"""What the server tells of the calls with one tag, and of itself: a `mfn_core.testing.suite_service.Tally`, `tasks` of
the event loop and `memory` in bytes."""


class TransportHarness:
    """The server of a class of tests, and how its tests call it."""

    plugins: ClassVar[Sequence[str]]
    """The transport's plugin, and what else the server needs."""
    name: ClassVar[str]
    """The transport's name in the configuration: `grpc`."""
    tables: ClassVar[Mapping[str, Any]]
    """Configuration beside `[server]`: the transport's table, with port 0 and with `max_message_bytes`."""
    max_message_bytes: ClassVar[int] = 65_536
    """Longest request message, as configured in `tables`."""
    slow_reader_bytes: ClassVar[int] = 16 * 1024 * 1024
    """Most that may be produced for a client that reads nothing: windows and buffers at both ends."""
    patience: ClassVar[float] = 30.0
    """Seconds after which something that must happen has not happened."""

    pytestmark = pytest.mark.asyncio

    def client(self, address: str) -> WireClient:
        """A client with a connection of its own to `host:port`."""
        raise NotImplementedError(f"{type(self).__name__} gives no `client`: a connection of its own to an address")

    # What the tests share.

    @classmethod
    def document(cls) -> dict[str, Any]:
        """The server's configuration."""
        server = {"plugins": ["mfn_core.testing.suite_service", *cls.plugins], "allow": ["anonymous"]}
        return {"server": server, **cls.tables}

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
        """The server of the class."""
        with ServerProcess(cls.document(), tmp_path_factory.mktemp("server")) as server:
            yield server

    @pytest.fixture
    def address(self, server: ServerProcess) -> str:
        """Where it listens."""
        return server.address(self.name)

    @pytest.fixture
    def tag(self, request: pytest.FixtureRequest) -> str:
        """Whose calls a test's calls are."""
        return str(request.node.name)

    async def run(self, client: WireClient, shape: Shape, script: Script, *texts: str, metadata: Pairs = ()) -> Ended:
        """A whole call; `texts` are sent after the script where the client streams."""
        messages = [script.encode()]
        if shape.client_streams:
            messages += [encoded(text) for text in texts]
        return await run_call(client, path_of(shape), messages, metadata=metadata, seconds=self.patience)

    async def begin(
        self, client: WireClient, shape: Shape, script: Script, *texts: str, seconds: float | None = None
    ) -> WireCall:
        """A call that has sent its script and texts, and, where it has one request, has half-closed."""
        call = client.open(path_of(shape), metadata=(), timeout=seconds or 2 * self.patience)
        assert await call.send(script.encode())
        for text in texts if shape.client_streams else ():
            assert await call.send(encoded(text))
        if not shape.client_streams:
            await call.half_close()
        return call

    async def probe(self, client: WireClient, tag: str) -> Tally:
        """The tally of a tag, with tasks and memory of the process."""
        ended = await run_call(client, PROBE, [encoded(tag)], seconds=self.patience)
        assert ended.status.code == "OK", ended
        found: Tally = json.loads(ended.replies[0])
        return found

    async def until(self, client: WireClient, tag: str, condition: Callable[[Tally], bool], what: str) -> Tally:
        """Probe until the condition holds."""
        deadline = time.monotonic() + self.patience
        while not condition(found := await self.probe(client, tag)):
            assert time.monotonic() < deadline, f"not within {self.patience} s: {what}; the tally is {found}"
            await asyncio.sleep(0.02)  # between two looks at another process
        return found


def encoded(text: str) -> bytes:
    """A message of the test service."""
    return StringValue(value=text).SerializeToString()


async def receive_text(call: WireCall) -> str | None:
    """The text of the next reply; None once there is none."""
    raw = await call.receive()
    return None if raw is None else StringValue.FromString(raw).value


async def receive_all(call: WireCall) -> list[str]:
    """The texts of all further replies."""
    texts = []
    while (text := await receive_text(call)) is not None:
        texts.append(text)
    return texts


def by_key(pairs: Any) -> dict[str, list[Any]]:
    """The order among the values of one key counts; among keys HTTP promises none."""
    found: dict[str, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
