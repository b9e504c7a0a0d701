"""Secrets as text: one text for each, and nothing else decodes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_signing import MAX_SECRET_BYTES, MalformedError, decode_secret, encode_secret

TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@settings(deadline=None)  # the machine may be busy
@given(st.binary(min_size=32, max_size=100))
def test_a_secret_reads_back_as_written(secret: bytes) -> None:
    assert decode_secret(encode_secret(secret)) == secret


@settings(deadline=None)  # the machine may be busy
@given(st.text(ALPHABET, min_size=43, max_size=140))
def test_what_decodes_is_the_one_text_of_its_bytes(text: str) -> None:
    try:
        secret = decode_secret(text)
    except MalformedError:
        padded = base64.urlsafe_b64decode(text + "A" * (-len(text) % 4))
        assert len(text) % 4 == 1 or base64.urlsafe_b64encode(padded).decode()[: len(text)] == text
    else:
        assert encode_secret(secret) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (TEXT + "=", "padding"),
        (TEXT + "==", "padding"),
        (" " + TEXT, "other than"),
        (TEXT + "\n", "other than"),
        (TEXT[:20] + "\n" + TEXT[20:], "other than"),
        (TEXT[:-1] + "+", "other than"),
        (TEXT[:-1] + "/", "other than"),
        (TEXT[:-1] + "é", "other than"),
        (TEXT[:-1] + "9", "stray bits"),  # "8" with one of its two unused bits set
        (TEXT[:-1] + "_", "stray bits"),
        (TEXT + "AA", "no bytes encode to"),
        (TEXT[:42], "31 bytes, at least 32"),
        ("AA", "1 bytes, at least 32"),
        ("A" * 1368, "1026 bytes, at most 1024"),
    ],
)
def test_any_other_text_is_refused_without_being_quoted(text: str, problem: str) -> None:
    with pytest.raises(MalformedError, match=problem) as caught:
        decode_secret(text)
    assert caught.value.part == "secret"
    assert not text or text not in str(caught.value)
    assert TEXT[:20] not in str(caught.value)


@pytest.mark.parametrize("length", [0, 31, MAX_SECRET_BYTES + 1])
def test_a_secret_of_another_length_is_not_written(length: int) -> None:
    with pytest.raises(MalformedError, match=f"{length} bytes"):
        encode_secret(bytes(length))


def test_both_bounds_belong_to_the_range() -> None:
    for length in (32, MAX_SECRET_BYTES):
        assert len(decode_secret(encode_secret(bytes(length)))) == length
