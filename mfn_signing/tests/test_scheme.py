"""The string to sign, signatures, and the form of every part."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mfn_signing
from mfn_signing import (
    MAX_COUNTER,
    STREAM,
    MalformedError,
    content_hash,
    decode_secret,
    http_path,
    parse_nonce,
    parse_timestamp,
    signature,
    string_to_sign,
    verify_signature,
)
from mfn_signing._scheme import _CACHED_PATH, _is_known_path, _mac

SECRET = bytes(range(32))
PATH = "/mfn.MFNFeaturesService/ExtractFeatures"
TIMESTAMP = "1767225600"
NONCE = "AAECAwQFBgcICQoL"
HASH = "1d5d7787d0a9e4a1296ad5d38add2e4b060232ec326d0643dee954337271bfd6"
SIGNATURE = "418a5011b5ece1588e5854d5044681c54bf2c9ff9889c8ac7c34da8abcbbc97a"
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "vectors.json").read_text())

BAD_PATHS = ["", "/a\nb", "/a\rb", "/a\x00", "/a\tb", "/a\x7f", "/\ud800", b"/\xff", b"", b"/a\n"]
BAD_TIMESTAMPS = [
    "",
    "+1",
    "-1",
    "01",
    " 1",
    "1 ",
    "1\n",
    "1.5",
    "1e9",
    "1_000",
    "0x1",
    "1" * 13,
    "1767225600\n1",
    "١٢٣",  # digits, but not ASCII ones
    "²",
]
BAD_NONCES = [
    "",
    "A" * 15,
    "A" * 65,
    "A" * 15 + " ",
    "A" * 16 + "\n",
    "A" * 15 + "=",
    "A" * 15 + "é",
    "A" * 15 + ".1",
    "A" * 33 + ".1",
    "A" * 16 + ".",
    "A" * 16 + ".0",
    "A" * 16 + ".01",
    "A" * 16 + ".-1",
    "A" * 16 + ".+1",
    "A" * 16 + ".1.2",
    "A" * 16 + ".1 ",
    "A" * 16 + ".1\n",
    "A" * 16 + ".x",
    "A" * 16 + ".١",
    "A" * 16 + f".{MAX_COUNTER + 1}",
    "A" * 32 + f".{MAX_COUNTER + 1}",
    "A" * 16 + ".9999999999999999999",
    "A" * 16 + ".10000000000000000000",
    "." + "1",
]
BAD_HASHES = [
    "",
    "stream",
    "STREAM\n",
    HASH.upper(),
    HASH[:-1],
    HASH + "0",
    HASH[:-1] + "g",
    HASH + "\n",
    "0x" + HASH[2:],
]
BAD_SIGNATURES = [
    "",
    SIGNATURE.upper(),
    SIGNATURE[:-1],
    SIGNATURE + "0",
    SIGNATURE + "\n",
    " " + SIGNATURE,
    "é" * 64,
    "g" * 64,
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_every_published_vector_is_what_the_scheme_gives(vector: dict[str, Any]) -> None:
    message = vector["message_hex"]
    hashed = STREAM if message is None else content_hash(bytes.fromhex(message))
    assert hashed == vector["content_sha256"]
    parts = (vector["path"], vector["timestamp"], vector["nonce"], hashed)
    text = "\n".join(("MFN2-HMAC-SHA256", *parts)).encode()
    assert string_to_sign(*parts) == text
    assert hmac.new(SECRET, text, hashlib.sha256).hexdigest() == vector["signature"]
    assert signature(SECRET, *parts) == vector["signature"]
    assert verify_signature(SECRET, *parts, vector["signature"])


def test_the_design_vector_gives_its_signature() -> None:
    secret = decode_secret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
    assert secret == SECRET
    hashed = content_hash(bytes.fromhex("0a0172102a1840"))
    assert signature(secret, PATH, TIMESTAMP, NONCE, hashed) == SIGNATURE


def test_headers_are_lower_case_and_five() -> None:
    assert mfn_signing.HEADERS == (
        "x-mfn-key-id",
        "x-mfn-timestamp",
        "x-mfn-nonce",
        "x-mfn-content-sha256",
        "x-mfn-signature",
    )
    assert mfn_signing.TIMESTAMP_WINDOW_SECONDS == 300


def test_numbers_and_bytes_sign_like_their_text() -> None:
    assert signature(SECRET, PATH.encode(), 1767225600, NONCE, HASH) == SIGNATURE
    assert verify_signature(SECRET, PATH.encode(), 1767225600, NONCE, HASH, SIGNATURE)
    assert string_to_sign("/ü", 0, NONCE, STREAM) == string_to_sign("/ü".encode(), "0", NONCE, STREAM)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_content_hash_takes_every_kind_of_bytes(kind: type[Any]) -> None:
    assert content_hash(kind(b"abc")) == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_malformed_path_is_named_and_never_verifies(path: str | bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        string_to_sign(path, TIMESTAMP, NONCE, HASH)
    assert caught.value.part == "path"
    assert verify_signature(SECRET, path, TIMESTAMP, NONCE, HASH, SIGNATURE) is False


@pytest.mark.parametrize("timestamp", BAD_TIMESTAMPS, ids=ascii)
def test_a_malformed_timestamp_is_named_and_never_verifies(timestamp: str) -> None:
    for refuse in (
        lambda: parse_timestamp(timestamp),
        lambda: string_to_sign(PATH, timestamp, NONCE, HASH),
        lambda: signature(SECRET, PATH, timestamp, NONCE, HASH),
    ):
        with pytest.raises(MalformedError, match="1 to 12 digits") as caught:
            refuse()
        assert caught.value.part == "timestamp"
    assert verify_signature(SECRET, PATH, timestamp, NONCE, HASH, SIGNATURE) is False


@pytest.mark.parametrize("number", [-1, 10**12, True])
def test_a_number_that_is_no_timestamp_is_refused(number: int) -> None:
    with pytest.raises(MalformedError, match="timestamp"):
        string_to_sign(PATH, number, NONCE, HASH)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), (TIMESTAMP, 1767225600), ("9" * 12, 10**12 - 1)])
def test_a_timestamp_is_read_as_seconds(text: str, seconds: int) -> None:
    assert parse_timestamp(text) == seconds


@pytest.mark.parametrize("nonce", BAD_NONCES, ids=ascii)
def test_a_malformed_nonce_is_named_and_never_verifies(nonce: str) -> None:
    with pytest.raises(MalformedError) as caught:
        signature(SECRET, PATH, TIMESTAMP, nonce, HASH)
    assert caught.value.part == "nonce"
    # A signature that is right for the text all the same: only the form can be what refuses it.
    text = f"MFN2-HMAC-SHA256\n{PATH}\n{TIMESTAMP}\n{nonce}\n{HASH}".encode()
    right = hmac.digest(SECRET, text, "sha256").hex()
    assert verify_signature(SECRET, PATH, TIMESTAMP, nonce, HASH, right) is False


@pytest.mark.parametrize("length", [16, 32])
def test_the_greatest_counter_signs_and_verifies(length: int) -> None:
    nonce = "A" * length + f".{MAX_COUNTER}"
    signed = signature(SECRET, PATH, TIMESTAMP, nonce, HASH)
    assert verify_signature(SECRET, PATH, TIMESTAMP, nonce, HASH, signed)


@pytest.mark.parametrize(
    "nonce", ["A" * length + tail for length in (16, 32) for tail in ("", ".1", "_" * 32)], ids=len
)
def test_a_nonce_of_either_kind_signs_and_verifies(nonce: str) -> None:
    assert verify_signature(SECRET, PATH, TIMESTAMP, nonce, HASH, signature(SECRET, PATH, TIMESTAMP, nonce, HASH))


NONCE_TEXT = st.text("Aa0_-.19", max_size=40)


@settings(deadline=None)  # the machine may be busy
@given(st.one_of(NONCE_TEXT, st.tuples(st.sampled_from(["A" * 16, "A" * 32, "A" * 33]), NONCE_TEXT).map("".join)))
def test_what_may_be_signed_as_a_nonce_is_what_may_be_read_as_one(nonce: str) -> None:
    try:
        parse_nonce(nonce)
    except MalformedError:
        with pytest.raises(MalformedError, match="nonce"):
            string_to_sign(PATH, TIMESTAMP, nonce, HASH)
    else:
        assert nonce.encode() in string_to_sign(PATH, TIMESTAMP, nonce, HASH)


@pytest.mark.parametrize("length", [_CACHED_PATH, _CACHED_PATH + 1])
def test_a_path_is_judged_the_same_however_often_it_comes(length: int) -> None:
    good, bad = "/" + "a" * (length - 1), "/" + "a" * (length - 2) + "\n"
    for _ in range(2):
        assert verify_signature(SECRET, good, TIMESTAMP, NONCE, HASH, signature(SECRET, good, TIMESTAMP, NONCE, HASH))
        text = f"MFN2-HMAC-SHA256\n{bad}\n{TIMESTAMP}\n{NONCE}\n{HASH}".encode()
        right = hmac.digest(SECRET, text, "sha256").hex()
        assert verify_signature(SECRET, bad, TIMESTAMP, NONCE, HASH, right) is False


def test_what_is_remembered_of_paths_is_bounded_whatever_strangers_send() -> None:
    bound = _is_known_path.cache_info().maxsize
    assert bound is not None
    for number in range(bound + 10):
        verify_signature(SECRET, f"/{number}", TIMESTAMP, NONCE, HASH, SIGNATURE)
    assert _is_known_path.cache_info().currsize == bound
    misses = _is_known_path.cache_info().misses
    verify_signature(SECRET, "/" + "a" * _CACHED_PATH, TIMESTAMP, NONCE, HASH, SIGNATURE)
    assert _is_known_path.cache_info().misses == misses


@pytest.mark.parametrize("hashed", BAD_HASHES, ids=ascii)
def test_a_malformed_content_hash_is_named_and_never_verifies(hashed: str) -> None:
    with pytest.raises(MalformedError) as caught:
        string_to_sign(PATH, TIMESTAMP, NONCE, hashed)
    assert caught.value.part == "content hash"
    right = hmac.digest(SECRET, f"MFN2-HMAC-SHA256\n{PATH}\n{TIMESTAMP}\n{NONCE}\n{hashed}".encode(), "sha256").hex()
    assert verify_signature(SECRET, PATH, TIMESTAMP, NONCE, hashed, right) is False


@pytest.mark.parametrize("given_", BAD_SIGNATURES, ids=ascii)
def test_a_malformed_signature_never_verifies(given_: str) -> None:
    assert verify_signature(SECRET, PATH, TIMESTAMP, NONCE, HASH, given_) is False


@pytest.mark.parametrize(
    ("path", "timestamp", "nonce", "hashed"),
    [
        ("/mfn.MFNFeaturesService/ExtractFeature", TIMESTAMP, NONCE, HASH),
        (PATH, "1767225601", NONCE, HASH),
        (PATH, TIMESTAMP, NONCE[:-1] + "M", HASH),
        (PATH, TIMESTAMP, NONCE, STREAM),
        (PATH, TIMESTAMP, NONCE, HASH[:-1] + "7"),
    ],
)
def test_a_signature_covers_every_part(path: str, timestamp: str, nonce: str, hashed: str) -> None:
    assert verify_signature(SECRET, PATH, TIMESTAMP, NONCE, HASH, SIGNATURE)
    assert not verify_signature(SECRET, path, timestamp, nonce, hashed, SIGNATURE)


@settings(deadline=None)  # the machine may be busy
@given(position=st.integers(0, 63), digit=st.sampled_from("0123456789abcdef"))
def test_one_other_digit_is_another_signature(position: int, digit: str) -> None:
    forged = SIGNATURE[:position] + digit + SIGNATURE[position + 1 :]
    assert verify_signature(SECRET, PATH, TIMESTAMP, NONCE, HASH, forged) == (forged == SIGNATURE)


def test_another_secret_gives_another_signature() -> None:
    assert not verify_signature(bytes(range(1, 33)), PATH, TIMESTAMP, NONCE, HASH, SIGNATURE)


@settings(deadline=None)  # the machine may be busy
@given(st.tuples(st.text(), st.text(), st.text(), st.text(), st.text()))
def test_verifying_hostile_text_is_false_and_never_raises(parts: tuple[str, str, str, str, str]) -> None:
    assert verify_signature(SECRET, *parts) is False


@settings(deadline=None)  # the machine may be busy
@given(path=st.text(), moved=st.sampled_from(["timestamp", "nonce"]))
def test_no_part_can_reach_into_the_next(path: str, moved: str) -> None:
    # The same bytes, cut elsewhere: a path that swallows the timestamp, or one that swallows the nonce as well.
    swallowed = f"{path}\n{TIMESTAMP}" if moved == "timestamp" else f"{path}\n{TIMESTAMP}\n{NONCE}"
    with pytest.raises(MalformedError):
        string_to_sign(swallowed, NONCE, HASH, "")


@pytest.mark.parametrize("secret", [b"", bytes(31)])
def test_a_short_secret_neither_signs_nor_verifies(secret: bytes) -> None:
    with pytest.raises(MalformedError, match="at least 32"):
        signature(secret, PATH, TIMESTAMP, NONCE, HASH)
    with pytest.raises(MalformedError, match="at least 32"):
        verify_signature(secret, PATH, TIMESTAMP, NONCE, HASH, SIGNATURE)


def test_a_secret_that_is_still_text_is_refused_without_being_shown() -> None:
    text: Any = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    for refuse in (
        lambda: signature(text, PATH, TIMESTAMP, NONCE, HASH),
        lambda: verify_signature(text, PATH, TIMESTAMP, NONCE, HASH, SIGNATURE),
    ):
        with pytest.raises(TypeError, match="decode_secret") as caught:
            refuse()
        assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "target", "path"),
    [
        ("GET", "/", "GET /"),
        ("GET", b"/v1/status", "GET /v1/status"),
        ("POST", "/v1/features?b=2&a=1", "POST /v1/features?b=2&a=1"),
        ("GET", "/a?", "GET /a"),
        ("GET", "/a??", "GET /a??"),
        ("GET", "/a?b?c", "GET /a?b?c"),
        ("GET", "/%C3%BC?q=%20+", "GET /%C3%BC?q=%20+"),
    ],
)
def test_an_http_path_is_the_method_and_the_target_as_sent(method: str, target: str | bytes, path: str) -> None:
    assert http_path(method, target) == path
    assert string_to_sign(path, TIMESTAMP, NONCE, STREAM).split(b"\n")[1] == path.encode()


@pytest.mark.parametrize(
    "target",
    ["", "v1", "http://host/v1", "*", "/a b", "/a#b", "/ü", "/ü".encode(), "/a\n", "/a\x00", "/a\x7f", "?q"],
)
def test_a_target_that_cannot_stand_on_the_wire_is_refused(target: str | bytes) -> None:
    with pytest.raises(MalformedError, match="percent-encode") as caught:
        http_path("GET", target)
    assert caught.value.part == "path"


@pytest.mark.parametrize("method", ["", "get", "GET ", "G\n", "GÉT", "A" * 33])
def test_a_method_is_upper_case_letters(method: str) -> None:
    with pytest.raises(MalformedError, match="upper-case") as caught:
        http_path(method, "/")
    assert caught.value.part == "method"


def test_an_error_never_repeats_a_text_as_long_as_a_secret() -> None:
    misplaced = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    for refuse in (
        lambda: parse_timestamp(misplaced),
        lambda: http_path("GET", misplaced),
        lambda: http_path(misplaced, "/"),
        lambda: string_to_sign(misplaced + "\n", TIMESTAMP, NONCE, HASH),
        lambda: string_to_sign(PATH, TIMESTAMP, misplaced + "=", HASH),
        lambda: string_to_sign(PATH, TIMESTAMP, NONCE, misplaced),
    ):
        with pytest.raises(MalformedError) as caught:
            refuse()
        assert misplaced not in str(caught.value)


def test_a_malformed_error_crosses_processes_whole() -> None:
    error = pickle.loads(pickle.dumps(MalformedError("path", "is empty")))
    assert (error.part, error.problem, str(error)) == ("path", "is empty", "path is empty")


@given(st.binary(min_size=32, max_size=200), st.binary(max_size=300))
def test_the_prepared_states_give_the_hmac_of_the_standard_library(secret: bytes, message: bytes) -> None:
    assert _mac(secret, message) == hmac.new(secret, message, "sha256").hexdigest()
