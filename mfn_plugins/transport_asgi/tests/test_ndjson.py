"""Lines of JSON, in pieces of any size."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_asgi_parts.by_hand import DISCONNECT, Client, body
from mfn_core import Code, MfnError
from mfn_transport_asgi._exchange import ClientGoneError
from mfn_transport_asgi._rest.ndjson import Lines


def lines(client: Client, limit: int = 100) -> Lines:
    return Lines(client.receive, limit=limit, transcode=lambda line: line.strip())


async def everything(pieces: Sequence[Mapping[str, Any]], limit: int = 100) -> list[bytes]:
    reader = lines(Client(pieces), limit)
    found = []
    while (line := await reader.read()) is not None:
        found.append(line)
    assert await reader.read() is None
    return found


@given(
    content=st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: b"\n" not in line and line.strip())),
    cuts=st.lists(st.integers(0, 400)),
    ended=st.booleans(),
)
def test_the_pieces_do_not_matter(content: list[bytes], cuts: list[int], ended: bool) -> None:
    whole = b"\n".join(content) + (b"\n" if ended else b"")
    at = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    parts = [whole[a:b] for a, b in itertools.pairwise(at)] or [b""]
    pieces = [body(part, more=True) for part in parts] + [body(b"")]
    assert asyncio.run(everything(pieces)) == [line.strip() for line in content]


async def test_empty_lines_are_passed_over() -> None:
    assert await everything([body(b"\n\n a\n\r\n \nb")]) == [b"a", b"b"]
    assert await everything([body(b"")]) == []


@pytest.mark.parametrize(
    "pieces", [[body(b"x" * 101 + b"\n")], [body(b"x" * 60, more=True)] * 2], ids=["whole", "parts"]
)
async def test_a_line_over_the_limit_is_refused_before_it_is_whole(pieces: list[Mapping[str, Any]]) -> None:
    with pytest.raises(MfnError) as refused:
        await lines(Client(pieces)).read()
    assert refused.value.code is Code.RESOURCE_EXHAUSTED


async def test_a_line_at_the_limit_is_taken() -> None:
    assert await everything([body(b"x" * 100 + b"\n" + b"y" * 100)]) == [b"x" * 100, b"y" * 100]


async def test_a_client_that_is_gone_ends_the_stream() -> None:
    reader = lines(Client([body(b"a\nb", more=True), DISCONNECT]))
    assert await reader.read() == b"a"
    with pytest.raises(ClientGoneError):
        await reader.read()


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    client = Client([])
    reader = lines(client)
    first = asyncio.ensure_future(reader.read())
    await client.silent.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    client.say(body(b"a\n"))
    assert await reader.read() == b"a"
