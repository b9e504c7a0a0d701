"""The part of `TransportSuite` about calls that fail."""

from __future__ import annotations

import re

import pytest

from mfn_core.errors import Code
from mfn_core.operation import Shape
from mfn_core.testing._transport_harness import (
    CLIENT_STREAMS,
    SERVER_STREAMS,
    SHAPES,
    TransportHarness,
    encoded,
    receive_all,
)
from mfn_core.testing.process import ServerProcess
from mfn_core.testing.suite_service import SERVICE, Script, path_of
from mfn_core.testing.wire import run_call

__all__ = ["FailureTests"]

FAILURES = [pytest.param(code, id=code.name) for code in Code if code is not Code.OK]
CALL_ID = re.compile(r"[0-9a-f]{24}")
SECRET = "hunter2-Ünfug"  # noqa: S105 - a text that must not come through, and no credential


class FailureTests(TransportHarness):
    """Errors arrive with all that they carry and nothing else, and leave the connection usable."""

    # A call that fails.

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_an_error_before_the_first_reply_comes_alone(self, shape: Shape, address: str, tag: str) -> None:
        script = Script(tag=tag, fail_after=0, code="NOT_FOUND", message="no such run", trailing=[("x-t", "1")])
        async with self.client(address) as client:
            ended = await self.run(client, shape, script, "a")
        assert ended.replies == []
        assert (ended.status.code, ended.status.message) == ("NOT_FOUND", "no such run")
        assert ("x-t", "1") in ended.status.trailing

    @pytest.mark.parametrize("shape", SERVER_STREAMS)
    async def test_an_error_within_a_stream_follows_the_replies_before_it(
        self, shape: Shape, address: str, tag: str
    ) -> None:
        script = Script(tag=tag, replies=9, fail_after=2, code="ABORTED", message="lost the race")
        async with self.client(address) as client:
            ended = await self.run(client, shape, script, "a", "b", "c", "d")
        assert len(ended.replies) == 2
        assert (ended.status.code, ended.status.message) == ("ABORTED", "lost the race")

    @pytest.mark.parametrize("shape", CLIENT_STREAMS)
    async def test_an_error_does_not_wait_for_the_client_to_half_close(
        self, shape: Shape, address: str, tag: str
    ) -> None:
        async with self.client(address) as client:
            call = await self.begin(client, shape, Script(tag=tag, fail_after=2, code="OUT_OF_RANGE"), "a", "b")
            replies = await receive_all(call)
            assert (await call.status()).code == "OUT_OF_RANGE"
        assert len(replies) == (2 if shape.server_streams else 0)

    @pytest.mark.parametrize("code", FAILURES)
    async def test_every_code_comes_through_with_all_that_it_carries(self, code: Code, address: str, tag: str) -> None:
        text = "100 % Überlauf:\n„α“ > 0.25\t\r\\ %41"
        script = Script(
            tag=tag,
            fail_after=0,
            code=code.name,
            message=text,
            violations=[("alpha", "0.3 is more than 0.25"), ("start.größen[0]", "ñ")],
            retry_after=1.25,
            details=[("limit", "rate")],
        )
        async with self.client(address) as client:
            status = (await self.run(client, Shape.UNARY, script)).status
        assert status.code == code.name
        assert status.message == text
        assert [(each.field, each.description) for each in status.violations] == list(script.violations)
        assert status.retry_after == 1.25

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_an_error_that_is_far_too_long_still_arrives(self, shape: Shape, address: str, tag: str) -> None:
        violations = [(f"field_{number}", "ü" * 200) for number in range(50)]
        script = Script(tag=tag, fail_after=0, code="INVALID_ARGUMENT", message="ä" * 5_000, violations=violations)
        async with self.client(address) as client:
            status = (await self.run(client, shape, script)).status
        assert status.code == "INVALID_ARGUMENT"
        assert status.message.startswith("ä" * 100)
        assert status.violations[0].field == "field_0"

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_an_unexpected_exception_shows_the_call_id_and_nothing_else(
        self, shape: Shape, address: str, tag: str, server: ServerProcess
    ) -> None:
        async with self.client(address) as client:
            status = (await self.run(client, shape, Script(tag=tag, fail_after=0, crash=SECRET), "a")).status
        assert status.code == "INTERNAL"
        found = CALL_ID.search(status.message)
        assert found, status.message
        for told in (status.message, repr(status.trailing), repr(status.violations)):
            assert "hunter2" not in told
            assert "RuntimeError" not in told
            assert "Traceback" not in told
        assert found[0] in server.stderr_text(), "the log does not have the call id"

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_bytes_that_are_no_message_are_an_invalid_argument(
        self, shape: Shape, address: str, tag: str
    ) -> None:
        async with self.client(address) as client:
            ended = await run_call(client, path_of(shape), [b"\xff\xff\xff"], seconds=self.patience)
            later = await self.run(client, shape, Script(tag=tag), "a")
        assert ended.replies == []
        assert ended.status.code == "INVALID_ARGUMENT"
        assert "3 bytes" in ended.status.message
        assert later.status.code == "OK"

    @pytest.mark.parametrize("shape", CLIENT_STREAMS)
    async def test_a_streamed_message_that_is_none_ends_the_call(self, shape: Shape, address: str, tag: str) -> None:
        async with self.client(address) as client:
            ended = await run_call(
                client, path_of(shape), [Script(tag=tag).encode(), b"\xff\xff\xff"], seconds=self.patience
            )
            assert (ended.status.code, ended.replies) == ("INVALID_ARGUMENT", [])
            assert (await self.until(client, tag, lambda tally: tally["running"] == 0, "it is over"))["failed"] == 1

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_call_without_a_message_is_an_invalid_argument(self, shape: Shape, address: str) -> None:
        async with self.client(address) as client:
            ended = await run_call(client, path_of(shape), [], seconds=self.patience)
        assert (ended.status.code, ended.replies) == ("INVALID_ARGUMENT", [])

    @pytest.mark.parametrize(
        "path", [f"/{SERVICE}/NoSuchMethod", "/no.such.Service/Unary", f"/{SERVICE}/unary", f"/{SERVICE}/Unary/x"]
    )
    async def test_an_unknown_method_is_unimplemented(self, path: str, address: str) -> None:
        async with self.client(address) as client:
            ended = await run_call(client, path, [encoded("a"), encoded("b")], seconds=self.patience)
        assert (ended.status.code, ended.replies) == ("UNIMPLEMENTED", [])

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_message_at_the_limit_passes_and_one_byte_more_does_not(
        self, shape: Shape, address: str, tag: str
    ) -> None:
        async with self.client(address) as client:
            for message in (message_of(self.max_message_bytes), message_of(self.max_message_bytes + 1)):
                # Streamed after a script of defaults; as the one request it is itself a script, and no valid one.
                messages = [Script(tag=tag).encode(), message] if shape.client_streams else [message]
                ended = await run_call(client, path_of(shape), messages, seconds=self.patience)
                if len(message) > self.max_message_bytes:
                    assert ended.status.code == "RESOURCE_EXHAUSTED"
                    assert ended.replies == []
                else:
                    assert ended.status.code == ("OK" if shape.client_streams else "INVALID_ARGUMENT")
            later = await self.run(client, shape, Script(tag=tag), "a")
            assert later.status.code == "OK"
            await self.until(client, tag, lambda tally: tally["running"] == 0, "no handler waits for more")


def message_of(size: int) -> bytes:
    """A `StringValue` of so many bytes: its field's tag, the length in base 128, and text."""
    for head in range(2, 8):
        message = encoded("x" * (size - head))
        if len(message) == size:
            return message
    raise ValueError(f"no StringValue has {size} bytes")
