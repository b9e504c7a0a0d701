"""The raw client against a bare grpc.aio server, which does what each test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import trustme

from mfn_client.raw import FieldViolation, RawClient, RpcFailed
from mfn_proto.rich_status import DETAILS_KEY, encode_rich_status

PATH = "/package.Service/Method"
Handler = Callable[[Any], Awaitable[None]]


async def echo(context: Any) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message)


class Peer(grpc.GenericRpcHandler):
    """A server whose every method runs one handler, which reads and writes as it likes."""

    def __init__(self) -> None:
        self.address = ""
        self.calls = 0
        self.handle: Handler = echo

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        self.calls += 1

        async def run(_: object, context: Any) -> None:
            await self.handle(context)

        return grpc.stream_stream_rpc_method_handler(run)


async def served(credentials: grpc.ServerCredentials | None = None) -> tuple[Peer, grpc.aio.Server]:
    peer = Peer()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((peer,))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    peer.address = f"127.0.0.1:{port}"
    return peer, server


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer, server = await served()
    yield peer
    await server.stop(None)


@pytest.fixture
async def raw(peer: Peer) -> AsyncIterator[RawClient]:
    async with RawClient(peer.address) as client:
        yield client


async def test_one_message_each_way_with_metadata_both_ways(raw: RawClient, peer: Peer) -> None:
    seen: list[tuple[str, str | bytes]] = []

    async def handle(context: Any) -> None:
        seen.extend((key, value) for key, value in context.invocation_metadata())
        await context.send_initial_metadata((("x-i", "1"), ("x-i", "2")))
        await context.write(b"re:" + await context.read())
        context.set_trailing_metadata((("x-t-bin", b"\x00\xff"),))

    peer.handle = handle
    reply = await raw.unary(PATH, b"ask", metadata=[("x-a", ""), ("x-a", "b")], timeout=20)
    assert reply.message == b"re:ask"
    assert reply.initial == (("x-i", "1"), ("x-i", "2"))
    assert reply.trailing == (("x-t-bin", b"\x00\xff"),)
    assert [pair for pair in seen if pair[0] == "x-a"] == [("x-a", ""), ("x-a", "b")]


async def test_a_timeout_is_told_to_the_server(raw: RawClient, peer: Peer) -> None:
    remaining: list[float | None] = []

    async def handle(context: Any) -> None:
        remaining.append(context.time_remaining())
        await context.write(await context.read())

    peer.handle = handle
    await raw.unary(PATH, b"", timeout=20)
    await raw.unary(PATH, b"")
    assert remaining[0] is not None
    assert 10 < remaining[0] < 21  # counted on the wall clock, in coarse steps
    assert remaining[1] is None


async def test_a_server_stream_is_iterated(raw: RawClient, peer: Peer) -> None:
    async def handle(context: Any) -> None:
        request = await context.read()
        for number in range(3):
            await context.write(request + str(number).encode())

    peer.handle = handle
    async with raw.server_stream(PATH, b"r", timeout=20) as call:
        assert [message async for message in call] == [b"r0", b"r1", b"r2"]
        assert (await call.status()).ok


async def test_replies_before_a_failure_are_delivered_and_then_the_failure_is_raised(
    raw: RawClient, peer: Peer
) -> None:
    async def handle(context: Any) -> None:
        await context.write(b"one")
        await context.abort(grpc.StatusCode.DATA_LOSS, "the rest is gone")

    peer.handle = handle
    call = raw.server_stream(PATH, b"", timeout=20)
    assert await anext(call) == b"one"
    with pytest.raises(RpcFailed, match="DATA_LOSS: the rest is gone"):
        await anext(call)


@pytest.mark.parametrize("kind", ["list", "async"])
async def test_a_client_stream_sends_all_and_gets_one_reply(kind: str, raw: RawClient, peer: Peer) -> None:
    async def handle(context: Any) -> None:
        parts = []
        while (message := await context.read()) is not grpc.aio.EOF:
            parts.append(message)
        await context.write(b",".join(parts))

    async def streamed() -> AsyncIterator[bytes]:
        for message in (b"a", b"", b"c"):
            yield message

    peer.handle = handle
    messages = [b"a", b"", b"c"] if kind == "list" else streamed()
    assert (await raw.client_stream(PATH, messages, timeout=20)).message == b"a,,c"


async def test_a_client_stream_stops_sending_when_the_server_has_refused_it(raw: RawClient, peer: Peer) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1000

    async def handle(context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")

    peer.handle = handle
    with pytest.raises(RpcFailed) as failed:
        await raw.client_stream(PATH, endless(), timeout=20)
    assert (failed.value.code, failed.value.message) == ("UNAUTHENTICATED", "who are you")
    assert sent > 0


async def test_the_status_of_the_server_survives_a_message_that_crosses_it(raw: RawClient, peer: Peer) -> None:
    async def handle(context: Any) -> None:
        await context.read()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "closed")

    peer.handle = handle
    for _ in range(50):
        call = raw.open(PATH, timeout=20)
        while await call.send(b"x"):
            pass
        status = await call.status()
        assert (status.code, status.message) == ("FAILED_PRECONDITION", "closed")


async def test_a_conversation_is_full_duplex(raw: RawClient) -> None:
    async with raw.open(PATH, timeout=20) as call:
        for number in range(5):
            assert await call.send(str(number).encode())
            assert await call.receive() == str(number).encode()
        await call.half_close()
        await call.half_close()
        assert await call.receive() is None
        assert (await call.status()).code == "OK"


async def test_nothing_is_sent_on_a_half_closed_call(raw: RawClient) -> None:
    async with raw.open(PATH, timeout=20) as call:
        await call.half_close()
        with pytest.raises(ValueError, match="request side of this call is closed"):
            await call.send(b"")


async def test_nothing_is_sent_on_a_call_that_is_over(raw: RawClient, peer: Peer) -> None:
    async def handle(context: Any) -> None:
        await context.write(b"bye")

    peer.handle = handle
    call = raw.open(PATH, timeout=20)
    assert await call.receive() == b"bye"
    assert await call.receive() is None
    assert (await call.status()).ok
    assert await call.send(b"late") is False
    await call.half_close()


async def test_a_reply_that_must_be_and_is_not_is_an_internal_error(raw: RawClient, peer: Peer) -> None:
    async def handle(context: Any) -> None:
        await context.read()

    peer.handle = handle
    with pytest.raises(RpcFailed, match="INTERNAL: the server ended the call without a reply"):
        await raw.client_stream(PATH, [b""], timeout=20)


# How errors are read.


async def test_an_error_tells_all_that_the_server_has_encoded(raw: RawClient, peer: Peer) -> None:
    rich = encode_rich_status(
        8, "too many", violations=[("a", "b")], retry_after=0.5, reason="RESOURCE_EXHAUSTED", details={"limit": "rate"}
    )

    async def handle(context: Any) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", ((DETAILS_KEY, rich), ("x-t", "1")))

    peer.handle = handle
    with pytest.raises(RpcFailed) as caught:
        await raw.unary(PATH, b"", timeout=20)
    failed = caught.value
    assert (failed.code, failed.message, str(failed)) == (
        "RESOURCE_EXHAUSTED",
        "too many",
        "RESOURCE_EXHAUSTED: too many",
    )
    assert failed.violations == (FieldViolation(field="a", description="b"),)
    assert failed.retry_after == 0.5
    assert (failed.status.reason, failed.status.details) == ("RESOURCE_EXHAUSTED", {"limit": "rate"})
    assert ("x-t", "1") in failed.trailing


@pytest.mark.parametrize(
    ("trailing", "seconds"),
    [
        ((("retry-after-ms", "1500"),), 1.5),
        ((("retry-after-ms", "-5"),), None),
        ((("retry-after-ms", "soon"),), None),
        (((DETAILS_KEY, b"\xff\xff"), ("retry-after-ms", "250")), 0.25),
        ((), None),
    ],
)
async def test_a_delay_is_read_from_plain_metadata_where_no_rich_error_says_it(
    trailing: tuple[tuple[str, str | bytes], ...], seconds: float | None, raw: RawClient, peer: Peer
) -> None:
    async def handle(context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "later", trailing)

    peer.handle = handle
    with pytest.raises(RpcFailed) as failed:
        await raw.unary(PATH, b"", timeout=20)
    assert failed.value.retry_after == seconds


async def test_a_server_that_cannot_be_reached_is_unavailable_in_every_form(peer: Peer) -> None:
    gone, server = await served()
    await server.stop(None)
    async with RawClient(gone.address) as client:
        with pytest.raises(RpcFailed) as failed:
            await client.unary(PATH, b"", timeout=20)
        assert failed.value.code == "UNAVAILABLE"
        call = client.open(PATH, timeout=20)
        assert await call.send(b"") is False
        assert await call.receive() is None
        assert (await call.status()).code == "UNAVAILABLE"
        assert await call.initial_metadata() == ()


async def test_nothing_is_tried_twice(raw: RawClient, peer: Peer) -> None:
    async def handle(context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "", (("grpc-retry-pushback-ms", "1"),))

    peer.handle = handle
    with pytest.raises(RpcFailed):
        await raw.unary(PATH, b"", timeout=20)
    assert peer.calls == 1


async def test_a_reply_beyond_the_limit_is_refused(peer: Peer) -> None:
    async with RawClient(peer.address, max_message_bytes=1000) as client:
        assert len((await client.unary(PATH, b"x" * 1000, timeout=20)).message) == 1000
        with pytest.raises(RpcFailed) as failed:
            await client.unary(PATH, b"x" * 1001, timeout=20)
    assert failed.value.code == "RESOURCE_EXHAUSTED"


# How calls are given up.


async def test_a_cancelled_call_is_over_and_raises_nothing_by_itself(raw: RawClient, peer: Peer) -> None:
    cancelled = asyncio.Event()

    async def handle(context: Any) -> None:
        try:
            await context.write(b"begun")
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    peer.handle = handle
    call = raw.open(PATH, timeout=20)
    assert await call.receive() == b"begun"
    waiting = asyncio.create_task(call.receive())
    await asyncio.sleep(0)
    call.cancel()
    assert await waiting is None
    assert await call.receive() is None
    assert (await call.status()).code == "CANCELLED"
    assert await call.send(b"") is False
    await asyncio.wait_for(cancelled.wait(), 20)


async def test_leaving_a_call_cancels_it(raw: RawClient, peer: Peer) -> None:
    cancelled = asyncio.Event()

    async def handle(context: Any) -> None:
        try:
            await context.write(b"begun")
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    peer.handle = handle
    async with raw.server_stream(PATH, b"", timeout=20) as call:
        assert await call.receive() == b"begun"
    await asyncio.wait_for(cancelled.wait(), 20)


@pytest.mark.parametrize("form", ["unary", "receive"])
async def test_cancelling_the_task_that_waits_cancels_the_task(form: str, raw: RawClient, peer: Peer) -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def handle(context: Any) -> None:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    peer.handle = handle

    async def wait() -> object:
        if form == "unary":
            return await raw.unary(PATH, b"", timeout=20)
        async with raw.open(PATH, timeout=20) as call:
            return await call.receive()

    task = asyncio.create_task(wait())
    await asyncio.wait_for(arrived.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 20)


# The channel.


async def test_a_client_is_opened_before_it_calls_and_only_once(peer: Peer) -> None:
    client = RawClient(peer.address)
    assert client.target == peer.address
    with pytest.raises(RuntimeError, match="open the client first"):
        client.open(PATH)
    async with client:
        with pytest.raises(RuntimeError, match="open already"):
            await client.__aenter__()
    await client.close()
    with pytest.raises(RuntimeError, match="open the client first"):
        await client.unary(PATH, b"")


async def test_closing_one_client_leaves_another_to_the_same_server_alone(peer: Peer) -> None:
    async with RawClient(peer.address) as first:
        async with RawClient(peer.address) as second:
            await second.unary(PATH, b"", timeout=20)
        assert (await first.unary(PATH, b"still", timeout=20)).message == b"still"


async def test_a_server_is_known_by_its_certificate() -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    peer, server = await served(grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)]))
    try:
        async with RawClient(peer.address, root_certificates=authority.cert_pem.bytes()) as client:
            assert (await client.unary(PATH, b"x", timeout=20)).message == b"x"
        async with RawClient(peer.address, root_certificates=trustme.CA().cert_pem.bytes()) as client:
            with pytest.raises(RpcFailed) as failed:
                await client.unary(PATH, b"x", timeout=20)
        assert failed.value.code == "UNAVAILABLE"
    finally:
        await server.stop(None)


def test_credentials_and_roots_are_not_given_together() -> None:
    with pytest.raises(ValueError, match="not both"):
        RawClient("h:1", credentials=grpc.ssl_channel_credentials(), root_certificates=b"")
