from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mfn_client.raw import RawClient, RpcFailed
from mfn_core.config import ConfigError, Document
from mfn_core.operation import Shape
from mfn_core.server import assemble
from mfn_core.testing.process import ServerProcess
from mfn_core.testing.suite_service import Script, path_of
from mfn_transport_grpc import GrpcTransport, TlsSettings
from mfn_transport_grpc._tls import tls_problems

Serve = Callable[..., Awaitable[GrpcTransport]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> TlsSettings:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    (tmp_path / "server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (tmp_path / "server.key").write_bytes(issued.private_key_pem.bytes())
    # Not 1.3 alone: that must be settled before gRPC is imported, and these tests share a process with others.
    return TlsSettings(certificate=tmp_path / "server.pem", key=tmp_path / "server.key", minimum_version="1.2")


@pytest.fixture
def mutual(tls: TlsSettings, authority: trustme.CA, tmp_path: Path) -> TlsSettings:
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    return TlsSettings(
        certificate=tls.certificate, key=tls.key, client_ca=tmp_path / "clients.pem", minimum_version="1.2"
    )


def client_credentials(authority: trustme.CA, issuer: trustme.CA) -> grpc.ChannelCredentials:
    """Those of a client that trusts `authority` and shows a certificate of `issuer`."""
    issued = issuer.issue_cert("client.example", common_name="client one", organization_name="Mycelia")
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), issued.private_key_pem.bytes(), chain)


async def test_calls_are_answered_over_tls(serve: Serve, tls: TlsSettings, authority: trustme.CA, audit) -> None:
    transport = await serve(tls=tls)
    async with RawClient(transport.addresses[0], root_certificates=authority.cert_pem.bytes()) as client:
        await client.unary(path_of(Shape.UNARY), Script().encode(), timeout=20)
    assert audit.records[0].tls_identity is None


async def test_a_client_that_does_not_trust_the_server_does_not_call_it(serve: Serve, tls: TlsSettings, audit) -> None:
    transport = await serve(tls=tls)
    stranger = trustme.CA().cert_pem.bytes()
    async with RawClient(transport.addresses[0], root_certificates=stranger) as client:
        with pytest.raises(RpcFailed) as failed:
            await client.unary(path_of(Shape.UNARY), b"", timeout=20)
    assert failed.value.code == "UNAVAILABLE"
    assert audit.records == []


async def test_plain_text_is_not_answered_where_tls_is_configured(serve: Serve, tls: TlsSettings, audit) -> None:
    transport = await serve(tls=tls)
    async with RawClient(transport.addresses[0]) as client:
        with pytest.raises(RpcFailed) as failed:
            await client.unary(path_of(Shape.UNARY), b"", timeout=20)
    assert failed.value.code == "UNAVAILABLE"
    assert audit.records == []


async def test_the_subject_of_a_client_certificate_is_on_record(
    serve: Serve, mutual: TlsSettings, authority: trustme.CA, audit
) -> None:
    transport = await serve(tls=mutual)
    credentials = client_credentials(authority, authority)
    async with RawClient(transport.addresses[0], credentials=credentials) as client:
        await client.unary(path_of(Shape.UNARY), Script().encode(), timeout=20)
    identity = audit.records[0].tls_identity
    assert "CN=client one" in identity
    assert "O=Mycelia" in identity


@pytest.mark.parametrize("shows", ["nothing", "a certificate of another authority"])
async def test_mutual_tls_refuses_a_client(
    shows: str, serve: Serve, mutual: TlsSettings, authority: trustme.CA, audit
) -> None:
    transport = await serve(tls=mutual)
    if shows == "nothing":
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    else:
        credentials = client_credentials(authority, trustme.CA())
    async with RawClient(transport.addresses[0], credentials=credentials) as client:
        with pytest.raises(RpcFailed) as failed:
            await client.unary(path_of(Shape.UNARY), b"", timeout=20)
    assert failed.value.code == "UNAVAILABLE"
    assert audit.records == []


