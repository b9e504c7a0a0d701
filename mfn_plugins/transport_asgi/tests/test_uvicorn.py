"""Served by uvicorn: started, drained, crashed, left by its clients, bounded, and what it refuses to promise."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets

from mfn_asgi_parts.http_wire import Http, HttpExchange, to_headers, whole
from mfn_asgi_parts.ports import until_refused
from mfn_core import ConfigError, Dispatcher
from mfn_core.assembly import plan
from mfn_core.config import Document
from mfn_core.testing.process import ServerProcess, toml_text, wait_gone
from mfn_transport_asgi._available import missing
from mfn_transport_asgi._binding import bound
from mfn_transport_asgi._settings import AsgiSettings, TlsSettings
from mfn_transport_asgi._transport import AsgiTransport
from mfn_transport_asgi._uvicorn.admission import Admission
from mfn_transport_asgi._websocket.settings import WebSocketSettings

Start = Callable[..., ServerProcess]
Tables = Callable[..., dict[str, Any]]
LINES = "application/x-ndjson"


def text(value: bytes) -> bytes:
    return json.dumps(base64.b64encode(value).decode()).encode()


def begin(http: Http, method: str, *further: tuple[str, str], content_type: str = "application/json") -> HttpExchange:
    return http.begin(f"/asgi.Test/{method}", to_headers([("content-type", content_type)], further))


async def state(address: str, **expected: int) -> dict[str, Any]:
    """What the worker looks like from inside, once it is as expected; the last that was seen after five seconds."""
    until = time.monotonic() + 5
    while True:
        async with Http(address, http2=False) as http:
            status, content = await whole(begin(http, "State"), b'""')
        assert status == 200
        found: dict[str, Any] = json.loads(base64.b64decode(json.loads(content)))
        if all(found[name] == value for name, value in expected.items()) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.01)  # what happens inside another process can only be asked for


@pytest.fixture(name="opened")
def opened_over_http1(opened: Callable[..., Http]) -> Callable[[str], Http]:
    """Opens connections of the version that uvicorn speaks."""
    return lambda address: opened(address, http2=False)


@pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
async def test_every_shape_that_http_1_carries_works_on_either_event_loop(
    start: Start, opened: Callable[[str], Http], loop: str
) -> None:
    http = opened(start(served_by="uvicorn", loop=loop).address("asgi"))
    assert await whole(begin(http, "Echo"), text(b"hi")) == (200, text(b"hi"))
    pieces = [text(bytes(n)) + b"\n" for n in (0, 1, 70_000, 5)]
    assert await whole(begin(http, "Count", content_type=LINES), *pieces) == (200, text(b"70006"))
    assert await whole(begin(http, "Mirror", content_type=LINES), *pieces) == (200, b"".join(pieces))
    flood = begin(http, "Flood")
    await flood.send(text(b"10"))
    await flood.send(None)
    assert await flood.take(100)
    flood.cancel()
    _, content = await whole(begin(http, "State"), b'""')
    assert json.loads(base64.b64decode(json.loads(content)))["loop"].startswith(loop)


async def test_a_conversation_goes_on_while_the_request_does(start: Start, opened: Callable[[str], Http]) -> None:
    http = opened(start(served_by="uvicorn").address("asgi"))
    talk = begin(http, "Mirror", content_type=LINES)
    for number in range(5):
        line = text(b"%d" % number) + b"\n"
        await talk.send(line)
        assert await talk.take(len(line)) == line
    await talk.send(None)
    assert await talk.rest() == b""


async def test_sigterm_answers_what_runs_and_ends_with_0(
    start: Start, opened: Callable[[str], Http], tmp_path: Path
) -> None:
    server = start(served_by="uvicorn")
    address = server.address("asgi")
    gate = tmp_path / "gate"
    https = [opened(address) for _ in range(20)]
    calls = [asyncio.ensure_future(whole(begin(http, "Wait"), text(str(gate).encode()))) for http in https]
    talk = begin(opened(address), "Mirror", content_type=LINES)
    await talk.send(text(b"before") + b"\n")
    assert await talk.take(len(text(b"before")) + 1)
    async with websockets.connect(f"ws://{address}/ws/field", proxy=None) as idle:
        await idle.send('{"type": "init", "payload": {"protocol_version": "1.0"}}')
        await idle.recv()
        assert (await state(address, running=20))["running"] == 20
        server.terminate()
        async with asyncio.timeout(10):
            await idle.wait_closed()
        assert idle.close_code == 1001
    await asyncio.to_thread(until_refused, address)
    await talk.send(text(b"during") + b"\n")
    assert await talk.take(len(text(b"during")) + 1) == text(b"during") + b"\n"
    await talk.send(None)
    assert await talk.rest() == b""
    gate.touch()
    assert await asyncio.gather(*calls) == [(200, text(str(gate).encode()))] * 20
    assert await asyncio.to_thread(server.wait, 15) == 0
    assert server.stderr_text() == ""


@pytest.mark.slow
async def test_a_call_that_outlasts_the_drain_ends_as_unavailable(start: Start, opened: Callable[[str], Http]) -> None:
    server = start(server={"drain_seconds": 0.2}, served_by="uvicorn")
    call = asyncio.ensure_future(whole(begin(opened(server.address("asgi")), "Wait"), b'""'))
    await state(server.address("asgi"), running=1)
    server.terminate()
    status, content = await call
    assert status == 503
    assert "shutting down" in json.loads(content)["detail"]
    assert await asyncio.to_thread(server.wait, 15) == 0


def _post(method: str, body: bytes) -> bytes:
    head = f"POST /asgi.Test/{method} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.slow
async def test_a_reader_that_does_not_read_cannot_hold_the_end_up(start: Start) -> None:
    server = start(server={"drain_seconds": 0.2}, served_by="uvicorn")
    host, port = server.address("asgi").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as silent:
        body = text(b"100000")
        silent.sendall(_post("Flood", body))
        assert silent.recv(100).startswith(b"HTTP/1.1 200")
        server.terminate()
        assert await asyncio.to_thread(server.wait, 15) in (0, 1)


async def test_a_client_that_leaves_cancels_its_call_in_every_way_of_leaving(
    start: Start, opened: Callable[[str], Http]
) -> None:
    server = start(served_by="uvicorn")
    address = server.address("asgi")
    waiting = [begin(opened(address), "Wait") for _ in range(3)]
    sitting = [begin(opened(address), "Sit") for _ in range(3)]
    for each in (*waiting, *sitting):
        await each.send(b'""')
        await each.send(None)
    for each in sitting:
        assert await each.take(1)
    # One whose request is not whole, and whose handler does not read.
    deaf = begin(opened(address), "Deaf", content_type=LINES)
    await deaf.send(text(b"1") + b"\n")
    assert await deaf.take(1)
    assert (await state(address, running=7))["running"] == 7
    for each in (*waiting, *sitting, deaf):
        each.cancel()
    found = await state(address, running=0, cancelled=7)
    assert (found["running"], found["cancelled"]) == (0, 7)


@pytest.mark.slow
async def test_a_connection_that_is_reset_cancels_its_call_and_leaves_no_task(start: Start) -> None:
    server = start(served_by="uvicorn")
    address = server.address("asgi")
    before = (await state(address))["tasks"]
    host, port = address.split(":")
    for _ in range(50):
        with socket.create_connection((host, int(port))) as broken:
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            broken.sendall(_post("Wait", b'""'))
    found = await state(address, running=0, tasks=before)
    assert (found["running"], found["tasks"]) == (0, before)


@pytest.mark.slow
async def test_a_handler_that_does_not_read_holds_the_client_back(start: Start, opened: Callable[[str], Http]) -> None:
    deaf = begin(opened(start(served_by="uvicorn").address("asgi")), "Deaf", content_type=LINES)
    await deaf.send(text(b"1") + b"\n")
    assert await deaf.take(1)
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            await deaf.send(text(bytes(100_000)) + b"\n")
            written += 1

    writing = asyncio.ensure_future(write())
    assert await asyncio.wait([writing], timeout=1.0) == (set(), {writing})
    assert 0 < written < 500
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.slow
def test_a_worker_that_crashes_is_started_again_on_the_same_port(start: Start) -> None:
    server = start(served_by="uvicorn")
    address = server.address("asgi")
    (first,) = server.worker_pids()
    os.kill(first, signal.SIGKILL)
    assert wait_gone([first], 5.0) == []
    host, port = address.split(":")
    until = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=5) as again:
                again.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
                assert again.recv(15) == b"HTTP/1.1 200 OK"
                break
        except ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.02)  # nothing tells that the port is open again but trying it
    assert f"(pid {first}) ended with status -9" in server.stderr_text()


def test_sigkill_of_the_supervisor_leaves_no_process(start: Start) -> None:
    server = start(served_by="uvicorn")
    workers = server.worker_pids()
    server.kill()
    server.wait(5)
    assert wait_gone(workers, 5.0) == []


def test_sigterm_to_a_worker_is_none_of_its_business(start: Start) -> None:
    server = start(served_by="uvicorn")
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGTERM)
    host, port = server.address("asgi").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as asking:
        asking.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert asking.recv(15) == b"HTTP/1.1 200 OK"
    assert server.worker_pids() == [worker]


def test_a_port_in_use_is_refused_before_a_process_is_started(
    tables: Tables, environment: Mapping[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        config = tmp_path / "mfn.toml"
        config.write_text(toml_text(tables(served_by="uvicorn", listen=listen)))
        command = [sys.executable, "-P", "-m", "mfn_core", "serve", "-c", str(config)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"transports.asgi: cannot listen on {listen}: address already in use" in done.stderr


@pytest.mark.slow
async def test_connections_over_the_limit_are_closed_and_the_others_go_on(
    start: Start, opened: Callable[[str], Http]
) -> None:
    server = start(served_by="uvicorn", max_connections=3)
    address = server.address("asgi")
    waiting = begin(opened(address), "Wait")
    await waiting.send(b'""')
    await waiting.send(None)
    assert (await state(address, running=1))["running"] == 1
    host, port = address.split(":")
    held = [await asyncio.to_thread(_admitted, host, int(port)) for _ in range(2)]
    try:
        with socket.create_connection((host, int(port)), timeout=10) as third:
            assert await asyncio.to_thread(third.recv, 12) == b""
    finally:
        for each in held:
            each.close()
    (await asyncio.to_thread(_admitted, host, int(port))).close()
    waiting.cancel()


def _admitted(host: str, port: int) -> socket.socket:
    """A connection on which a request was answered: until those before it are gone it may be one too many."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        client = socket.create_connection((host, port), timeout=10)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            if client.recv(12) == b"HTTP/1.1 200":
                return client
        client.close()
        time.sleep(0.01)  # nothing tells that a place is free but trying it
    raise AssertionError("no connection is taken")


