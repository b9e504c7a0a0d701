"""The life of the worker process: started, drained, crashed, orphaned; and TLS, which needs a real listener."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mfn_asgi_parts.ports import until_refused
from mfn_core.config import Document
from mfn_core.host import Launched
from mfn_core.host.control import CONTROL_FD, encode
from mfn_core.testing.process import ServerProcess, toml_text, wait_gone
from mfn_transport_asgi._envoy.host import EnvoyHost
from mfn_transport_asgi._settings import AsgiSettings

Start = Callable[..., ServerProcess]
Connect = Callable[..., Any]
Tables = Callable[..., dict[str, Any]]


async def test_sigterm_answers_what_runs_refuses_what_is_new_and_ends_with_0(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start()
    address = server.address("asgi")
    caller, other = connect(address), connect(address)
    gate = tmp_path / "gate"
    calls = [asyncio.ensure_future(caller.unary("Wait", str(gate).encode())) for _ in range(50)]
    stream = other.bidi("Mirror")
    await stream.write(other.encoded(b"before"))
    assert other.decoded(await stream.read()) == b"before"
    assert (await caller.settled(running=50))["running"] == 50
    server.terminate()
    await asyncio.to_thread(until_refused, address)
    # The listener is closed first: a call on an open connection may still be served in that moment.
    async with asyncio.timeout(5):
        while True:
            refused = caller.unary("Echo", b"new")
            if await refused.code() is not grpc.StatusCode.OK:
                break
    assert await refused.code() is grpc.StatusCode.UNAVAILABLE
    await stream.write(other.encoded(b"during"))
    assert other.decoded(await stream.read()) == b"during"
    await stream.done_writing()
    assert await stream.code() is grpc.StatusCode.OK
    gate.touch()
    assert [caller.decoded(raw) for raw in await asyncio.gather(*calls)] == [str(gate).encode()] * 50
    assert await asyncio.to_thread(server.wait, 15) == 0
    assert server.stderr_text() == ""


async def test_replies_that_are_ready_at_the_end_of_a_drain_all_arrive(start: Start, connect: Connect) -> None:
    server = start()
    caller = connect(server.address("asgi"))
    gate = server.directory / "gate"
    calls = [asyncio.ensure_future(caller.unary("Wait", str(gate).encode())) for _ in range(30)]
    await caller.settled(running=30)
    gate.touch()
    server.terminate()
    assert len(await asyncio.gather(*calls)) == 30
    assert await asyncio.to_thread(server.wait, 15) == 0


async def test_a_call_that_outlasts_the_drain_ends_as_unavailable(start: Start, connect: Connect) -> None:
    server = start(server={"drain_seconds": 0.2})
    caller = connect(server.address("asgi"))
    call = asyncio.ensure_future(caller.unary("Wait"))
    await caller.settled(running=1)
    server.terminate()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in ended.value.details()
    assert await asyncio.to_thread(server.wait, 15) == 0


def test_sigkill_of_the_supervisor_leaves_no_process(start: Start) -> None:
    server = start()
    workers = server.worker_pids()
    assert len(workers) == 1
    server.kill()
    server.wait(5)
    assert wait_gone(workers, 5.0) == []


def test_sigkill_of_the_supervisor_while_a_worker_starts_leaves_no_process(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    process, workers = _starting(tables, environment, tmp_path)
    process.kill()
    process.wait(5)
    assert wait_gone(workers, 5.0) == []


def test_sigterm_while_a_worker_starts_ends_the_server(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    process, workers = _starting(tables, environment, tmp_path)
    process.terminate()
    assert process.wait(5) == 0
    assert wait_gone(workers, 1.0) == []


def test_a_worker_that_dies_while_it_starts_is_told_of_with_its_status(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    process, (worker,) = _starting(tables, environment, tmp_path)
    os.kill(worker, signal.SIGKILL)
    assert process.wait(5) == 1
    assert f"(pid {worker}) ended with status -9 before it was ready" in (tmp_path / "stderr").read_text()


def _starting(
    tables: Tables, environment: Mapping[str, str], directory: Path
) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A server whose worker is in the middle of its start, and the worker."""
    made = tables()
    made["services"] = {"asgi_test": {"start_seconds": 60.0}}
    config = directory / "mfn.toml"
    config.write_text(toml_text(made))
    errors = directory / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mfn_core", "serve", "-c", str(config)],
            env=environment,
            stderr=stderr,
            stdout=subprocess.DEVNULL,
        )
    until = time.monotonic() + 30
    while not errors.read_text().startswith("starting\n"):
        assert process.poll() is None, errors.read_text()
        assert time.monotonic() < until
        time.sleep(0.01)  # nothing tells of a line in a file but looking
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return process, [int(pid) for pid in children.split()]


