"""Clients for browsers and for servers by others, over gRPC-Web and Connect: the same bits as over gRPC."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions
from google.protobuf.json_format import MessageToJson, ParseDict
from google.protobuf.message import Message

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import Deployment
from mfn_e2e.node import definitions, program, run_script
from mfn_e2e.operations import EXAMPLES, Example
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1
from mfn_signing import encode_secret

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

REPLIES: Mapping[str, type[Message]] = {
    "unary": w1.SimulationResult,
    "server_stream": w1.SimulationFrame,
    "client_stream": v1.AnalyzeFieldResponse,
    "bidi": v1.SteerSimulationResponse,
}
UNAUTHENTICATED = 16


def transport(library: str, kind: str, **options: Any) -> dict[str, Any]:
    return {"library": library, "kind": kind, "options": options}


TRANSPORTS = (
    transport("web", "connect", useBinaryFormat=True),
    transport("web", "connect", useBinaryFormat=False),
    transport("web", "connect", useBinaryFormat=True, useHttpGet=True),
    transport("web", "connect", useBinaryFormat=False, useHttpGet=True),
    transport("web", "grpcweb", useBinaryFormat=True),
    transport("node", "connect", httpVersion="2", useBinaryFormat=True),
    transport("node", "connect", httpVersion="2", useBinaryFormat=False),
    transport("node", "connect", httpVersion="1.1", useBinaryFormat=True),
    transport("node", "connect", httpVersion="1.1", useBinaryFormat=False),
    transport("node", "grpcweb", httpVersion="2", useBinaryFormat=True),
    transport("node", "grpcweb", httpVersion="1.1", useBinaryFormat=True),
    transport("node", "grpc", httpVersion="2", useBinaryFormat=True),
)


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The definitions, compiled. What has no side effects is said to have none: these clients make GET requests of such
    calls alone."""
    schema = tmp_path_factory.mktemp("schema") / "schema.binpb"
    files = FileDescriptorSet.FromString(definitions(schema))
    for method in (method for file in files.file for service in file.service for method in service.method):
        if method.name == "RunSimulation":
            method.options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    schema.write_bytes(files.SerializeToString())
    return schema


def run_node(schema: Path, server: Deployment, secret: bytes) -> list[list[dict[str, Any] | None]]:
    calls = []
    for example in EXAMPLES:
        service, _, method = example.path[1:].rpartition("/")
        messages = [base64.b64encode(raw).decode() for raw in example.raw()]
        calls.append({"service": service, "method": method, "messages": messages})
    job = {
        "baseUrl": f"http://{server.address('asgi')}",
        "keyId": "ada",
        "secret": encode_secret(secret),
        "descriptors": base64.b64encode(schema.read_bytes()).decode(),
        "transports": TRANSPORTS,
        "calls": calls,
    }
    found: list[list[dict[str, Any] | None]] = run_script("connect.mjs", job)
    return found


def comparable(shape: str, raw: bytes) -> bytes:
    """A reply without what is drawn for each call."""
    reply = REPLIES[shape].FromString(raw)
    if isinstance(reply, v1.SteerSimulationResponse) and reply.WhichOneof("event") == "started":
        reply.started.session_id = ""
    return reply.SerializeToString(deterministic=True)


def carried(each: Mapping[str, Any], example: Example) -> bool:
    """Whether a transport can carry a call: browsers cannot stream requests, and HTTP/1.1 no conversation."""
    if each["library"] == "web":
        return not example.client_streams
    return example.shape != "bidi" or each["options"]["httpVersion"] == "2"


async def over_grpc(server: Deployment) -> list[list[bytes]]:
    """The replies of every example over gRPC."""
    replies = []
    async with RawClient(server.address("asgi")) as client:
        for example in EXAMPLES:
            ended = await exchange(client, example.path, example.raw(), example.sign(server.caller()))
            assert ended.status.ok, ended.status
            replies.append([comparable(example.shape, raw) for raw in ended.replies])
    return replies


async def test_every_client_gets_the_same_bits_in_every_shape_that_it_carries(server: Deployment, schema: Path) -> None:
    expected = await over_grpc(server)
    found = run_node(schema, server, server.keys["ada"].secret)
    assert len(found) == len(TRANSPORTS)
    for each, results in zip(TRANSPORTS, found, strict=True):
        for example, replies, result in zip(EXAMPLES, expected, results, strict=True):
            where = (each, example.path)
            if not carried(each, example):
                assert result is None, where
                continue
            assert result is not None, where
            assert (result["message"], result["code"]) == ("", 0), where
            theirs = [comparable(example.shape, base64.b64decode(raw)) for raw in result["replies"]]
            assert theirs == replies, where
            was_get = result["header"].get("cache-control") == "private"
            assert was_get == (each["options"].get("useHttpGet", False) and example.shape == "unary"), where


async def test_every_client_with_another_secret_is_refused(server: Deployment, schema: Path) -> None:
    for each, results in zip(TRANSPORTS, run_node(schema, server, server.keys["ben"].secret), strict=True):
        for example, result in zip(EXAMPLES, results, strict=True):
            if carried(each, example):
                assert result is not None
                assert (result["code"], result["message"], result["replies"]) == (
                    UNAUTHENTICATED,
                    "authentication failed",
                    [],
                ), (each, example.path)


def buf_curl(
    schema: Path, server: Deployment, example: Example, *words: str, sign: bool
) -> subprocess.CompletedProcess[str]:
    headers = example.sign(server.caller()) if sign else []
    data = "\n".join(MessageToJson(message, indent=None) for message in example.messages())
    options = [word for name, value in headers for word in ("-H", f"{name}: {value}")]
    return subprocess.run(
        [
            program("buf"),
            "curl",
            *words,
            *("--schema", schema, "-d", data),
            *options,
            f"http://{server.address('asgi')}{example.path}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.shape)
@pytest.mark.parametrize(
    "words",
    [
        ("--protocol", "connect"),
        ("--protocol", "connect", "--http2-prior-knowledge"),
        ("--protocol", "grpcweb"),
        ("--protocol", "grpcweb", "--http2-prior-knowledge"),
        ("--protocol", "grpc"),
    ],
    ids=lambda words: " ".join(words[1:]).replace("--", ""),
)
async def test_buf_curl_gets_the_same_numbers(
    server: Deployment, schema: Path, words: Sequence[str], example: Example
) -> None:
    done = buf_curl(schema, server, example, *words, sign=True)
    assert done.returncode == 0, done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    assert len(found) == example.replies
    expected = (await over_grpc(server))[EXAMPLES.index(example)]
    theirs = [
        comparable(example.shape, ParseDict(value, REPLIES[example.shape]()).SerializeToString()) for value in found
    ]
    assert theirs == expected


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
def test_buf_curl_without_a_signature_is_refused(server: Deployment, schema: Path, protocol: str) -> None:
    for example in EXAMPLES:
        done = buf_curl(schema, server, example, "--protocol", protocol, sign=False)
        assert done.returncode == UNAUTHENTICATED << 3, done.stderr
        assert "authentication failed" in done.stderr
