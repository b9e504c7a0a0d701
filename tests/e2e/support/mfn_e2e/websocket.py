"""A client of the WebSockets, on a library that knows nothing of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import websockets

__all__ = ["Socket", "socket"]


class Socket:
    """One socket."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def say(self, kind: str, payload: Any = None, **more: Any) -> None:
        """Send a message."""
        content = {"type": kind, **({} if payload is None else {"payload": payload}), **more}
        await self.connection.send(json.dumps(content))

    async def hear(self, seconds: float = 20.0) -> Any:
        """The next message: an object, or bytes."""
        async with asyncio.timeout(seconds):
            raw = await self.connection.recv()
        return raw if isinstance(raw, bytes) else json.loads(raw)

    async def until(self, kind: str, seconds: float = 20.0) -> tuple[Any, list[Any]]:
        """The next message of a type, and what came before it."""
        before: list[Any] = []
        async with asyncio.timeout(seconds):
            while True:
                message = await self.hear(seconds)
                if not isinstance(message, bytes) and message["type"] == kind:
                    return message, before
                before.append(message)

    async def greet(self) -> None:
        """Open the conversation."""
        await self.say("init", {"protocol_version": "1.0"})
        assert (await self.hear())["type"] == "init"

    async def closed(self, seconds: float = 20.0) -> int:
        """The code with which the server closes; what comes before is passed over."""
        async with asyncio.timeout(seconds):
            try:
                while True:
                    await self.connection.recv()
            except websockets.ConnectionClosed as ended:
                return 1006 if ended.rcvd is None else ended.rcvd.code


@asynccontextmanager
async def socket(
    address: str, path: str, headers: Iterable[tuple[str, str]] = (), *, origin: str | None = None, greet: bool = True
) -> AsyncIterator[Socket]:
    """Open a socket and greet the server."""
    async with websockets.connect(
        f"ws://{address}{path}",
        additional_headers=list(headers),
        origin=origin,  # type: ignore[arg-type]  # any text, as a hostile page may send it
        max_size=None,
        proxy=None,
        ping_interval=None,
    ) as connection:
        made = Socket(connection)
        if greet:
            await made.greet()
        yield made
