"""What headers say, and which reply a client takes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_transport_asgi._rest.head import ContentType, RestHead, preferred

JSON, LINES, EVENTS = b"application/json", b"application/x-ndjson", b"text/event-stream"


@pytest.mark.parametrize(
    ("accept", "offered", "chosen"),
    [
        (None, (LINES, EVENTS), LINES),
        (b"", (LINES, EVENTS), LINES),
        (b"*/*", (LINES, EVENTS), LINES),
        (b"text/event-stream", (LINES, EVENTS), EVENTS),
        (b"TEXT/*", (LINES, EVENTS), EVENTS),
        (b"application/x-ndjson;q=0.5, text/event-stream", (LINES, EVENTS), EVENTS),
        (b"application/x-ndjson;q=0, */*", (LINES, EVENTS), EVENTS),
        (b"*/*;q=0.1, text/event-stream;q=0.05", (LINES, EVENTS), LINES),
        (b"application/json", (LINES, EVENTS), None),
        (b"text/html, */*;q=0.1", (JSON,), JSON),
        (b"application/json;charset=utf-8", (JSON,), JSON),
        (b"application/json;q=0", (JSON,), None),
        (b"application/json;q=nonsense", (JSON,), JSON),
        (b"text/html", (JSON,), None),
        (b"gzip, br", (b"gzip",), b"gzip"),
        (b"*;q=0", (b"gzip",), None),
        (b",;,=,q=1", (JSON,), None),
    ],
)
def test_the_reply_is_what_the_client_likes_most(
    accept: bytes | None, offered: tuple[bytes, ...], chosen: bytes | None
) -> None:
    assert preferred(accept, offered) == chosen


@given(accept=st.binary(max_size=100))
def test_any_accept_chooses_one_of_the_offered_or_none(accept: bytes) -> None:
    assert preferred(accept, (LINES, EVENTS)) in (LINES, EVENTS, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"application/json", ContentType(JSON)),
        (b" Application/JSON ; charset=UTF-8", ContentType(JSON, b"utf-8")),
        (b'application/json;charset="us-ascii"', ContentType(JSON, b"us-ascii")),
        (b"application/json; charset=latin-1", ContentType(JSON, b"latin-1")),
    ],
)
def test_a_content_type_has_a_name_and_a_charset(value: bytes, expected: ContentType) -> None:
    assert ContentType.parse(value) == expected
    assert expected.is_utf8 == (expected.charset != b"latin-1")


def test_headers_of_http_are_no_metadata() -> None:
    head = RestHead(
        [
            (b"host", b"x"),
            (b"accept", b"text/html"),
            (b"accept", b"application/json"),
            (b"content-type", b"application/json"),
            (b"content-encoding", b"GZIP"),
            (b"accept-encoding", b"br, gzip;q=0.5"),
            (b"prefer", b"respond-async, wait=20"),
            (b"last-event-id", b"17"),
            (b"x-mfn-id", b"stream-1"),
            (b"x-request-id", b"mine"),
            (b"grpc-timeout", b"1S"),
            (b"authorization", b"Bearer abc"),
            (b"trace-bin", b"AAE"),
        ]
    )
    assert head.metadata == [("x-request-id", "mine"), ("authorization", "Bearer abc"), ("trace-bin", b"\x00\x01")]
    assert (head.accept, head.content_type.name, head.coding) == (b"text/html,application/json", JSON, b"gzip")
    assert (head.gzip, head.last_event, head.stream_id, head.request_id) == (True, 17, b"stream-1", "mine")
    assert head.deadline is not None
    assert 15 < head.deadline - time.monotonic() <= 20
    assert head.fault is None


@pytest.mark.parametrize(
    "value", [b"wait", b"wait=", b"wait=-1", b"wait=1.5", b"wait=9999999", b"waiting=3", b"xwait=3"]
)
def test_what_is_no_time_to_wait_is_no_preference(value: bytes) -> None:
    assert RestHead([(b"prefer", value)]).deadline is None


@pytest.mark.parametrize("value", [b"", b"a b", b"x" * 129, b"\xff", b"a\tb"])
def test_an_id_that_cannot_stand_in_a_reply_is_not_repeated(value: bytes) -> None:
    assert RestHead([(b"x-request-id", value)]).request_id is None


@pytest.mark.parametrize("value", [b"", b"-1", b"one", b"1" * 19])
def test_an_event_id_that_is_no_number_is_passed_over(value: bytes) -> None:
    assert RestHead([(b"last-event-id", value)]).last_event == 0


def test_metadata_that_is_not_base64_is_a_fault() -> None:
    head = RestHead([(b"trace-bin", b"?")])
    assert head.fault is not None
    assert "trace-bin" in head.fault.message
