"""No call without a right signature, in any shape on any transport; and what was wrong with one stays inside."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from attrs import frozen

from mfn_client.raw import RawClient
from mfn_e2e.calls import Caller, Ended, Header, exchange, new_id
from mfn_e2e.deployment import LIMITS, Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_e2e.operations import EXAMPLES, Example
from mfn_signing import (
    HEADERS,
    KEY_ID_HEADER,
    NONCE_HEADER,
    TIMESTAMP_HEADER,
    Credentials,
    encode_secret,
    generate_key,
    new_random_nonce,
    sign_headers,
)

TEXT = "authentication failed"
"""The one text of every refusal."""

WINDOW = 300
"""Seconds that a timestamp may lie from the server's clock."""


@pytest.fixture(params=EXAMPLES, ids=lambda example: example.shape)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


async def call(client: RawClient, example: Example, headers: list[Header], request_id: str) -> Ended:
    return await exchange(client, example.path, example.raw(), [*headers, ("x-request-id", request_id)])


async def assert_served(server: Deployment, client: RawClient, example: Example) -> str:
    """A right call works; the id under which the trail has it."""
    request_id = new_id()
    ended = await call(client, example, example.sign(server.caller()), request_id)
    assert ended.status.ok, ended.status
    assert len(ended.replies) == example.replies
    record = await server.trail.one(request_id)
    assert (record["status"], record["reason"], record["principal"]) == ("OK", None, "ada")
    return request_id


async def assert_refused(
    server: Deployment, client: RawClient, example: Example, headers: list[Header], reason: str
) -> None:
    """UNAUTHENTICATED with the one text and nothing else, one record with the true reason, and no harm done."""
    request_id = new_id()
    ended = await call(client, example, headers, request_id)
    assert ended.replies == ()
    assert (ended.code, ended.status.message) == ("UNAUTHENTICATED", TEXT)
    assert ended.status.violations == ()
    assert ended.status.retry_after is None
    assert ended.status.reason == ""
    assert ended.status.details == {}
    assert reason not in repr(ended.status)
    await assert_served(server, client, example)
    # The trail is in the order of the calls: with the later call there, everything of the earlier one is there.
    (record,) = await server.trail.of(request_id)
    assert record["status"] == "UNAUTHENTICATED"
    assert reason in record["reason"], record["reason"]
    assert record["method"] == example.path
    assert record["shape"] == example.shape
    assert record["principal"] is None
    assert record["messages_out"] == 0


Spoil = Callable[[Deployment, Example], list[Header]]


def signed(server: Deployment, example: Example, **changes: int | str) -> list[Header]:
    return example.sign(server.caller(), **changes)  # type: ignore[arg-type] # as the cases below say


def replaced(headers: list[Header], name: str, value: str) -> list[Header]:
    return [(key, value if key == name else old) for key, old in headers]


def of_another_method(server: Deployment, example: Example) -> list[Header]:
    other = next(
        each for each in EXAMPLES if each.path != example.path and each.client_streams == example.client_streams
    )
    return server.caller().sign(other.path, example.body())


def of_an_unknown_key(server: Deployment, example: Example) -> list[Header]:
    stranger = generate_key(key_id="stranger", principal="ada", roles={"admin"})
    return example.sign(Caller(credentials=Credentials.from_key(stranger)))


def with_another_secret(server: Deployment, example: Example) -> list[Header]:
    guessed = generate_key(key_id="ada", principal="ada", roles={"write"})
    return example.sign(Caller(credentials=Credentials.from_key(guessed)))


def under_another_key_id(server: Deployment, example: Example) -> list[Header]:
    return replaced(signed(server, example), KEY_ID_HEADER, "ben")


def with_the_other_kind_of_hash(server: Deployment, example: Example) -> list[Header]:
    """A signature over STREAM for a message, or over a message for a stream: both are signed rightly."""
    body = example.raw()[0] if example.client_streams else None
    return server.caller().sign(example.path, body)


@frozen
class Case:
    name: str
    spoil: Spoil
    reason: str


