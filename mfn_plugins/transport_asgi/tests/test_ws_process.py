"""WebSockets through Envoy: the two event loops, ends without a handshake, bounds, the drain."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
import websockets

from mfn_core.testing.process import ServerProcess

Start = Callable[..., ServerProcess]
Connect = Callable[..., Any]


def connect_to(address: str, path: str = "/ws/field") -> Any:
    return websockets.connect(f"ws://{address}{path}", proxy=None, ping_interval=None, max_size=None)


async def greet(connection: Any) -> None:
    await connection.send(json.dumps({"type": "init", "payload": {"protocol_version": "1.0"}}))
    assert json.loads(await connection.recv())["type"] == "init"


async def closing_code(connection: Any) -> int:
    async with asyncio.timeout(10):
        await connection.wait_closed()
    return int(connection.close_code)


async def test_sockets_and_calls_share_one_port(start: Start, connect: Connect) -> None:
    server = start()
    address = server.address("asgi")
    caller = connect(address)
    async with connect_to(address) as one, connect_to(address) as two:
        await greet(one)
        assert caller.decoded(await caller.unary("Echo", b"beside")) == b"beside"
        await greet(two)
        state = await caller.state()
        assert state["running"] == 0
    assert server.stderr_text() == ""


async def greeted_when_there_is_room(address: str) -> websockets.ClientConnection:
    """A socket that is open, as soon as the places of those before it have been given back."""
    async with asyncio.timeout(10):
        while True:
            try:
                connection = await connect_to(address)
                await greet(connection)
            except (websockets.InvalidStatus, websockets.ConnectionClosed):
                await asyncio.sleep(0.02)  # what happens inside another process can only be asked for
            else:
                return connection


async def test_a_socket_that_breaks_gives_its_place_back(start: Start) -> None:
    server = start(websocket={"max_sockets": 1})
    address = server.address("asgi")
    for _ in range(3):
        connection = await greeted_when_there_is_room(address)
        with pytest.raises(websockets.InvalidStatus):
            await connect_to(address)
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.abort()
    await (await greeted_when_there_is_room(address)).close()


async def test_a_message_that_is_too_long_closes_its_socket_alone(start: Start) -> None:
    server = start(websocket={"max_message_bytes": 2048})
    address = server.address("asgi")
    async with connect_to(address) as one, connect_to(address) as other:
        await greet(one)
        await one.send("x" * 5000)
        assert await closing_code(one) == 1009
        await greet(other)


async def test_the_drain_closes_idle_sockets(start: Start) -> None:
    server = start()
    async with connect_to(server.address("asgi")) as connection:
        await greet(connection)
        server.terminate()
        assert await closing_code(connection) == 1001
    assert await asyncio.to_thread(server.wait, 15) == 0
    assert server.stderr_text() == ""


async def test_sockets_can_be_switched_off_and_so_can_the_page(start: Start, connect: Connect) -> None:
    server = start(websocket={"enabled": False}, page=False)
    address = server.address("asgi")
    with pytest.raises(websockets.InvalidStatus):
        await connect_to(address)
    caller = connect(address)
    assert caller.decoded(await caller.unary("Echo", b"x")) == b"x"