async def test_a_worker_that_crashes_is_started_again_on_the_same_port(start: Start, connect: Connect) -> None:
    server = start()
    (first,) = server.worker_pids()
    caller = connect(server.address("asgi"))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await caller.unary("Crash")
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert wait_gone([first], 5.0) == []
    again = connect(server.address("asgi"))
    assert again.decoded(await again.unary("Echo", b"hi", wait_for_ready=True, timeout=20)) == b"hi"
    assert server.worker_pids() != [first]
    assert f"pid {first}) ended with status 3" in server.stderr_text()


async def test_an_envoy_that_is_told_to_end_by_another_is_started_again(start: Start, connect: Connect) -> None:
    server = start()
    (first,) = server.worker_pids()
    os.kill(first, signal.SIGTERM)
    assert await asyncio.to_thread(wait_gone, [first], 5.0) == []
    caller = connect(server.address("asgi"))
    assert await caller.unary("Echo", b"hi", wait_for_ready=True, timeout=20)


async def test_several_workers_share_one_port(start: Start, connect: Connect) -> None:
    server = start(server={"workers": 2})
    workers = server.worker_pids()
    assert len(workers) == 2
    for _ in range(8):
        assert await connect(server.address("asgi")).unary("Echo", b"hi")
    server.terminate()
    assert await asyncio.to_thread(server.wait, 15) == 0
    assert wait_gone(workers, 1.0) == []


def _run(tables: dict[str, Any], environment: Mapping[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    config = directory / "mfn.toml"
    config.write_text(toml_text(tables))
    return subprocess.run(
        [sys.executable, "-P", "-m", "mfn_core", "serve", "-c", str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_worker_that_cannot_start_is_one_screen_without_envoys_own(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    made = tables()
    made["services"] = {"asgi_test": {"fail": True}}
    done = _run(made, environment, tmp_path)
    assert done.returncode not in (0, -signal.SIGKILL)
    assert "cannot open the store at /nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert "envoy" not in done.stderr.lower()
    assert len(done.stderr.splitlines()) < 10
    assert done.stdout == ""


def test_a_port_in_use_is_refused_before_a_process_is_started(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = _run(tables(listen=listen), environment, tmp_path)
    assert done.returncode == 2
    assert f"transports.asgi: cannot listen on {listen}: address already in use" in done.stderr


async def test_tls_takes_1_3_alone_and_tells_who_the_client_is(
    start: Start, connect: Connect, certificates: Mapping[str, Path]
) -> None:
    tls = {
        "certificate": str(certificates["server"]),
        "key": str(certificates["server_key"]),
        "client_ca": str(certificates["ca"]),
    }
    server = start(tls=tls)
    address = server.address("asgi")

    def credentials(who: str) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            certificates["ca"].read_bytes(), certificates[f"{who}_key"].read_bytes(), certificates[who].read_bytes()
        )

    known = connect(address, credentials("client"))
    assert (await known.state())["identity"] == "CN=client"
    call = asyncio.ensure_future(known.unary("Wait"))
    await known.settled(running=1)
    call.cancel()
    assert (await known.settled(running=0))["cancelled"] == 1
    anyone = grpc.ssl_channel_credentials(certificates["ca"].read_bytes())
    for refused in (connect(address, anyone), connect(address, credentials("stranger")), connect(address)):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await refused.unary("Echo", b"hi", timeout=5)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_verify_locations(certificates["ca"])
    old.load_cert_chain(certificates["client"], certificates["client_key"])
    host, port = address.split(":")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await asyncio.open_connection(host, int(port), ssl=old)


async def test_a_port_that_is_lost_in_the_last_moment_is_named(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    host = EnvoyHost({"asgi": AsgiSettings(listen="127.0.0.1:0")})
    directory = Path(tempfile.mkdtemp(prefix="mfn-test-"))
    command = host.command(directory, worker=0, workers=1)
    launch = json.loads((directory / "launch.json").read_text())
    (address,) = launch["addresses"]
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            env={**environment, **command.env, CONTROL_FD: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
        theirs.close()
        made = tables()
        made["transports"]["asgi"]["listen"] = address
        document = Document(tables=made, base_dir=tmp_path, source="test")
        ours.sendall(encode({"type": "configure", "document": document.to_json(), "worker": 0}))
        launched = Launched(pid=process.pid, worker=0, directory=directory)
        with pytest.raises(OSError, match=f"cannot listen on .*{address}.*: address already in use"):
            await host.listening(launched)
        _, errors = await process.communicate()
        assert b"static_resources" not in errors
    shutil.rmtree(directory)