@pytest.mark.parametrize(("minimum", "spoken"), [("1.3", {"TLSv1.3"}), ("1.2", {"TLSv1.2", "TLSv1.3"})])
def test_no_version_older_than_the_configured_one_is_spoken(
    minimum: str, spoken: set[str], tls: TlsSettings, authority: trustme.CA, tmp_path: Path
) -> None:
    # In a process of its own: what gRPC is told of versions holds for the life of a process.
    tables = {
        "server": {"plugins": ["mfn_core.testing.suite_service", "transport_grpc"], "allow": ["anonymous"]},
        "transports": {
            "grpc": {
                "listen": "127.0.0.1:0",
                "tls": {"certificate": tls.certificate, "key": tls.key, "minimum_version": minimum},
            }
        },
    }

    def handshake(address: str, version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.set_alpn_protocols(["h2"])
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.1 is old is what the test is about
            context.minimum_version = context.maximum_version = version
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), 20) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                    return wrapped.version()
            except OSError:
                return None

    with ServerProcess(tables, tmp_path) as server:
        versions = (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        assert {handshake(server.address("grpc"), version) for version in versions} - {None} == spoken


# What preflight says.


def test_a_certificate_and_its_key_have_no_problem(mutual: TlsSettings) -> None:
    assert list(tls_problems(mutual)) == []


def test_every_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    problems = list(
        tls_problems(TlsSettings(certificate=tmp_path / "a.pem", key=tmp_path / "b.key", client_ca=tmp_path / "c.pem"))
    )
    assert [problem.partition(":")[0] for problem in problems] == ["tls.certificate", "tls.key", "tls.client_ca"]
    assert all("No such file or directory" in problem for problem in problems)


def test_a_key_of_another_certificate_is_told(tls: TlsSettings, authority: trustme.CA) -> None:
    tls.key.write_bytes(authority.issue_cert("other.example").private_key_pem.bytes())
    (problem,) = tls_problems(tls)
    assert problem == f"tls.key: {tls.key} is not the key of the certificate in {tls.certificate}"


def test_a_key_with_a_passphrase_is_told_and_asks_nobody(tls: TlsSettings) -> None:
    key = load_pem_private_key(tls.key.read_bytes(), None)
    tls.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"never asked for"))
    )
    (problem,) = tls_problems(tls)
    assert problem.startswith(f"tls.key: {tls.key} has a passphrase")


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_a_file_that_is_no_pem_is_told(name: str, tls: TlsSettings) -> None:
    getattr(tls, name).write_text("not a certificate")
    (problem,) = tls_problems(tls)
    assert "are not a PEM certificate and its PEM private key" in problem


def test_authorities_that_are_no_certificates_are_told(mutual: TlsSettings) -> None:
    assert mutual.client_ca is not None
    mutual.client_ca.write_text("")
    (problem,) = tls_problems(mutual)
    assert problem.startswith(f"tls.client_ca: {mutual.client_ca} holds no PEM certificate")


async def test_a_transport_does_not_start_with_certificates_that_do_not_match(
    tls: TlsSettings, authority: trustme.CA, make: Callable[..., GrpcTransport], dispatcher
) -> None:
    tls.key.write_bytes(authority.issue_cert("other.example").private_key_pem.bytes())
    transport = make(tls=tls)
    assert len(list(transport.preflight())) == 1
    with pytest.raises(OSError, match="is not the key of the certificate"):
        await transport.start(dispatcher)
    assert transport.addresses == ()


def test_files_that_are_missing_are_problems_of_the_configuration_by_their_paths(tmp_path: Path) -> None:
    tables = {
        "server": {"plugins": ["transport_grpc"], "allow": ["anonymous", "anonymous-beyond-loopback"]},
        "transports": {"grpc/public": {"listen": "0.0.0.0:1", "tls": {"certificate": "none.pem", "key": "none.key"}}},
    }
    with pytest.raises(ConfigError) as refused:
        assemble(Document(tables=tables, base_dir=tmp_path, source="test"))
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert found['transports."grpc/public".tls.certificate'].endswith(
        "none.pem cannot be read: No such file or directory"
    )
    assert found['transports."grpc/public".tls.key'].endswith("none.key cannot be read: No such file or directory")
