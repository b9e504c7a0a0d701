"""The server as an application of another's ASGI server: lifespan, mounting, and where it may be called from."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets

from mfn_asgi_parts.by_hand import Client, body
from mfn_asgi_parts.http_wire import Http, to_headers
from mfn_core import ConfigError
from mfn_core.config import Document
from mfn_core.testing.process import toml_text
from mfn_transport_asgi import create_app
from mfn_transport_asgi._binding import bound, name_of
from mfn_transport_asgi._mounted.app import MountedApp

Tables = Callable[..., dict[str, Any]]
ECHO = json.dumps(base64.b64encode(b"hi").decode()).encode()


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin of these tests can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "parts"))


@pytest.fixture
def application(tables: Tables, tmp_path: Path) -> Callable[..., MountedApp]:
    """Makes an application."""

    def make(**changes: Any) -> MountedApp:
        services = changes.pop("services", {})
        document = {**tables(**changes), "services": services}
        return create_app(Document(tables=document, base_dir=tmp_path, source="test"))

    return make


@contextmanager
def served(app: Any, **options: Any) -> Iterator[str]:
    """uvicorn as anybody runs it, on a thread of its own."""
    sock = bound("127.0.0.1:0", share=False)
    config = uvicorn.Config(app, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=5, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield name_of(sock) if thread.is_alive() else ""
    finally:
        server.should_exit = True
        thread.join(20)
        sock.close()
        assert not thread.is_alive()


async def echoed(address: str, path: str = "/asgi.Test/Echo") -> tuple[int, bytes]:
    async with Http(address, http2=False) as http:
        exchange = http.begin(path, to_headers([("content-type", "application/json")]))
        await exchange.send(ECHO)
        await exchange.send(None)
        return (await exchange.response()).status, await exchange.rest()


async def test_a_server_of_ones_own_serves_calls_and_sockets(application: Callable[..., MountedApp]) -> None:
    with served(application()) as address:
        assert await echoed(address) == (200, ECHO)
        async with websockets.connect(f"ws://{address}/ws/field", proxy=None) as talk:
            await talk.send('{"type": "init", "payload": {"protocol_version": "1.0"}}')
            assert json.loads(await talk.recv())["type"] == "init"


async def test_without_its_lifespan_everything_is_refused(application: Callable[..., MountedApp]) -> None:
    with served(application(), lifespan="off") as address:
        status, content = await echoed(address)
        assert status == 503
        assert b"lifespan" in content
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://{address}/ws/field", proxy=None)
        assert refused.value.response.status_code == 403


async def test_a_start_that_fails_is_told_and_serves_nothing(application: Callable[..., MountedApp]) -> None:
    app = application(services={"asgi_test": {"fail": True}})
    sent: list[Any] = []
    messages = iter([{"type": "lifespan.startup"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    (told,) = sent
    assert told["type"] == "lifespan.startup.failed"
    assert "cannot open the store at /nowhere" in told["message"]
    client = Client([body(b"")])
    scope = {"type": "http", "method": "GET", "path": "/livez", "headers": [], "server": ("127.0.0.1", 80)}
    await app(scope, client.receive, client.send)
    assert client.http == 503


async def test_under_another_application_it_answers_behind_its_prefix(application: Callable[..., MountedApp]) -> None:
    inner = application()

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        """What a framework's `mount` does."""
        if scope["type"] == "lifespan":
            await receive()
            async with inner.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await inner({**scope, "root_path": "/mfn"}, receive, send)

    with served(outer) as address:
        assert await echoed(address, "/mfn/asgi.Test/Echo") == (200, ECHO)
        assert (await echoed(address, "/mfn/nothing"))[0] == 404


async def test_it_can_run_again_after_its_end_and_not_twice_at_a_time(application: Callable[..., MountedApp]) -> None:
    app = application()
    for _ in range(2):
        async with app.running():
            with pytest.raises(RuntimeError, match="running already"):
                async with app.running():
                    raise AssertionError("it ran twice")


