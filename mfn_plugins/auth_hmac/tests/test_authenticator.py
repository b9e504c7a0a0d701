"""Scheme v2 as a server checks it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from mfn_auth_hmac import HmacAuthenticator
from mfn_auth_hmac.authenticator import HmacSettings, make_authenticator
from mfn_core import Call, Code, ComponentContext, Metadata, MfnError, Peer, Request, Shape
from mfn_core.config import ConfigError, ServerSettings
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.testing.auth import AuthenticatorSuite, Headers
from mfn_signing import Key, WindowedNonceSource, decode_secret, encode_secret, new_random_nonce, sign_headers

NOW = 1_767_225_600
SECRET = bytes(range(32))


def key(key_id: str = "alice-1", **changes: object) -> Key:
    settings: dict[str, object] = {
        "id": key_id,
        "secret": SECRET,
        "principal": "alice",
        "roles": frozenset({"write"}),
        "status": "active",
        "not_before": None,
        "not_after": None,
    }
    return Key(**{**settings, **changes})  # type: ignore[arg-type]  # a table of settings


REVOKED = key("revoked-1", secret=b"r" * 32, status="revoked")
EARLY = key("early-1", secret=b"e" * 32, not_before=datetime.fromtimestamp(NOW, UTC) + timedelta(hours=1))
EXPIRED = key("expired-1", secret=b"x" * 32, not_after=datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=1))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(clock: Clock) -> HmacAuthenticator:
    return HmacAuthenticator([key(), REVOKED, EARLY, EXPIRED], clock=clock)


def without(headers: Headers, name: str) -> Headers:
    return [(k, v) for k, v in headers if k != name]


def replaced(headers: Headers, name: str, value: str) -> Headers:
    return [(k, value if k == name else v) for k, v in headers]


class TestHmacAuthenticator(AuthenticatorSuite):
    def credentials(self, path: str, body: bytes | None) -> Headers:
        return sign_headers(key(), path, body, timestamp=NOW, nonce=new_random_nonce())

    def wrong(self, path: str, body: bytes | None) -> Mapping[str, Headers]:
        good = self.credentials(path, body)
        values = dict(good)
        kinds: dict[str, Headers] = {f"missing {name}": without(good, name) for name in values}
        kinds |= {f"doubled {name}": [*good, (name, value)] for name, value in good}
        nonce = new_random_nonce()
        kinds["unknown key"] = sign_headers(key("nobody"), path, body, timestamp=NOW, nonce=nonce)
        kinds["another secret"] = sign_headers(key(secret=b"?" * 32), path, body, timestamp=NOW, nonce=nonce)
        kinds["timestamp too old"] = sign_headers(key(), path, body, timestamp=NOW - 301, nonce=nonce)
        kinds["timestamp too new"] = sign_headers(key(), path, body, timestamp=NOW + 301, nonce=nonce)
        kinds["timestamp with a fraction"] = replaced(good, "x-mfn-timestamp", f"{NOW}.0")
        kinds["timestamp not a number"] = replaced(good, "x-mfn-timestamp", "now")
        kinds["nonce too short"] = replaced(good, "x-mfn-nonce", "short")
        kinds["nonce altered"] = replaced(good, "x-mfn-nonce", new_random_nonce())
        kinds["hash of another body"] = sign_headers(key(), path, b"another", timestamp=NOW, nonce=nonce)
        kinds["signature in upper case"] = replaced(good, "x-mfn-signature", str(values["x-mfn-signature"]).upper())
        kinds["signature cut"] = replaced(good, "x-mfn-signature", str(values["x-mfn-signature"])[:-1])
        kinds["revoked key"] = sign_headers(REVOKED, path, body, timestamp=NOW, nonce=nonce)
        kinds["key not yet valid"] = sign_headers(EARLY, path, body, timestamp=NOW, nonce=nonce)
        kinds["expired key"] = sign_headers(EXPIRED, path, body, timestamp=NOW, nonce=nonce)
        kinds["not ASCII"] = replaced(good, "x-mfn-key-id", "älice")
        if body is not None:
            kinds["STREAM for a signed body"] = sign_headers(key(), path, None, timestamp=NOW, nonce=nonce)
        return kinds

    def secrets(self) -> list[str]:
        return [encode_secret(SECRET), SECRET.hex(), repr(SECRET)]


def unary(headers: Headers, body: bytes = b"", path: str = "/mfn.MFNFeaturesService/ExtractFeatures") -> Call:
    suite = AuthenticatorSuite()
    call = suite.call(suite.operation(Shape.UNARY), headers, body)
    service, _, method = path[1:].rpartition("/")
    call.operation = evolve(call.operation, service=service, method=method)
    return call


async def test_the_published_vector_is_accepted() -> None:
    vector = key("k", secret=decode_secret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"))
    clock = Clock()
    body = bytes.fromhex("0a0172102a1840")
    headers = [
        ("x-mfn-key-id", "k"),
        ("x-mfn-timestamp", "1767225600"),
        ("x-mfn-nonce", "AAECAwQFBgcICQoL"),
        ("x-mfn-content-sha256", hashlib.sha256(body).hexdigest()),
        ("x-mfn-signature", "418a5011b5ece1588e5854d5044681c54bf2c9ff9889c8ac7c34da8abcbbc97a"),
    ]
    principal = await HmacAuthenticator([vector], clock=clock).authenticate(unary(headers, body))
    assert principal is not None
    assert principal.key_id == "k"


@pytest.mark.parametrize("offset", [-300, 300])
async def test_a_timestamp_at_the_edge_of_the_window_is_accepted(clock: Clock, offset: int) -> None:
    authenticator = HmacAuthenticator([key()], clock=clock)
    clock.now += 1000
    signed = sign_headers(
        key(),
        "/mfn.MFNFeaturesService/ExtractFeatures",
        b"",
        timestamp=int(clock.now) + offset,
        nonce=new_random_nonce(),
    )
    assert await authenticator.authenticate(unary(signed)) is not None


async def reason(authenticator: HmacAuthenticator, call: Call) -> str:
    with pytest.raises(MfnError) as refused:
        await authenticator.authenticate(call)
    return refused.value.reason


async def test_a_signature_of_an_http_request_covers_its_method_path_and_query(
    authenticator: HmacAuthenticator,
) -> None:
    suite = AuthenticatorSuite()
    body = b'{"seed": 1}'

    def call(signed: str, requested: str) -> Call:
        headers = sign_headers(key(), signed, body, timestamp=NOW, nonce=new_random_nonce())
        made = suite.call(suite.operation(Shape.UNARY), headers, body)
        return Call(
            id=made.id,
            operation=made.operation,
            transport="test",
            metadata=made.metadata,
            peer=made.peer,
            request=made.request,
            signed_path=requested,
        )

    assert await authenticator.authenticate(call("POST /simulate?x=1", "POST /simulate?x=1")) is not None
    for other in ("POST /simulate", "GET /simulate?x=1", "POST /simulate?x=2"):
        assert (await reason(authenticator, call("POST /simulate?x=1", other))).startswith("signature does not match")
    rpc = suite.operation(Shape.UNARY).path
    assert (await reason(authenticator, call(rpc, "POST /simulate"))).startswith("signature does not match")


async def test_a_timestamp_from_before_the_start_is_refused(clock: Clock, authenticator: HmacAuthenticator) -> None:
    def signed(timestamp: int) -> Call:
        path = "/mfn.MFNFeaturesService/ExtractFeatures"
        return unary(sign_headers(key(), path, b"", timestamp=timestamp, nonce=new_random_nonce()))

    assert await authenticator.authenticate(signed(NOW - 2)) is not None
    assert "older than this server" in await reason(authenticator, signed(NOW - 3))


async def test_a_random_nonce_is_refused_until_its_timestamp_is(clock: Clock, authenticator: HmacAuthenticator) -> None:
    path = "/mfn.MFNFeaturesService/ExtractFeatures"
    headers = sign_headers(key(), path, b"", timestamp=NOW + 300, nonce="n" * 22)
    assert await authenticator.authenticate(unary(headers)) is not None
    for passed in (0.5, 1, 299, 300, 599, 600):
        clock.now = NOW + passed
        assert "nonce" in await reason(authenticator, unary(headers)), passed
    clock.now = NOW + 601
    assert "timestamp" in await reason(authenticator, unary(headers))


async def test_windowed_nonces_may_arrive_out_of_order_but_once(authenticator: HmacAuthenticator) -> None:
    source = WindowedNonceSource()
    path = "/mfn.MFNFeaturesService/ExtractFeatures"
    calls = [sign_headers(key(), path, b"", timestamp=NOW, nonce=source.next()) for _ in range(1500)]
    for headers in (*reversed(calls[:600]), *calls[600:]):
        assert await authenticator.authenticate(unary(headers)) is not None
    for headers in (calls[-1], calls[800], calls[0]):
        assert "nonce" in await reason(authenticator, unary(headers))
    assert authenticator.remembered == 1


async def test_a_call_that_does_not_verify_is_not_remembered(authenticator: HmacAuthenticator) -> None:
    path = "/mfn.MFNFeaturesService/ExtractFeatures"
    forged = sign_headers(key(secret=b"?" * 32), path, b"", timestamp=NOW, nonce="n" * 22)
    for _ in range(3):
        assert "signature" in await reason(authenticator, unary(forged))
    assert authenticator.remembered == 0
    honest = sign_headers(key(), path, b"", timestamp=NOW, nonce="n" * 22)
    assert await authenticator.authenticate(unary(honest)) is not None


async def test_a_full_replay_memory_refuses_and_recovers(clock: Clock) -> None:
    authenticator = HmacAuthenticator([key()], replay_capacity=3, clock=clock)
    path = "/mfn.MFNFeaturesService/ExtractFeatures"

    def fresh(timestamp: int = NOW) -> Call:
        return unary(sign_headers(key(), path, b"", timestamp=timestamp, nonce=new_random_nonce()))

    for _ in range(3):
        assert await authenticator.authenticate(fresh()) is not None
    with pytest.raises(MfnError) as refused:
        await authenticator.authenticate(fresh())
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.retry_after is not None
    clock.now += refused.value.retry_after
    assert await authenticator.authenticate(fresh(int(clock.now))) is not None
    assert authenticator.remembered == 1


async def test_idle_windows_are_forgotten_once_their_calls_are_too_old(clock: Clock) -> None:
    authenticator = HmacAuthenticator([key()], clock=clock)
    path = "/mfn.MFNFeaturesService/ExtractFeatures"
    for number in range(50):
        nonce = f"instance-{number:010d}.1"
        assert await authenticator.authenticate(unary(sign_headers(key(), path, b"", timestamp=NOW, nonce=nonce)))
    assert authenticator.remembered == 50
    clock.now += 602
    nonce = WindowedNonceSource().next()
    assert await authenticator.authenticate(
        unary(sign_headers(key(), path, b"", timestamp=int(clock.now), nonce=nonce))
    )
    assert authenticator.remembered == 1


async def test_what_a_client_streams_needs_encryption_beyond_loopback(authenticator: HmacAuthenticator) -> None:
    suite = AuthenticatorSuite()
    operation = suite.operation(Shape.BIDI)

    def call(peer: Peer) -> Call:
        headers = sign_headers(key(), operation.path, None, timestamp=NOW, nonce=new_random_nonce())
        made = suite.call(operation, headers)
        made.peer = peer
        return made

    assert "not encrypted" in await reason(authenticator, call(Peer(address="192.0.2.7:5000")))
    for peer in (Peer(address="192.0.2.7:5000", encrypted=True), Peer(address="[::1]:5000")):
        assert await authenticator.authenticate(call(peer)) is not None


async def test_the_claimed_key_id_is_known_to_the_audit_before_anything_is_proved(
    authenticator: HmacAuthenticator,
) -> None:
    path = "/mfn.MFNFeaturesService/ExtractFeatures"
    call = unary(sign_headers(key("nobody"), path, b"", timestamp=NOW, nonce=new_random_nonce()))
    await reason(authenticator, call)
    assert call.key_id == "nobody"
    assert call.principal is None


def test_metadata_never_shows_values() -> None:
    assert "s3cret" not in repr(Metadata([("authorization", "s3cret")]))
    assert "s3cret" not in repr(Request(raw=b"x"))


@pytest.fixture
def context() -> ComponentContext:
    """What the kernel gives to the factory."""
    return ComponentContext(
        name="hmac",
        server=ServerSettings(),
        worker=0,
        compute=ComputePool({}),
        catalogue=Catalogue(),
        log=logging.getLogger("test"),
    )


def test_the_keys_file_is_reported_whole(context: ComponentContext, tmp_path: Path) -> None:
    bad = tmp_path / "keys.toml"
    bad.write_text('[[keys]]\nid = "a b"\nsecret = "short"\n')
    bad.chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        make_authenticator(HmacSettings(keys_file=bad), context)
    assert {each.path for each in refused.value.problems} == {"auth.hmac.keys_file"}
    told = [each.message for each in refused.value.problems]
    for name in ("id", "secret", "principal", "roles", "status"):
        assert any(each.startswith(f"{bad}: keys[0].{name}: ") for each in told), name
    assert "short" not in str(refused.value)


def test_a_keys_file_that_is_missing_or_empty_is_told_with_the_command_that_makes_it(
    context: ComponentContext, tmp_path: Path
) -> None:
    (tmp_path / "empty.toml").touch(mode=0o600)
    for name, why in (("none.toml", "does not exist"), ("empty.toml", "holds no key")):
        with pytest.raises(ConfigError) as refused:
            make_authenticator(HmacSettings(keys_file=tmp_path / name), context)
        (problem,) = refused.value.problems
        assert (problem.path, why in problem.message) == ("auth.hmac.keys_file", True)
        assert problem.remedy == f"run: mfn keys new -f {tmp_path / name} --principal NAME"


async def test_a_proof_stands_as_long_as_its_key_does(clock: Clock) -> None:
    ends = datetime.fromtimestamp(NOW, UTC) + timedelta(hours=1)
    authenticator = HmacAuthenticator([key(not_after=ends)], clock=clock)
    suite = TestHmacAuthenticator()
    operation = suite.operation(Shape.UNARY)
    principal = await authenticator.authenticate(suite.call(operation, suite.credentials(operation.path, b"body")))
    assert principal is not None
    assert authenticator.still_vouches(principal)
    for changed in (
        [key(status="revoked")],
        [key("alice-2")],
        [key(principal="ben")],
        [key(roles=frozenset({"read"}))],
    ):
        authenticator.replace_keys(changed)
        assert not authenticator.still_vouches(principal)
    authenticator.replace_keys([key(not_after=ends)])
    assert authenticator.still_vouches(principal)
    clock.now += 3601
    assert not authenticator.still_vouches(principal)
    assert authenticator.still_vouches(evolve(principal, method="hmac-v1")), "keys of scheme v1 do not change"
