"""The commands of several packages, against a server that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange, new_id
from mfn_e2e.commands import mfn
from mfn_e2e.deployment import Deployment
from mfn_e2e.installed import PLUGINS, TRANSPORTS
from mfn_e2e.operations import EXAMPLES, Example


def printed(text: str) -> list[tuple[str, str]]:
    """Headers as `mfn sign` prints them."""
    return [(name, value) for name, _, value in (line.partition(": ") for line in text.splitlines())]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.shape)
async def test_headers_that_mfn_sign_prints_make_a_call_succeed_once(
    server: Deployment, example: Example, tmp_path: Path
) -> None:
    body = example.body()
    message = tmp_path / "message"
    message.write_bytes(body or b"")
    words = ["--stream"] if body is None else ["--data-file", str(message)]
    text = mfn("sign", example.path, "--keys-file", server.directory / "keys.toml", "--key-id", "ada", *words)
    headers = printed(text)
    assert [name for name, _ in headers] == [
        "x-mfn-key-id",
        "x-mfn-timestamp",
        "x-mfn-nonce",
        "x-mfn-content-sha256",
        "x-mfn-signature",
    ]
    async with RawClient(server.address(TRANSPORTS[-1])) as client:
        ended = await exchange(client, example.path, example.raw(), headers)
        assert ended.status.ok, ended.status
        assert len(ended.replies) == example.replies
        again = await exchange(client, example.path, example.raw(), headers)
        assert again.code == "UNAUTHENTICATED"


async def test_mfn_sign_takes_the_message_from_standard_input(server: Deployment) -> None:
    example = EXAMPLES[0]
    (raw,) = example.raw()
    text = mfn(
        *("sign", example.path, "--keys-file", server.directory / "keys.toml", "--key-id", "ada", "-d", "-"), stdin=raw
    )
    async with RawClient(server.address(TRANSPORTS[0])) as client:
        assert (await exchange(client, example.path, [raw], printed(text))).status.ok


async def test_the_record_of_a_call_is_found_by_its_id(server: Deployment) -> None:
    if "audit_jsonl" not in PLUGINS:
        assert not server.trail.path.exists()
        return
    request_id, example = new_id(), EXAMPLES[0]
    headers = [*example.sign(server.caller("ben")), ("x-request-id", request_id)]
    async with RawClient(server.address(TRANSPORTS[0])) as client:
        assert (await exchange(client, example.path, example.raw(), headers)).status.ok
    await server.trail.one(request_id)
    (line,) = mfn("audit", "query", server.trail.path, "--request-id", request_id, "--json").splitlines()
    record = json.loads(line)
    assert (record["principal"], record["status"], record["method"]) == ("ben", "OK", example.path)
    assert request_id in {
        json.loads(line)["request_id"] for line in mfn("audit", "tail", server.trail.path, "--json").splitlines()
    }


def test_mfn_check_describes_the_server_that_runs(server: Deployment) -> None:
    described = json.loads(mfn("check", "-c", server.config, "--json"))
    assert [stage["stage"] for stage in described["chain"]] == ["audit", "telemetry", "auth", "limit"]
    sections = {component["section"] for component in described["components"]}
    assert sections >= {*(f"transports.{name}" for name in TRANSPORTS), "auth.hmac", "services.mfn"}
    assert described["server"]["max_grid"] == 512
