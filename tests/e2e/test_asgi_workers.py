"""Two workers behind one address, on both transports at once: both serve, each has its trail, and one may die."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mfn_client.raw import RawClient
from mfn_core import ConfigError
from mfn_core.assembly import plan
from mfn_core.config import Document
from mfn_core.testing.process import ServerProcess, wait_gone
from mfn_e2e.calls import exchange, new_id
from mfn_e2e.installed import PLUGINS
from mfn_e2e.processes import descendants
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

RUN, STREAM = "/mfn.MFNSimulationService/RunSimulation", "/mfn.v1.FieldService/Simulate"
KINDS = ("pyvoy", pytest.param("uvicorn", marks=pytest.mark.slow))
TRAILS = ("audit.w0.jsonl", "audit.w1.jsonl")
PATIENCE = 60.0
FRAMES = 30


def configuration(kind: str, grpc_port: int) -> dict[str, Any]:
    return {
        "server": {
            "plugins": ["engine_numpy", "service_mfn", "transport_grpc", "transport_asgi", "audit_jsonl"],
            "allow": ["anonymous"],
            "log_format": "text",
            "compute_threads": 1,
            "calibration_seconds": 0.0,
            "workers": 2,
        },
        "transports": {
            "grpc": {"listen": f"127.0.0.1:{grpc_port}"},
            "asgi": {"listen": "127.0.0.1:0", "server": kind},
        },
        "audit": {"jsonl": {"path": "audit.jsonl"}},
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What serves the listener."""
    found: str = request.param
    return found


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(configuration(kind, free_port()), tmp_path) as started:
        yield started


