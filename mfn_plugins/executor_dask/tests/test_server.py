"""A whole server whose runs are computed by worker processes, by one line of its configuration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mfn_core.testing.process import ServerProcess, wait_gone
from mfn_model import mycelium_rd_spec, mycelium_spec, reference_mycelium, reference_mycelium_rd

raw = pytest.importorskip("mfn_client.raw", reason="the server is called through the SDK")
mfn_pb2 = pytest.importorskip("mfn_proto.mfn_pb2", reason="the server is called through the SDK")
mycelium_pb2 = pytest.importorskip("mfn_proto.mycelium_pb2", reason="the server is called through the SDK")
pytest.importorskip("mfn_service", reason="a whole server needs a service")
pytest.importorskip("mfn_transport_grpc", reason="a whole server needs a transport")

# Worker processes take seconds to start, and longer on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def tables(executor: dict[str, Any]) -> dict[str, Any]:
    return {
        "server": {
            "plugins": ["engine_numpy", "service_mfn", "transport_grpc", "executor_dask"],
            "allow": ["anonymous"],
            "max_steps": 10_000_000,
            "max_cell_steps": 2**50,
        },
        "transports": {"grpc": {"listen": "127.0.0.1:0"}},
        "executors": {"dask": executor},
    }


def descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


async def test_unary_calls_are_computed_there_and_streams_here_with_the_same_numbers(tmp_path: Path) -> None:
    with ServerProcess(tables({"local": {"workers": 2}}), tmp_path, start_timeout=120) as server:
        processes = descendants(server.process.pid)
        async with raw.RawClient(server.address("grpc")) as client:
            request = mfn_pb2.SimulationRequest(seed=5, grid_size=32, steps=40, alpha=0.18, spike_probability=0.25)
            path = "/mfn.MFNSimulationService/RunSimulation"
            reply = mfn_pb2.SimulationResult.FromString((await client.unary(path, request.SerializeToString())).message)
            expected = reference_mycelium(mycelium_spec(seed=5, grid_size=32, turing_enabled=False), 40)
            assert reply.growth_events == expected.growth_events
            assert reply.pot_mean_mV == pytest.approx(expected.field.mean() * 1000, rel=1e-12)

            whole = mycelium_pb2.SimulateRequest(seed=5, grid_size=32, steps=20, alpha=0.18)
            path = "/mycelium.MyceliumService/Simulate"
            told = mycelium_pb2.SimulateResponse.FromString(
                (await client.unary(path, whole.SerializeToString())).message
            )
            assert len(told.field_mean) == 20
            state = reference_mycelium_rd(mycelium_rd_spec(seed=5, grid_size=32, turing_enabled=False), 20)
            assert told.field_mean[-1] == pytest.approx(state.field.mean(), rel=1e-12)

            frames = mfn_pb2.SimulationStreamRequest(
                seed=5, grid_size=32, total_steps=40, steps_per_frame=20, alpha=0.18, spike_probability=0.25
            )
            async with client.open("/mfn.MFNSimulationService/StreamSimulation", timeout=60) as call:
                assert await call.send(frames.SerializeToString())
                await call.half_close()
                last = [mfn_pb2.SimulationFrame.FromString(message) async for message in call][-1]
            assert last.pot_mean_mV == reply.pot_mean_mV

            # A deadline ends a run on its worker, which is free for the next one.
            endless = mfn_pb2.SimulationRequest(seed=5, grid_size=64, steps=5_000_000, alpha=0.18)
            for _ in range(3):  # more than there are workers
                began = time.monotonic()
                with pytest.raises(raw.RpcFailed) as late:
                    await client.unary(
                        "/mfn.MFNSimulationService/RunSimulation", endless.SerializeToString(), timeout=0.5
                    )
                assert late.value.status.code == "DEADLINE_EXCEEDED"
                assert time.monotonic() - began < 10
            again = await client.unary("/mfn.MFNSimulationService/RunSimulation", request.SerializeToString())
            assert mfn_pb2.SimulationResult.FromString(again.message).pot_mean_mV == reply.pot_mean_mV
        server.terminate()
        assert server.wait(60) == 0
    assert wait_gone(processes, 30) == []


def test_a_scheduler_that_is_away_keeps_the_server_from_starting_and_is_named(tmp_path: Path) -> None:
    configuration = tables({"scheduler": "tcp://127.0.0.1:9", "connect_seconds": 1.0})
    with pytest.raises(RuntimeError, match="status 2") as failed, ServerProcess(configuration, tmp_path):
        raise AssertionError("it started")
    assert "executors.dask.scheduler: the scheduler at tcp://127.0.0.1:9 cannot be reached" in str(failed.value)
    assert "dask scheduler" in str(failed.value)


def test_a_killed_server_leaves_no_worker_behind(tmp_path: Path) -> None:
    with ServerProcess(tables({"local": {"workers": 1}}), tmp_path, start_timeout=120) as server:
        processes = descendants(server.process.pid)
        assert len(processes) >= 3  # the server's worker, and those of the cluster
        server.kill()
        server.wait(30)
        assert wait_gone(processes, 60) == []
