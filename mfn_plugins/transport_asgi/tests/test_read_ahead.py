"""Reading before it is asked for: nothing lost, nothing without bound, and a client that leaves is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mfn_asgi_parts.by_hand import DISCONNECT, body
from mfn_transport_asgi._read_ahead import AHEAD, ReadAhead


class Server:
    """An ASGI server's side: what `receive` gives, when the test says so."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.taken = 0
        self.left = asyncio.Event()
        self.fails = False

    async def receive(self) -> Mapping[str, Any]:
        message = await self.messages.get()
        if self.fails:
            raise OSError("the connection broke")
        self.taken += 1
        return message


@asynccontextmanager
async def reading(server: Server) -> AsyncIterator[ReadAhead]:
    ahead = ReadAhead(server.receive, server.left.set)
    try:
        async with asyncio.timeout(10):
            yield ahead
    finally:
        await ahead.close()


async def test_what_came_before_it_was_asked_for_comes_in_order() -> None:
    server = Server()
    pieces = [body(b"1", more=True), body(b"2", more=True), body(b"3")]
    for each in pieces:
        server.messages.put_nowait(each)
    async with reading(server) as ahead:
        assert [await ahead.receive() for _ in pieces] == pieces


async def test_a_waiter_that_gives_up_loses_nothing() -> None:
    server = Server()
    async with reading(server) as ahead:
        given_up = ahead.receive()
        given_up.cancel()
        server.messages.put_nowait(body(b"1"))
        assert await ahead.receive() == body(b"1")


async def test_a_client_is_held_back_and_goes_on_when_it_is_read() -> None:
    server = Server()
    for number in range(10):
        server.messages.put_nowait(body(b"%d" % number, more=True))
    async with reading(server) as ahead:
        first = await ahead.receive()
        assert first == body(b"0", more=True)
        while server.taken < AHEAD + 1:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.taken == AHEAD + 1
        rest = [await ahead.receive() for _ in range(9)]
        assert [each["body"] for each in rest] == [b"%d" % number for number in range(1, 10)]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_client_that_leaves_is_noticed_though_nobody_reads(whole: bool) -> None:
    server = Server()
    server.messages.put_nowait(body(b"1", more=not whole))
    async with reading(server) as ahead:
        server.messages.put_nowait(DISCONNECT)
        await server.left.wait()
        assert await ahead.receive() == body(b"1", more=not whole)
        assert await ahead.receive() == DISCONNECT
        assert await ahead.receive() == DISCONNECT


async def test_a_server_that_fails_has_lost_its_client() -> None:
    server = Server()
    async with reading(server) as ahead:
        waiting = ahead.receive()
        server.fails = True
        server.messages.put_nowait({})
        assert await waiting == DISCONNECT
        await server.left.wait()


async def test_after_the_end_nobody_waits_for_ever() -> None:
    server = Server()
    async with reading(server) as ahead:
        waiting = ahead.receive()
    assert await waiting == DISCONNECT
    assert not server.left.is_set()
