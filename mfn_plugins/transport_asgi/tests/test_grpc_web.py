"""gRPC-Web on ASGI, driven by hand: both forms, any chunks, and what is malformed."""

from __future__ import annotations

import asyncio
import base64
import gzip

import pytest

from mfn_asgi_parts.by_hand import DISCONNECT, LIMIT, Client, Server, body, message
from mfn_asgi_parts.grpc_web_wire import parse_trailers
from mfn_core import Code
from mfn_transport_asgi._framing import decompress, frame
from mfn_transport_asgi._grpc.web import TRAILERS, GrpcWebProtocol

BINARY = (b"content-type", b"application/grpc-web+proto")
TEXT = (b"content-type", b"application/grpc-web-text")


@pytest.fixture
def server() -> Server:
    return Server(GrpcWebProtocol)


def frames(raw: bytes) -> list[tuple[int, bytes]]:
    found = []
    while raw:
        size = int.from_bytes(raw[1:5], "big")
        found.append((raw[0], raw[5 : 5 + size]))
        raw = raw[5 + size :]
    return found


def text_of(client: Client) -> bytes:
    """The bytes of a reply in base64, whose pieces are padded each by itself."""
    return b"".join(base64.b64decode(sent["body"], validate=True) for sent in client.sent if "body" in sent)


def trailers_of(raw: bytes) -> dict[str, str]:
    """Of the last frame, which must be the only one of its kind."""
    *messages, (flags, content) = frames(raw)
    assert flags == TRAILERS
    assert all(each & TRAILERS == 0 for each, _ in messages)
    return dict(parse_trailers(content))


@pytest.mark.parametrize("http", ["1.1", "2"])
async def test_a_message_is_answered_with_the_trailers_as_a_last_frame(server: Server, http: str) -> None:
    client = await server.ask(Client([body(frame(message(b"hi")))]), "Echo", BINARY, http=http)
    assert (client.http, client.whole) == (200, True)
    assert client.headers[b"content-type"] == b"application/grpc-web+proto"
    assert frames(client.body) == [(0, message(b"hi")), (TRAILERS, b"grpc-status: 0\r\n")]
    assert server.recorder.calls[0].protocol == "grpc-web"


async def test_a_stream_is_frames_and_the_trailers(server: Server) -> None:
    client = await server.ask(Client([body(frame(message(b"hi")))]), "Repeat", BINARY)
    assert frames(client.body) == [(0, message(b"hi"))] * 3 + [(TRAILERS, b"grpc-status: 0\r\n")]


@pytest.mark.parametrize("method", ["Echo", "Repeat"])
@pytest.mark.parametrize("size", [1, 3, 4, 100])
async def test_text_is_read_in_any_chunks_and_answered_as_text(server: Server, method: str, size: int) -> None:
    # Padded within the message, as a sender does that flushes in the middle of it.
    raw = frame(message(b"hello"))
    text = base64.b64encode(raw[:4]) + base64.b64encode(raw[4:])
    pieces = [body(text[i : i + size], more=True) for i in range(0, len(text), size)]
    client = await server.ask(Client([*pieces, body(b"")]), method, TEXT)
    assert client.headers[b"content-type"] == b"application/grpc-web-text+proto"
    found = text_of(client)
    assert frames(found)[0] == (0, message(b"hello"))
    assert trailers_of(found) == {"grpc-status": "0"}


@pytest.mark.parametrize("text", [b"!!!!", b"AAAAAAB", base64.b64encode(frame(b"x"))[:-3]])
async def test_text_that_is_no_base64_is_an_invalid_argument(server: Server, text: bytes) -> None:
    client = await server.ask(Client([body(text)]), "Echo", TEXT)
    assert client.status == 3
    assert server.recorder.ended == [("/t.T/Echo", Code.INVALID_ARGUMENT)]


@pytest.mark.parametrize(
    ("sent", "accept", "reply"),
    [
        (BINARY, b"application/grpc-web-text", b"application/grpc-web-text+proto"),
        (TEXT, b"application/grpc-web+proto", b"application/grpc-web+proto"),
        (TEXT, b"*/*", b"application/grpc-web-text+proto"),
        (BINARY, b"text/html, application/grpc-web-text+proto;q=0.9", b"application/grpc-web-text+proto"),
    ],
)
async def test_the_form_of_the_reply_is_what_accept_names(
    server: Server, sent: tuple[bytes, bytes], accept: bytes, reply: bytes
) -> None:
    raw = frame(message(b"hi"))
    pieces = [body(base64.b64encode(raw) if sent is TEXT else raw)]
    client = await server.ask(Client(pieces), "Echo", sent, (b"accept", accept))
    assert client.headers[b"content-type"] == reply
    found = text_of(client) if b"text" in reply else client.body
    assert frames(found)[0] == (0, message(b"hi"))


