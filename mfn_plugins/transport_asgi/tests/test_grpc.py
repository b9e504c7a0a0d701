"""The gRPC protocol on ASGI, driven by hand: what a well-behaved client never sends is what is tried here."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from mfn_asgi_parts.by_hand import DISCONNECT, LIMIT, Client, body, message
from mfn_asgi_parts.by_hand import Server as ByHand
from mfn_core import Code
from mfn_transport_asgi._disconnects import EARLY, Disconnects
from mfn_transport_asgi._framing import decompress, frame
from mfn_transport_asgi._grpc.protocol import GrpcProtocol


class Server(ByHand):
    """Asked as a gRPC client asks, unless a test says otherwise."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(GrpcProtocol, **settings)

    async def ask(
        self,
        client: Client,
        method: str,
        *headers: tuple[bytes, bytes],
        te: bytes | None = b"trailers",
        **options: Any,
    ) -> Client:
        own = [(b"content-type", b"application/grpc"), *headers, *([] if te is None else [(b"te", te)])]
        return await super().ask(client, method, *own, **options)


@pytest.fixture
def server() -> Server:
    return Server()


async def test_a_message_in_one_piece_is_answered(server: Server) -> None:
    client = await server.ask(Client([body(frame(message(b"hi")))]), "Echo")
    assert (client.status, client.body, client.whole) == (0, frame(message(b"hi")), True)
    assert server.recorder.calls[0].peer.address == "[::1]:4711"


async def test_a_message_in_single_bytes_is_answered_the_same(server: Server) -> None:
    raw = frame(message(b"hi"))
    pieces = [body(raw[i : i + 1], more=True) for i in range(len(raw))]
    client = await server.ask(Client([*pieces, body(b"")]), "Echo")
    assert (client.status, client.body) == (0, frame(message(b"hi")))


@pytest.mark.parametrize("method", ["Echo", "Repeat"])
@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (b"", Code.INVALID_ARGUMENT, b"no message"),
        (frame(b"") * 2, Code.INVALID_ARGUMENT, b"several messages"),
        (frame(b"abc")[:-1], Code.INVALID_ARGUMENT, b"ends 7 bytes into one"),
        (b"\0\0", Code.INVALID_ARGUMENT, b"ends 2 bytes into one"),
        (b"\x80\0\0\0\0", Code.INVALID_ARGUMENT, b"flags are 0x80"),
        (frame(bytes(LIMIT + 1)), Code.RESOURCE_EXHAUSTED, b"larger than the server's limit of 1024"),
        (frame(b"abc", compressed=True), Code.INVALID_ARGUMENT, b"names no encoding"),
    ],
)
async def test_what_is_not_exactly_one_message_is_refused_and_recorded(
    server: Server, method: str, sent: bytes, code: Code, says: bytes
) -> None:
    client = await server.ask(Client([body(sent)]), method)
    assert says in client.headers[b"grpc-message"]
    assert server.recorder.ended == [(f"/t.T/{method}", code)]
    assert client.whole


async def test_a_message_that_is_too_large_is_refused_before_it_has_come(server: Server) -> None:
    head = frame(bytes(LIMIT + 1))[:5]
    client = await server.ask(Client([body(head, more=True)]), "Echo")
    assert server.recorder.ended == [("/t.T/Echo", Code.RESOURCE_EXHAUSTED)]
    assert client.whole


@pytest.mark.parametrize("method", ["Mirror", "Count"])
async def test_damage_within_a_stream_ends_the_call_and_is_recorded(server: Server, method: str) -> None:
    client = await server.ask(Client([body(frame(message(b"1")) + b"\x09\0\0\0\0", more=True)]), method)
    assert server.recorder.ended == [(f"/t.T/{method}", Code.INVALID_ARGUMENT)]
    assert client.status == 3
    assert client.whole


async def test_compressed_requests_are_read_in_both_encodings(server: Server) -> None:
    import zlib

    for encoding, packed in ((b"gzip", gzip.compress(message(b"a" * 500))), (b"deflate", zlib.compress(message(b"b")))):
        client = await server.ask(Client([body(frame(packed, compressed=True))]), "Echo", (b"grpc-encoding", encoding))
        assert client.status == 0