@pytest.mark.parametrize(
    ("listen", "allow", "server", "scheme", "status"),
    [
        ("127.0.0.1:8080", [], ("127.0.0.1", 8000), "http", 200),
        ("127.0.0.1:8080", [], ("::1", 8000), "http", 200),
        ("127.0.0.1:8080", [], ("/run/mfn.sock", None), "http", 200),
        ("127.0.0.1:8080", [], ("192.0.2.1", 8000), "https", 403),
        ("127.0.0.1:8080", [], ("testserver", 80), "http", 403),
        ("127.0.0.1:8080", [], None, "http", 403),
        ("0.0.0.0:8080", ["anonymous-beyond-loopback"], ("192.0.2.1", 8000), "https", 200),
        ("0.0.0.0:8080", ["anonymous-beyond-loopback"], ("192.0.2.1", 8000), "http", 403),
        ("0.0.0.0:8080", ["anonymous-beyond-loopback"], None, "http", 403),
        ("0.0.0.0:8080", ["anonymous-beyond-loopback"], ("127.0.0.1", 8000), "http", 200),
        (
            "0.0.0.0:8080",
            ["anonymous-beyond-loopback", "plaintext-beyond-loopback"],
            ("192.0.2.1", 8000),
            "http",
            200,
        ),
    ],
)
async def test_other_machines_come_in_only_as_the_configuration_says(
    application: Callable[..., MountedApp], listen: str, allow: list[str], server: Any, scheme: str, status: int
) -> None:
    app = application(listen=listen, server={"allow": ["anonymous", *allow]})
    scope = {"type": "http", "method": "GET", "path": "/livez", "headers": [], "server": server, "scheme": scheme}
    async with app.running():
        client = Client([body(b"")])
        await app(scope, client.receive, client.send)
        assert client.http == status


def test_the_rules_of_a_configuration_hold_here_too(application: Callable[..., MountedApp]) -> None:
    with pytest.raises(ConfigError, match="reachable from other machines, and"):
        application(listen="0.0.0.0:8080")
    with pytest.raises(ConfigError, match="an application lives in the one process that mounts it"):
        application(server={"workers": 2})
    with pytest.raises(ConfigError, match="no plugin of this server provides 'asgi'"):
        application(server={"plugins": ["mfn_asgi_parts.parts"]})


def test_a_file_that_mfn_serve_serves_is_mounted_as_it_is(tables: Tables, tmp_path: Path) -> None:
    config = tmp_path / "mfn.toml"
    tls = {"certificate": "c.pem", "key": "k.pem"}
    config.write_text(toml_text(tables(served_by="uvicorn", tls=tls)))
    assert isinstance(create_app(config, overrides=["server.drain_seconds=1.0"]), MountedApp)
    with pytest.raises(ConfigError, match="drain_second"):
        create_app(config, overrides=["server.drain_second=1.0"])


def test_mfn_serve_does_not_serve_what_is_mounted(tables: Tables, environment: Any, tmp_path: Path) -> None:
    config = tmp_path / "mfn.toml"
    config.write_text(toml_text(tables(served_by="mounted")))
    command = [sys.executable, "-P", "-m", "mfn_core", "serve", "-c", str(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "create_app" in done.stderr


def test_tls_of_a_mounted_listener_is_refused_where_it_is_written_for_it(tables: Tables, tmp_path: Path) -> None:
    from mfn_core.assembly import plan

    made = tables(served_by="mounted", tls={"certificate": "c.pem", "key": "k.pem"})
    with pytest.raises(ConfigError, match="the server that mounts this one speaks TLS"):
        plan(Document(tables=made, base_dir=tmp_path, source="test"))


@contextmanager
def factory(directory: Path, environment: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`uvicorn --factory`, and where it listens; empty where it has ended before that."""
    command = [sys.executable, "-m", "uvicorn", "--factory", "mfn_transport_asgi:create_app", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--ws", "websockets-sansio", "--no-use-colors"],
        cwd=directory,
        env={**environment, "MFN_CONFIG": "mine.toml"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "running on http://" in line:
                yield process, line.partition("http://")[2].split()[0]
                break
        else:
            yield process, "".join(said)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def test_one_process_at_a_time_serves_a_file_whose_state_is_in_the_process(
    tables: Tables, environment: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        toml_text({**tables(server={"plugins": ["mfn_asgi_parts.parts", "transport_asgi", "ratelimit"]})})
    )
    with factory(tmp_path, environment) as (first, address):
        assert await echoed(address) == (200, ECHO)
        with factory(tmp_path, environment) as (second, said):
            assert "another process serves" in said
            assert second.wait(20) == 3
        assert await echoed(address) == (200, ECHO)
        first.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, 20) in (0, -signal.SIGTERM)


def test_the_package_is_imported_without_its_server(environment: Any) -> None:
    code = (
        "import sys, mfn_transport_asgi.plugin; print(sorted({'uvicorn', 'starlette', 'pyvoy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
