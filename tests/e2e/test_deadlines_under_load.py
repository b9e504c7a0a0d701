"""Deadlines reach calls that compute and calls that wait, while many more of them are there than threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from mfn_client.raw import RawClient
from mfn_e2e.calls import new_id
from mfn_e2e.deployment import LIMITS, Deployment, tables
from mfn_e2e.processes import cpu_seconds
from mfn_proto import mfn_pb2 as w1

RUN = "/mfn.MFNSimulationService/RunSimulation"

CALLS = 64

DEADLINE = 3.0
"""Seconds: enough for every call to have reached a server that is busy, on a machine that is busy with other tests."""

PROMPT = 2.0
"""Seconds after its deadline within which a call is over on such a machine; a slice takes a few milliseconds."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that computes two calls at once while the others wait."""
    configuration = tables(server={**LIMITS, "compute_queue": CALLS}, cache={"max_bytes": 0})
    with Deployment(configuration, tmp_path_factory.mktemp("crowded")) as started:
        yield started


async def test_every_deadline_is_kept_while_64_calls_would_compute_for_minutes(
    crowded: Deployment, transport: str
) -> None:
    request_id, caller = new_id(), crowded.caller()
    ended: list[float] = []

    async def endless(client: RawClient, seed: int) -> str:
        message = w1.SimulationRequest(seed=seed, grid_size=128, steps=1_000_000, alpha=0.18, turing_enabled=True)
        signed = caller.headers(RUN, message, request_id=request_id)
        async with client.open(RUN, metadata=signed, timeout=DEADLINE) as call:
            await call.send(message.SerializeToString())
            await call.half_close()
            assert await call.receive() is None
            status = await call.status()
        ended.append(time.monotonic())
        return status.code

    async with RawClient(crowded.address(transport)) as client:
        begun = time.monotonic()
        codes = await asyncio.gather(*(endless(client, seed) for seed in range(CALLS)))
    assert set(codes) == {"DEADLINE_EXCEEDED"}
    assert max(ended) - begun < DEADLINE + PROMPT

    records = await crowded.trail.of(request_id, count=CALLS)
    assert len(records) == CALLS
    # The client hangs up at its deadline, which may reach the server a moment before the server's own timer.
    assert {record["status"] for record in records} <= {"DEADLINE_EXCEEDED", "CANCELLED"}
    assert max(record["duration_ms"] for record in records) < 1000.0 * (DEADLINE + PROMPT)

    before = cpu_seconds(crowded.worker)
    await asyncio.sleep(0.25)  # the time over which it is measured
    assert cpu_seconds(crowded.worker) - before < 0.1
