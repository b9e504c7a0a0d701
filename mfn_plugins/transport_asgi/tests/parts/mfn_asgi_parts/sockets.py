"""A WebSocket without a network: what the client says stands ready, and what it is sent is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mfn_core import Call, Dispatcher, Operation, Principal, Service, Shape
from mfn_core.audit import AuditMiddleware, AuditRecord
from mfn_core.auth import AuthMiddleware, unauthenticated
from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._disconnects import Disconnects
from mfn_transport_asgi._settings import AsgiSettings
from mfn_transport_asgi._websocket.settings import WebSocketSettings
from mfn_transport_asgi._websocket.sockets import WebSockets

__all__ = ["FakeLink", "Hall", "hall"]


class FakeLink:
    """What `_ws_link.Link` is for the connection."""

    def __init__(self, path: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8080"), *headers],
            "client": ("127.0.0.1", 40000),
            "scheme": "ws",
            "extensions": {},
        }
        self.gone = False
        self.accepted = False
        self.closed: tuple[int, str] | None = None
        self.sent: list[Any] = []
        self.reads = asyncio.Event()
        """Cleared: the client takes nothing."""
        self.reads.set()
        self._said: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._news = asyncio.Event()

    # The server's side.

    async def accept(self) -> None:
        self.accepted = True

    async def send(self, message: str | bytes) -> None:
        if self.gone:
            raise ConnectionResetError("gone")
        await self.reads.wait()
        self.sent.append(message if isinstance(message, bytes) else json.loads(message))
        self._news.set()

    async def receive(self) -> str | bytes | None:
        return None if self.gone else await self._said.get()

    async def close(self, code: int, reason: str, *, patience: float) -> None:
        self.closed = self.closed or (code, reason)
        self.end()

    def end(self) -> None:
        self.gone = True
        self._said.put_nowait(None)
        self._news.set()

    # The client's side.

    def say(self, kind: str, payload: Any = None, **more: Any) -> None:
        self.say_text(json.dumps({"type": kind, "payload": payload or {}, **more}))

    def say_text(self, text: str) -> None:
        self._said.put_nowait(text)

    async def until(self, kind: str, count: int = 1) -> list[Any]:
        """The messages of a type, once there are so many."""
        async with asyncio.timeout(10):
            while True:
                found = [each for each in self.sent if not isinstance(each, bytes) and each["type"] == kind]
                if len(found) >= count:
                    return found
                assert not self.gone, self.sent
                self._news.clear()
                await self._news.wait()

    async def over(self) -> tuple[int, str]:
        """How the server closed."""
        async with asyncio.timeout(10):
            while self.closed is None:
                self._news.clear()
                await self._news.wait()
        return self.closed


class Hall:
    """The sockets of a listener, behind an authenticator that believes `Bearer NAME`."""

    def __init__(self, **settings: Any) -> None:
        self.calls: list[Call] = []
        self.withdrawn: set[str] = set()
        """Who is not believed any more."""
        self.records: list[AuditRecord] = []
        self.asked: list[pb.SimulateRequest] = []
        """What the simulations were asked for."""
        self.frames = 0
        """Frames that were made."""
        operation = Operation(
            service="mfn.v1.FieldService",
            method="Simulate",
            shape=Shape.SERVER_STREAM,
            request_type=pb.SimulateRequest,
            response_type=pb.SimulateResponse,
            handler=self._simulate,
        )
        service = Service(name="mfn.v1.FieldService", operations=[operation])
        self.dispatcher = Dispatcher([service], [AuditMiddleware([self]), AuthMiddleware([self])], outer=1)
        self.disconnects = Disconnects()
        listener = AsgiSettings(websocket=WebSocketSettings(**settings))
        self.sockets = WebSockets(self.dispatcher, "asgi", listener, self.disconnects)

    async def authenticate(self, call: Call) -> Principal | None:
        self.calls.append(call)
        shown = call.metadata.get("authorization")
        if shown is None:
            return None
        if not shown.startswith("Bearer good-"):
            raise unauthenticated("not good")
        return Principal(name=shown[12:], roles=frozenset({"read"}), method="test")

    def still_vouches(self, principal: Principal) -> bool:
        return principal.name not in self.withdrawn

    async def write(self, record: AuditRecord) -> None:
        self.records.append(record)

    async def _simulate(self, request: pb.SimulateRequest, call: Call) -> AsyncIterator[pb.SimulateResponse]:
        self.calls.append(call)
        self.asked.append(request)
        side = min(4, request.simulation.grid_size)
        data = bytes(8 * side * side)
        for step in range(1, request.steps + 1):
            self.frames += 1
            frame = pb.Frame(
                step=step,
                is_final=step == request.steps,
                statistics=pb.FieldStatistics(mean_volts=-0.07),
                field=pb.Field(
                    data=data, encoding=pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN, shape=[side, side], unit="V"
                ),
            )
            yield pb.SimulateResponse(frame=frame)
            await asyncio.sleep(0)

    def enter(self, path: str = "/ws/simulation_live", headers: Sequence[tuple[bytes, bytes]] = ()) -> FakeLink:
        link = FakeLink(path, headers)
        self.sockets.open(link)  # type: ignore[arg-type]  # it has what a link has
        return link

    async def greeted(self, name: str = "ada", path: str = "/ws/simulation_live") -> FakeLink:
        """A socket whose client has said who it is."""
        link = self.enter(path)
        link.say("init", {"protocol_version": "1.0"})
        link.say("auth", {"token": f"good-{name}"})
        await link.until("auth_success")
        return link


@asynccontextmanager
async def hall(**settings: Any) -> AsyncIterator[Hall]:
    """Sockets that are all closed in the end."""
    made = Hall(**settings)
    try:
        yield made
    finally:
        await made.sockets.stop()
        assert made.sockets.active == 0
        assert made.dispatcher.active == 0
