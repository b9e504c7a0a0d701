"""An outside client that knows nothing but what the server says of itself, and the headers that `mfn sign` prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.protobuf.json_format import MessageToDict, ParseDict

from mfn_e2e.commands import mfn
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.node import program
from mfn_e2e.operations import EXAMPLES, Example
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

REQUESTS = {
    "unary": "mfn.SimulationRequest",
    "server_stream": "mfn.SimulationStreamRequest",
    "client_stream": "mfn.v1.AnalyzeFieldRequest",
    "bidi": "mfn.v1.SteerSimulationRequest",
}
REPLIES: dict[str, Any] = {
    "unary": w1.SimulationResult,
    "server_stream": w1.SimulationFrame,
    "client_stream": v1.AnalyzeFieldResponse,
    "bidi": v1.SteerSimulationResponse,
}

UNAUTHENTICATED = 16


@pytest.fixture(scope="session")
def buf() -> Path:
    """The program `buf`, from npm."""
    return program("buf")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom the client is told to trust."""
    return trustme.CA()


@pytest.fixture(scope="module", params=["plain text", "TLS"])
def served(
    request: pytest.FixtureRequest, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A server of every transport, with TLS or without."""
    directory, configuration = tmp_path_factory.mktemp("served"), tables()
    if request.param == "TLS":
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        for listener in configuration["transports"].values():
            listener["tls"] = {"certificate": "server.pem", "key": "server.pem"}
        authority.cert_pem.write_to_path(directory / "authority.pem")
    with Deployment(configuration, directory) as started:
        yield started


class Buf:
    """`buf` against one listener."""

    def __init__(self, program: Path, served: Deployment, transport: str) -> None:
        authority = served.directory / "authority.pem"
        secured: list[str | Path] = ["--cacert", authority] if authority.exists() else ["--http2-prior-knowledge"]
        self._curl: list[str | Path] = [program, "curl", "--protocol", "grpc", *secured]
        self._convert: list[str | Path] = [
            program,
            "convert",
            ROOT / "proto",
            "--from",
            "-#format=json",
            "--to",
            "-#format=binpb",
        ]
        self._url = f"http{'s' if authority.exists() else ''}://{served.address(transport)}"

    def curl(self, path: str, *words: str | Path, data: str = "") -> subprocess.CompletedProcess[str]:
        """Call, or ask what can be called."""
        command = [*self._curl, *words, f"{self._url}{path}"]
        return subprocess.run(command, input=data, capture_output=True, text=True, timeout=60, check=False)

    def encoded(self, message_type: str, data: str) -> bytes:
        """The bytes of a message, which are what is signed."""
        done = subprocess.run(
            [*self._convert, "--type", message_type], input=data.encode(), capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture
def client(buf: Path, served: Deployment, transport: str) -> Buf:
    """The outside client, told an address and, for TLS, an authority."""
    return Buf(buf, served, transport)


def as_json(example: Example) -> str:
    return "\n".join(json.dumps(MessageToDict(message)) for message in example.messages())


def several(text: str) -> list[Any]:
    """The JSON values that stand one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_reflection_says_what_can_be_called(client: Buf) -> None:
    done = client.curl("", "--list-methods")
    assert done.returncode == 0, done.stderr
    assert {example.path.removeprefix("/") for example in EXAMPLES} <= set(done.stdout.split())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.shape)
def test_a_call_signed_with_the_headers_that_are_printed_is_answered(
    client: Buf, served: Deployment, example: Example, tmp_path: Path
) -> None:
    data = as_json(example)
    keys, headers = served.directory / "keys.toml", tmp_path / "headers"
    signing: list[str | Path] = ["sign", example.path, "-k", keys, "--key-id", "ada"]
    if example.client_streams:
        headers.write_text(mfn(*signing, "--stream"))
    else:
        body = client.encoded(REQUESTS[example.shape], data)
        headers.write_text(mfn(*signing, "-d", "-", stdin=body))
    done = client.curl(example.path, "-H", f"@{headers}", "-d", "@-", data=data)
    assert done.returncode == 0, done.stderr
    replies = [ParseDict(each, REPLIES[example.shape]()) for each in several(done.stdout)]
    assert len(replies) == example.replies
    assert all(reply.ByteSize() for reply in replies)
    again = client.curl(example.path, "-H", f"@{headers}", "-d", "@-", data=data)
    assert again.returncode == UNAUTHENTICATED << 3, again.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.shape)
def test_a_call_that_is_not_signed_is_refused(client: Buf, example: Example) -> None:
    done = client.curl(example.path, "-d", "@-", data=as_json(example))
    assert (done.returncode, done.stdout) == (UNAUTHENTICATED << 3, "")
    assert "unauthenticated" in done.stderr
