"""REST requests driven by hand: every status, every header, streams that beat, break and go on."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_asgi_parts.by_hand import DISCONNECT, LIMIT, Client, Server, body
from mfn_core import Allowance, Call, Code, Page
from mfn_transport_asgi._rest.protocol import RestProtocol

JSON = (b"content-type", b"application/json")
LINES = (b"content-type", b"application/x-ndjson")
EVENTS = (b"accept", b"text/event-stream")


def text(value: bytes) -> bytes:
    """A message of the service in JSON."""
    return json.dumps(base64.b64encode(value).decode()).encode()


def problem(client: Client) -> Any:
    assert client.headers[b"content-type"] == b"application/problem+json"
    found = json.loads(client.body)
    assert found["status"] == client.http
    return found


@pytest.fixture
def server() -> Server:
    return Server(RestProtocol)


async def test_a_unary_call_is_json_in_and_json_out(server: Server) -> None:
    client = await server.ask(Client([body(text(b"hi")[:3], more=True), body(text(b"hi")[3:])]), "Echo", JSON)
    assert (client.http, client.body) == (200, text(b"hi"))
    assert client.headers[b"content-type"] == b"application/json"
    assert client.headers[b"content-length"] == b"%d" % len(client.body)
    assert client.headers[b"cache-control"] == b"no-store"
    (call,) = server.recorder.calls
    assert (call.protocol, call.signed_path, call.peer.address) == ("rest", "POST /t.T/Echo", "[::1]:4711")


async def test_what_is_signed_is_the_body_as_it_came_and_the_path_with_its_query(server: Server) -> None:
    raw = b"  " + text(b"hi") + b"\n"
    await server.ask(Client([body(gzip.compress(raw))]), "Echo", JSON, (b"content-encoding", b"gzip"), query=b"")
    assert server.recorder.calls[-1].request is not None
    assert server.recorder.calls[-1].request.raw == raw
    client = await server.ask(Client([body(raw)]), "Echo", JSON, query=b"a=%20b&c")
    assert server.recorder.calls[-1].signed_path == "POST /t.T/Echo?a=%20b&c"
    assert problem(client)["errors"] == [
        {"field": "a", "message": "stands in the query, which this path does not read; put it into the body"}
    ]


async def test_a_target_that_cannot_be_signed_is_refused(server: Server) -> None:
    client = await server.ask(Client([body(text(b""))]), "Echo", JSON, query=b"a=\xff")
    assert problem(client)["code"] == "INVALID_ARGUMENT"
    assert client.http == 400


@pytest.mark.parametrize(
    ("pieces", "headers", "status", "code"),
    [
        ([body(b"{")], [JSON], 400, "INVALID_ARGUMENT"),
        ([body(b'"AA*A"')], [JSON], 400, "INVALID_ARGUMENT"),
        ([body(b"1")], [JSON], 400, "INVALID_ARGUMENT"),
        ([body(b"\xff")], [JSON], 400, "INVALID_ARGUMENT"),
        ([body(b'"' + b"A" * LIMIT + b'"')], [JSON], 413, "RESOURCE_EXHAUSTED"),
        ([body(b"A" * 600, more=True), body(b"A" * 600)], [JSON], 413, "RESOURCE_EXHAUSTED"),
        ([body(gzip.compress(b" " * LIMIT * 50))], [JSON, (b"content-encoding", b"gzip")], 413, "RESOURCE_EXHAUSTED"),
        ([body(b"no gzip")], [JSON, (b"content-encoding", b"gzip")], 400, "INVALID_ARGUMENT"),
        ([body(b"")], [JSON, (b"content-encoding", b"br")], 415, "INVALID_ARGUMENT"),
        ([body(text(b""))], [], 415, "INVALID_ARGUMENT"),
        ([body(text(b""))], [(b"content-type", b"text/plain")], 415, "INVALID_ARGUMENT"),
        ([body(text(b""))], [(b"content-type", b"application/json; charset=utf-16")], 415, "INVALID_ARGUMENT"),
        ([body(text(b""))], [LINES], 415, "INVALID_ARGUMENT"),
        ([body(text(b""))], [JSON, (b"accept", b"text/html")], 406, "INVALID_ARGUMENT"),
        ([body(text(b""))], [JSON, (b"trace-bin", b"?")], 400, "INVALID_ARGUMENT"),
        ([body(b"", more=True), DISCONNECT], [JSON], 499, "CANCELLED"),
    ],
)
async def test_what_is_no_request_gets_its_status_and_a_record(
    server: Server, pieces: list[Any], headers: list[tuple[bytes, bytes]], status: int, code: str
) -> None:
    client = await server.ask(Client(pieces), "Echo", *headers)
    assert (client.http, problem(client)["code"]) == (status, code)
    assert server.recorder.ended == [("/t.T/Echo", Code[code])]


async def test_a_body_that_does_not_come_in_time_is_a_timeout() -> None:
    client = await Server(RestProtocol, receive_seconds=0.1).ask(Client([body(b'"', more=True)]), "Echo", JSON)
    assert (client.http, problem(client)["title"]) == (408, "Request timeout")


async def test_paths_and_methods_that_are_not_there_are_told_and_recorded(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Nope", JSON)
    assert (client.http, problem(client)["code"]) == (404, "NOT_FOUND")
    client = await server.ask(Client([body(b"")]), "Echo", verb="DELETE")
    assert (client.http, client.headers[b"allow"]) == (405, b"OPTIONS, POST")
    assert problem(client)["title"] == "Method not allowed"
    assert server.recorder.ended == [("/t.T/Nope", Code.NOT_FOUND), ("/t.T/Echo", Code.UNIMPLEMENTED)]
    client = await server.ask(Client([body(b"")]), "Echo", verb="OPTIONS")
    assert (client.http, client.headers[b"allow"], client.body) == (204, b"OPTIONS, POST", b"")


async def test_a_failure_is_problem_details_and_nothing_of_the_operator(server: Server) -> None:
    client = await server.ask(Client([body(text(b""))]), "Fail", JSON, (b"x-request-id", b"mine"))
    (call,) = server.recorder.calls
    assert problem(client) == {
        "type": "/docs#resource-exhausted",
        "title": "Limit reached",
        "status": 429,
        "code": "RESOURCE_EXHAUSTED",
        "detail": "slower, 100 %",
        "instance": f"/calls/{call.id}",
        "request_id": "mine",
        "retry_after": 1.25,
    }
    assert client.headers[b"retry-after"] == b"2"
    assert client.headers[b"x-initial"] == b"first"


async def test_metadata_becomes_headers(server: Server) -> None:
    client = await server.ask(Client([body(text(b"hi"))]), "Labelled", JSON)
    assert (client.headers[b"x-initial"], client.headers[b"x-trailing-bin"]) == (b"first", b"AP8")
    assert not {b"content-encoding", b"access-control-allow-origin"} & client.headers.keys()


async def test_every_reply_has_the_id_of_its_request_or_one_of_its_own(server: Server) -> None:
    client = await server.ask(Client([body(text(b""))]), "Echo", JSON, (b"x-request-id", b"mine"))
    assert client.headers[b"x-request-id"] == b"mine"
    for method in ("Echo", "Nope", "Fail"):
        client = await server.ask(Client([body(text(b""))]), method, JSON, (b"x-request-id", b"not\xffvalid"))
        made = client.headers[b"x-request-id"].decode()
        assert uuid.UUID(made).version == 4
        assert server.recorder.calls[-1].decoded_request_id == made


async def test_replies_are_compressed_for_who_reads_that() -> None:
    server = Server(RestProtocol, compress_from_bytes=10)
    accepts = (b"accept-encoding", b"br, gzip")
    client = await server.ask(Client([body(text(b"x" * 90))]), "Echo", JSON, accepts)
    assert client.headers[b"content-encoding"] == b"gzip"
    assert gzip.decompress(client.body) == text(b"x" * 90)
    for method, headers in (("Echo", []), ("Echo", [(b"accept-encoding", b"gzip;q=0")])):
        client = await server.ask(Client([body(text(b"x" * 90))]), method, JSON, *headers)
        assert (client.body, client.headers[b"vary"]) == (text(b"x" * 90), b"accept-encoding")


async def test_a_preference_to_wait_is_the_deadline(server: Server) -> None:
    client = await server.ask(Client([body(text(b""))]), "Sleep", JSON, (b"prefer", b"wait=0"))
    assert (client.http, problem(client)["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_what_a_limiter_leaves_is_told() -> None:
    server = Server(RestProtocol)

    async def limited(call: Call) -> Any:
        call.allowance = lambda: Allowance(policy="default", limit=10, remaining=9, window=10.0)
        return await dispatch(call)

    dispatch, server.dispatcher.dispatch = server.dispatcher.dispatch, limited  # type: ignore[method-assign] # a limiter
    client = await server.ask(Client([body(text(b""))]), "Echo", JSON)
    assert client.headers[b"x-ratelimit-remaining"] == b"9"
    assert client.headers[b"ratelimit"] == b'"default";r=9;t=1'


# Streams.


async def test_a_stream_is_lines_unless_events_are_asked_for(server: Server) -> None:
    client = await server.ask(Client([body(text(b"a"))]), "Repeat", JSON)
    assert client.headers[b"content-type"] == b"application/x-ndjson"
    assert client.body == (text(b"a") + b"\n") * 3
    client = await server.ask(Client([body(text(b"a"))]), "Repeat", JSON, EVENTS)
    assert client.headers[b"content-type"] == b"text/event-stream"
    events = [b"id: %d\ndata: %s\n\n" % (number, text(b"a")) for number in (1, 2, 3)]
    assert client.body == b"".join(events) + b"event: end\ndata: {}\n\n"


async def test_a_stream_that_fails_says_so_at_its_end(server: Server) -> None:
    client = await server.ask(Client([body(text(b"a"))]), "FailStream", JSON)
    first, last = client.body.splitlines()
    assert (client.http, first) == (200, text(b"a"))
    error = json.loads(last)["error"]
    assert (error["code"], error["status"], error["retry_after"]) == ("RESOURCE_EXHAUSTED", 429, 1.25)
    client = await server.ask(Client([body(text(b"a"))]), "FailStream", JSON, EVENTS)
    event, data = client.body.split(b"\n\n")[-2].split(b"\n")
    assert (event, json.loads(data.removeprefix(b"data: "))["code"]) == (b"event: error", "RESOURCE_EXHAUSTED")


async def test_a_stream_that_fails_before_it_begins_has_a_status_of_http(server: Server) -> None:
    client = await server.ask(Client([body(b"{")]), "Repeat", JSON, EVENTS)
    assert (client.http, problem(client)["code"]) == (400, "INVALID_ARGUMENT")


async def test_lines_in_are_counted_and_come_back(server: Server) -> None:
    pieces = [body(text(b"a") + b"\n" + text(b"b")[:2], more=True), body(text(b"b")[2:] + b"\n\n")]
    client = await server.ask(Client(pieces), "Count", LINES)
    assert (client.http, client.body) == (200, text(b"2"))
    client = await server.ask(Client(pieces), "Mirror", LINES)
    assert client.body == text(b"a") + b"\n" + text(b"b") + b"\n"
    client = await server.ask(Client([body(b"")]), "Count", LINES)
    assert client.body == text(b"0")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b'"YQ=="\n{\n', 400, "INVALID_ARGUMENT"), (b"x" * (LIMIT + 1), 429, "RESOURCE_EXHAUSTED")],
)
async def test_a_bad_line_ends_the_call(server: Server, content: bytes, status: int, code: str) -> None:
    client = await server.ask(Client([body(content)]), "Count", LINES)
    assert (client.http, problem(client)["code"]) == (status, code)


async def test_lines_are_not_compressed(server: Server) -> None:
    client = await server.ask(Client([body(b"")]), "Count", LINES, (b"content-encoding", b"gzip"))
    assert (client.http, client.headers[b"accept-encoding"]) == (415, b"identity")
    client = await server.ask(Client([body(text(b""))]), "Count", JSON)
    assert (client.http, client.headers[b"accept-post"].split(b",")[0]) == (415, b"application/x-ndjson")


async def test_a_charset_that_is_not_read_is_named(server: Server) -> None:
    client = await server.ask(Client([body(text(b""))]), "Echo", (b"content-type", b"application/json;charset=latin1"))
    assert problem(client)["detail"].endswith("must be application/json in UTF-8, not application/json in latin1")


async def test_a_client_that_is_gone_aborts_the_call(server: Server) -> None:
    await server.ask(Client([body(text(b"a"))], sends_fail=True), "Repeat", JSON)
    client = Client([body(text(b"a") + b"\n", more=True), DISCONNECT])
    await server.ask(client, "Count", LINES)
    assert [code for _, code in server.recorder.ended] == [Code.CANCELLED, Code.CANCELLED]


async def test_a_silent_stream_is_kept_alive_by_comments() -> None:
    server = Server(RestProtocol, heartbeat_seconds=0.02)
    client = Client([body(text(b"a") + b"\n", more=True)])
    asking = asyncio.ensure_future(server.ask(client, "Mirror", LINES, EVENTS))
    async with asyncio.timeout(10):
        while client.body.count(b":\n\n") < 3:
            await asyncio.sleep(0.01)  # nothing tells of what was sent but looking
        client.say(body(text(b"b")))
        await asking
    content = client.body.replace(b":\n\n", b"")
    assert content == b"id: 1\ndata: %s\n\nid: 2\ndata: %s\n\nevent: end\ndata: {}\n\n" % (text(b"a"), text(b"b"))
    assert len(asyncio.all_tasks()) == 1


async def test_a_stream_goes_on_where_its_client_left_off_if_the_request_determines_it(server: Server) -> None:
    seen = (b"last-event-id", b"2")
    client = await server.ask(Client([body(text(b"a"))]), "Repeat", JSON, EVENTS, seen)
    assert client.body.startswith(b"id: 1\n")  # it is not said to be deterministic
    again = Server(RestProtocol)
    operation = again.dispatcher.operations["/t.T/Repeat"]
    object.__setattr__(operation, "deterministic", True)
    client = await again.ask(Client([body(text(b"a"))]), "Repeat", JSON, EVENTS, seen)
    assert client.body == b"id: 3\ndata: %s\n\nevent: end\ndata: {}\n\n" % text(b"a")
    client = await again.ask(Client([body(text(b"a"))]), "Repeat", JSON, EVENTS, (b"last-event-id", b"99"))
    assert (client.http, client.body) == (200, b"event: end\ndata: {}\n\n")


async def test_a_draining_server_sends_clients_elsewhere(server: Server) -> None:
    await server.dispatcher.drain(0)
    client = await server.ask(Client([body(text(b""))]), "Echo", JSON)
    assert (client.http, client.headers[b"retry-after"]) == (503, b"0")


async def test_a_defect_of_the_door_shows_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        for method in ("Broken", "BrokenStream"):
            client = await server.ask(Client([body(text(b""))]), method, JSON)
            assert client.whole
            assert b"Traceback" not in client.body


# Pages.


async def page(server: Server, path: bytes, *headers: tuple[bytes, bytes], verb: str = "GET") -> Client:
    client = Client([body(b"")])
    scope: Mapping[str, Any] = {
        "type": "http",
        "method": verb,
        "http_version": "2",
        "raw_path": path,
        "query_string": b"",
        "headers": list(headers),
        "client": ["::1", 4711],
        "extensions": {},
    }
    await server.protocol.handle(scope, client.receive, client.send)
    assert client.whole
    return client


async def test_health_is_told_to_everybody_and_leaves_no_record(server: Server) -> None:
    client = await page(server, b"/health")
    assert client.http == 200
    found = json.loads(client.body)
    assert (found["status"], found["uptime_seconds"]) == ("healthy", 0)
    assert found["version"]
    for path in (b"/livez", b"/readyz"):
        assert ((found := await page(server, path)).http, found.body) == (200, b"ok\n")
    await server.dispatcher.drain(0)
    client = await page(server, b"/health")
    assert (client.http, json.loads(client.body)["status"]) == (503, "draining")
    assert ((await page(server, b"/readyz")).http, (await page(server, b"/livez")).http) == (503, 200)
    assert server.recorder.calls == []


async def test_pages_are_read_and_nothing_else(server: Server) -> None:
    client = await page(server, b"/health", verb="POST")
    assert (client.http, client.headers[b"allow"]) == (405, b"GET, HEAD")
    client = await page(server, b"/docs", verb="HEAD")
    assert (client.http, client.body) == (200, b"")
    assert int(client.headers[b"content-length"]) > 500


@pytest.mark.parametrize("path", [b"/openapi.json", b"/docs", b"/docs/docs.js", b"/docs/docs.css", b"/docs/icon.svg"])
async def test_what_stays_the_same_is_sent_once(server: Server, path: bytes) -> None:
    client = await page(server, path)
    assert client.http == 200
    assert client.body
    again = await page(server, path, (b"if-none-match", b'"x", W/' + client.headers[b"etag"]))
    assert (again.http, again.body) == (304, b"")


async def test_the_page_of_operations_runs_no_code_but_its_own(server: Server) -> None:
    client = await page(server, b"/docs")
    policy = client.headers[b"content-security-policy"]
    assert b"default-src 'none'" in policy
    assert b"unsafe" not in policy
    for path in (b"/docs", b"/docs/docs.js", b"/docs/docs.css"):
        content = (await page(server, path)).body
        assert b"http://" not in content.replace(b"http://www.w3.org", b"")
        assert b"https://" not in content
        assert b"innerHTML" not in content
        assert b" onclick" not in content


async def test_the_description_can_be_left_out() -> None:
    server = Server(RestProtocol, docs=False)
    for path in (b"/openapi.json", b"/docs", b"/docs/docs.js"):
        assert (await page(server, path)).http == 404
    assert (await page(server, b"/health")).http == 200


async def test_components_offer_pages_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    async def read() -> bytes:
        return b"calls_total 1\n"

    async def fail() -> bytes:
        raise ValueError("a secret")

    offered = [
        Page(path="/metrics", content_type="text/plain; version=0.0.4", read=read),
        Page(path="/health", content_type="text/plain", read=read),
        Page(path="/broken", content_type="text/plain", read=fail),
    ]
    server = Server(lambda *parts: RestProtocol(*parts, pages=offered))
    assert "/health is not served" in caplog.text
    client = await page(server, b"/metrics")
    assert (client.http, client.body) == (200, b"calls_total 1\n")
    assert client.headers[b"content-type"] == b"text/plain; version=0.0.4"
    assert json.loads((await page(server, b"/health")).body)["status"] == "healthy"
    client = await page(server, b"/broken")
    assert client.http == 500
    assert b"a secret" not in client.body


@given(
    path=st.binary(max_size=60),
    query=st.binary(max_size=60),
    content=st.binary(max_size=200),
    verb=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "x"]),
    headers=st.lists(st.tuples(st.sampled_from([b"accept", b"content-type", b"prefer", b"x-request-id"]), st.binary())),
)
def test_any_request_gets_a_defined_status(
    path: bytes, query: bytes, content: bytes, verb: str, headers: list[tuple[bytes, bytes]]
) -> None:
    async def ask() -> Client:
        server = Server(RestProtocol)
        client = Client([body(content)])
        scope = {
            "type": "http",
            "method": verb,
            "http_version": "1.1",
            "raw_path": b"/" + path,
            "query_string": query,
            "headers": headers,
            "client": None,
            "extensions": {},
        }
        await server.protocol.handle(scope, client.receive, client.send)
        return client

    client = asyncio.run(ask())
    assert client.whole
    assert client.http < 500