async def test_a_bomb_is_refused(server: Server) -> None:
    bomb = gzip.compress(bytes(500_000))
    client = await server.ask(Client([body(frame(bomb, compressed=True))]), "Echo", (b"grpc-encoding", b"gzip"))
    assert client.status == 8


async def test_an_unknown_encoding_is_unimplemented_and_names_what_is_known(server: Server) -> None:
    client = await server.ask(Client([body(frame(b"x"))]), "Echo", (b"grpc-encoding", b"snappy"))
    assert client.status == 12
    assert client.headers[b"grpc-accept-encoding"] == b"identity,gzip,deflate"
    assert server.recorder.ended == [("/t.T/Echo", Code.UNIMPLEMENTED)]


@pytest.mark.parametrize("method", ["Echo", "Repeat"])
async def test_replies_are_compressed_when_that_is_wanted_and_accepted(method: str) -> None:
    server = Server(compress_from_bytes=100)
    accepts = (b"grpc-accept-encoding", b"identity, gzip")
    large = message(b"z" * 500)
    client = await server.ask(Client([body(frame(large))]), method, accepts)
    assert client.headers[b"grpc-encoding"] == b"gzip"
    assert client.body[0] == 1
    length = int.from_bytes(client.body[1:5], "big")
    assert decompress(client.body[5 : 5 + length], b"gzip", 10_000) == large
    small = await server.ask(Client([body(frame(message(b"z")))]), method, accepts)
    assert small.body.startswith(frame(message(b"z")))
    plain = await server.ask(Client([body(frame(large))]), method)
    assert b"grpc-encoding" not in plain.headers
    assert plain.body.startswith(frame(large))


async def test_without_te_trailers_the_refusal_stands_in_the_head(server: Server) -> None:
    client = await server.ask(Client([body(frame(message(b"hi")))]), "Echo", te=None)
    assert client.sent[0]["trailers"] is False
    assert client.status == 3
    assert server.recorder.ended == [("/t.T/Echo", Code.INVALID_ARGUMENT)]


