"""Servers as processes, and calls on raw bytes."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_core.testing.process import ServerProcess

PARTS = Path(__file__).parent / "parts"
sys.path.insert(0, str(PARTS))  # the clients of these tests stand there too
ENV = {"PYTHONPATH": str(PARTS)}


def tables(*, server: dict[str, Any] | None = None, served_by: str | None = None, **asgi: Any) -> dict[str, Any]:
    """A configuration of the test service on this transport."""
    if served_by is not None:
        asgi["server"] = served_by
    return {
        "server": {
            "plugins": ["mfn_asgi_parts.parts", "transport_asgi"],
            "allow": ["anonymous"],
            "log_format": "text",
            "drain_seconds": 5.0,
            **(server or {}),
        },
        "transports": {"asgi": {"listen": "127.0.0.1:0", **asgi}},
    }


@pytest.fixture(name="tables", scope="session")
def tables_fixture() -> Callable[..., dict[str, Any]]:
    """Makes configurations."""
    return tables


@pytest.fixture(scope="session")
def server_environment() -> dict[str, str]:
    """What a server process of these tests has beside this one's variables."""
    return ENV


@pytest.fixture
def environment() -> dict[str, str]:
    """What a server process of these tests runs with."""
    return {**os.environ, **ENV}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start a server; it is drained when the test ends."""
    with ExitStack() as stack:

        def make(**changes: Any) -> ServerProcess:
            return stack.enter_context(ServerProcess(tables(**changes), tmp_path, env=ENV))

        yield make


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server for those tests of a module that leave no trace in it."""
    with ServerProcess(tables(), tmp_path_factory.mktemp("server"), env=ENV) as server:
        yield server.address("asgi")


class Caller:
    """A client of the test service; every call is on one connection."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=options)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=options)

    @staticmethod
    def encoded(value: bytes) -> bytes:
        """A message of the service."""
        return BytesValue(value=value).SerializeToString()

    @staticmethod
    def decoded(raw: bytes) -> bytes:
        """What is in a message of the service."""
        return BytesValue.FromString(raw).value

    def unary(self, method: str, value: bytes = b"", **options: Any) -> Any:
        return self.channel.unary_unary(f"/asgi.Test/{method}")(self.encoded(value), **options)

    def stream(self, method: str, value: bytes = b"", **options: Any) -> Any:
        return self.channel.unary_stream(f"/asgi.Test/{method}")(self.encoded(value), **options)

    def bidi(self, method: str, **options: Any) -> Any:
        return self.channel.stream_stream(f"/asgi.Test/{method}")(**options)

    def client_stream(self, method: str, **options: Any) -> Any:
        return self.channel.stream_unary(f"/asgi.Test/{method}")(**options)

    async def state(self, **options: Any) -> dict[str, Any]:
        """What the worker looks like from inside."""
        found: dict[str, Any] = json.loads(self.decoded(await self.unary("State", **options)))
        return found

    async def settled(self, **expected: int) -> dict[str, Any]:
        """The worker's state once it is as expected; the last one seen after five seconds."""
        until = time.monotonic() + 5
        while True:
            state = await self.state()
            if all(state[name] == value for name, value in expected.items()) or time.monotonic() > until:
                return state
            await asyncio.sleep(0.005)  # what happens inside another process can only be asked for


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Caller]]:
    """Make a client; it is closed when the test ends."""
    made: list[Caller] = []

    def connect(address: str, credentials: grpc.ChannelCredentials | None = None) -> Caller:
        made.append(Caller(address, credentials))
        return made[-1]

    yield connect
    for caller in made:
        await caller.channel.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PEM files of an authority, a server, a client of it, and a client of a stranger."""
    directory = tmp_path_factory.mktemp("certificates")
    made: dict[str, Path] = {}

    def keep(name: str, content: bytes) -> None:
        made[name] = directory / f"{name}.pem"
        made[name].write_bytes(content)

    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", authority_key, "authority", authority_key)
    keep("ca", authority)
    stranger_key = ec.generate_private_key(ec.SECP256R1())
    keep("stranger", _certificate("stranger", stranger_key, "nobody", stranger_key))
    keep("stranger_key", _pem(stranger_key))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        keep(name, _certificate(name, key, "authority", authority_key))
        keep(f"{name}_key", _pem(key))
        if name == "server":
            encryption = serialization.BestAvailableEncryption(b"passphrase")
            encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            keep("encrypted_key", key.private_bytes(encoding, form, encryption))
    return made


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> bytes:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=key is issuer_key, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Opens connections, `(address, *, http2=True)`; they are closed when the test ends."""
    from mfn_asgi_parts.http_wire import Http  # found once this file has been read

    made: list[Http] = []

    def open_one(address: str, *, http2: bool = True) -> Http:
        made.append(Http(address, http2=http2))
        return made[-1]

    yield open_one
    for http in made:
        await http.__aexit__(None, None, None)
