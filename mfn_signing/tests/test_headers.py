"""The headers of a request, and the credentials that make them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mfn_signing import (
    HEADERS,
    STREAM,
    Credentials,
    InvalidKeyError,
    Key,
    KeysFileError,
    MalformedError,
    WindowedNonceSource,
    encode_secret,
    generate_key,
    http_path,
    sign_headers,
    verify_signature,
    write_keys_file,
)

SECRET = bytes(range(32))
PATH = "/mfn.MFNFeaturesService/ExtractFeatures"
NONCE = "AAECAwQFBgcICQoL"
BODY = bytes.fromhex("0a0172102a1840")
CREDENTIALS = Credentials(key_id="lab-1", secret=SECRET)
KEY = Key(id="lab-1", secret=SECRET, principal="lab", roles=frozenset({"read"}))


@pytest.mark.parametrize("signer", [CREDENTIALS, KEY])
def test_the_headers_are_the_vector_in_order(signer: Key | Credentials) -> None:
    assert sign_headers(signer, PATH, BODY, timestamp=1767225600, nonce=NONCE) == (
        ("x-mfn-key-id", "lab-1"),
        ("x-mfn-timestamp", "1767225600"),
        ("x-mfn-nonce", "AAECAwQFBgcICQoL"),
        ("x-mfn-content-sha256", "1d5d7787d0a9e4a1296ad5d38add2e4b060232ec326d0643dee954337271bfd6"),
        ("x-mfn-signature", "418a5011b5ece1588e5854d5044681c54bf2c9ff9889c8ac7c34da8abcbbc97a"),
    )


@pytest.mark.parametrize("body", [BODY, b"", bytearray(BODY), memoryview(BODY), None])
@pytest.mark.parametrize("path", [PATH, PATH.encode(), http_path("POST", "/v1/features?a=1")])
def test_what_is_signed_verifies(path: str | bytes, body: bytes | None) -> None:
    nonce = WindowedNonceSource().next()
    headers = dict(sign_headers(CREDENTIALS, path, body, timestamp="1767225600", nonce=nonce))
    assert tuple(headers) == HEADERS
    _, timestamp, nonce, hashed, signed = headers.values()
    assert (hashed == STREAM) == (body is None)
    assert verify_signature(SECRET, path, timestamp, nonce, hashed, signed)
    assert not verify_signature(SECRET, path, timestamp, nonce + "0", hashed, signed)


@pytest.mark.parametrize(
    ("path", "timestamp", "nonce", "part"),
    [
        ("", 0, NONCE, "path"),
        (PATH, -1, NONCE, "timestamp"),
        (PATH, "now", NONCE, "timestamp"),
        (PATH, 0, "x", "nonce"),
    ],
)
def test_a_malformed_request_is_not_signed(path: str, timestamp: int | str, nonce: str, part: str) -> None:
    with pytest.raises(MalformedError) as caught:
        sign_headers(CREDENTIALS, path, BODY, timestamp=timestamp, nonce=nonce)
    assert caught.value.part == part


def test_credentials_are_the_same_however_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys_file(path, [generate_key(principal="other", roles=["read"]), KEY])
    assert Credentials.from_keys_file(path, "lab-1") == CREDENTIALS
    assert Credentials.from_text("lab-1", encode_secret(SECRET)) == CREDENTIALS
    assert Credentials.from_key(KEY) == CREDENTIALS
    assert hash(Credentials.from_key(KEY)) == hash(CREDENTIALS)


def test_credentials_differ_in_id_or_secret() -> None:
    assert Credentials(key_id="lab-2", secret=SECRET) != CREDENTIALS
    assert Credentials(key_id="lab-1", secret=bytes(32)) != CREDENTIALS
    assert CREDENTIALS != ("lab-1", SECRET)


def test_no_text_of_credentials_shows_the_secret() -> None:
    assert repr(CREDENTIALS) == str(CREDENTIALS) == "Credentials(key_id='lab-1', secret=[REDACTED])"
    with pytest.raises(dataclasses.FrozenInstanceError):
        CREDENTIALS.key_id = "other"  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    ("key_id", "secret", "problem"),
    [
        ("", SECRET, "key_id: '' is not 1 to 64"),
        ("lab-1", bytes(31), "secret: has 31 bytes"),
        ("lab-1", encode_secret(SECRET), "secret: is a string, not the decoded bytes; use from_text"),
    ],
)
def test_credentials_are_checked_when_made(key_id: str, secret: Any, problem: str) -> None:
    with pytest.raises(InvalidKeyError, match=problem) as caught:
        Credentials(key_id=key_id, secret=secret)
    assert encode_secret(SECRET) not in str(caught.value)


def test_both_problems_of_credentials_are_told_at_once() -> None:
    with pytest.raises(InvalidKeyError) as caught:
        Credentials(key_id="a b", secret=b"")
    assert len(caught.value.problems) == 2


def test_a_secret_that_is_no_secret_is_refused() -> None:
    with pytest.raises(MalformedError, match="padding"):
        Credentials.from_text("lab-1", encode_secret(SECRET) + "=")


def test_a_key_that_is_not_in_the_file_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys_file(path, [generate_key(key_id=f"k{number}", principal="p", roles=["read"]) for number in range(9)])
    with pytest.raises(KeysFileError, match=r"has no key 'lab-1'; it has 'k0', .*'k7', …$"):
        Credentials.from_keys_file(path, "lab-1")
    write_keys_file(path, [])
    with pytest.raises(KeysFileError, match="no key at all"):
        Credentials.from_keys_file(path, "lab-1")


def test_a_key_that_no_server_would_take_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    now = datetime.now(UTC)
    write_keys_file(path, [dataclasses.replace(KEY, status="revoked")])
    with pytest.raises(KeysFileError, match="'lab-1' is revoked"):
        Credentials.from_keys_file(path, "lab-1")
    write_keys_file(path, [dataclasses.replace(KEY, not_after=now - timedelta(seconds=1))])
    with pytest.raises(KeysFileError, match="was usable until"):
        Credentials.from_keys_file(path, "lab-1")


def test_a_key_whose_time_has_not_come_may_be_held_ready(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys_file(path, [dataclasses.replace(KEY, not_before=datetime.now(UTC) + timedelta(days=1))])
    assert Credentials.from_keys_file(path, "lab-1") == CREDENTIALS
