"""REST on a real server: over both versions of HTTP, with clients that leave, lag and lie."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_asgi_parts.http_wire import Http, HttpExchange, to_headers, whole

Start = Callable[..., Any]
Connect = Callable[..., Any]
Open = Callable[..., Http]
HTTP = [pytest.param(False, id="http1"), pytest.param(True, id="http2")]
JSON, LINES = "application/json", "application/x-ndjson"
EVENTS = ("accept", "text/event-stream")


def text(value: bytes) -> bytes:
    return json.dumps(base64.b64encode(value).decode()).encode()


def begin(http: Http, method: str, content_type: str, *further: tuple[str, str]) -> HttpExchange:
    return http.begin(f"/asgi.Test/{method}", to_headers([("content-type", content_type)], further))


async def line(exchange: HttpExchange) -> bytes:
    """The next line of a reply."""
    taken = b""
    while not taken.endswith(b"\n"):
        piece = await exchange.take(1)
        if not piece:
            break
        taken += piece
    return taken


@pytest.mark.parametrize("http2", HTTP)
async def test_calls_work_over_either_version_of_http(shared: str, opened: Open, http2: bool) -> None:
    http = opened(shared, http2=http2)
    assert await whole(begin(http, "Echo", JSON), text(b"hi")[:3], text(b"hi")[3:]) == (200, text(b"hi"))
    pieces = [text(b"a" * 10) + b"\n", text(b"b" * 60_000)[:-5], text(b"b" * 60_000)[-5:]]
    assert await whole(begin(http, "Count", LINES), *pieces) == (200, text(b"60010"))
    flood = begin(http, "Flood", JSON)
    await flood.send(text(b"3"))
    await flood.send(None)
    assert [await line(flood) for _ in range(3)] == [text(bytes(3)) + b"\n"] * 3
    await flood.abandon()


async def test_lines_are_a_conversation_over_http_2(shared: str, opened: Open) -> None:
    mirror = begin(opened(shared), "Mirror", LINES)
    for each in (b"a", b"b"):
        assert await mirror.send(text(each) + b"\n")
        assert await line(mirror) == text(each) + b"\n"
    await mirror.send(None)
    assert await mirror.rest() == b""


@pytest.mark.parametrize("http2", HTTP)
async def test_an_idle_handler_is_cancelled_when_its_client_leaves(
    start: Start, opened: Open, connect: Connect, http2: bool
) -> None:
    address = start().address("asgi")
    watcher = connect(address)
    unary = begin(opened(address, http2=http2), "Wait", JSON)
    lines = begin(opened(address, http2=http2), "Sit", JSON)
    events = begin(opened(address, http2=http2), "Sit", JSON, EVENTS)
    for exchange in (unary, lines, events):
        await exchange.send(text(b""))
        await exchange.send(None)
    assert await line(lines) == text(b"") + b"\n"
    assert await line(events) == b"id: 1\n"
    assert (await watcher.settled(running=3))["running"] == 3
    for exchange in (unary, lines, events):
        await exchange.abandon()
    state = await watcher.settled(running=0, cancelled=3)
    assert (state["running"], state["cancelled"]) == (0, 3)


@pytest.mark.parametrize("http2", HTTP)
@pytest.mark.parametrize("further", [(), (EVENTS,)], ids=["lines", "events"])
async def test_a_client_that_does_not_read_holds_the_handler_back(
    start: Start, opened: Open, connect: Connect, further: tuple[tuple[str, str], ...], http2: bool
) -> None:
    address = start(heartbeat_seconds=0.01).address("asgi")
    watcher = connect(address)
    flood = begin(opened(address, http2=http2), "Flood", JSON, *further)
    await flood.send(text(b"100000"))
    await flood.send(None)
    await flood.take(10)
    seen = -1
    while (now := (await watcher.state())["flooded"]) != seen:
        seen = now
        await asyncio.sleep(0.2)  # whether it has come to a stop shows only in time
    assert seen < 1000


async def test_bodies_over_the_limit_are_refused_and_the_connection_lives_on(start: Start, opened: Open) -> None:
    http = opened(start(max_message_bytes=100_000).address("asgi"))
    status, body = await whole(begin(http, "Echo", JSON), *([b"A" * 50_000] * 10))
    assert (status, json.loads(body)["code"]) == (413, "RESOURCE_EXHAUSTED")
    assert (await whole(begin(http, "Echo", JSON), text(b"hi")))[0] == 200


async def test_an_unexpected_exception_shows_the_call_id_and_nothing_else(shared: str, opened: Open) -> None:
    status, body = await whole(begin(opened(shared), "Flood", JSON), text(b"not a number"))
    found = json.loads(body)
    assert (status, found["code"]) == (500, "INTERNAL")
    assert found["instance"].rpartition("/")[2] in found["detail"]
    assert b"not a number" not in body


async def raw_reply(address: str, request: bytes) -> bytes:
    """What a server answers to bytes, until it closes the connection or is silent for long."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ten_thousand_bodies_of_chance_get_a_status_and_take_no_memory(start: Start) -> None:
    server = start()
    address = server.address("asgi")
    (pid,) = server.worker_pids()
    drawn = random.Random(7)
    heads = (b"application/json", b"application/x-ndjson", b"application/json; charset=utf-8", b"text/plain", b"")
    before = 0
    for round_ in range(10_000):
        content = drawn.randbytes(drawn.randrange(200))
        method = drawn.choice((b"Echo", b"Count", b"State", b"Mirror", drawn.randbytes(3).hex().encode()))
        request = b"POST /asgi.Test/%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: %s\r\n" % (
            method,
            drawn.choice(heads),
        )
        reply = await raw_reply(address, request + b"content-length: %d\r\n\r\n" % len(content) + content)
        status = int(reply.split(b" ")[1])
        assert status in (200, 400, 404, 415, 429), (status, request, content)
        if round_ == 2000:
            before = resident(pid)
    assert resident(pid) - before < 32 * 1024 * 1024