async def test_who_says_nothing_is_closed_and_who_has_begun_is_not() -> None:
    served = uvicorn.Config(_slow, lifespan="off", http="h11", log_config=None)
    served.load()
    served.http_protocol_class = Admission(10, head_seconds=0.2)  # type: ignore[assignment]
    server = uvicorn.Server(served)
    server.lifespan = served.lifespan_class(served)
    sock = bound("127.0.0.1:0", share=False)
    await server.startup(sockets=[sock])
    try:
        host, port = sock.getsockname()
        silent, quiet = await asyncio.open_connection(host, port)
        slow, half = await asyncio.open_connection(host, port)
        half.write(b"GET / HTTP/1.1\r\nhost:")
        begun, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            assert await silent.read() == b""
            assert await slow.read() == b""
            assert (await begun.read()).endswith(b"done")
        for each in (quiet, half, writer):
            each.close()
    finally:
        server.should_exit = True
        await server.shutdown(sockets=[sock])


async def _slow(scope: Any, receive: Any, send: Any) -> None:
    """Answers after those have been closed that say nothing."""
    await asyncio.sleep(0.6)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done", "more_body": False})


def _raw(address: str, request: bytes) -> bytes:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        taken = b""
        while piece := client.recv(65536):
            taken += piece
        return taken


