"""TLS: by whose authorities a server is known, the client's own certificate, and options that cannot be meant."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from mfn_client import Code, Credentials, MFNClient, MfnRpcError
from mfn_proto import mfn_pb2

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))
AUTHORITY = trustme.CA()
ROOTS = AUTHORITY.cert_pem.bytes()


def issued(*names: str, authority: trustme.CA = AUTHORITY) -> tuple[bytes, bytes]:
    """Certificate chain and key, PEM."""
    certificate = authority.issue_cert(*names)
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems), certificate.private_key_pem.bytes()


async def answer(call: Any) -> None:
    request_id = mfn_pb2.FeatureRequest.FromString(call.first).request_id
    await call.write(mfn_pb2.FeatureResponse(request_id=request_id))


class Serving:
    """Starts servers of the test's own certificates, and stops them."""

    def __init__(self, make: Any, start: Any) -> None:
        self._make = make
        self._start = start
        self.running: list[grpc.aio.Server] = []

    async def __call__(self, *names: str, clients: bytes | None = None) -> Any:
        chain, key = issued(*names)
        tiny = self._make()
        tiny.serve(EXTRACT, answer)
        credentials = grpc.ssl_server_credentials([(key, chain)], clients, require_client_auth=clients is not None)
        self.running.append(await self._start(tiny, credentials))
        return tiny


@pytest.fixture
async def serving(parts: Any) -> AsyncIterator[Serving]:
    serving = Serving(*parts)
    yield serving
    for running in serving.running:
        await running.stop(None)


async def calls(target: str, **options: Any) -> None:
    async with MFNClient(target, credentials=CREDENTIALS, retry_max_attempts=1, timeout=20.0, **options) as client:
        await client.extract_features()


async def refused(target: str, **options: Any) -> None:
    with pytest.raises(MfnRpcError) as caught:
        await calls(target, **options)
    assert caught.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize("given", ["bytes", "str", "path"])
async def test_authorities_are_given_as_pem_or_as_a_path(serving: Serving, tmp_path: Path, given: str) -> None:
    server = await serving("127.0.0.1")
    path = tmp_path / "roots.pem"
    path.write_bytes("# Zertifizierungsstelle für Versuche\n".encode() + ROOTS)
    roots = {"bytes": ROOTS, "str": str(path), "path": path}[given]
    await calls(server.address, root_certificates=roots)


async def test_a_server_of_another_authority_is_not_talked_to(serving: Serving) -> None:
    server = await serving("127.0.0.1")
    await refused(server.address, root_certificates=trustme.CA().cert_pem.bytes())
    assert server.calls == []


async def test_a_server_of_another_name_is_not_talked_to_unless_that_name_is_given(serving: Serving) -> None:
    server = await serving("mfn.example")
    await refused(server.address, root_certificates=ROOTS)
    await refused(server.address, root_certificates=ROOTS, server_name="other.example")
    await calls(server.address, root_certificates=ROOTS, server_name="mfn.example")


async def test_without_authorities_those_of_the_system_count(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serving("127.0.0.1")
    (tmp_path / "system.pem").write_bytes(ROOTS)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    await calls(server.address, tls=True)
    (tmp_path / "system.pem").write_bytes(trustme.CA().cert_pem.bytes())
    await refused(server.address, tls=True)


async def test_a_directory_of_authorities_counts_where_the_system_has_no_file(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serving("127.0.0.1")
    (tmp_path / "0a1b2c3d.0").write_bytes(ROOTS)
    (tmp_path / "README").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    await calls(server.address, tls=True)


@pytest.mark.parametrize("exists", [True, False])
def test_a_system_without_authorities_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path if exists else tmp_path / "none"))
    with pytest.raises(ValueError, match=r"no certificate authorities where OpenSSL looks .*; give root_certificates"):
        MFNClient("mfn.example:443", tls=True)


@pytest.mark.parametrize("as_paths", [True, False])
async def test_a_client_shows_its_certificate(serving: Serving, tmp_path: Path, as_paths: bool) -> None:
    subjects: list[bytes] = []

    async def note(call: Any) -> None:
        subjects.extend(call.context.auth_context()["x509_subject_alternative_name"])
        await answer(call)

    server = await serving("127.0.0.1", clients=ROOTS)
    server.serve(EXTRACT, note)
    chain, key = issued("lab-1.example")
    pair: dict[str, Any] = {"certificate_chain": chain, "private_key": key}
    if as_paths:
        for name, pem in tuple(pair.items()):
            pair[name] = tmp_path / name
            pair[name].write_bytes(pem)
    await calls(server.address, root_certificates=ROOTS, **pair)
    assert subjects == [b"lab-1.example"]
    await refused(server.address, root_certificates=ROOTS)
    stranger, strangers_key = issued("lab-1.example", authority=trustme.CA())
    await refused(server.address, root_certificates=ROOTS, certificate_chain=stranger, private_key=strangers_key)
    assert len(server.calls) == 1


CHAIN, KEY = issued("lab-1.example")
_, OTHER_KEY = issued("lab-2.example")
ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"root_certificates": b""}, "root_certificates holds no PEM certificate"),
        ({"root_certificates": b"nonsense"}, "root_certificates holds no PEM certificate"),
        ({"root_certificates": KEY}, "root_certificates holds no PEM certificate"),
        ({"root_certificates": ROOTS.decode()}, "root_certificates is PEM in a str, .*; give PEM as bytes"),
        ({"certificate_chain": CHAIN}, "are given together; private_key is missing"),
        ({"private_key": KEY}, "are given together; certificate_chain is missing"),
        ({"certificate_chain": KEY, "private_key": KEY}, "certificate_chain holds no PEM certificate"),
        ({"certificate_chain": CHAIN, "private_key": CHAIN}, "private_key holds no PEM private key"),
        ({"certificate_chain": CHAIN, "private_key": ENCRYPTED}, "private_key has a passphrase; store it without one"),
        ({"certificate_chain": CHAIN, "private_key": OTHER_KEY}, "private_key is not the key of the certificate"),
        (
            {"certificate_chain": CHAIN.replace(b"M", b"#", 5), "private_key": KEY},
            "certificate_chain and private_key are not a certificate and its key",
        ),
        ({"server_name": "", "root_certificates": ROOTS}, "server_name is empty"),
        ({"tls": True, "insecure": True}, "insecure=True asks for plain text, and tls for TLS; give one"),
        ({"root_certificates": ROOTS, "insecure": True}, "plain text, and root_certificates for TLS; give one"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name_when_the_client_is_made(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        MFNClient("127.0.0.1:1", **({"root_certificates": ROOTS} if "private_key" in options else {}), **options)
    secret = KEY.split(b"\n")[1].decode()
    assert secret not in str(caught.value)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.pem"):
        MFNClient("127.0.0.1:1", root_certificates=tmp_path / "none.pem")
    (tmp_path / "some.pem").write_text("nonsense")
    with pytest.raises(ValueError, match=r"root_certificates: .*some\.pem holds no PEM certificate"):
        MFNClient("127.0.0.1:1", root_certificates=tmp_path / "some.pem")
    huge = tmp_path / "huge.pem"
    with huge.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(ValueError, match=r"huge\.pem is longer than 16777216 bytes"):
        MFNClient("127.0.0.1:1", root_certificates=os.fspath(huge))


@pytest.mark.parametrize("target", ["mfn.example:443", "127.0.0.1:443"])
def test_tls_needs_no_word_of_insecurity(target: str) -> None:
    MFNClient(target, root_certificates=ROOTS)
