"""Calls on a real server: what arrives, what is told to handlers, and what is left behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

Start = Callable[..., Any]
Connect = Callable[..., Any]


async def pieces(caller: Any, *values: bytes) -> AsyncIterator[bytes]:
    for value in values:
        yield caller.encoded(value)


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


@pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
async def test_all_four_shapes_work_on_either_event_loop(start: Start, connect: Connect, loop: str) -> None:
    caller = connect(start(loop=loop).address("asgi"))
    assert caller.decoded(await caller.unary("Echo", b"hi")) == b"hi"
    flood = caller.stream("Flood", b"10")
    assert len(caller.decoded(await flood.read())) == 10
    flood.cancel()
    values = [bytes(n) for n in (0, 1, 70_000, 5)]
    assert caller.decoded(await caller.client_stream("Count", request_iterator=pieces(caller, *values))) == b"70006"
    mirrored = [caller.decoded(raw) async for raw in caller.bidi("Mirror", request_iterator=pieces(caller, *values))]
    assert mirrored == values
    state = await caller.state()
    assert state["loop"].startswith(loop)


async def test_metadata_travels_both_ways(start: Start, connect: Connect) -> None:
    caller = connect(start().address("asgi"))
    call = caller.unary("Echo", b"hi")
    await call
    assert ("x-initial", "first") in [*await call.initial_metadata()]
    assert ("x-trailing-bin", b"\x00\xff") in [*await call.trailing_metadata()]
    sent = (("x-request-id", "my own"), ("x-b-bin", b"\x01\xfe"), ("x-twice", "1"), ("x-twice", "2"))
    forged = (("x-mfn-id", "forged"), ("x-forwarded-for", "192.0.2.1"))
    state = await caller.state(metadata=(*sent, *forged))
    arrived = [tuple(pair) for pair in state["metadata"]]
    assert [pair for pair in arrived if pair[0] != "user-agent"] == [
        ("x-request-id", "my own"),
        ("x-b-bin", "01fe"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ]
    assert state["peer"].startswith("127.0.0.1:")


async def test_messages_up_to_the_limit_arrive_and_larger_ones_are_refused(start: Start, connect: Connect) -> None:
    caller = connect(start(max_message_bytes=4 * 1024 * 1024).address("asgi"))
    large = bytes(4 * 1024 * 1024 - 16)
    assert caller.decoded(await caller.unary("Echo", large)) == large
    error = await failed(caller.unary("Echo", bytes(4 * 1024 * 1024)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304 bytes" in error.details()
    error = await failed(caller.client_stream("Count", request_iterator=pieces(caller, b"1", bytes(4 * 1024 * 1024))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await caller.unary("Echo", b"the connection lives on")


async def test_gzip_is_read_and_sent(start: Start, connect: Connect) -> None:
    caller = connect(start(compress_from_bytes=100).address("asgi"))
    for size in (10, 100_000):
        echoed = await caller.unary("Echo", bytes(size), compression=grpc.Compression.Gzip)
        assert caller.decoded(echoed) == bytes(size)


async def test_an_idle_handler_is_cancelled_with_its_client_in_every_way_of_leaving(
    start: Start, connect: Connect
) -> None:
    server = start()
    caller, watcher = connect(server.address("asgi")), connect(server.address("asgi"))
    waiting = [asyncio.ensure_future(caller.unary("Wait")) for _ in range(5)]
    sitting = [caller.stream("Sit", b"first") for _ in range(5)]
    for call in sitting:
        assert caller.decoded(await call.read()) == b"first"
    deaf = caller.bidi("Deaf")
    assert await deaf.read()
    timed = asyncio.ensure_future(failed(caller.unary("Wait", timeout=0.3)))
    assert (await watcher.settled(running=12))["running"] == 12
    for task in waiting[:3]:
        task.cancel()
    for call in sitting[:3]:
        call.cancel()
    assert (await timed).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    state = await watcher.settled(running=5, cancelled=7)
    assert (state["running"], state["cancelled"]) == (5, 7)
    await caller.channel.close()
    state = await watcher.settled(running=0, cancelled=12)
    assert (state["running"], state["cancelled"]) == (0, 12)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_hundreds_of_cancelled_calls_leave_no_task_behind(start: Start, connect: Connect) -> None:
    caller = connect(start().address("asgi"))
    before = (await caller.state())["tasks"]
    for _ in range(4):
        calls = [caller.stream("Sit") for _ in range(50)] + [caller.stream("Flood", b"100") for _ in range(50)]
        for call in calls:
            await call.read()
            call.cancel()
    state = await caller.settled(running=0, tasks=before)
    assert (state["running"], state["tasks"]) == (0, before)


async def test_a_client_that_does_not_read_holds_the_handler_back(start: Start, connect: Connect) -> None:
    server = start()
    options = [
        ("grpc.http2.lookahead_bytes", 65536),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with grpc.aio.insecure_channel(server.address("asgi"), options=options) as channel:
        caller = connect(server.address("asgi"))
        call = channel.unary_stream("/asgi.Test/Flood")(caller.encoded(b"10000"))
        await call.read()
        seen = -1
        while (now := (await caller.state())["flooded"]) != seen:
            seen = now
            await asyncio.sleep(0.2)  # whether it has come to a stop shows only in time
        assert seen < 1000
        call.cancel()


async def test_a_handler_that_does_not_read_holds_the_client_back(start: Start, connect: Connect) -> None:
    caller = connect(start().address("asgi"))
    call = caller.bidi("Deaf")
    assert await call.read()
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            await call.write(caller.encoded(bytes(10_000)))
            written += 1

    writing = asyncio.ensure_future(write())
    assert await asyncio.wait([writing], timeout=1.0) == (set(), {writing})
    assert 0 < written < 500
    call.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_an_error_carries_the_call_id_and_nothing_of_the_server(start: Start, connect: Connect) -> None:
    caller = connect(start().address("asgi"))
    error = await failed(caller.unary("Flood", b"not a number"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "call id" in error.details()
    assert "not a number" not in error.details()


async def test_other_requests_get_a_short_plain_answer(start: Start) -> None:
    host, port = start().address("asgi").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /anything HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert b'"status"' in await reader.readexactly(length)
    assert b"\r\nserver:" not in head.lower()
    writer.write(
        b"POST /asgi.Test/Echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n"
    )
    assert b"HTTP/1.1 505" in await reader.readuntil(b"gRPC needs HTTP/2")
    writer.close()
    await writer.wait_closed()


async def test_the_worker_is_a_python_like_any_other(start: Start, connect: Connect, tmp_path: Path) -> None:
    import sys

    (tmp_path / "hijacked.py").write_text("raise SystemExit('imported from the working directory')\n")
    for name in ("attrs", "mfn_asgi_parts", "uvloop", "json"):
        (tmp_path / f"{name}.py").write_text("import hijacked\n")
    state = await connect(start().address("asgi")).state()
    assert state["executable"] == sys.executable
    assert state["directory"] == str(tmp_path)
    assert state["imported"] == ["uvloop"]
    assert not {"", ".", str(tmp_path)} & set(state["path"])
    environment = state["environment"]
    assert environment.pop("PYTHONPATH").endswith("parts")
    assert set(environment.values()) == {None}


async def test_connections_over_the_limit_are_closed_and_the_others_go_on(start: Start, connect: Connect) -> None:
    address = start(max_connections=3).address("asgi")
    caller = connect(address)
    assert await caller.unary("Echo", b"hi")
    host, port = address.split(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(6)]
    reading = [asyncio.ensure_future(reader.read(1)) for reader, _ in opened]
    closed, _ = await asyncio.wait(reading, timeout=2.0)
    assert len(closed) == 4
    assert await caller.unary("Echo", b"hi")
    for _, writer in opened:
        writer.close()
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def test_metadata_over_the_limit_ends_its_call_and_not_the_connection(start: Start, connect: Connect) -> None:
    caller = connect(start(max_header_bytes=8192).address("asgi"))
    mirror = caller.bidi("Mirror")
    await mirror.write(caller.encoded(b"one"))
    assert await mirror.read()
    error = await failed(caller.unary("Echo", b"hi", metadata=(("x-large", "v" * 10_000),)))
    assert error.code() is grpc.StatusCode.INTERNAL
    await mirror.write(caller.encoded(b"two"))
    assert caller.decoded(await mirror.read()) == b"two"
    await mirror.done_writing()
    assert await mirror.code() is grpc.StatusCode.OK
    assert await caller.unary("Echo", b"hi", metadata=(("x-small", "v" * 6000),))


async def test_a_burst_of_cancelled_calls_leaves_the_rest_of_their_connection_alone(
    start: Start, connect: Connect
) -> None:
    caller = connect(start().address("asgi"))
    mirror = caller.bidi("Mirror")
    for _ in range(30):
        calls = [caller.stream("Sit") for _ in range(50)]
        await asyncio.gather(*(call.read() for call in calls))
        for call in calls:
            call.cancel()
    await mirror.write(caller.encoded(b"still here"))
    assert caller.decoded(await mirror.read()) == b"still here"
    mirror.cancel()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_ipv6_is_listened_on_and_shown_in_brackets(start: Start, connect: Connect) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    address = start(listen="[::1]:0").address("asgi")
    assert address.startswith("[::1]:")
    assert (await connect(f"ipv6:{address}").state())["peer"].startswith("[::1]:")
