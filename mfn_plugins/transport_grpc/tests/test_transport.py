from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_client.raw import RawClient, RpcFailed
from mfn_core.dispatcher import Dispatcher
from mfn_core.operation import Shape
from mfn_core.testing.suite_service import SERVICE, Script, path_of
from mfn_transport_grpc import GrpcTransport
from mfn_transport_grpc._handlers import Handlers

Serve = Callable[..., Awaitable[GrpcTransport]]
SHAPES = [pytest.param(shape, id=shape.label) for shape in Shape]
NEVER = "/nonexistent/mfn/never"


async def until(condition: Callable[[], bool], what: str) -> None:
    """Let the loop run until the condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not within 20 s: {what}"
        await asyncio.sleep(0.005)


async def refused(address: str) -> None:
    """Let the loop run until the address takes no new connection."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 20
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except ConnectionError:
            return
        writer.close()
        await writer.wait_closed()
        assert time.monotonic() < deadline, f"{address} still takes connections"


def encoded(text: str) -> bytes:
    return StringValue(value=text).SerializeToString()


async def begin(client: RawClient, shape: Shape, script: Script, timeout: float = 60.0):  # noqa: ASYNC109 - of the call
    call = client.open(path_of(shape), timeout=timeout)
    assert await call.send(script.encode())
    if shape.client_streams:
        assert await call.send(encoded("a"))
    else:
        await call.half_close()
    return call


# What is on record.


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_is_on_record_with_all_that_the_transport_knows(shape: Shape, serve: Serve, audit) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:
        call = client.open(path_of(shape), metadata=[("x-request-id", "mine")], timeout=20)
        sent = [Script(replies=2).encode()] + [encoded("a"), encoded("b")] * shape.client_streams
        for message in sent:
            assert await call.send(message)
        await call.half_close()
        replies = [reply async for reply in call]
    (record,) = audit.records
    assert (record.method, record.shape, record.transport) == (path_of(shape), shape.label, "grpc")
    assert (record.status, record.reason, record.request_id) == ("OK", None, "mine")
    assert (record.messages_in, record.bytes_in) == (len(sent), sum(map(len, sent)))
    assert (record.messages_out, record.bytes_out) == (len(replies), sum(map(len, replies)))
    assert record.peer.startswith("127.0.0.1:")


