"""The part of `TransportSuite` about calls that succeed, and about metadata."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mfn_core.operation import Shape
from mfn_core.testing._transport_harness import SHAPES, TransportHarness, by_key, encoded, receive_text
from mfn_core.testing.suite_service import Script, path_of
from mfn_core.testing.wire import Pairs, WireClient, run_call

__all__ = ["AnswerTests"]


class AnswerTests(TransportHarness):
    """Replies arrive whole, in order, and to the call that asked; metadata goes both ways."""

    # A call that succeeds.

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_call_is_answered(self, shape: Shape, address: str, tag: str) -> None:
        async with self.client(address) as client:
            ended = await self.run(client, shape, Script(tag=tag, replies=3), "a", "b", "c", "d")
        assert (
            ended.replies
            == {
                Shape.UNARY: [f"{tag}:0"],
                Shape.SERVER_STREAM: [f"{tag}:0", f"{tag}:1", f"{tag}:2"],
                Shape.CLIENT_STREAM: [f"{tag}:a,b,c,d"],
                Shape.BIDI: [f"{tag}:a", f"{tag}:b", f"{tag}:c"],
            }[shape]
        )
        assert (ended.status.code, ended.status.message) == ("OK", "")

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_an_empty_message_is_a_message(self, shape: Shape, address: str, tag: str) -> None:
        async with self.client(address) as client:
            ended = await self.run(client, shape, Script(tag=tag, empty=True), "", "")
            bare = await run_call(client, path_of(shape), [b""], seconds=self.patience)
        # Both texts of a bidirectional call are answered, and then its end.
        assert ended.replies == ([""] * 3 if shape is Shape.BIDI else [""])
        assert ended.status.code == "OK"
        assert bare.status.code == "OK"
        assert len(bare.replies) == 1

    async def test_a_bidirectional_call_is_a_conversation(self, address: str, tag: str) -> None:
        async with self.client(address) as client:
            call = await self.begin(client, Shape.BIDI, Script(tag=tag))
            for turn in range(5):
                assert await call.send(encoded(f"turn {turn}"))
                assert await receive_text(call) == f"{tag}:turn {turn}"
            await call.half_close()
            assert await receive_text(call) == f"{tag}:end"
            assert await call.receive() is None
            assert (await call.status()).code == "OK"

    async def test_a_server_may_end_a_bidirectional_call_first(self, address: str, tag: str) -> None:
        async with self.client(address) as client:
            call = await self.begin(client, Shape.BIDI, Script(tag=tag, replies=2), "a", "b")
            assert [await receive_text(call), await receive_text(call), await call.receive()] == [
                f"{tag}:a",
                f"{tag}:b",
                None,
            ]
            assert (await call.status()).code == "OK"
            assert await call.send(encoded("too late")) is False

    async def test_a_streamed_request_is_answered_only_once_the_client_has_half_closed(
        self, address: str, tag: str
    ) -> None:
        async with self.client(address) as client:
            call = await self.begin(client, Shape.CLIENT_STREAM, Script(tag=tag), "a", "b")
            await self.until(client, tag, lambda tally: tally["received"] == 2, "both messages are read")
            assert (await self.probe(client, tag))["running"] == 1
            await call.half_close()
            assert await receive_text(call) == f"{tag}:a,b"
            assert await call.receive() is None
            assert (await call.status()).code == "OK"

    async def test_concurrent_calls_on_one_connection_do_not_mix(self, address: str, tag: str) -> None:
        async def one(client: WireClient, number: int) -> None:
            shape = list(Shape)[number % 4]
            own = f"{tag}-{number}"
            script = Script(tag=own, replies=3, trailing=[("x-own", own)])
            ended = await self.run(client, shape, script, f"{number}a", f"{number}b", f"{number}c")
            assert ended.status.code == "OK"
            assert len(ended.replies) == (3 if shape.server_streams else 1)
            assert all(reply.startswith(f"{own}:") for reply in ended.replies)
            assert ("x-own", own) in ended.status.trailing

        async with self.client(address) as client:
            await asyncio.gather(*(one(client, number) for number in range(50)))

    # Metadata.

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_metadata_reaches_the_handler(self, shape: Shape, address: str, tag: str) -> None:
        sent: Pairs = [
            ("x-text", "plain; text, with=marks"),
            ("x-empty", ""),
            ("x-twice", "first"),
            ("x-between", "1"),
            ("x-twice", "second"),
            ("x-bytes-bin", bytes(range(256))),
            ("x-none-bin", b""),
            ("x-twice-bin", b"\x00,\xff"),
            ("x-twice-bin", b"\x01"),
        ]
        async with self.client(address) as client:
            ended = await self.run(client, shape, Script(tag=tag, metadata=True), "a", metadata=sent)
        seen = [(key, value) for key, value in json.loads(ended.replies[0]) if key.startswith("x-")]
        expected = [(key, value.hex() if isinstance(value, bytes) else value) for key, value in sent]
        assert by_key(seen) == by_key(expected)
        assert not [key for key, _ in json.loads(ended.replies[0]) if key.startswith(":")]

    @pytest.mark.parametrize("outcome", [None, 0], ids=["success", "failure"])
    @pytest.mark.parametrize("shape", SHAPES)
    async def test_metadata_reaches_the_client(self, shape: Shape, outcome: int | None, address: str, tag: str) -> None:
        initial = [("x-i", "one"), ("x-i", "two"), ("x-i-empty", ""), ("x-i-bin", "00ff")]
        trailing = [("x-t", "one"), ("x-t", "two"), ("x-t-empty", ""), ("x-t-bin", "ff00")]
        script = Script(tag=tag, initial=initial, trailing=trailing, fail_after=outcome)
        async with self.client(address) as client:
            ended = await self.run(client, shape, script, "a")
        assert ended.status.code == ("OK" if outcome is None else "FAILED_PRECONDITION")
        for got, sent in ((ended.initial, initial), (ended.status.trailing, trailing)):
            own = [(key, value) for key, value in got if key.startswith("x-")]
            expected = [(key, bytes.fromhex(value) if key.endswith("-bin") else value) for key, value in sent]
            assert by_key(own) == by_key(expected)

    async def test_initial_metadata_comes_with_the_first_reply_of_a_stream(
        self, address: str, tag: str, tmp_path: Path
    ) -> None:
        script = Script(tag=tag, initial=[("x-i", "1")], replies=2, until=str(tmp_path / "go"))
        async with self.client(address) as client:
            call = await self.begin(client, Shape.SERVER_STREAM, script)
            assert await receive_text(call) == f"{tag}:0"
            assert ("x-i", "1") in await call.initial_metadata()
            (tmp_path / "go").touch()
            assert await receive_text(call) == f"{tag}:1"
            assert await call.receive() is None