async def test_an_unknown_method_is_unimplemented_and_recorded(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Nope")
    assert client.status == 12
    assert server.recorder.ended == [("/t.T/Nope", Code.UNIMPLEMENTED)]


async def test_a_path_with_escapes_is_not_the_method_that_it_decodes_to(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Ech%6F")
    assert client.status == 12


async def test_a_deadline_that_passes_ends_the_call(server: Server) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Sleep", (b"grpc-timeout", b"20m"))
    assert client.status == 4
    assert server.recorder.ended == [("/t.T/Sleep", Code.DEADLINE_EXCEEDED)]


async def test_what_is_no_grpc_call_gets_a_short_plain_answer_and_is_recorded(server: Server) -> None:
    get = await server.ask(Client([body(b"")]), "Echo", verb="GET")
    assert (get.sent[0]["status"], get.headers[b"allow"]) == (405, b"POST")
    assert server.recorder.ended == [("/t.T/Echo", Code.UNIMPLEMENTED)]


@pytest.mark.parametrize(
    ("version", "trailers", "lack"),
    [
        ("1.1", False, b"gRPC needs HTTP/2 or HTTP/3, and this is HTTP/1.1"),
        ("1.0", False, b"and this is HTTP/1.0"),
        ("1.1", True, b"and this is HTTP/1.1"),
        ("2", False, b"gRPC needs HTTP trailers, and this server cannot send them"),
    ],
)
@pytest.mark.parametrize("method", ["Echo", "Mirror", "Nope"])
async def test_what_the_connection_cannot_carry_is_told_what_to_do_and_recorded(
    server: Server, method: str, version: str, trailers: bool, lack: bytes
) -> None:
    client = await server.ask(Client([body(frame(b""))]), method, http=version, trailers=trailers)
    assert client.http == 505
    assert lack in client.body
    assert b"call gRPC-Web or Connect at this address" in client.body
    assert b"grpc-status" not in client.headers
    assert server.recorder.ended == [(f"/t.T/{method}", Code.UNIMPLEMENTED)]


async def test_http_3_carries_calls_as_http_2_does(server: Server) -> None:
    client = await server.ask(Client([body(frame(message(b"x")))]), "Echo", http="3")
    assert client.status == 0
    assert client.body == frame(message(b"x"))


async def test_a_client_that_leaves_before_its_message_is_whole_is_recorded_as_cancelled(server: Server) -> None:
    await server.ask(Client([body(frame(b"abc")[:4], more=True), DISCONNECT]), "Echo")
    assert server.recorder.ended == [("/t.T/Echo", Code.CANCELLED)]


@pytest.mark.parametrize("method", ["Mirror", "Count"])
async def test_a_client_that_leaves_within_its_stream_cancels_the_call(server: Server, method: str) -> None:
    await server.ask(Client([body(frame(message(b"1")), more=True), DISCONNECT]), method)
    assert server.recorder.ended == [(f"/t.T/{method}", Code.CANCELLED)]


async def test_a_client_that_leaves_while_it_is_sent_to_cancels_the_call(server: Server) -> None:
    await server.ask(Client([body(frame(message(b"1")))], sends_fail=True), "Repeat")
    assert server.recorder.ended == [("/t.T/Repeat", Code.CANCELLED)]


async def test_a_client_that_leaves_before_its_one_reply_changes_nothing(server: Server) -> None:
    await server.ask(Client([body(frame(message(b"1")))], sends_fail=True), "Echo")
    assert server.recorder.ended == [("/t.T/Echo", Code.OK)]


async def test_the_end_of_its_stream_aborts_a_call_that_reads_nothing(server: Server) -> None:
    asked = asyncio.ensure_future(server.ask(Client([body(frame(b""))]), "Sleep", (b"x-mfn-id", b"stream-1")))
    await server.recorder.begun.wait()
    server.disconnects.ended(b"another")
    server.disconnects.ended(b"stream-1")
    await asked
    assert server.recorder.ended == [("/t.T/Sleep", Code.CANCELLED)]


async def test_a_stream_that_ended_before_its_call_began_is_not_served(server: Server) -> None:
    server.disconnects.ended(b"stream-1")
    await server.ask(Client([body(frame(b""))]), "Sleep", (b"x-mfn-id", b"stream-1"))
    assert server.recorder.ended == [("/t.T/Sleep", Code.CANCELLED)]


def test_ids_of_streams_without_a_call_are_forgotten_in_the_end() -> None:
    disconnects = Disconnects()
    for number in range(EARLY + 100):
        disconnects.ended(b"%d" % number)
    assert len(disconnects._early) == EARLY


async def test_an_aborted_reader_leaves_the_pending_receive_alone(server: Server) -> None:
    client = Client([body(frame(message(b"1")), more=True)])
    asked = asyncio.ensure_future(server.ask(client, "Mirror", (b"x-mfn-id", b"s")))
    await client.silent.wait()
    server.disconnects.ended(b"s")
    await asked
    assert server.recorder.ended == [("/t.T/Mirror", Code.CANCELLED)]
    client.say(DISCONNECT)  # would raise InvalidStateError had the reader cancelled it


async def test_a_message_that_does_not_come_is_not_waited_for_for_ever() -> None:
    server = Server(receive_seconds=0.1)
    server.protocol.start()
    client = Client([body(b"\0\0", more=True)])
    asked = asyncio.ensure_future(server.ask(client, "Echo"))
    await client.answered.wait()
    assert client.status == 4
    assert b"did not arrive within 0.1 s" in client.headers[b"grpc-message"]
    client.say(DISCONNECT)  # the server ends the stream once its reply is whole
    await asked
    server.protocol.stop()
    assert server.recorder.ended == [("/t.T/Echo", Code.DEADLINE_EXCEEDED)]


async def test_metadata_that_breaks_the_reply_ends_it_as_internal_and_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.ask(Client([body(frame(b""))]), "Broken")
    assert (client.status, client.body, client.whole) == (13, b"", True)
    assert "failed in its transport" in caplog.text


async def test_a_handler_may_end_while_its_client_still_sends(server: Server) -> None:
    client = Client([body(frame(b"\xff"), more=True)])  # not a message of the type: the stream is refused
    await server.ask(client, "Mirror")
    assert client.status == 3
    assert client.whole