async def test_an_unknown_method_is_on_record(serve: Serve, audit) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:
        with pytest.raises(RpcFailed) as failed:
            await client.unary(f"/{SERVICE}/Nothing", b"", timeout=20)
    assert failed.value.code == "UNIMPLEMENTED"
    assert [(record.method, record.status) for record in audit.records] == [(f"/{SERVICE}/Nothing", "UNIMPLEMENTED")]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_cancelled_call_is_on_record_as_cancelled(
    shape: Shape, serve: Serve, audit, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:
        call = await begin(client, shape, Script(until=NEVER, replies=9))
        await until(lambda: dispatcher.active == 1, "the call runs")
        call.cancel()
        await until(lambda: len(audit.records) == 1, "the call is on record")
        await until(lambda: dispatcher.active == 0, "the call is over")
    assert audit.records[0].status == "CANCELLED"
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_past_its_deadline_is_on_record(shape: Shape, serve: Serve, audit, dispatcher: Dispatcher) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:
        call = await begin(client, shape, Script(until=NEVER, replies=9), timeout=0.5)
        await until(lambda: dispatcher.active == 1, "the call runs")
        while await call.receive() is not None:
            pass
        assert (await call.status()).code == "DEADLINE_EXCEEDED"
        await until(lambda: len(audit.records) == 1, "the call is on record")
    # The client's own timer may reach the server as a cancellation before the server's has run out.
    assert audit.records[0].status in ("DEADLINE_EXCEEDED", "CANCELLED")


# Requests that do not come, or come too large.


@pytest.mark.parametrize("shape", [Shape.UNARY, Shape.SERVER_STREAM], ids=lambda shape: shape.label)
async def test_a_request_that_does_not_come_in_time_is_refused_and_on_record(shape: Shape, serve: Serve, audit) -> None:
    transport = await serve(request_seconds=0.2)
    async with RawClient(transport.addresses[0]) as client:
        call = client.open(path_of(shape), timeout=20)
        assert await call.receive() is None
        status = await call.status()
    assert (status.code, status.message) == (
        "DEADLINE_EXCEEDED",
        "no request message came within 0.2 s; send it with the call",
    )
    assert [record.status for record in audit.records] == ["DEADLINE_EXCEEDED"]


async def test_a_message_beyond_the_limit_never_reaches_a_handler(serve: Serve, audit) -> None:
    transport = await serve(max_message_bytes=2048)
    async with RawClient(transport.addresses[0]) as client:
        with pytest.raises(RpcFailed) as failed:
            await client.unary(path_of(Shape.UNARY), b"\n" * 2049, timeout=20)
    assert failed.value.code == "RESOURCE_EXHAUSTED"
    assert audit.records == []


# Clients that do not read.


@pytest.mark.parametrize("padding", [4096, 24 * 1024 * 1024], ids=["many small", "one larger than every window"])
async def test_the_status_of_a_call_aborted_in_the_middle_of_a_write_reaches_its_client(
    padding: int, serve: Serve, audit, dispatcher: Dispatcher
) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:
        call = await begin(client, Shape.SERVER_STREAM, Script(replies=-1, padding=padding))
        await until(lambda: dispatcher.active == 1, "the call runs")
        await dispatcher.drain(0.3)  # aborts it while its producer waits for room
        assert audit.records[0].status == "UNAVAILABLE"
        while await call.receive() is not None:
            pass
        assert (await call.status()).code == "UNAVAILABLE"


async def test_initial_metadata_that_was_sent_is_not_sent_twice(serve: Serve) -> None:
    transport = await serve()
    script = Script(replies=5, fail_after=2, initial=[("x-i", "1")], code="ABORTED")
    async with RawClient(transport.addresses[0]) as client:
        call = await begin(client, Shape.SERVER_STREAM, script)
        assert len([1 for _ in range(3) if await call.receive() is not None]) == 2
        assert (await call.status()).code == "ABORTED"
        assert [pair for pair in await call.initial_metadata() if pair[0] == "x-i"] == [("x-i", "1")]


async def test_metadata_of_a_handler_that_http2_cannot_carry_does_not_cost_the_reply(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    transport = await serve()
    script = Script(initial=[("X-Bad", "1")], trailing=[("x-t", "ü"), ("x-ok", "1")])
    async with RawClient(transport.addresses[0]) as client:
        reply = await client.unary(path_of(Shape.UNARY), script.encode(), timeout=20)
    assert ("x-ok", "1") in reply.trailing
    assert "x-t" not in dict(reply.trailing)
    assert caplog.text.count("is left out") == 2


# Start and end.


async def test_addresses_are_empty_until_the_port_is_open(make: Callable[..., GrpcTransport], serve: Serve) -> None:
    assert make().addresses == ()
    transport = await serve()
    host, _, port = transport.addresses[0].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0


async def test_stopping_without_having_started_does_nothing(make: Callable[..., GrpcTransport]) -> None:
    transport = make()
    await transport.drain()
    await transport.stop()
    await transport.stop()


async def test_drain_closes_the_listener_and_leaves_calls_alone(
    serve: Serve, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    transport = await serve()
    go = tmp_path / "go"
    async with RawClient(transport.addresses[0]) as client:
        call = await begin(client, Shape.SERVER_STREAM, Script(replies=2, until=str(go)))
        assert await call.receive() is not None
        await transport.drain()
        await transport.drain()
        await refused(transport.addresses[0])
        go.touch()
        assert await call.receive() is not None
        assert await call.receive() is None
        assert (await call.status()).code == "OK"
    await transport.stop()
    await transport.stop()


async def test_a_client_that_reads_nothing_does_not_keep_the_server_from_stopping(
    serve: Serve, dispatcher: Dispatcher
) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:
        await begin(client, Shape.SERVER_STREAM, Script(replies=-1, padding=100_000))
        await until(lambda: dispatcher.active == 1, "the call runs")
        await transport.drain()
        await dispatcher.drain(0.2)
        started = time.monotonic()
        await transport.stop()
        assert time.monotonic() - started < 10


async def test_no_task_is_left_when_the_transport_has_stopped(
    make: Callable[..., GrpcTransport], dispatcher: Dispatcher
) -> None:
    before = asyncio.all_tasks()
    transport = make()
    await transport.start(dispatcher)
    async with RawClient(transport.addresses[0]) as client:
        calls = [await begin(client, shape, Script(until=NEVER, replies=9)) for shape in Shape for _ in range(5)]
        await until(lambda: dispatcher.active == len(calls), "every call runs")
        await transport.drain()
        await dispatcher.drain(0.0)
        await transport.stop()
        for call in calls:
            while await call.receive() is not None:
                pass
            assert (await call.status()).code == "UNAVAILABLE"
    await until(lambda: asyncio.all_tasks() <= before, f"only {len(before)} tasks are left")


@pytest.mark.parametrize("shape", [Shape.SERVER_STREAM, Shape.BIDI], ids=lambda shape: shape.label)
async def test_a_thousand_cancelled_streams_leave_no_task_and_a_record_each(
    shape: Shape, serve: Serve, audit, dispatcher: Dispatcher
) -> None:
    transport = await serve()
    async with RawClient(transport.addresses[0]) as client:

        async def cancelled() -> None:
            call = await begin(client, shape, Script(replies=-1 if shape is Shape.SERVER_STREAM else None))
            assert await call.receive() is not None
            call.cancel()

        await cancelled()
        await until(lambda: dispatcher.active == 0, "the first is over")
        before = len(asyncio.all_tasks())
        for _ in range(100):
            await asyncio.gather(*(cancelled() for _ in range(10)))
        await until(lambda: dispatcher.active == 0, "every call is over")
        await until(lambda: len(asyncio.all_tasks()) <= before, f"there are {before} tasks again")
    assert len(audit.records) == 1001
    assert {record.status for record in audit.records} == {"CANCELLED"}


# What a transport leaves out.


async def test_an_operation_that_this_transport_does_not_offer_is_unknown(dispatcher: Dispatcher, audit) -> None:
    offered = {path: operation for path, operation in dispatcher.operations.items() if path != path_of(Shape.UNARY)}
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handlers = Handlers(
        dispatcher, offered, transport="grpc", encrypted=False, client_certificates=False, request_seconds=30.0
    )
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary(path_of(Shape.UNARY))(b"", timeout=20)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert failed.value.details() == f"unknown method {path_of(Shape.UNARY)}"
        assert [record.status for record in audit.records] == ["UNIMPLEMENTED"]
    finally:
        await server.stop(None)
        handlers.close()
