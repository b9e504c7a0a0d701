"""What waits for a slow reader: how much, in which order, and what is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mfn_transport_asgi._websocket.outbox import WAITING_ANSWERS, Lane, Outbox, Policy


class Reader:
    """Takes messages only when it is let."""

    def __init__(self) -> None:
        self.got: list[str | bytes] = []
        self.reads = asyncio.Semaphore(0)

    async def send(self, message: str | bytes) -> None:
        await self.reads.acquire()
        self.got.append(message)

    def read(self, count: int) -> None:
        for _ in range(count):
            self.reads.release()


@asynccontextmanager
async def running(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lane(outbox: Outbox, policy: Policy, *, updates: int = 4, size: int = 1000, patience: float = 0.0) -> Lane:
    return outbox.lane(policy=policy, max_updates=updates, max_bytes=size, patience=patience)


@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [
        (Policy.DROP_OLDEST, ["6", "7", "8", "9"], 6),
        (Policy.DROP_NEWEST, ["0", "1", "2", "3"], 6),
        # Halved whenever it is full: 0 1 2 3 → 0 2 → 0 2 4 5 → 0 4 → 0 4 6 7 → 0 6 → 0 6 8 9.
        (Policy.COMPRESS, ["0", "6", "8", "9"], 6),
    ],
    ids=lambda value: value.value if isinstance(value, Policy) else "",
)
async def test_each_policy_keeps_its_own_and_counts_the_rest(policy: Policy, kept: list[str], dropped: int) -> None:
    reader = Reader()
    outbox = Outbox(reader.send)
    made = lane(outbox, policy)
    for number in range(10):
        await made.put(str(number))
    assert made.dropped == dropped
    made.finish()
    async with running(outbox):
        reader.read(10)
        await outbox.flushed()
    assert reader.got == kept


async def test_a_full_lane_waits_for_its_reader_before_it_drops() -> None:
    reader = Reader()
    outbox = Outbox(reader.send)
    made = lane(outbox, Policy.DROP_OLDEST, updates=1, patience=30.0)
    async with running(outbox):
        # The reader takes each as it comes, though it never is ahead.
        producing = asyncio.create_task(_put(made, 50))
        reader.read(50)
        await producing
        await outbox.flushed()
    assert reader.got == [str(number) for number in range(50)]
    assert made.dropped == 0


async def test_a_lane_that_waits_drops_nothing_and_holds_its_producer() -> None:
    reader = Reader()
    outbox = Outbox(reader.send)
    made = lane(outbox, Policy.WAIT, updates=2)
    async with running(outbox):
        producing = asyncio.create_task(_put(made, 20))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not producing.done()
        reader.read(20)
        await producing
        await outbox.flushed()
    assert reader.got == [str(number) for number in range(20)]


async def _put(made: Lane, count: int) -> None:
    for number in range(count):
        await made.put(str(number))


async def test_bytes_are_bounded_too_but_one_update_always_fits() -> None:
    outbox = Outbox(Reader().send)
    made = lane(outbox, Policy.DROP_NEWEST, updates=100, size=10)
    await made.put(b"x" * 50)
    await made.put(b"y")
    assert made.dropped == 1
    assert made.take() == b"x" * 50
    for _ in range(20):
        await made.put(b"zz")
    assert made.dropped == 1 + 15


async def test_what_is_kept_survives_a_full_lane() -> None:
    outbox = Outbox(Reader().send)
    made = lane(outbox, Policy.DROP_OLDEST, updates=2)
    made.keep("first")
    for number in range(10):
        await made.put(str(number))
    made.keep("last")
    taken = [made.take() for _ in range(3)]
    assert taken == ["first", "9", "last"]
    assert made.take() is None


async def test_answers_overtake_updates_and_lanes_take_turns() -> None:
    reader = Reader()
    outbox = Outbox(reader.send)
    one, two = lane(outbox, Policy.WAIT, updates=9), lane(outbox, Policy.WAIT, updates=9)
    for number in range(3):
        await one.put(f"one {number}")
        await two.put(f"two {number}")
    assert outbox.answer("answer")
    async with running(outbox):
        reader.read(7)
        await outbox.flushed()
    assert reader.got == ["answer", "one 0", "two 0", "one 1", "two 1", "one 2", "two 2"]


async def test_answers_that_nobody_reads_are_bounded() -> None:
    outbox = Outbox(Reader().send)
    assert all(outbox.answer("x") for _ in range(WAITING_ANSWERS))
    assert not outbox.answer("x")
