"""A server that is away: who waits for it, how long, and who is told at once."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mfn_client import Code, Credentials, MFNClient, MfnRpcError
from mfn_client.raw import RawClient
from mfn_proto import mfn_pb2
from mfn_signing import HEADERS

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))
PATIENCE = 20.0


async def answer(call: Any) -> None:
    request_id = mfn_pb2.FeatureRequest.FromString(call.first).request_id
    await call.write(mfn_pb2.FeatureResponse(request_id=request_id))


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def test_calls_wait_for_a_server_that_restarts_and_are_signed_when_they_leave(restarted: Any) -> None:
    restarted.tiny.serve(EXTRACT, answer)
    async with MFNClient(restarted.tiny.address, credentials=CREDENTIALS) as client:
        await client.extract_features()
        await restarted.stop()
        waiting = [asyncio.ensure_future(client.extract_features()) for _ in range(20)]
        # Longer than signatures may be older than a server: those that were made before it would be refused.
        await asyncio.wait(waiting, timeout=1.2)
        assert not any(task.done() for task in waiting)
        back = int(time.time())
        await restarted.start()
        await asyncio.gather(*waiting)
    stamps = [int(call.header(HEADERS[1])) for call in restarted.tiny.calls[1:]]
    assert len(stamps) == 20
    assert min(stamps) >= back


async def test_a_stream_waits_before_its_first_reply(restarted: Any) -> None:
    restarted.tiny.serve(EXTRACT, answer)
    restarted.tiny.serve(STREAM_FEATURES, answer)
    async with MFNClient(restarted.tiny.address, credentials=CREDENTIALS) as client:
        await client.extract_features()
        await restarted.stop()
        frames = client.stream_features()
        waiting = asyncio.ensure_future(anext(frames))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        await restarted.start()
        await waiting


@pytest.mark.parametrize("waits", [None, True])
async def test_the_deadline_bounds_the_wait_for_the_connection(restarted: Any, waits: bool | None) -> None:
    restarted.tiny.serve(EXTRACT, answer)
    async with MFNClient(restarted.tiny.address, credentials=CREDENTIALS, wait_for_ready=waits) as client:
        await client.extract_features()
        await restarted.stop()
        began = time.monotonic()
        with pytest.raises(MfnRpcError, match="the deadline passed while there was no connection") as caught:
            await client.extract_features(timeout=0.5, request_id="mine")
        assert 0.4 < time.monotonic() - began < PATIENCE
    assert (caught.value.code, caught.value.request_id) == (Code.DEADLINE_EXCEEDED, "mine")


async def test_a_server_that_was_never_reached_is_not_waited_for(nobody: str) -> None:
    async with MFNClient(nobody) as client:
        began = time.monotonic()
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
        assert time.monotonic() - began < PATIENCE
    assert (caught.value.code, caught.value.attempts) == (Code.UNAVAILABLE, 3)


async def test_a_server_that_starts_later_is_waited_for_by_name(restarted: Any) -> None:
    restarted.tiny.serve(EXTRACT, answer)
    await restarted.stop()
    async with MFNClient(restarted.tiny.address, credentials=CREDENTIALS, wait_for_ready=True) as client:
        waiting = asyncio.ensure_future(client.extract_features())
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        await restarted.start()
        await waiting


async def test_a_client_that_never_waits_is_told_at_once(restarted: Any) -> None:
    restarted.tiny.serve(EXTRACT, answer)
    address = restarted.tiny.address
    async with MFNClient(address, credentials=CREDENTIALS, wait_for_ready=False, retry_max_attempts=1) as client:
        await client.extract_features()
        await restarted.stop()
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
    assert caught.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize("streamed", [False, True])
async def test_closing_the_client_ends_the_wait_for_the_connection(nobody: str, streamed: bool) -> None:
    async with MFNClient(nobody, wait_for_ready=True) as client:
        call = anext(client.stream_features()) if streamed else client.extract_features()
        waiting = asyncio.ensure_future(call)
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
    with pytest.raises(MfnRpcError) as caught:
        async with asyncio.timeout(PATIENCE):
            await waiting
    assert caught.value.code is Code.CANCELLED


async def test_nothing_of_a_client_is_left_running_when_it_is_closed_in_an_outage(nobody: str) -> None:
    before = asyncio.all_tasks()
    async with MFNClient(nobody, wait_for_ready=True) as client:
        with pytest.raises(MfnRpcError):
            await client.extract_features(timeout=0.1)
        waiting = asyncio.ensure_future(client.extract_features())
        await asyncio.wait([waiting], timeout=0.1)
    with pytest.raises(MfnRpcError):
        await waiting
    assert asyncio.all_tasks() == before


async def test_nobody_looks_for_a_connection_that_nobody_waits_for(nobody: str) -> None:
    before = asyncio.all_tasks()
    async with RawClient(nobody) as raw:
        assert not await raw.link.wait_ready(0.1)
        async with asyncio.timeout(PATIENCE):
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0)


async def test_a_client_can_be_opened_again(restarted: Any) -> None:
    restarted.tiny.serve(EXTRACT, answer)
    client = MFNClient(restarted.tiny.address, credentials=CREDENTIALS)
    for _ in range(2):
        async with client:
            await client.extract_features()
    assert len(restarted.tiny.calls) == 2


async def test_calls_are_spread_over_servers_by_a_service_config(server: Any, restarted: Any) -> None:
    for tiny in (server, restarted.tiny):
        tiny.serve(EXTRACT, answer)
    target = f"ipv4:{server.address},{restarted.tiny.address}"
    options = {"grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}'}
    async with MFNClient(target, credentials=CREDENTIALS, channel_options=options) as client:
        async with asyncio.timeout(PATIENCE):
            while not (server.calls and restarted.tiny.calls):
                await client.extract_features()
        # One of them goes: the other serves on, and what failed is attempted there.
        await restarted.stop()
        for _ in range(10):
            await client.extract_features()
