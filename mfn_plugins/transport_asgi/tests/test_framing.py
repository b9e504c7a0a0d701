"""Messages survive any chunking; damage is refused and never crashes."""

from __future__ import annotations

import gzip
import random
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code, MfnError
from mfn_transport_asgi._framing import INPUT_BYTES, MAX_MEMBERS, Unframer, compress, decompress, frame, whole

LIMIT = 1000


def take_all(unframer: Unframer) -> list[tuple[bool, bytes]]:
    found = []
    while (taken := unframer.take()) is not None:
        found.append(taken)
    return found


@given(
    messages=st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8),
    cuts=st.lists(st.integers(0, 2500), max_size=12),
)
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    stream = b"".join(frame(message, compressed=compressed) for message, compressed in messages)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    unframer = Unframer(LIMIT)
    found = []
    for begin, end in pairwise(edges):
        unframer.feed(stream[begin:end])
        found += take_all(unframer)
    assert found == [(compressed, message) for message, compressed in messages]
    assert unframer.pending == 0


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_random_bytes_give_messages_within_the_limit_or_a_refusal(chunks: list[bytes]) -> None:
    unframer = Unframer(LIMIT)
    code = None
    try:
        for chunk in chunks:
            unframer.feed(chunk)
            for _, message in take_all(unframer):
                assert len(message) <= LIMIT
            assert unframer.pending <= LIMIT + 5 + len(chunk)
    except MfnError as refused:
        code = refused.code
    assert code in (None, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)


@given(st.binary(max_size=400))
def test_the_short_way_and_the_long_way_agree(body: bytes) -> None:
    raw = whole(body, LIMIT)
    unframer = Unframer(LIMIT)
    unframer.feed(body)
    try:
        taken = take_all(unframer)
    except MfnError:
        assert raw is None
        return
    one = len(taken) == 1 and not taken[0][0] and unframer.pending == 0
    assert raw == (taken[0][1] if one else None)


def test_a_message_over_the_limit_is_refused_by_its_length_alone() -> None:
    unframer = Unframer(LIMIT)
    unframer.feed(b"\0" + (LIMIT + 1).to_bytes(4, "big"))
    with pytest.raises(MfnError, match=r"1001 bytes is larger than the server's limit of 1000") as refused:
        unframer.take()
    assert refused.value.code is Code.RESOURCE_EXHAUSTED


def test_a_message_of_exactly_the_limit_is_taken_either_way() -> None:
    message = bytes(LIMIT)
    assert whole(frame(message), LIMIT) == message
    assert whole(frame(message + b"x"), LIMIT) is None
    unframer = Unframer(LIMIT)
    unframer.feed(frame(message))
    assert unframer.take() == (False, message)


def test_flags_that_do_not_exist_are_refused() -> None:
    unframer = Unframer(LIMIT)
    unframer.feed(b"\x02\0\0\0\0")
    with pytest.raises(MfnError, match="flags are 0x02") as refused:
        unframer.take()
    assert refused.value.code is Code.INVALID_ARGUMENT


@given(st.binary(max_size=LIMIT))
def test_every_encoding_gives_back_what_was_compressed(message: bytes) -> None:
    assert decompress(compress(message), b"gzip", LIMIT) == message
    assert decompress(gzip.compress(message), b"gzip", LIMIT) == message
    assert decompress(zlib.compress(message), b"deflate", LIMIT) == message


def test_a_gzip_message_of_several_members_is_read_whole() -> None:
    assert decompress(gzip.compress(b"one ") + gzip.compress(b"two"), b"gzip", LIMIT) == b"one two"


def test_a_message_longer_than_a_piece_of_input_is_read_whole() -> None:
    message = random.Random(1).randbytes(3 * INPUT_BYTES)
    two = gzip.compress(message, 0) + gzip.compress(message, 0)
    assert decompress(two, b"gzip", 2 * len(message)) == message * 2
    with pytest.raises(MfnError, match="when decompressed"):
        decompress(two, b"gzip", 2 * len(message) - 1)


@pytest.mark.parametrize("text", [b"", b"x"])
def test_the_members_of_a_message_are_bounded(text: bytes) -> None:
    member = gzip.compress(text)
    assert decompress(member * MAX_MEMBERS, b"gzip", LIMIT) == text * MAX_MEMBERS
    with pytest.raises(MfnError, match="more than 64 members; send it as one") as refused:
        decompress(member * 160_000, b"gzip", 1_000_000)
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("members", [1, 4])
def test_a_bomb_is_refused_at_the_limit_and_not_unpacked(members: int) -> None:
    bomb = b"".join(gzip.compress(bytes(64 * 1024 * 1024 // members)) for _ in range(members))
    with pytest.raises(MfnError, match="when decompressed") as refused:
        decompress(bomb, b"gzip", LIMIT)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x1f\x8b", gzip.compress(b"text")[:-3], gzip.compress(b"text") + b"tail", b"not gzip at all"],
    ids=["nothing", "head", "cut", "tail", "other"],
)
def test_damaged_compression_is_refused(damaged: bytes) -> None:
    with pytest.raises(MfnError, match="not valid gzip") as refused:
        decompress(damaged, b"gzip", LIMIT)
    assert refused.value.code is Code.INVALID_ARGUMENT


@given(st.binary(max_size=200))
def test_random_bytes_never_crash_decompression(damaged: bytes) -> None:
    for encoding in (b"gzip", b"deflate"):
        code = None
        try:
            assert len(decompress(damaged, encoding, LIMIT)) <= LIMIT
        except MfnError as refused:
            code = refused.code
        assert code in (None, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
