"""The Connect protocol on ASGI, driven by hand."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest

from mfn_asgi_parts.by_hand import DISCONNECT, LIMIT, Client, Server, body, message
from mfn_core import Code
from mfn_transport_asgi._connect.protocol import END_OF_STREAM, ConnectProtocol
from mfn_transport_asgi._framing import decompress, frame

PROTO = (b"content-type", b"application/proto")
JSON = (b"content-type", b"application/json")
STREAM = (b"content-type", b"application/connect+proto")
STREAM_JSON = (b"content-type", b"application/connect+json; charset=utf-8")
VERSION = (b"connect-protocol-version", b"1")


@pytest.fixture
def server() -> Server:
    return Server(ConnectProtocol)


def envelopes(client: Client) -> list[tuple[int, bytes]]:
    """Flags and content of everything in the reply."""
    found, rest = [], client.body
    while rest:
        size = int.from_bytes(rest[1:5], "big")
        found.append((rest[0], rest[5 : 5 + size]))
        rest = rest[5 + size :]
    return found


def end_of(client: Client) -> dict[str, Any]:
    """The end of the stream, which must be its last envelope and its only one of that kind."""
    *messages, (flags, content) = envelopes(client)
    assert flags == END_OF_STREAM
    assert all(flags & END_OF_STREAM == 0 for flags, _ in messages)
    assert client.whole
    end: dict[str, Any] = json.loads(content)
    return end


def failure(client: Client) -> dict[str, Any]:
    """The error of a unary reply."""
    assert client.headers[b"content-type"] == b"application/json"
    assert client.whole
    error: dict[str, Any] = json.loads(client.body)
    return error


# Unary calls.


async def test_a_message_is_answered_in_its_own_form(server: Server) -> None:
    client = await server.ask(Client([body(message(b"hi"))]), "Echo", PROTO)
    assert (client.http, client.body, client.whole) == (200, message(b"hi"), True)
    assert client.headers[b"content-type"] == b"application/proto"
    client = await server.ask(Client([body(b'"aGk="')]), "Echo", JSON, VERSION)
    assert (client.http, client.body) == (200, b'"aGk="')
    assert client.headers[b"content-type"] == b"application/json"
    assert client.headers[b"content-length"] == b"6"
    assert [call.protocol for call in server.recorder.calls] == ["connect", "connect"]


async def test_what_a_signature_covers_is_the_body_and_the_path_of_the_operation(server: Server) -> None:
    await server.ask(Client([body(b'"aGk="')]), "Echo", JSON, VERSION)
    packed = gzip.compress(message(b"hi"))
    await server.ask(Client([body(packed)]), "Echo", PROTO, (b"content-encoding", b"gzip"))
    await server.ask(Client([]), "Echo", verb="GET", query=b"connect=v1&encoding=json&message=%22aGk%3D%22")
    await server.ask(Client([body(frame(b'"aGk="'))]), "Repeat", STREAM_JSON)
    signed = [(call.signed_path, call.request.raw) for call in server.recorder.calls if call.request]
    assert signed == [
        ("/t.T/Echo", b'"aGk="'),
        ("/t.T/Echo", message(b"hi")),
        ("/t.T/Echo", b'"aGk="'),
        ("/t.T/Repeat", b'"aGk="'),
    ]


async def test_an_empty_body_is_an_empty_message_of_protobuf_and_no_json(server: Server) -> None:
    assert (await server.ask(Client([body(b"")]), "Echo", PROTO)).http == 200
    client = await server.ask(Client([body(b"")]), "Echo", PROTO, (b"content-encoding", b"gzip"))
    assert (client.http, client.body) == (200, b"")
    client = await server.ask(Client([body(b"")]), "Echo", JSON, VERSION)
    assert (client.http, failure(client)["code"]) == (400, "invalid_argument")


async def test_a_body_in_pieces_is_one_message(server: Server) -> None:
    raw = message(b"hello")
    pieces = [body(raw[i : i + 1], more=True) for i in range(len(raw))]
    client = await server.ask(Client([*pieces, body(b"")]), "Echo", PROTO)
    assert client.body == raw


async def test_metadata_stands_in_the_head_and_that_of_the_protocol_cannot_be_forged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.ask(Client([body(b"")]), "Labelled", PROTO)
    assert client.headers[b"x-initial"] == b"first"
    assert client.headers[b"trailer-x-trailing-bin"] == b"AP8"
    assert b"content-encoding" not in client.headers
    assert not any(b"access-control" in name for name in client.headers)
    assert caplog.text.count("cannot be sent") == 2


async def test_an_error_has_the_status_of_its_code_and_metadata_and_no_reason(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Fail", PROTO, (b"accept-encoding", b"gzip"))
    assert client.http == 429
    error = failure(client)
    assert (error["code"], error["message"]) == ("resource_exhausted", "slower, 100 %")
    assert [each["type"] for each in error["details"]] == ["google.rpc.RetryInfo"]
    assert client.headers[b"retry-after"] == b"2"
    assert client.headers[b"x-initial"] == b"first"
    assert client.headers[b"trailer-x-trailing-bin"] == b"AP8"
    assert b"operator" not in client.body


async def test_a_body_that_is_too_large_is_refused_before_all_of_it_has_come(server: Server) -> None:
    client = await server.ask(Client([body(bytes(LIMIT), more=True), body(b"x", more=True)]), "Echo", PROTO)
    assert (client.http, failure(client)["code"]) == (429, "resource_exhausted")
    assert server.recorder.ended == [("/t.T/Echo", Code.RESOURCE_EXHAUSTED)]
    exact = await server.ask(Client([body(message(bytes(LIMIT - 3)))]), "Echo", PROTO)
    assert (exact.http, len(exact.body)) == (200, LIMIT)


async def test_a_bomb_is_refused(server: Server) -> None:
    bomb = gzip.compress(bytes(500_000))
    client = await server.ask(Client([body(bomb)]), "Echo", PROTO, (b"content-encoding", b"gzip"))
    assert (client.http, failure(client)["code"]) == (429, "resource_exhausted")


async def test_damaged_compression_is_an_invalid_argument(server: Server) -> None:
    client = await server.ask(Client([body(b"no gzip")]), "Echo", PROTO, (b"content-encoding", b"gzip"))
    assert (client.http, failure(client)["code"]) == (400, "invalid_argument")


async def test_an_unknown_encoding_is_unimplemented_and_names_what_is_known(server: Server) -> None:
    client = await server.ask(Client([body(b"x")]), "Echo", PROTO, (b"content-encoding", b"br"))
    assert (client.http, failure(client)["code"]) == (501, "unimplemented")
    assert "identity or gzip" in failure(client)["message"]
    assert client.headers[b"accept-encoding"] == b"gzip"
    assert server.recorder.ended == [("/t.T/Echo", Code.UNIMPLEMENTED)]


async def test_replies_are_compressed_when_that_is_wanted_and_accepted() -> None:
    server = Server(ConnectProtocol, compress_from_bytes=100)
    large = message(b"z" * 500)
    client = await server.ask(Client([body(large)]), "Echo", PROTO, (b"accept-encoding", b"br, gzip"))
    assert client.headers[b"content-encoding"] == b"gzip"
    assert gzip.decompress(client.body) == large
    assert client.headers[b"content-length"] == b"%d" % len(client.body)
    for further in (b"identity", b"gzip;q=0"):
        plain = await server.ask(Client([body(large)]), "Echo", PROTO, (b"accept-encoding", further))
        assert b"content-encoding" not in plain.headers
        assert plain.body == large
    small = await server.ask(Client([body(message(b"z"))]), "Echo", PROTO, (b"accept-encoding", b"gzip"))
    assert small.body == message(b"z")
    # Who compresses a request reads compressed replies, unless they say otherwise.
    same = await server.ask(Client([body(gzip.compress(large))]), "Echo", PROTO, (b"content-encoding", b"gzip"))
    assert same.headers[b"content-encoding"] == b"gzip"


async def test_a_deadline_that_passes_ends_the_call(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Sleep", PROTO, (b"connect-timeout-ms", b"20"))
    assert (client.http, failure(client)["code"]) == (504, "deadline_exceeded")
    assert server.recorder.ended == [("/t.T/Sleep", Code.DEADLINE_EXCEEDED)]


@pytest.mark.parametrize("header", [(b"connect-timeout-ms", b"soon"), (b"connect-protocol-version", b"2")])
async def test_headers_that_are_wrong_are_refused_and_recorded(server: Server, header: tuple[bytes, bytes]) -> None:
    client = await server.ask(Client([body(b"")]), "Echo", PROTO, header)
    assert (client.http, failure(client)["code"]) == (400, "invalid_argument")
    assert server.recorder.ended == [("/t.T/Echo", Code.INVALID_ARGUMENT)]


async def test_an_unknown_method_is_unimplemented_in_both_forms_and_recorded(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Nope", PROTO)
    assert (client.http, failure(client)["code"]) == (501, "unimplemented")
    client = await server.ask(Client([body(b"")]), "Nope", STREAM)
    assert (client.http, end_of(client)["error"]["code"]) == (200, "unimplemented")
    assert server.recorder.ended == [("/t.T/Nope", Code.UNIMPLEMENTED)] * 2


async def test_a_content_type_of_the_other_form_is_unsupported_and_names_its_own(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Echo", STREAM)
    assert (client.http, client.headers[b"accept-post"]) == (415, b"application/proto, application/json")
    client = await server.ask(Client([body(b"")]), "Repeat", JSON, VERSION)
    assert client.http == 415
    assert client.headers[b"accept-post"] == b"application/connect+proto, application/connect+json"
    assert server.recorder.ended == [(f"/t.T/{name}", Code.INVALID_ARGUMENT) for name in ("Echo", "Repeat")]


async def test_other_verbs_are_refused(server: Server) -> None:
    client = await server.ask(Client([]), "Echo", PROTO, verb="PUT")
    assert (client.http, client.headers[b"allow"]) == (405, b"GET, POST")
    client = await server.ask(Client([]), "Nope", PROTO, verb="PUT")
    assert (client.http, client.body) == (405, b"Connect calls are POST or GET requests\n")
    assert server.recorder.ended == [(f"/t.T/{name}", Code.UNIMPLEMENTED) for name in ("Echo", "Nope")]
    assert server.recorder.calls[0].protocol == "connect"


async def test_a_client_that_leaves_before_its_body_is_whole_is_recorded_as_cancelled(server: Server) -> None:
    client = await server.ask(Client([body(b"\x0a", more=True), DISCONNECT]), "Echo", PROTO)
    assert server.recorder.ended == [("/t.T/Echo", Code.CANCELLED)]
    assert (client.http, failure(client)["code"]) == (499, "canceled")


async def test_a_client_that_leaves_before_its_reply_changes_nothing(server: Server) -> None:
    await server.ask(Client([body(message(b"1"))], sends_fail=True), "Echo", PROTO)
    assert server.recorder.ended == [("/t.T/Echo", Code.OK)]


async def test_the_end_of_its_stream_aborts_a_call_that_reads_nothing(server: Server) -> None:
    asked = asyncio.ensure_future(server.ask(Client([body(b"")]), "Sleep", PROTO, (b"x-mfn-id", b"stream-1")))
    await server.recorder.begun.wait()
    server.disconnects.ended(b"stream-1")
    await asked
    assert server.recorder.ended == [("/t.T/Sleep", Code.CANCELLED)]


async def test_a_stream_that_ended_before_its_call_began_is_not_served(server: Server) -> None:
    server.disconnects.ended(b"stream-1")
    await server.ask(Client([body(b"")]), "Sleep", PROTO, (b"x-mfn-id", b"stream-1"))
    assert server.recorder.ended == [("/t.T/Sleep", Code.CANCELLED)]


@pytest.mark.parametrize(("method", "content"), [("Echo", PROTO), ("Repeat", STREAM)])
async def test_a_message_that_does_not_come_is_not_waited_for_for_ever(
    method: str, content: tuple[bytes, bytes]
) -> None:
    server = Server(ConnectProtocol, receive_seconds=0.1)
    client = await server.ask(Client([body(b"\0", more=True)]), method, content)
    error = failure(client) if method == "Echo" else end_of(client)["error"]
    assert error["code"] == "deadline_exceeded"
    assert "did not arrive within 0.1 s" in error["message"]
    client.say(DISCONNECT)  # would raise InvalidStateError had the reader cancelled it
    assert server.recorder.ended == [(f"/t.T/{method}", Code.DEADLINE_EXCEEDED)]


async def test_metadata_that_breaks_the_reply_ends_it_as_internal_and_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.ask(Client([body(b"")]), "Broken", PROTO)
    assert (client.http, failure(client)) == (500, {"code": "internal", "message": "internal error"})
    assert "failed in its transport" in caplog.text


# GET.


async def test_a_get_is_the_same_call(server: Server) -> None:
    text = base64.urlsafe_b64encode(message(b"hi")).rstrip(b"=")
    query = b"connect=v1&encoding=proto&base64=1&message=" + text
    client = await server.ask(Client([]), "Echo", verb="GET", query=query)
    assert (client.http, client.body) == (200, message(b"hi"))
    assert client.headers[b"content-type"] == b"application/proto"
    assert client.headers[b"cache-control"] == b"private"
    packed = base64.urlsafe_b64encode(gzip.compress(message(b"hi"))).rstrip(b"=")
    query = b"connect=v1&encoding=proto&base64=1&compression=gzip&message=" + packed
    client = await server.ask(Client([]), "Echo", verb="GET", query=query)
    assert client.body == message(b"hi")


async def test_a_get_of_what_may_have_side_effects_is_a_post(server: Server) -> None:
    query = b"connect=v1&encoding=proto&message="
    client = await server.ask(Client([]), "Sleep", verb="GET", query=query)
    assert (client.http, client.headers[b"allow"]) == (405, b"POST")
    client = await server.ask(Client([]), "Repeat", verb="GET", query=query)
    assert client.http == 415
    assert server.recorder.ended == [("/t.T/Sleep", Code.UNIMPLEMENTED), ("/t.T/Repeat", Code.INVALID_ARGUMENT)]


@pytest.mark.parametrize(
    ("query", "http"),
    [
        (b"connect=v1&message=", 415),
        (b"connect=v1&encoding=xml&message=", 415),
        (b"connect=v1&encoding=proto", 400),
        (b"connect=v2&encoding=proto&message=", 400),
        (b"connect=v1&encoding=proto&base64=1&message=%21", 400),
        (b"connect=v1&encoding=proto&message=&compression=br", 501),
        (b"connect=v1&encoding=json&message=%ff", 400),
        (b"connect=v1&encoding=proto&message=" + b"a" * (LIMIT + 1), 429),
    ],
)
async def test_a_query_that_is_wrong_gets_its_status(server: Server, query: bytes, http: int) -> None:
    client = await server.ask(Client([]), "Echo", verb="GET", query=query)
    assert client.http == http
    assert client.whole
    assert len(server.recorder.ended) == 1


async def test_a_get_of_an_unknown_method_is_unimplemented(server: Server) -> None:
    client = await server.ask(Client([]), "Nope", verb="GET", query=b"connect=v1&encoding=json&message=%22%22")
    assert (client.http, failure(client)["code"]) == (501, "unimplemented")


# Streams.


async def test_a_stream_is_envelopes_and_an_end(server: Server) -> None:
    client = await server.ask(Client([body(frame(message(b"hi")))]), "Repeat", STREAM)
    assert client.http == 200
    assert client.headers[b"content-type"] == b"application/connect+proto"
    assert envelopes(client) == [(0, message(b"hi"))] * 3 + [(END_OF_STREAM, b"{}")]


async def test_json_streams_both_ways(server: Server) -> None:
    sent = frame(b'"YQ=="') + frame(b'"Yg=="')
    client = await server.ask(Client([body(sent[:9], more=True), body(sent[9:])]), "Mirror", STREAM_JSON)
    assert envelopes(client) == [(0, b'"YQ=="'), (0, b'"Yg=="'), (END_OF_STREAM, b"{}")]
    assert client.headers[b"content-type"] == b"application/connect+json"
    client = await server.ask(Client([body(sent)]), "Count", STREAM_JSON)
    assert envelopes(client) == [(0, b'"Mg=="'), (END_OF_STREAM, b"{}")]


async def test_json_that_is_no_message_ends_the_stream(server: Server) -> None:
    client = await server.ask(Client([body(frame(b'"YQ=="') + frame(b"{"), more=True)]), "Mirror", STREAM_JSON)
    assert envelopes(client)[0] == (0, b'"YQ=="')
    assert end_of(client)["error"]["code"] == "invalid_argument"
    assert server.recorder.ended == [("/t.T/Mirror", Code.INVALID_ARGUMENT)]


async def test_an_error_within_a_stream_is_its_end(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "FailStream", STREAM)
    assert client.http == 200
    assert envelopes(client)[0] == (0, b"")
    error = end_of(client)["error"]
    assert (error["code"], error["message"]) == ("resource_exhausted", "slower, 100 %")


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (b"", Code.INVALID_ARGUMENT, "no message"),
        (frame(b"") * 2, Code.INVALID_ARGUMENT, "several messages"),
        (frame(b"abc")[:-1], Code.INVALID_ARGUMENT, "ends 7 bytes into one"),
        (b"\0\0", Code.INVALID_ARGUMENT, "ends 2 bytes into one"),
        (b"\x02\0\0\0\x02{}", Code.INVALID_ARGUMENT, "flags are 0x02"),
        (frame(bytes(LIMIT + 1)), Code.RESOURCE_EXHAUSTED, "larger than the server's limit of 1024"),
        (frame(b"abc", compressed=True), Code.INVALID_ARGUMENT, "names no encoding"),
    ],
)
async def test_what_is_not_exactly_one_envelope_is_refused_and_recorded(
    server: Server, sent: bytes, code: Code, says: str
) -> None:
    client = await server.ask(Client([body(sent)]), "Repeat", STREAM)
    assert says in end_of(client)["error"]["message"]
    assert server.recorder.ended == [("/t.T/Repeat", code)]


@pytest.mark.parametrize("method", ["Mirror", "Count"])
async def test_a_stream_that_is_half_closed_within_an_envelope_is_malformed(server: Server, method: str) -> None:
    client = await server.ask(Client([body(frame(message(b"1")) + b"\0\0\0")]), method, STREAM)
    assert end_of(client)["error"]["code"] == "invalid_argument"


@pytest.mark.parametrize("method", ["Mirror", "Count"])
async def test_a_client_that_leaves_within_its_stream_cancels_the_call(server: Server, method: str) -> None:
    await server.ask(Client([body(frame(message(b"1")), more=True), DISCONNECT]), method, STREAM)
    assert server.recorder.ended == [(f"/t.T/{method}", Code.CANCELLED)]


async def test_a_client_that_leaves_while_it_is_sent_to_cancels_the_call(server: Server) -> None:
    await server.ask(Client([body(frame(message(b"1")))], sends_fail=True), "Repeat", STREAM)
    assert server.recorder.ended == [("/t.T/Repeat", Code.CANCELLED)]


async def test_an_aborted_reader_leaves_the_pending_receive_alone(server: Server) -> None:
    client = Client([body(frame(message(b"1")), more=True)])
    asked = asyncio.ensure_future(server.ask(client, "Mirror", STREAM, (b"x-mfn-id", b"s")))
    await client.silent.wait()
    server.disconnects.ended(b"s")
    await asked
    client.say(DISCONNECT)  # would raise InvalidStateError had the reader cancelled it
    assert end_of(client)["error"]["code"] == "canceled"


async def test_envelopes_are_compressed_both_ways() -> None:
    server = Server(ConnectProtocol, compress_from_bytes=100)
    large = message(b"z" * 500)
    packed = frame(gzip.compress(large), compressed=True)
    headers = (b"connect-content-encoding", b"gzip"), (b"connect-accept-encoding", b"gzip")
    client = await server.ask(Client([body(packed)]), "Repeat", STREAM, *headers)
    assert client.headers[b"connect-content-encoding"] == b"gzip"
    *replies, end = envelopes(client)
    assert [(flags, decompress(content, b"gzip", 10_000)) for flags, content in replies] == [(1, large)] * 3
    assert end == (END_OF_STREAM, b"{}")
    plain = await server.ask(Client([body(frame(large))]), "Repeat", STREAM)
    assert b"connect-content-encoding" not in plain.headers
    assert envelopes(plain)[0] == (0, large)
    client = await server.ask(Client([body(frame(b""))]), "Repeat", STREAM, (b"connect-content-encoding", b"br"))
    assert end_of(client)["error"]["code"] == "unimplemented"


async def test_a_conversation_needs_http_2_and_the_other_streams_do_not(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Mirror", STREAM, http="1.1")
    assert client.http == 505
    assert server.recorder.ended == [("/t.T/Mirror", Code.UNIMPLEMENTED)]
    client = await server.ask(Client([body(frame(b""))]), "Count", STREAM, http="1.1")
    assert end_of(client) == {}


async def test_metadata_that_breaks_a_stream_leaves_it_without_its_end(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.ask(Client([body(frame(b""))]), "BrokenStream", STREAM)
    assert client.whole
    assert envelopes(client) == [(0, b"")]
    assert "failed in its transport" in caplog.text


# Whose a request is.


def claims(server: Server, verb: str, query: bytes, *headers: tuple[bytes, bytes]) -> bool:
    return server.protocol.claims({"type": "http", "method": verb, "query_string": query, "headers": list(headers)})


def test_json_is_connects_when_it_says_so_and_a_get_by_its_query(server: Server) -> None:
    assert claims(server, "POST", b"", JSON, VERSION)
    assert claims(server, "POST", b"", (b"content-type", b"Application/JSON; charset=utf-8"), VERSION)
    assert not claims(server, "POST", b"", JSON)
    assert not claims(server, "POST", b"", (b"content-type", b"text/plain"), VERSION)
    assert not claims(server, "PUT", b"connect=v1", JSON, VERSION)
    assert claims(server, "GET", b"encoding=json&connect=v1")
    assert not claims(server, "GET", b"encoding=json")