async def test_a_failure_without_messages_stands_in_the_head_alone(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Nope", BINARY)
    assert (client.http, client.status, client.body, client.whole) == (200, 12, b"", True)
    assert server.recorder.ended == [("/t.T/Nope", Code.UNIMPLEMENTED)]


async def test_a_failure_after_metadata_or_messages_is_the_last_frame(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Fail", BINARY)
    assert client.headers[b"x-initial"] == b"first"
    found = trailers_of(client.body)
    assert (found["grpc-status"], found["grpc-message"]) == ("8", "slower, 100 %25")
    assert found["x-trailing-bin"] == "AP8"
    assert "grpc-status-details-bin" in found
    client = await server.ask(Client([body(frame(b""))]), "FailStream", BINARY)
    assert frames(client.body)[0] == (0, b"")
    assert trailers_of(client.body)["grpc-status"] == "8"


async def test_metadata_cannot_forge_what_browsers_read(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Labelled", BINARY)
    assert client.headers[b"x-initial"] == b"first"
    assert b"content-encoding" not in client.headers
    assert trailers_of(client.body) == {"grpc-status": "0", "x-trailing-bin": "AP8"}


@pytest.mark.parametrize("method", ["Echo", "Repeat"])
@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (b"", Code.INVALID_ARGUMENT, b"no message"),
        (frame(b"") * 2, Code.INVALID_ARGUMENT, b"several messages"),
        (frame(b"abc")[:-1], Code.INVALID_ARGUMENT, b"ends 7 bytes into one"),
        (frame(b"") + b"\x80\0\0\0\0", Code.INVALID_ARGUMENT, b"flags are 0x80"),
        (frame(bytes(LIMIT + 1)), Code.RESOURCE_EXHAUSTED, b"larger than the server's limit of 1024"),
        (frame(b"abc", compressed=True), Code.INVALID_ARGUMENT, b"names no encoding"),
    ],
)
async def test_what_is_not_exactly_one_message_is_refused_and_recorded(
    server: Server, method: str, sent: bytes, code: Code, says: bytes
) -> None:
    client = await server.ask(Client([body(sent)]), method, BINARY)
    assert says in client.headers[b"grpc-message"]
    assert server.recorder.ended == [(f"/t.T/{method}", code)]
    assert client.whole


async def test_a_deadline_that_passes_ends_the_call(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Sleep", BINARY, (b"grpc-timeout", b"20m"))
    assert client.status == 4
    client = await server.ask(Client([body(frame(b""))]), "Echo", BINARY, (b"grpc-timeout", b"soon"))
    assert client.status == 3


async def test_messages_are_compressed_where_the_client_says_so() -> None:
    server = Server(GrpcWebProtocol, compress_from_bytes=100)
    large = message(b"z" * 500)
    packed = frame(gzip.compress(large), compressed=True)
    headers = (b"grpc-encoding", b"gzip"), (b"grpc-accept-encoding", b"gzip")
    client = await server.ask(Client([body(packed)]), "Echo", BINARY, *headers)
    assert client.headers[b"grpc-encoding"] == b"gzip"
    (flags, content), _ = frames(client.body)
    assert (flags, decompress(content, b"gzip", 10_000)) == (1, large)
    plain = await server.ask(Client([body(frame(large))]), "Echo", BINARY)
    assert frames(plain.body)[0] == (0, large)


async def test_other_verbs_are_refused(server: Server) -> None:
    client = await server.ask(Client([]), "Echo", BINARY, verb="GET")
    assert (client.http, client.headers[b"allow"]) == (405, b"POST")
    assert server.recorder.ended == [("/t.T/Echo", Code.UNIMPLEMENTED)]


async def test_a_client_that_leaves_is_recorded_as_cancelled(server: Server) -> None:
    await server.ask(Client([body(frame(b"abc")[:4], more=True), DISCONNECT]), "Echo", BINARY)
    await server.ask(Client([body(frame(message(b"1")))], sends_fail=True), "Repeat", BINARY)
    asked = asyncio.ensure_future(server.ask(Client([body(frame(b""))]), "Sleep", BINARY, (b"x-mfn-id", b"s")))
    while len(server.recorder.calls) < 3:
        await asyncio.sleep(0)
    server.disconnects.ended(b"s")
    await asked
    assert server.recorder.ended == [
        ("/t.T/Echo", Code.CANCELLED),
        ("/t.T/Repeat", Code.CANCELLED),
        ("/t.T/Sleep", Code.CANCELLED),
    ]


async def test_a_message_that_does_not_come_is_not_waited_for_for_ever() -> None:
    server = Server(GrpcWebProtocol, receive_seconds=0.1)
    client = await server.ask(Client([body(b"\0\0", more=True)]), "Echo", BINARY)
    assert client.status == 4
    client.say(DISCONNECT)  # would raise InvalidStateError had the reader cancelled it


async def test_metadata_that_breaks_the_reply_ends_it_as_internal_and_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Broken", BINARY)
    assert (client.status, client.body, client.whole) == (13, b"", True)
    client = await server.ask(Client([body(frame(b""))]), "BrokenStream", BINARY)
    assert (frames(client.body), client.whole) == ([(0, b"")], True)
    assert caplog.text.count("failed in its transport") == 2
