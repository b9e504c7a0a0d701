"""Base64 in pieces: any chunks, any padding, and nothing that is not base64."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code, MfnError
from mfn_transport_asgi._base64_text import TextDecoder, encode_text


def decoded(text: bytes, sizes: list[int]) -> bytes:
    decoder, found, begin = TextDecoder(), b"", 0
    for size in sizes:
        found += decoder.decode(text[begin : begin + size], final=False)
        begin += size
    return found + decoder.decode(text[begin:], final=True)


@given(parts=st.lists(st.binary(max_size=20)), sizes=st.lists(st.integers(0, 9)))
def test_text_that_is_padded_piece_by_piece_is_decoded_in_any_chunks(parts: list[bytes], sizes: list[int]) -> None:
    text = b"".join(base64.b64encode(part) for part in parts)
    assert decoded(text, sizes) == b"".join(parts)


@given(raw=st.binary(max_size=100))
def test_what_is_encoded_is_read_by_the_standard_library(raw: bytes) -> None:
    assert base64.b64decode(encode_text(raw), validate=True) == raw


@pytest.mark.parametrize(
    "text", [b"A", b"AAAAA", b"AA=", b"A===", b"AA=A", b"AAA\n", b"AA A", b"=AAA", b"A-_A", b"\xff" * 4]
)
def test_what_is_not_base64_is_an_invalid_argument(text: bytes) -> None:
    with pytest.raises(MfnError, match="not valid base64") as refused:
        TextDecoder().decode(text, final=True)
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_an_unfinished_quantum_is_no_fault_until_the_end() -> None:
    decoder = TextDecoder()
    assert decoder.decode(b"aG", final=False) == b""
    assert decoder.decode(b"k", final=False) == b""
    assert decoder.decode(b"=", final=True) == b"hi"


@given(noise=st.binary(max_size=50), final=st.booleans())
def test_random_bytes_are_decoded_or_refused(noise: bytes, final: bool) -> None:
    try:
        found = TextDecoder().decode(noise, final=final)
    except MfnError:
        return
    assert len(found) <= len(noise) * 3 // 4
