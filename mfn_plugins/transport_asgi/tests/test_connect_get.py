"""The query of a GET call: what it says, and what is wrong with it."""

from __future__ import annotations

import base64
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code
from mfn_transport_asgi._connect.get import GetQuery, is_connect_query


def test_the_example_of_the_specification_is_read() -> None:
    query = GetQuery.parse(b"connect=v1&encoding=json&message=%7B%22name%22%3A%22Buf%22%7D")
    assert query == GetQuery(encoding=b"json", message=b'{"name":"Buf"}', compression=None, fault=None)


@given(raw=st.binary(max_size=60), padded=st.booleans(), url_safe=st.booleans())
def test_base64_is_read_in_either_alphabet_with_and_without_padding(raw: bytes, padded: bool, url_safe: bool) -> None:
    text = base64.urlsafe_b64encode(raw) if url_safe else base64.b64encode(raw)
    text = text if padded else text.rstrip(b"=")
    query = f"message={quote_from_bytes(text, safe='')}&base64=1&encoding=proto&compression=gzip&connect=v1".encode()
    found = GetQuery.parse(query)
    assert (found.message, found.encoding, found.compression, found.fault) == (raw, b"proto", b"gzip", None)


@given(text=st.text(max_size=40))
def test_text_is_percent_encoded_utf_8(text: str) -> None:
    found = GetQuery.parse(f"encoding=json&message={quote(text, safe='')}".encode())
    assert found.message.decode() == text
    assert found.fault is None


def test_parameters_of_others_are_passed_over_and_the_first_of_one_counts() -> None:
    found = GetQuery.parse(b"utm=1&encoding=proto&encoding=json&message=a&message=b&base64=0&&=&x")
    assert (found.encoding, found.message, found.fault) == (b"proto", b"a", None)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (b"connect=v1&encoding=json", "no message"),
        (b"", "no message"),
        (b"message=a&base64=1", "not valid base64"),
        (b"message=%21%21%21%21&base64=1", "not valid base64"),
        (b"connect=v2&message=", "must be 'v1', not 'v2'"),
        (b"connect=%ff&message=", "must be 'v1', not "),
    ],
)
def test_what_is_wrong_is_named(query: bytes, says: str) -> None:
    fault = GetQuery.parse(query).fault
    assert fault is not None
    assert fault.code is Code.INVALID_ARGUMENT
    assert says in fault.message


@given(query=st.binary(max_size=60))
def test_any_query_is_read(query: bytes) -> None:
    found = GetQuery.parse(query)
    assert found.fault is None or found.fault.code is Code.INVALID_ARGUMENT


def test_a_query_is_connects_when_it_says_so() -> None:
    assert is_connect_query(b"message=&connect=v1")
    assert is_connect_query(b"connect=v9")
    assert not is_connect_query(b"disconnect=v1&message=connect=v1")
    assert not is_connect_query(b"")