def records(server: ServerProcess) -> dict[str, list[dict[str, Any]]]:
    """The calls of each trail, as far as they are written."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in TRAILS:
        path = server.directory / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
        found[name] = [record for record in whole if "call_id" in record]
    return found


async def call_grpc(server: ServerProcess, request_id: str) -> None:
    """One call on a connection of its own."""
    request = w1.SimulationRequest(request_id=request_id, grid_size=8, steps=1).SerializeToString()
    async with RawClient(server.addresses["grpc"][0]) as client:
        ended = await exchange(client, RUN, [request], [("x-request-id", request_id)])
    assert ended.code == "OK", ended


async def call_asgi(server: ServerProcess, request_id: str) -> None:
    """The same on the other transport, in what every server of it carries."""

    def call() -> int:
        connection = http.client.HTTPConnection(server.addresses["asgi"][0], timeout=30)
        headers = {"content-type": "application/json", "x-request-id": request_id}
        try:
            connection.request("POST", "/simulate", json.dumps({"grid_size": 8, "steps": 1}), headers)
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(call) == 200


async def until_both_have_served(server: ServerProcess, transport: str) -> set[str]:
    """Call on new connections until each worker has had one; the ids of the calls."""
    call: Callable[[ServerProcess, str], Any] = call_grpc if transport == "grpc" else call_asgi
    made: set[str] = set()
    until = time.monotonic() + PATIENCE
    while True:
        request_id = new_id()
        await call(server, request_id)
        made.add(request_id)
        served = [name for name, found in records(server).items() if made & {each["request_id"] for each in found}]
        if len(served) == len(TRAILS):
            return made
        assert time.monotonic() < until, f"{served} alone has served {len(made)} connections of {transport}"


async def until_recorded(server: ServerProcess, ids: set[str]) -> None:
    until = time.monotonic() + PATIENCE
    while ids - {each["request_id"] for found in records(server).values() for each in found}:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)  # another process writes the file: it can only be looked at


def verified(directory: Path) -> tuple[int, Mapping[str, Any]]:
    """Every trail of the server, proved together."""
    command = [sys.executable, "-m", "mfn_core", "audit", "verify", str(directory), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


async def test_connections_are_shared_and_every_call_is_in_one_trail(server: ServerProcess) -> None:
    assert len(server.worker_pids()) == 2
    assert {len(set(found)) for found in server.addresses.values()} == {1}
    made = await until_both_have_served(server, "grpc") | await until_both_have_served(server, "asgi")
    await until_recorded(server, made)
    found = records(server)
    for transport in ("grpc", "asgi"):
        for name in TRAILS:
            assert any(each["transport"] == transport for each in found[name]), (transport, name)
    ids = [each["request_id"] for each in (*found[TRAILS[0]], *found[TRAILS[1]])]
    assert sorted(ids) == sorted(made)
    server.terminate()
    assert await asyncio.to_thread(server.wait, 20) == 0
    status, report = verified(server.directory)
    assert (status, report["ok"]) == (0, True)
    assert [Path(trail["trail"]).name for trail in report["trails"]] == list(TRAILS)


async def frames(address: str, begun: asyncio.Event) -> int:
    """How many frames of a run arrive that takes three seconds."""
    request = v1.SimulateRequest(
        simulation=v1.SimulationSpec(grid_size=8),
        steps=FRAMES,
        frames=v1.FrameOptions(every_n_steps=1, max_frames_per_second=10.0),
    ).SerializeToString()
    taken = 0
    async with RawClient(address) as client, client.open(STREAM, metadata=(), timeout=PATIENCE) as call:
        await call.send(request)
        await call.half_close()
        while await call.receive() is not None:
            taken += 1
            begun.set()
        begun.set()
    return taken


async def test_a_worker_that_is_killed_is_replaced_and_the_other_goes_on_serving(server: ServerProcess) -> None:
    made = await until_both_have_served(server, "grpc") | await until_both_have_served(server, "asgi")
    await until_recorded(server, made)
    before = server.worker_pids()
    begun = [asyncio.Event() for _ in range(12)]
    streams = [asyncio.create_task(frames(server.addresses["grpc"][0], each)) for each in begun]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.wait() for each in begun))
    # Its Envoy holds a listener as well, and goes a moment after it: who connects in that moment is reset.
    ended = [before[0], *descendants(before[0])]
    os.kill(before[0], signal.SIGKILL)
    assert await asyncio.to_thread(wait_gone, ended, 5.0) == []
    # The other takes what comes new, while its partner is being replaced.
    for call in (call_grpc, call_asgi):
        request_id = new_id()
        await call(server, request_id)
        made.add(request_id)
    taken = await asyncio.gather(*streams)
    assert set(taken) >= {FRAMES}, "the streams of the worker that lives are whole"
    assert all(0 < count <= FRAMES for count in taken)
    until = time.monotonic() + PATIENCE
    while len(server.worker_pids()) < 2:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)  # what another process starts can only be looked for
    assert before[1] in server.worker_pids()
    assert before[0] not in server.worker_pids()
    made |= await until_both_have_served(server, "asgi") | await until_both_have_served(server, "grpc")
    await until_recorded(server, made)
    assert f"(pid {before[0]}) ended with status -9" in server.stderr_text()
    server.terminate()
    assert await asyncio.to_thread(server.wait, 20) == 0
    status, report = verified(server.directory)
    assert (status, report["ok"]) == (0, True), report
    assert len(report["trails"]) == 2


@pytest.mark.skipif(not {"auth_hmac", "ratelimit"} <= PLUGINS, reason="is about what these two keep in one process")
def test_what_keeps_its_state_in_one_process_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    made = configuration(kind, 50051)
    made["server"]["plugins"] += ["auth_hmac", "ratelimit"]
    with pytest.raises(ConfigError) as refused:
        plan(Document(tables=made, base_dir=tmp_path, source="test"))
    found = {problem.message for problem in refused.value.problems if problem.path == "server.workers"}
    assert found == {
        "2 workers, but auth.hmac keeps its state in one",
        "2 workers, but limits.token_bucket keeps its state in one",
    }
