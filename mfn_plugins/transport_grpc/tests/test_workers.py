from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_client.raw import RawClient
from mfn_core.operation import Shape
from mfn_core.testing.process import ServerProcess
from mfn_core.testing.suite_service import PROBE, Script, path_of


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def tables(port: int, workers: int) -> dict[str, object]:
    return {
        "server": {
            "plugins": ["mfn_core.testing.suite_service", "transport_grpc"],
            "allow": ["anonymous"],
            "workers": workers,
        },
        "transports": {"grpc": {"listen": f"127.0.0.1:{port}"}},
    }


async def test_workers_share_one_port_and_the_connections_to_it(tmp_path: Path) -> None:
    with ServerProcess(tables(free_port(), 2), tmp_path) as server:
        (address,) = set(server.addresses["grpc"])
        calls, most = 0, 0
        deadline = time.monotonic() + 30
        # A worker that has had fewer calls than were made is not the only one. The second may still be starting.
        while most == calls:
            assert time.monotonic() < deadline, f"one worker has answered all {calls} connections"
            async with RawClient(address) as client:
                await client.unary(path_of(Shape.UNARY), Script(tag="one").encode(), timeout=20)
                reply = await client.unary(PROBE, StringValue(value="one").SerializeToString(), timeout=20)
            calls += 1
            most = max(most, json.loads(StringValue.FromString(reply.message).value)["started"])


def test_a_second_server_does_not_share_the_port_of_a_first_with_one_worker(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    port = free_port()
    with ServerProcess(tables(port, 1), tmp_path / "first"):
        second = ServerProcess(tables(port, 1), tmp_path / "second")
        with (
            pytest.raises(RuntimeError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .* choose another port"),
            second,
        ):
            pass