def test_heads_are_bounded_whole_or_not(start: Start) -> None:
    server = start(served_by="uvicorn", max_header_bytes=2048)
    address = server.address("asgi")
    fits = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: " + b"a" * 1500 + b"\r\n\r\n"
    assert _raw(address, fits).startswith(b"HTTP/1.1 200")
    whole_but_long = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 3000 + b"\r\n\r\n"
    assert _raw(address, whole_but_long).startswith(b"HTTP/1.1 431")
    without_end = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 9000
    assert _raw(address, without_end).startswith(b"HTTP/1.1 400")


def test_what_is_no_http_is_answered_with_400_and_not_logged(start: Start) -> None:
    server = start(served_by="uvicorn")
    for garbage in (b"\x16\x03\x01 hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
        assert _raw(server.address("asgi"), garbage).startswith(b"HTTP/1.1 400")
    assert server.stderr_text() == ""


async def test_tls_takes_1_3_alone(start: Start, certificates: Mapping[str, Path], tmp_path: Path) -> None:
    tls = {"certificate": str(certificates["server"]), "key": str(certificates["server_key"])}
    address = start(served_by="uvicorn", tls=tls).address("asgi")
    host, port = address.split(":")

    def trusting() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificates["ca"])
        return context

    reader, writer = await asyncio.open_connection(host, int(port), ssl=trusting())
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    async with websockets.connect(f"wss://{address}/ws/field", ssl=trusting(), proxy=None) as talk:
        await talk.send('{"type": "init", "payload": {"protocol_version": "1.0"}}')
        assert json.loads(await talk.recv())["type"] == "init"
    old = trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection(host, int(port), ssl=old)
    assert b"200" not in await asyncio.to_thread(_raw, address, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")


async def test_files_of_tls_that_do_not_fit_stop_the_start(certificates: Mapping[str, Path]) -> None:
    wrong = TlsSettings(certificate=certificates["server"], key=certificates["client_key"])
    settings = AsgiSettings(server="uvicorn", listen="127.0.0.1:0", tls=wrong)
    transport = AsgiTransport("asgi", settings)
    assert list(transport.preflight()) == [
        f"tls.key: {certificates['client_key']} is not the key of {certificates['server']}"
    ]
    with pytest.raises(OSError, match="is not the key of"):
        await transport.start(Dispatcher(()))
    assert transport.addresses == ()
    await transport.stop()


@pytest.fixture
def planned(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The problems of a configuration."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "parts"))
    # Other tests have imported it; in a server, it would say that this process is Envoy's already.
    monkeypatch.delitem(sys.modules, "mfn_transport_asgi._envoy.app", raising=False)

    def problems(**asgi: Any) -> list[str]:
        try:
            plan(Document(tables=tables(**asgi), base_dir=tmp_path, source="test"))
        except ConfigError as refused:
            return [f"{problem.path}: {problem.message}; {problem.remedy}" for problem in refused.problems]
        return []

    return problems


def test_client_certificates_are_refused_and_not_silently_taken(planned: Callable[..., list[str]]) -> None:
    tls = {"certificate": "c.pem", "key": "k.pem", "client_ca": "ca.pem"}
    (problem,) = planned(served_by="uvicorn", tls=tls)
    assert problem.startswith("transports.asgi.tls.client_ca: uvicorn does not tell who shows a client certificate")
    assert 'set server = "pyvoy"' in problem
    assert planned(served_by="pyvoy", tls=tls) == []


def _cannot_be_imported(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    import importlib.util

    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name in names else real(name, package)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)


def test_a_machine_without_uvicorn_is_told_what_to_install(
    planned: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _cannot_be_imported(monkeypatch, "uvicorn", "websockets", "uvloop")
    found = planned(served_by="uvicorn")
    assert [problem.partition(": ")[0] for problem in found] == ["transports.asgi.server"] * 2
    assert "uvicorn and websockets cannot be imported here; install mfn-transport-asgi[uvicorn]" in found[0]
    assert 'set loop = "asyncio"' in found[1]
    without = AsgiSettings(server="uvicorn", loop="asyncio", websocket=WebSocketSettings(enabled=False))
    (problem,) = missing(without)
    assert problem.startswith("uvicorn cannot be imported here")


def test_a_machine_without_pyvoy_is_told_of_uvicorn(
    planned: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _cannot_be_imported(monkeypatch, "pyvoy._pyvoy")
    (problem,) = planned()
    assert "pyvoy is not installed whole" in problem
    assert 'set server = "uvicorn"' in problem
    assert planned(served_by="uvicorn") == []


def test_a_python_without_a_shared_library_is_told_of_uvicorn(
    planned: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("find_libpython.candidate_paths", lambda: [str(tmp_path / "libpython3.so")])
    (problem,) = planned()
    assert "Envoy needs Python as a shared library" in problem
    assert 'set server = "uvicorn"' in problem
    assert planned(served_by="uvicorn") == []
