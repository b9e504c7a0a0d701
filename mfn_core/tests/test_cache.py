"""Replies of deterministic operations are computed once, and handed out as if they were not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Call, Code, Dispatcher, FieldViolation, Metadata, Operation, Peer, Request, Service, Shape
from mfn_core.cache import ENTRY_OVERHEAD, ResultCache


def make(value: str) -> bytes:
    return bytes(StringValue(value=value).SerializeToString())


class Upper:
    """`id:text` → `id:TEXT`, counting how often it is computed."""

    def __init__(self, **changes: Any) -> None:
        self.computed = 0
        self.charged: list[float] = []

        async def handle(request: StringValue, call: Call) -> StringValue:
            self.computed += 1
            request_id, _, text = request.value.partition(":")
            return StringValue(value=f"{request_id}:{text.upper()}")

        async def charge(call: Call, cost: float) -> None:
            self.charged.append(cost)

        def key(raw: bytes) -> bytes | None:
            text = StringValue.FromString(raw).value.partition(":")[2]
            return text.encode() if text != "private" else None

        def stamp(reply: bytes, raw: bytes) -> bytes:
            request_id = StringValue.FromString(raw).value.partition(":")[0]
            return make(request_id + ":" + StringValue.FromString(reply).value.partition(":")[2])

        settings: dict[str, Any] = {"deterministic": True, "cache_key": key, "stamp": stamp, **changes}
        self.operation = Operation(
            service="t.S",
            method="Upper",
            shape=Shape.UNARY,
            request_type=StringValue,
            response_type=StringValue,
            handler=handle,
            validate=lambda request: [FieldViolation(field="value", description="bad")] if "!" in request.value else (),
            cost=lambda request: float(len(request.value)),
            **settings,
        )
        self.cache = ResultCache(100_000)
        self.dispatcher = Dispatcher(
            [Service(name="t.S", operations=[self.operation])], charge=charge, cache=self.cache
        )

    async def __call__(self, text: str) -> tuple[Code, str]:
        call = Call(
            id=self.dispatcher.new_call_id(),
            operation=self.operation,
            transport="t",
            metadata=Metadata(),
            peer=Peer(address="unknown"),
            request=Request(raw=make(text)),
        )
        outcome = await self.dispatcher.dispatch(call)
        return outcome.code, "" if outcome.reply is None else StringValue.FromString(outcome.reply).value


async def test_the_same_request_is_computed_once_and_each_caller_gets_its_own_id() -> None:
    upper = Upper()
    assert await upper("a:hello") == (Code.OK, "a:HELLO")
    assert await upper("b:hello") == (Code.OK, "b:HELLO")
    assert upper.computed == 1
    assert upper.charged == [7.0]
    assert (upper.cache.hits, upper.cache.misses) == (1, 1)


async def test_what_is_invalid_is_never_kept() -> None:
    upper = Upper()
    for _ in range(2):
        assert (await upper("a:bad!"))[0] is Code.INVALID_ARGUMENT
    assert len(upper.cache) == 0


async def test_an_operation_may_keep_a_request_out_of_the_cache() -> None:
    upper = Upper()
    await upper("a:private")
    await upper("b:private")
    assert upper.computed == 2


async def test_an_operation_that_is_not_deterministic_is_computed_each_time() -> None:
    upper = Upper(deterministic=False)
    await upper("a:hello")
    await upper("b:hello")
    assert upper.computed == 2


async def test_streams_are_not_kept() -> None:
    ran = []

    async def count(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
        ran.append(1)
        yield request

    operation = Operation(
        service="t.S",
        method="Count",
        shape=Shape.SERVER_STREAM,
        request_type=StringValue,
        response_type=StringValue,
        handler=count,
        deterministic=True,
        cache_key=lambda raw: raw,
    )
    dispatcher = Dispatcher([Service(name="t.S", operations=[operation])], cache=ResultCache(100_000))

    async def deliver(message: bytes) -> None:
        return

    for _ in range(2):
        call = Call(
            id=dispatcher.new_call_id(),
            operation=operation,
            transport="t",
            metadata=Metadata(),
            peer=Peer(address="unknown"),
            request=Request(raw=make("x")),
            deliver=deliver,
        )
        assert (await dispatcher.dispatch(call)).code is Code.OK
    assert len(ran) == 2


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=400)), max_size=60))
def test_memory_stays_within_its_bound(entries: list[tuple[bytes, bytes]]) -> None:
    cache = ResultCache(6_000)
    kept: dict[bytes, bytes] = {}
    for key, reply in entries:
        cache.put("/t.S/M", key, reply)
        kept[key] = reply
        assert cache.size <= 6_000
    found = {key: cache.get("/t.S/M", key) for key in kept}
    assert all(reply in (None, kept[key]) for key, reply in found.items())
    held = sum(len(key) + len(reply) + ENTRY_OVERHEAD for key, reply in found.items() if reply is not None)
    assert held == cache.size


def test_the_least_recently_used_reply_goes_first() -> None:
    cache = ResultCache(10 * (ENTRY_OVERHEAD + 2))
    for number in range(10):
        cache.put("/p", b"%d" % number, b"r")
    cache.get("/p", b"0")
    cache.put("/p", b"x", b"r")
    assert cache.get("/p", b"0") == b"r"
    assert cache.get("/p", b"1") is None


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache = ResultCache(0)
    cache.put("/p", b"k", b"r")
    assert not cache.enabled
    assert cache.get("/p", b"k") is None
