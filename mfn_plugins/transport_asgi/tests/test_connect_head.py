"""What is read of a Connect request's headers."""

from __future__ import annotations

import time

import pytest

from mfn_core import Code
from mfn_transport_asgi._connect.head import ConnectHead, parse_timeout_ms

Pair = tuple[bytes, bytes]


def head(*headers: Pair, streaming: bool = False, compression: bytes | None = None) -> ConnectHead:
    return ConnectHead(headers, streaming=streaming, compression=compression)


def test_metadata_is_what_belongs_to_no_protocol() -> None:
    found = head(
        (b"host", b"x"),
        (b"content-type", b"application/proto"),
        (b"connect-protocol-version", b"1"),
        (b"connect-unknown", b"x"),
        (b"grpc-timeout", b"1S"),
        (b"x-mfn-id", b"stream"),
        (b"x-mfn-key-id", b"ada"),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
        (b"x-b-bin", b"AP8, AQ=="),
    )
    assert found.metadata == [
        ("x-mfn-key-id", "ada"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("x-b-bin", b"\x00\xff"),
        ("x-b-bin", b"\x01"),
    ]
    assert (found.fault, found.stream_id, found.deadline) == (None, b"stream", None)


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"0", 0.0), (b"5000", 5.0), (b"1", 0.001), (b"9999999999", 9999999.999)]
)
def test_a_timeout_is_milliseconds(value: bytes, seconds: float) -> None:
    assert parse_timeout_ms(value) == seconds
    deadline = head((b"connect-timeout-ms", value)).deadline
    assert deadline is not None
    assert abs(deadline - time.monotonic() - seconds) < 5.0


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1s", b"10000000000", b"\xb2", b" 1"])
def test_a_timeout_of_another_form_is_an_invalid_argument(value: bytes) -> None:
    fault = head((b"connect-timeout-ms", value)).fault
    assert fault is not None
    assert fault.code is Code.INVALID_ARGUMENT
    assert "milliseconds in up to ten digits" in fault.message


def test_another_version_of_the_protocol_is_an_invalid_argument() -> None:
    fault = head((b"connect-protocol-version", b"2")).fault
    assert fault is not None
    assert fault.message == "connect-protocol-version must be '1', not '2'"


def test_metadata_that_is_no_base64_is_an_invalid_argument() -> None:
    fault = head((b"x-b-bin", b"!")).fault
    assert fault is not None
    assert fault.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(("streaming", "prefix"), [(False, b""), (True, b"connect-")])
def test_compression_is_named_by_the_headers_of_its_form(streaming: bool, prefix: bytes) -> None:
    encoding, accepts = prefix + b"content-encoding", prefix + b"accept-encoding"
    found = head((encoding, b"gzip"), streaming=streaming)
    assert (found.encoding, found.gzip, found.fault) == (b"gzip", True, None)
    found = head((encoding, b"identity"), (accepts, b"br, gzip"), streaming=streaming)
    assert (found.encoding, found.gzip) == (None, True)
    found = head((encoding, b"gzip"), (accepts, b"br"), streaming=streaming)
    assert (found.encoding, found.gzip) == (b"gzip", False)
    assert head(streaming=streaming).gzip is False
    fault = head((encoding, b"zstd"), streaming=streaming).fault
    assert fault is not None
    assert fault.code is Code.UNIMPLEMENTED
    assert fault.message == f"{encoding.decode()} 'zstd' is not supported; use identity or gzip"


def test_headers_of_the_other_form_say_nothing() -> None:
    assert head((b"connect-content-encoding", b"zstd"), streaming=False).fault is None
    assert head((b"content-encoding", b"zstd"), streaming=True).fault is None


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"*", True),
        (b"br;q=1.0, gzip;q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"gzip;q=0.001", True),
        (b"identity", False),
        (b"gzipped", False),
        (b"", False),
    ],
)
def test_gzip_is_accepted_where_it_is_named_and_not_excluded(value: bytes, taken: bool) -> None:
    assert head((b"accept-encoding", value)).gzip is taken


def test_the_compression_of_a_query_goes_before_any_header() -> None:
    found = head((b"content-encoding", b"zstd"), compression=b"gzip")
    assert (found.encoding, found.fault) == (b"gzip", None)
    fault = head(compression=b"br").fault
    assert fault is not None
    assert fault.message == "compression 'br' is not supported; use identity or gzip"
