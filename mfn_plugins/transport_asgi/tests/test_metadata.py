"""Headers to metadata and back, by the tables of the protocol."""

from __future__ import annotations

import base64
import time
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code, MfnError
from mfn_transport_asgi._metadata import (
    _KNOWN_NAMES,
    _LONGEST_KNOWN_NAME,
    RequestHead,
    _known,
    encode_metadata,
    parse_timeout,
    percent_encode,
)

TE = (b"te", b"trailers")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"30S", 30.0),
        (b"1500m", 1.5),
        (b"250u", 250e-6),
        (b"99999999n", 0.099999999),
        (b"0n", 0.0),
        (b"00000001S", 1.0),
        (b"99999999H", 99999999 * 3600.0),
    ],
)
def test_a_timeout_is_digits_and_a_unit(text: bytes, seconds: float) -> None:
    assert parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [b"", b"S", b"1", b"1s", b"1h", b"123456789S", b"-1S", b"+1S", b"1.5S", b" 1S", b"1S\n", b"\xff1S", b"1SS"]
)
def test_any_other_timeout_is_refused(text: bytes) -> None:
    with pytest.raises(MfnError, match="grpc-timeout") as refused:
        parse_timeout(text)
    assert refused.value.code is Code.INVALID_ARGUMENT


@given(st.binary(max_size=20))
def test_a_random_timeout_is_a_number_or_refused(text: bytes) -> None:
    code = None
    try:
        assert parse_timeout(text) >= 0
    except MfnError as refused:
        code = refused.code
    assert code in (None, Code.INVALID_ARGUMENT)


def test_the_deadline_counts_from_receipt() -> None:
    before = time.monotonic()
    head = RequestHead([TE, (b"grpc-timeout", b"10S")])
    assert head.deadline is not None
    assert before + 10 <= head.deadline <= time.monotonic() + 10
    assert head.fault is None


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain words", b"plain words"),
        ("100%", b"100%25"),
        ("a\nb\x00", b"a%0Ab%00"),
        ("müßig", b"m%C3%BC%C3%9Fig"),
        ("~ !", b"~ !"),
        ("\x7f", b"%7F"),
        ("", b""),
    ],
)
def test_a_message_is_percent_encoded(text: str, encoded: bytes) -> None:
    assert percent_encode(text) == encoded


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_message_survives_percent_encoding_and_is_a_header_value(text: str) -> None:
    encoded = percent_encode(text)
    assert unquote_to_bytes(encoded).decode() == text
    assert all(0x20 <= byte <= 0x7E for byte in encoded)


def test_what_is_the_protocols_own_is_no_metadata() -> None:
    head = RequestHead(
        [
            (b"host", b"localhost"),
            (b"content-type", b"application/grpc"),
            TE,
            (b"grpc-encoding", b"gzip"),
            (b"grpc-accept-encoding", b"identity, deflate, gzip"),
            (b"grpc-previous-rpc-attempts", b"1"),
            (b"grpc-trace-bin", b"AAAA"),
            (b"x-forwarded-proto", b"http"),
            (b"x-mfn-id", b"the-listener's"),
            (b"user-agent", b"grpc-test"),
            (b"x-twice", b"1"),
            (b"x-twice", b"2"),
        ]
    )
    assert head.metadata == [("user-agent", "grpc-test"), ("x-twice", "1"), ("x-twice", "2")]
    assert (head.encoding, head.gzip, head.stream_id, head.fault) == (b"gzip", True, b"the-listener's", None)


@pytest.mark.parametrize("value", [b"AP8", b"AP8=", b" AP8 "])
def test_binary_metadata_is_read_with_and_without_padding(value: bytes) -> None:
    head = RequestHead([TE, (b"x-data-bin", value)])
    assert (head.metadata, head.fault) == ([("x-data-bin", b"\x00\xff")], None)


def test_one_binary_header_may_hold_several_values() -> None:
    assert RequestHead([TE, (b"x-data-bin", b"AA,AQ==,")]).metadata == [
        ("x-data-bin", b"\x00"),
        ("x-data-bin", b"\x01"),
        ("x-data-bin", b""),
    ]


@pytest.mark.parametrize(
    ("headers", "code", "says"),
    [
        ([], Code.INVALID_ARGUMENT, "te: trailers"),
        ([(b"te", b"gzip")], Code.INVALID_ARGUMENT, "te: trailers"),
        ([TE, (b"grpc-encoding", b"zstd")], Code.UNIMPLEMENTED, "'zstd' is not supported; use identity, gzip"),
        ([TE, (b"grpc-timeout", b"soon")], Code.INVALID_ARGUMENT, "grpc-timeout 'soon'"),
        ([TE, (b"x-data-bin", b"*")], Code.INVALID_ARGUMENT, "'x-data-bin' is not valid base64"),
        ([TE, (b"x-data-bin", b"AAAAA")], Code.INVALID_ARGUMENT, "'x-data-bin' is not valid base64"),
    ],
)
def test_a_fault_of_the_headers_names_the_header(headers: list[tuple[bytes, bytes]], code: Code, says: str) -> None:
    fault = RequestHead(headers).fault
    assert fault is not None
    assert fault.code is code
    assert says in fault.message


@given(st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b-bin", b"grpc-timeout", b"te"]), st.binary(max_size=30))))
def test_random_headers_never_crash(headers: list[tuple[bytes, bytes]]) -> None:
    head = RequestHead(headers)
    assert head.fault is None or head.fault.code in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)


@given(st.binary())
def test_binary_metadata_goes_out_in_base64(value: bytes) -> None:
    ((key, encoded),) = encode_metadata([("x-data-bin", value)])
    assert key == b"x-data-bin"
    assert not encoded.endswith(b"=")
    assert base64.b64decode(encoded + b"==") == value


def test_text_metadata_goes_out_as_visible_ascii() -> None:
    assert encode_metadata([("x-a", "one"), ("x-a", "two\r\nx-b: 3"), ("x-c", "ü")]) == [
        (b"x-a", b"one"),
        (b"x-a", b"two  x-b: 3"),
        (b"x-c", b"\\xfc"),
    ]


@pytest.mark.parametrize(
    ("key", "value"), [("X-Upper", "1"), ("with space", "1"), ("", "1"), ("grpc-status", "0"), ("te", "x"), ("x", b"1")]
)
def test_metadata_that_the_wire_cannot_carry_is_left_out_and_logged(
    key: str, value: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert encode_metadata([(key, value), ("x-sound", "1")]) == [(b"x-sound", b"1")]
    assert repr(key) in caplog.text


def test_the_names_of_headers_that_are_known_stay_within_their_bounds() -> None:
    for number in range(3 * _KNOWN_NAMES):
        name = f"x-{number}"
        assert RequestHead([TE, (name.encode(), b"value")]).metadata == [(name, "value")]
        assert len(_known) <= _KNOWN_NAMES
    long = b"x" * (_LONGEST_KNOWN_NAME + 1)
    for _ in range(2):
        assert RequestHead([TE, (long, b"value")]).metadata == [(long.decode(), "value")]
    assert long not in _known


def test_a_header_means_the_same_however_often_it_comes() -> None:
    headers = [TE, (b"x-a", b"1"), (b"x-b-bin", b"AQI"), (b"grpc-foreign", b"?"), (b"x-mfn-id", b"7"), (b"host", b"h")]
    for _ in range(2):
        head = RequestHead(headers)
        assert head.metadata == [("x-a", "1"), ("x-b-bin", b"\x01\x02")]
        assert head.stream_id == b"7"
        assert head.fault is None
