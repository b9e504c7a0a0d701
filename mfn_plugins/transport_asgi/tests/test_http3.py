"""HTTP/3 beside the other listener: calls and streams on a loop of their own, clients that leave, the drain."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_asgi_parts.http3_wire import Http3, http3
from mfn_asgi_parts.ports import until_refused
from mfn_core import ConfigError
from mfn_core.assembly import plan
from mfn_core.config import Document
from mfn_core.testing.process import ServerProcess
from mfn_transport_asgi._binding import HeldAddress
from mfn_transport_asgi._framing import frame
from mfn_transport_asgi._settings import AsgiSettings
from mfn_transport_asgi._transport import AsgiTransport

Certificates = Mapping[str, Path]
Start = Callable[..., ServerProcess]
Tables = Callable[..., dict[str, Any]]

JSON = [(b"content-type", b"application/json")]
LINES = [(b"content-type", b"application/x-ndjson")]
GRPC = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]


def message(value: bytes) -> bytes:
    return BytesValue(value=value).SerializeToString()


def text(value: bytes) -> bytes:
    return json.dumps(base64.b64encode(value).decode()).encode()


def tls(certificates: Certificates, **more: str) -> dict[str, str]:
    return {"certificate": str(certificates["server"]), "key": str(certificates["server_key"]), **more}


@pytest.fixture(scope="module")
def address(
    tables: Tables,
    certificates: Certificates,
    server_environment: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A server that most tests share."""
    made = tables(http3=True, tls=tls(certificates))
    with ServerProcess(made, tmp_path_factory.mktemp("http3"), env=server_environment) as server:
        yield server.address("asgi")


async def state(client: Http3, **expected: int) -> dict[str, Any]:
    """What the worker looks like from inside, once it is as expected; the last that was seen after five seconds."""
    until = time.monotonic() + 5
    while True:
        _, reply = client.begin("/asgi.Test/State", JSON, b'""')
        found: dict[str, Any] = json.loads(base64.b64decode(json.loads(await reply.whole())))
        if all(found[name] == value for name, value in expected.items()) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.01)  # what happens inside another process can only be asked for


async def test_grpc_with_its_trailers(address: str, certificates: Certificates) -> None:
    async with http3(address, certificates["ca"]) as client:
        _, reply = client.begin("/asgi.Test/Echo", GRPC, frame(message(b"hi")))
        assert await reply.whole() == frame(message(b"hi"))
        assert reply.headers[b"x-initial"] == b"first"
        assert reply.trailers[b"grpc-status"] == b"0"
        assert base64.b64decode(reply.trailers[b"x-trailing-bin"] + b"==") == b"\x00\xff"
        _, unknown = client.begin("/asgi.Test/Nope", GRPC, frame(b""))
        assert await unknown.whole() == b""
        assert unknown.headers[b"grpc-status"] == b"12"


async def test_a_conversation_of_grpc_goes_both_ways_at_once(address: str, certificates: Certificates) -> None:
    async with http3(address, certificates["ca"]) as client:
        stream, reply = client.begin("/asgi.Test/Mirror", GRPC, end=False)
        said = b""
        for size in (0, 1, 70_000, 5):
            piece = frame(message(bytes(size)))
            client.send(stream, piece)
            said += piece
            assert await reply.until(len(said)) == said
        client.send(stream, b"", end=True)
        assert await reply.whole() == said
        assert reply.trailers[b"grpc-status"] == b"0"


async def test_rest_connect_and_streams(address: str, certificates: Certificates) -> None:
    async with http3(address, certificates["ca"]) as client:
        _, rest = client.begin("/asgi.Test/Echo", JSON, text(b"hi"))
        _, connect = client.begin("/asgi.Test/Echo", [(b"content-type", b"application/proto")], message(b"hi"))
        _, lines = client.begin("/asgi.Test/Mirror", LINES, text(b"a") + b"\n" + text(b"b") + b"\n")
        _, page = client.begin("/", [], method=b"GET")
        assert (await rest.whole(), rest.status) == (text(b"hi"), 200)
        assert (await connect.whole(), connect.status) == (message(b"hi"), 200)
        assert await lines.whole() == text(b"a") + b"\n" + text(b"b") + b"\n"
        assert b"<html" in await page.whole()
        _, nothing = client.begin("/nothing", JSON, b"")
        assert json.loads(await nothing.whole())["status"] == nothing.status == 404


async def test_many_calls_at_once_are_each_answered(address: str, certificates: Certificates) -> None:
    async with http3(address, certificates["ca"]) as client:
        replies = [client.begin("/asgi.Test/Echo", JSON, text(b"%d" % number))[1] for number in range(200)]
        assert [await reply.whole() for reply in replies] == [text(b"%d" % number) for number in range(200)]


@pytest.mark.slow
async def test_a_large_message_arrives_whole_and_one_over_the_limit_is_refused(
    start: Start, certificates: Certificates
) -> None:
    server = start(http3=True, tls=tls(certificates), max_message_bytes=1 << 20)
    async with http3(server.address("asgi"), certificates["ca"]) as client:
        large = text(bytes(700_000))
        _, reply = client.begin("/asgi.Test/Echo", JSON, large)
        assert await reply.whole() == large
        _, refused = client.begin("/asgi.Test/Echo", GRPC, frame(message(bytes(1 << 20))))
        await refused.whole()
        assert refused.headers[b"grpc-status"] == b"8"


