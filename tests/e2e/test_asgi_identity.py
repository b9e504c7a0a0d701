"""The client's certificate is on record alike for every protocol of one door, and no header stands for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets

from mfn_client import Credentials, MFNClient
from mfn_e2e.calls import Header, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.websocket import Socket
from mfn_proto import mfn_pb2 as w1
from mfn_signing import new_random_nonce, sign_headers

RUN, LIVE = "/mfn.MFNSimulationService/RunSimulation", "/ws/simulation_live"
SPEC: dict[str, Any] = {"seed": 1, "grid_size": 8, "steps": 2}
FORGED: list[Header] = [
    ("x-forwarded-client-cert", 'Hash=00;Subject="CN=root,O=Nobody";URI='),
    ("x-client-cert", "CN=root"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "192.0.2.7"),
]
NAME = "bench 7"


class Client:
    """What a person with a certificate calls with; without one where `certificate` is None."""

    def __init__(self, server: Deployment, authority: trustme.CA, certificate: trustme.LeafCert | None) -> None:
        self.server = server
        self._certificate = certificate
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.context)
        self._roots = authority.cert_pem.bytes()
        if certificate is not None:
            certificate.configure_cert(self.context)

    def post(self, target: str, body: bytes, content_type: str, signed: str, covers: bytes, request_id: str) -> int:
        """Status of one request on a connection of its own."""
        connection = http.client.HTTPSConnection(self.server.address("asgi"), context=self.context, timeout=30)
        own = self.server.caller().sign(signed, covers)
        headers = dict([*own, *FORGED, ("content-type", content_type), ("x-request-id", request_id)])
        try:
            connection.request("POST", target, body=body, headers=headers)
            reply = connection.getresponse()
            reply.read()
            return reply.status
        finally:
            connection.close()

    async def by_grpc(self, request_id: str, directory: Path) -> None:
        given: dict[str, Any] = {}
        if self._certificate is not None:
            chain, key = directory / "chain.pem", directory / "key.pem"
            chain.write_bytes(b"".join(part.bytes() for part in self._certificate.cert_chain_pems))
            key.write_bytes(self._certificate.private_key_pem.bytes())
            given = {"certificate_chain": chain, "private_key": key}
        credentials = Credentials.from_key(self.server.keys["ada"])
        address = self.server.address("asgi")
        async with MFNClient(address, credentials=credentials, root_certificates=self._roots, **given) as client:
            await client.run_simulation(**SPEC, request_id=request_id)

    def by_rest(self, request_id: str) -> None:
        body = json.dumps(SPEC).encode()
        assert self.post("/simulate", body, "application/json", "POST /simulate", body, request_id) == 200

    def by_connect(self, request_id: str) -> None:
        raw = w1.SimulationRequest(**SPEC).SerializeToString()
        assert self.post(RUN, raw, "application/proto", RUN, raw, request_id) == 200

    def by_grpc_web(self, request_id: str) -> None:
        raw = w1.SimulationRequest(**SPEC).SerializeToString()
        framed = struct.pack(">BI", 0, len(raw)) + raw
        assert self.post(RUN, framed, "application/grpc-web+proto", RUN, raw, request_id) == 200

    async def by_socket(self) -> str:
        """Run one simulation; the address of this end, by which the records are found."""
        now = int(time.time())
        key = self.server.keys["ada"]
        own = list(sign_headers(key, f"GET {LIVE}", b"", timestamp=now, nonce=new_random_nonce()))
        url = f"wss://{self.server.address('asgi')}{LIVE}"
        async with websockets.connect(
            url, ssl=self.context, additional_headers=[*own, *FORGED], proxy=None, server_hostname="localhost"
        ) as connection:
            talk = Socket(connection)
            await talk.greet()
            assert (await talk.hear())["type"] == "auth_success"
            await talk.say("subscribe", {"stream_id": "a", "params": SPEC})
            await talk.until("simulation_complete")
            host, port = connection.local_address[:2]
            return f"{host}:{port}"


Start = Callable[..., Deployment]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def deployed(directory: Path, authority: trustme.CA, **tls: Any) -> Deployment:
    """A server with a certificate, of this transport alone."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(directory / "clients.pem")
    configuration = tables(transports=["asgi"])
    configuration["transports"]["asgi"]["tls"] = {"certificate": "server.pem", "key": "server.key", **tls}
    return Deployment(configuration, directory)


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Deployment]:
    """A server that demands certificates."""
    with deployed(tmp_path_factory.mktemp("mutual"), authority, client_ca="clients.pem") as server:
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Deployment]:
    """A server that asks for none."""
    with deployed(tmp_path_factory.mktemp("plain"), authority) as server:
        yield server


async def recorded(client: Client, directory: Path) -> dict[str, set[str | None]]:
    """The identities on record, by protocol, after one call over each."""
    server = client.server
    ids = {"grpc": new_id(), "rest": new_id(), "connect": new_id(), "grpc-web": new_id()}
    await client.by_grpc(ids["grpc"], directory)
    client.by_rest(ids["rest"])
    client.by_connect(ids["connect"])
    client.by_grpc_web(ids["grpc-web"])
    local = await client.by_socket()
    found: dict[str, set[str | None]] = {}
    for protocol, request_id in ids.items():
        record = await server.trail.one(request_id)
        assert (record["protocol"], record["status"]) == (protocol, "OK")
        assert record["peer"].startswith("127.0.0.1:")
        found[protocol] = {record["tls_identity"]}
    of_socket: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(of_socket) < 2:  # the opening and the simulation
            server.trail.refresh()
            of_socket = [record for record in server.trail.records if record["peer"] == local]
            await asyncio.sleep(0.01)  # another process writes the file: it can only be looked at
    assert {record["protocol"] for record in of_socket} == {"websocket"}
    found["websocket"] = {record["tls_identity"] for record in of_socket}
    return found


async def test_the_certificate_of_the_client_is_the_same_on_every_protocol(
    mutual: Deployment, authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = authority.issue_cert("client.example", common_name=NAME, organization_name="Mycelia")
    found = await recorded(Client(mutual, authority, certificate), tmp_path)
    assert set(found) == {"grpc", "rest", "connect", "grpc-web", "websocket"}
    (identity,) = set().union(*found.values())
    assert identity is not None
    assert f"CN={NAME}" in identity
    assert "O=Mycelia" in identity
    assert "root" not in identity


async def test_where_no_certificate_is_asked_for_no_header_makes_an_identity(
    plain: Deployment, authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = authority.issue_cert("client.example", common_name=NAME)
    for shown in (None, certificate):
        found = await recorded(Client(plain, authority, shown), tmp_path)
        assert set().union(*found.values()) == {None}


@pytest.mark.parametrize("shows", ["nothing", "a certificate of another authority"])
async def test_without_a_certificate_that_is_trusted_neither_request_nor_socket_comes_in(
    mutual: Deployment, authority: trustme.CA, shows: str
) -> None:
    certificate = None if shows == "nothing" else trustme.CA().issue_cert("client.example", common_name=NAME)
    client = Client(mutual, authority, certificate)
    mutual.trail.refresh()
    before = len(mutual.trail.records)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.by_rest(new_id())
    with pytest.raises((ssl.SSLError, ConnectionError, websockets.InvalidMessage, websockets.ConnectionClosed)):
        await client.by_socket()
    mutual.trail.refresh()
    assert len(mutual.trail.records) == before