CASES = [
    Case("another method", of_another_method, "signature does not match"),
    Case(
        "a timestamp that is too old",
        lambda server, example: signed(server, example, timestamp=math.floor(time.time()) - WINDOW - 1),
        "s from the server's clock",
    ),
    Case(
        # Whole seconds, rounded up: the server looks at it a moment later.
        "a timestamp that is too far ahead",
        lambda server, example: signed(server, example, timestamp=math.ceil(time.time()) + WINDOW + 1),
        "s from the server's clock",
    ),
    Case("an unknown key", of_an_unknown_key, "unknown key id"),
    Case("another secret", with_another_secret, "signature does not match"),
    Case("the id of another key", under_another_key_id, "signature does not match"),
    Case(
        "another timestamp than was signed",
        lambda server, example: replaced(signed(server, example), TIMESTAMP_HEADER, str(int(time.time()) + 1)),
        "signature does not match",
    ),
    Case(
        "another nonce than was signed",
        lambda server, example: replaced(signed(server, example), NONCE_HEADER, new_random_nonce()),
        "signature does not match",
    ),
    Case("the other kind of content hash", with_the_other_kind_of_hash, "content hash"),
    Case("no headers at all", lambda server, example: [], "no credentials"),
    *(
        Case(
            f"no {name}",
            lambda server, example, name=name: [pair for pair in signed(server, example) if pair[0] != name],  # type: ignore[misc] # bound early
            f"missing header: {name}",
        )
        for name in HEADERS
    ),
    *(
        Case(
            f"{name} twice",
            lambda server, example, name=name: [  # type: ignore[misc] # bound early
                *(headers := signed(server, example)),
                *(pair for pair in headers if pair[0] == name),
            ],
            name,
        )
        for name in HEADERS
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_call_is_refused_with(server: Deployment, client: RawClient, example: Example, case: Case) -> None:
    await assert_refused(server, client, example, case.spoil(server, example), case.reason)


async def test_a_timestamp_of_before_the_servers_start_is_refused(tmp_path: Path) -> None:
    # By a server of its own: one that is older than the window has no such timestamps.
    with Deployment(tables(server=LIMITS), tmp_path) as young:
        for transport in TRANSPORTS:
            async with RawClient(young.address(transport)) as client:
                for example in EXAMPLES:
                    headers = signed(young, example, timestamp=int(time.time()) - WINDOW // 2)
                    await assert_refused(young, client, example, headers, "older than this server")


@pytest.mark.parametrize("example", [each for each in EXAMPLES if not each.client_streams], ids=lambda each: each.shape)
async def test_a_message_other_than_the_one_signed_is_refused(
    server: Deployment, client: RawClient, example: Example
) -> None:
    raw = example.raw()[0]
    headers = server.caller().sign(example.path, raw + b"\x10\x07")  # a seed added on the way
    await assert_refused(server, client, example, headers, "content hash does not match")
    # The hash of what is sent in place of the signed one.
    headers = replaced(headers, "x-mfn-content-sha256", hashlib.sha256(raw).hexdigest())
    await assert_refused(server, client, example, headers, "signature does not match")


@pytest.mark.parametrize("kind", ["random", "windowed"])
async def test_a_nonce_works_once(server: Deployment, client: RawClient, example: Example, kind: str) -> None:
    caller = server.caller()
    nonce = new_random_nonce() if kind == "random" else caller.nonces.next()
    headers = example.sign(caller, nonce=nonce)
    first = await call(client, example, headers, new_id())
    assert first.status.ok, first.status
    await assert_refused(server, client, example, headers, "nonce was used before")
    # Signed anew, by the second: the same nonce all the same.
    again = example.sign(caller, nonce=nonce, timestamp=int(time.time()) + 1)
    await assert_refused(server, client, example, again, "nonce was used before")


@pytest.mark.parametrize("kind", ["random", "windowed"])
@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in product(TRANSPORTS, repeat=2) if pair[0] != pair[1]] or [TRANSPORTS * 2]
)
async def test_a_nonce_that_one_transport_has_seen_is_refused_on_the_other(
    server: Deployment, example: Example, first: str, second: str, kind: str
) -> None:
    caller = server.caller()
    headers = example.sign(caller, nonce=new_random_nonce() if kind == "random" else caller.nonces.next())
    async with RawClient(server.address(first)) as one, RawClient(server.address(second)) as other:
        ended = await call(one, example, headers, new_id())
        assert ended.status.ok, ended.status
        await assert_refused(server, other, example, headers, "nonce was used before")


async def test_a_nonce_of_a_refused_call_is_not_used_up(
    server: Deployment, client: RawClient, example: Example
) -> None:
    nonce = new_random_nonce()
    forged = replaced(example.sign(server.caller(), nonce=nonce), "x-mfn-signature", "0" * 64)
    await assert_refused(server, client, example, forged, "signature does not match")
    ended = await call(client, example, example.sign(server.caller(), nonce=nonce), new_id())
    assert ended.status.ok, ended.status


async def test_a_timestamp_ahead_of_the_server_but_within_the_window_is_taken(
    server: Deployment, client: RawClient, example: Example
) -> None:
    headers = example.sign(server.caller(), timestamp=int(time.time()) + WINDOW - 5)
    ended = await call(client, example, headers, new_id())
    assert ended.status.ok, ended.status


async def test_a_key_with_the_role_read_may_run_numeric_operations(
    server: Deployment, client: RawClient, example: Example
) -> None:
    request_id = new_id()
    ended = await call(client, example, example.sign(server.caller("ada-reads")), request_id)
    assert ended.status.ok, ended.status
    assert len(ended.replies) == example.replies
    record = await server.trail.one(request_id)
    assert (record["principal"], record["key_id"]) == ("ada", "ada-reads")


async def test_counters_may_overtake_one_another_within_the_window_and_not_beyond(
    server: Deployment, client: RawClient, example: Example
) -> None:
    instance = new_random_nonce()
    caller = server.caller()
    for counter in (2000, 1999, 2000 - 1023, 2001):
        ended = await call(client, example, example.sign(caller, nonce=f"{instance}.{counter}"), new_id())
        assert ended.status.ok, (counter, ended.status)
    late = example.sign(caller, nonce=f"{instance}.{2001 - 1024}")
    await assert_refused(server, client, example, late, "older than the window")


async def test_a_server_says_nothing_of_a_secret(server: Deployment, client: RawClient, example: Example) -> None:
    await assert_refused(server, client, example, with_another_secret(server, example), "signature does not match")
    said = server.stderr_text() + server.trail.path.read_text()
    for key in server.keys.values():
        assert encode_secret(key.secret) not in said
        assert key.secret.hex() not in said


async def test_a_method_that_does_not_exist_is_on_record_too(server: Deployment, client: RawClient) -> None:
    request_id = new_id()
    headers = sign_headers(
        Credentials.from_key(server.keys["ada"]),
        "/mfn.v1.FieldService/Nothing",
        b"",
        timestamp=int(time.time()),
        nonce=new_random_nonce(),
    )
    ended = await exchange(client, "/mfn.v1.FieldService/Nothing", [b""], [*headers, ("x-request-id", request_id)])
    assert ended.code == "UNIMPLEMENTED"
    record = await server.trail.one(request_id)
    assert (record["status"], record["method"]) == ("UNIMPLEMENTED", "/mfn.v1.FieldService/Nothing")