@pytest.mark.slow
async def test_a_client_that_leaves_cancels_its_call_in_every_way_of_leaving(
    start: Start, certificates: Certificates
) -> None:
    server = start(http3=True, tls=tls(certificates))
    async with http3(server.address("asgi"), certificates["ca"]) as watcher:
        before = (await state(watcher))["tasks"]
        async with http3(server.address("asgi"), certificates["ca"]) as client:
            waiting = [client.begin("/asgi.Test/Wait", JSON, b'""') for _ in range(3)]
            sitting = [client.begin("/asgi.Test/Sit", GRPC, frame(b"")) for _ in range(3)]
            for _, reply in sitting:
                assert await reply.until(5)
            assert (await state(watcher, running=6))["running"] == 6
            client.cancel(waiting[0][0])
            client.cancel(sitting[0][0])
            found = await state(watcher, running=4, cancelled=2)
            assert (found["running"], found["cancelled"]) == (4, 2)
        found = await state(watcher, running=0, cancelled=6)
        assert (found["running"], found["cancelled"]) == (0, 6)
        assert (await state(watcher, tasks=before))["tasks"] == before


@pytest.mark.slow
async def test_a_client_that_does_not_read_holds_the_handler_back(start: Start, certificates: Certificates) -> None:
    server = start(http3=True, tls=tls(certificates))
    authority, address = certificates["ca"], server.address("asgi")
    async with http3(address, authority) as watcher, http3(address, authority) as client:
        _, reply = client.begin("/asgi.Test/Flood", GRPC, frame(message(b"10000")))
        await reply.until(1)
        client.pause()
        seen = -1
        while (now := (await state(watcher))["flooded"]) != seen:
            seen = now
            await asyncio.sleep(0.3)  # whether it has come to a stop shows only in time
        assert seen < 2000


@pytest.mark.slow
async def test_what_runs_is_answered_when_the_server_is_told_to_end(
    start: Start, certificates: Certificates, tmp_path: Path
) -> None:
    server = start(http3=True, tls=tls(certificates))
    gate = tmp_path / "gate"
    async with http3(server.address("asgi"), certificates["ca"]) as client:
        replies = [client.begin("/asgi.Test/Wait", JSON, text(str(gate).encode()))[1] for _ in range(10)]
        assert (await state(client, running=10))["running"] == 10
        server.terminate()
        await asyncio.to_thread(until_refused, server.address("asgi"))
        gate.touch()
        for reply in replies:
            assert await reply.whole() == text(str(gate).encode())
    assert await asyncio.to_thread(server.wait, 15) == 0
    assert server.stderr_text() == ""


async def _head(address: str, authority: Path) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


@pytest.mark.slow
async def test_clients_of_the_other_listener_are_told(address: str, start: Start, certificates: Certificates) -> None:
    port = address.rpartition(":")[2]
    head = (await _head(address, certificates["ca"])).lower()
    assert f'\r\nalt-svc: h3=":{port}"; ma=3600\r\n'.encode() in head
    without = start(tls=tls(certificates))
    assert b"alt-svc" not in (await _head(without.address("asgi"), certificates["ca"])).lower()
    with pytest.raises((ConnectionError, TimeoutError)):
        async with asyncio.timeout(2), http3(without.address("asgi"), certificates["ca"]):
            pass


async def test_what_a_client_writes_about_itself_is_not_believed(address: str, certificates: Certificates) -> None:
    forged = [(b"x-mfn-id", b"1"), (b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-client-cert", b"CN=root")]
    async with http3(address, certificates["ca"]) as client:
        _, reply = client.begin("/asgi.Test/State", [*JSON, *forged, (b"x-own", b"kept")], b'""')
        found = json.loads(base64.b64decode(json.loads(await reply.whole())))
    keys = {key for key, _ in found["metadata"]}
    assert "x-own" in keys
    assert not keys & {"x-mfn-id", "x-forwarded-for", "x-forwarded-client-cert"}
    assert found["peer"].startswith("127.0.0.1:")
    assert found["identity"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "HTTP/3 is never without TLS"),
        ({"served_by": "uvicorn", "tls": {"certificate": "c", "key": "k"}}, 'server is "uvicorn"'),
        (
            {"tls": {"certificate": "c", "key": "k", "client_ca": "a"}},
            "Envoy asks for no client certificates over QUIC",
        ),
        ({"server": {"workers": 2}, "tls": {"certificate": "c", "key": "k"}}, "2 workers"),
    ],
)
def test_what_it_needs_is_named(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "parts"))
    with pytest.raises(ConfigError) as refused:
        plan(Document(tables=tables(http3=True, **changes), base_dir=tmp_path, source="test"))
    (problem,) = refused.value.problems
    assert problem.path == "transports.asgi.http3"
    assert said in problem.message
    assert "http3 = false" in problem.remedy


def test_a_port_whose_datagrams_another_has_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        transport = AsgiTransport("asgi", AsgiSettings(listen=listen, http3=True))
        said = f"cannot listen on {listen} for HTTP/3, which is the UDP port: address already in use"
        assert list(transport.preflight()) == [said]
        assert list(AsgiTransport("asgi", AsgiSettings(listen=listen)).preflight()) == []
        with pytest.raises(OSError, match="which is the UDP port"):
            HeldAddress(listen, share=False, datagrams=True)


def test_any_port_is_one_that_is_free_for_both() -> None:
    with HeldAddress("127.0.0.1:0", share=False, datagrams=True) as held, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((held.host, held.port))
