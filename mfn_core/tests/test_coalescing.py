"""Equal calls that are in flight at the same time are computed once, and none of them depends on another's patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core import (
    AuditRecord,
    Call,
    Code,
    Dispatcher,
    FieldViolation,
    Metadata,
    MfnError,
    Operation,
    Outcome,
    Peer,
    Request,
    Service,
    Shape,
)
from mfn_core.audit import AuditMiddleware
from mfn_core.cache import ResultCache
from mfn_core.coalescing import Coalescer
from mfn_core.limits import LimitMiddleware


def make(value: str) -> bytes:
    return bytes(StringValue(value=value).SerializeToString())


class Upper:
    """`id:text` → `id:TEXT`. Each computation begins, and ends when it is told how."""

    def __init__(self, *, coalesce: bool = True, cache: int = 0, refuse: Sequence[str] = (), **changes: Any) -> None:
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Future[None]] = {}
        self.charged: list[str] = []
        self.records: list[AuditRecord] = []
        self.admitted = 0
        self.held = 0
        refused = set(refuse)

        async def handle(request: StringValue, call: Call) -> StringValue:
            request_id, _, text = request.value.partition(":")
            self.begun.append(request_id)
            self.ends[request_id] = asyncio.get_running_loop().create_future()
            await self.ends[request_id]
            return StringValue(value=f"{request_id}:{text.upper()}")

        async def charge(call: Call, cost: float) -> None:
            request_id = name(call)
            if request_id in refused:
                raise MfnError(Code.RESOURCE_EXHAUSTED, "no cell-steps left", retry_after=1.0)
            self.charged.append(request_id)

        def stamp(reply: bytes, raw: bytes) -> bytes:
            request_id = StringValue.FromString(raw).value.partition(":")[0]
            return make(request_id + ":" + StringValue.FromString(reply).value.partition(":")[2])

        settings: dict[str, Any] = {
            "deterministic": True,
            "cache_key": lambda raw: StringValue.FromString(raw).value.partition(":")[2].encode(),
            "stamp": stamp,
            **changes,
        }
        self.operation = Operation(
            service="t.S",
            method="Upper",
            shape=Shape.UNARY,
            request_type=StringValue,
            response_type=StringValue,
            handler=handle,
            validate=lambda request: [FieldViolation(field="value", description="bad")] if "!" in request.value else (),
            cost=lambda request: 1.0,
            **settings,
        )
        self.coalescer = Coalescer()
        self.dispatcher = Dispatcher(
            [Service(name="t.S", operations=[self.operation])],
            [AuditMiddleware([self]), LimitMiddleware([self])],
            outer=1,
            charge=charge,
            cache=ResultCache(cache),
            coalescer=self.coalescer if coalesce else None,
        )
        self.calls: dict[str, Call] = {}

    # It is its own audit sink and limiter.

    async def write(self, record: AuditRecord) -> None:
        self.records.append(record)

    async def admit(self, call: Call) -> Upper:
        self.admitted += 1
        self.held += 1
        return self

    async def charge(self, call: Call, cost: float) -> None:
        return

    def release(self) -> None:
        self.held -= 1

    def send(self, text: str, *, deadline: float | None = None) -> asyncio.Task[Outcome]:
        """Begin the call `id:text`."""
        call = Call(
            id=self.dispatcher.new_call_id(),
            operation=self.operation,
            transport="t",
            metadata=Metadata([("x-request-id", text.partition(":")[0])]),
            peer=Peer(address="unknown"),
            deadline=None if deadline is None else time.monotonic() + deadline,
            request=Request(raw=make(text)),
        )
        self.calls[name(call)] = call
        return asyncio.create_task(self.dispatcher.dispatch(call))

    def finish(self, request_id: str, error: Exception | None = None) -> None:
        if error is None:
            self.ends[request_id].set_result(None)
        else:
            self.ends[request_id].set_exception(error)


def name(call: Call) -> str:
    return call.metadata.get("x-request-id") or ""


def text(outcome: Outcome) -> str:
    assert outcome.code is Code.OK, outcome.message
    assert outcome.reply is not None
    return str(StringValue.FromString(outcome.reply).value)


async def turned() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("cache", [0, 100_000])
async def test_equal_calls_are_computed_once_and_each_gets_its_own_id(cache: int) -> None:
    upper = Upper(cache=cache)
    tasks = [upper.send(f"{each}:hello") for each in "abcd"]
    await turned()
    assert upper.begun == ["a"]
    upper.finish("a")
    assert [text(outcome) for outcome in await asyncio.gather(*tasks)] == ["a:HELLO", "b:HELLO", "c:HELLO", "d:HELLO"]
    assert upper.begun == ["a"]
    assert upper.coalescer.joined == 3
    assert len(upper.coalescer) == 0


async def test_each_is_admitted_and_on_record_and_only_the_one_that_computes_pays() -> None:
    upper = Upper()
    tasks = [upper.send(f"{each}:hello") for each in "abc"]
    await turned()
    assert (upper.admitted, upper.held) == (3, 3)
    upper.finish("a")
    await asyncio.gather(*tasks)
    assert upper.charged == ["a"]
    assert upper.held == 0
    assert sorted((record.request_id, record.status, record.messages_out) for record in upper.records) == [
        ("a", "OK", 1),
        ("b", "OK", 1),
        ("c", "OK", 1),
    ]


async def test_unequal_calls_do_not_wait_for_each_other() -> None:
    upper = Upper()
    tasks = [upper.send("a:one"), upper.send("b:two")]
    await turned()
    assert upper.begun == ["a", "b"]
    upper.finish("b")
    assert text(await tasks[1]) == "b:TWO"
    upper.finish("a")
    assert text(await tasks[0]) == "a:ONE"


async def test_equal_requests_of_two_operations_are_two_computations() -> None:
    one, two = Upper(), Upper()
    dispatcher = Dispatcher(
        [
            Service(name="t.S", operations=[one.operation]),
            Service(
                name="t.T",
                operations=[
                    Operation(
                        service="t.T",
                        method="Upper",
                        shape=Shape.UNARY,
                        request_type=StringValue,
                        response_type=StringValue,
                        handler=two.operation.handler,
                        deterministic=True,
                        cache_key=two.operation.cache_key,
                    )
                ],
            ),
        ],
        coalescer=Coalescer(),
    )
    one.dispatcher = two.dispatcher = dispatcher
    two.operation = dispatcher.operations["/t.T/Upper"]
    tasks = [one.send("a:hello"), two.send("b:hello")]
    await turned()
    assert (one.begun, two.begun) == (["a"], ["b"])
    one.finish("a")
    two.finish("b")
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("changes", [{"coalesce": False}, {"deterministic": False}, {"cache_key": lambda raw: None}])
async def test_what_may_not_be_shared_is_computed_each_time(changes: dict[str, Any]) -> None:
    upper = Upper(**changes)
    tasks = [upper.send(f"{each}:hello") for each in "abc"]
    await turned()
    assert upper.begun == ["a", "b", "c"]
    for each in "abc":
        upper.finish(each)
    assert [text(outcome) for outcome in await asyncio.gather(*tasks)] == ["a:HELLO", "b:HELLO", "c:HELLO"]


async def test_a_call_that_comes_later_is_computed_anew_with_the_cache_off() -> None:
    upper = Upper()
    first = upper.send("a:hello")
    await turned()
    upper.finish("a")
    await first
    second = upper.send("b:hello")
    await turned()
    assert upper.begun == ["a", "b"]
    upper.finish("b")
    await second


# When a call that waits gives up.


async def test_a_waiting_call_that_is_cancelled_leaves_alone() -> None:
    upper = Upper()
    tasks = {each: upper.send(f"{each}:hello") for each in "abc"}
    await turned()
    upper.calls["b"].abort()
    assert (await tasks["b"]).code is Code.CANCELLED
    upper.finish("a")
    assert text(await tasks["a"]) == "a:HELLO"
    assert text(await tasks["c"]) == "c:HELLO"
    assert upper.begun == ["a"]


async def test_a_waiting_call_keeps_its_own_deadline() -> None:
    upper = Upper()
    first = upper.send("a:hello")
    await turned()
    late = upper.send("b:hello", deadline=0.01)
    outcome = await late
    assert outcome.code is Code.DEADLINE_EXCEEDED
    assert not first.done()
    upper.finish("a")
    assert text(await first) == "a:HELLO"


# When the call that computes fails.


@pytest.mark.parametrize("code", [Code.CANCELLED, Code.DEADLINE_EXCEEDED])
async def test_when_the_first_is_aborted_exactly_one_other_computes(code: Code) -> None:
    upper = Upper()
    tasks = {each: upper.send(f"{each}:hello") for each in "abcd"}
    await turned()
    upper.calls["a"].abort(code)
    assert (await tasks.pop("a")).code is code
    await turned()
    assert upper.begun == ["a", "b"]
    upper.finish("b")
    assert [text(outcome) for outcome in await asyncio.gather(*tasks.values())] == ["b:HELLO", "c:HELLO", "d:HELLO"]
    assert upper.charged == ["a", "b"]
    assert upper.coalescer.handed_over == 1
    assert len(upper.coalescer) == 0


async def test_the_one_with_the_most_time_left_computes_next() -> None:
    upper = Upper()
    tasks = {"a": upper.send("a:hello")}
    await turned()
    for each, deadline in (("b", 100.0), ("c", 300.0), ("d", 200.0), ("e", None), ("f", None)):
        tasks[each] = upper.send(f"{each}:hello", deadline=deadline)
    await turned()
    for leaving, next_one in (("a", "e"), ("e", "f"), ("f", "c"), ("c", "d")):
        upper.calls[leaving].abort()
        await tasks.pop(leaving)
        await turned()
        assert upper.begun[-1] == next_one
    upper.finish("d")
    assert [text(outcome) for outcome in await asyncio.gather(*tasks.values())] == ["b:HELLO", "d:HELLO"]


async def test_one_that_is_aborted_in_the_moment_of_its_turn_hands_it_on() -> None:
    upper = Upper()
    tasks = {each: upper.send(f"{each}:hello") for each in "abc"}
    await turned()
    done = asyncio.Event()
    upper.calls["a"].abort()
    # The task of `a` ends and tells `b`; before `b` runs, it is aborted as well.
    tasks["a"].add_done_callback(lambda _: done.set())
    hand_over = upper.coalescer._hand_over

    def aborting(*arguments: Any) -> None:
        hand_over(*arguments)
        if not upper.calls["b"].cancel.aborted:
            upper.calls["b"].abort()

    upper.coalescer._hand_over = aborting  # type: ignore[method-assign]
    assert (await tasks["a"]).code is Code.CANCELLED
    assert (await tasks["b"]).code is Code.CANCELLED
    await turned()
    assert upper.begun == ["a", "c"]
    upper.finish("c")
    assert text(await tasks["c"]) == "c:HELLO"
    assert len(upper.coalescer) == 0


async def test_a_refusal_of_one_principal_s_limits_is_not_that_of_the_others() -> None:
    upper = Upper(refuse=["a", "b"])
    tasks = {each: upper.send(f"{each}:hello") for each in "abcd"}
    await turned()
    assert (await tasks.pop("a")).code is Code.RESOURCE_EXHAUSTED
    assert (await tasks.pop("b")).code is Code.RESOURCE_EXHAUSTED
    assert upper.begun == ["c"]
    upper.finish("c")
    assert [text(outcome) for outcome in await asyncio.gather(*tasks.values())] == ["c:HELLO", "d:HELLO"]
    assert upper.charged == ["c"]


async def test_what_every_equal_call_would_fail_with_is_shared() -> None:
    upper = Upper()
    tasks = [upper.send(f"{each}:hello") for each in "abc"]
    await turned()
    error = MfnError(
        Code.FAILED_PRECONDITION, "the numbers became unstable", reason="secret", details={"reason": "UNSTABLE"}
    )
    upper.finish("a", error)
    outcomes = await asyncio.gather(*tasks)
    assert {(outcome.code, outcome.message) for outcome in outcomes} == {(error.code, error.message)}
    assert [outcome.error is not None and dict(outcome.error.details) for outcome in outcomes] == [error.details] * 3
    assert len({id(outcome.error) for outcome in outcomes}) == 3  # a traceback of its own for each
    assert {record.reason for record in upper.records} == {"secret"}
    assert upper.begun == ["a"]


async def test_an_invalid_request_is_refused_for_each_and_computes_nothing() -> None:
    upper = Upper(cache=100_000)
    outcomes = await asyncio.gather(*(upper.send(f"{each}:bad!") for each in "abc"))
    assert {outcome.code for outcome in outcomes} == {Code.INVALID_ARGUMENT}
    assert upper.begun == upper.charged == []
    assert len(upper.coalescer) == 0


async def test_a_defect_is_in_the_log_once_and_every_caller_learns_under_which_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    upper = Upper()
    tasks = [upper.send(f"{each}:hello") for each in "abc"]
    await turned()
    upper.finish("a", ZeroDivisionError("secret"))
    outcomes = await asyncio.gather(*tasks)
    assert {outcome.code for outcome in outcomes} == {Code.INTERNAL}
    assert all(upper.calls["a"].id in outcome.message and "secret" not in outcome.message for outcome in outcomes)
    assert len([record for record in caplog.records if "failed" in record.message]) == 1
    assert upper.begun == ["a"]


async def test_a_drain_ends_them_all() -> None:
    upper = Upper()
    tasks = [upper.send(f"{each}:hello") for each in "abc"]
    await turned()
    await upper.dispatcher.drain(0.0)
    assert {outcome.code for outcome in await asyncio.gather(*tasks)} == {Code.UNAVAILABLE}
    assert len(upper.coalescer) == 0
    assert upper.held == 0
