"""Many sockets at once: what they cost in memory, and that those who read lose nothing by those who do not."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.websocket import Socket

SOCKETS = 500
DEAF = 20
SECONDS = 30.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Deployment]:
    configuration = tables(transports=["asgi"], server={"allow": ["anonymous"], "compute_queue": 2 * SOCKETS})
    configuration["transports"]["asgi"]["websocket"] = {"max_sockets_per_principal": SOCKETS}
    with Deployment(configuration, tmp_path) as started:
        yield started


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found) * 1024


async def test_500_sockets_at_10_updates_a_second_in_bounded_memory(server: Deployment) -> None:
    address = server.address("asgi")
    updates = [0] * SOCKETS
    dropped = [0] * SOCKETS
    params = {"grid_size": 16, "update_interval_ms": 100, "steps": 10_000}

    async def reader(number: int) -> None:
        async with websockets.connect(f"ws://{address}/ws/stream_features", proxy=None, ping_interval=None) as raw:
            talk = Socket(raw)
            await talk.greet()
            await talk.say("subscribe", {"stream_id": "s", "params": params})
            if number < DEAF:
                await asyncio.Event().wait()
            async for text in raw:
                message = json.loads(text)
                if message["type"] == "feature_update":
                    updates[number] += 1
                    dropped[number] = message["payload"].get("dropped", 0)
                elif message["type"] == "heartbeat":
                    await talk.say("pong", {})
                else:
                    assert message["type"] == "subscribe_success", message

    readers = [asyncio.create_task(reader(number)) for number in range(SOCKETS)]
    try:
        async with asyncio.timeout(60):
            while sum(map(bool, updates)) < SOCKETS - DEAF:
                assert [task.exception() for task in readers if task.done()] == []
                await asyncio.sleep(0.1)
        await asyncio.sleep(5.0)  # buffers fill
        first, began, before = sum(updates), time.monotonic(), resident(server.worker)
        await asyncio.sleep(SECONDS)  # what is measured
        last, elapsed, after = sum(updates), time.monotonic() - began, resident(server.worker)
        assert [task.exception() for task in readers if task.done()] == []
    finally:
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert after - before < 32 << 20, f"{(after - before) / (1 << 20):.1f} MiB more after {elapsed:.0f} s"
    assert sum(dropped) < 0.005 * last, f"{sum(dropped)} of {last} updates were dropped"
    rate = (last - first) / elapsed / (SOCKETS - DEAF)
    assert rate > 5.0, f"{rate:.1f} updates a second and socket"
