"""The call path: what comes out of every layer, whatever a handler or a client does."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import attrs
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.struct_pb2 import Value
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

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
    Principal,
    Request,
    Service,
    Shape,
    unauthenticated,
)
from mfn_core.audit import AuditMiddleware, record_of
from mfn_core.auth import AuthMiddleware
from mfn_core.limits import LimitMiddleware
from mfn_core.middleware import Middleware, Next

TEXT = StringValue(value="hello").SerializeToString()


def operation(shape: Shape, handler: Any, **settings: Any) -> Operation:
    return Operation(
        service="test.Service",
        method="Call",
        shape=shape,
        request_type=StringValue,
        response_type=StringValue,
        handler=handler,
        **settings,
    )


def dispatcher(
    op: Operation,
    *middlewares: Middleware,
    outer: int = 0,
    charge: Callable[[Call, float], Awaitable[None]] | None = None,
) -> Dispatcher:
    return Dispatcher([Service(name=op.service, operations=[op])], middlewares, outer=outer, charge=charge)


class Client:
    """The transport's side of a call, in memory."""

    def __init__(
        self,
        target: Dispatcher,
        op: Operation,
        *,
        raw: bytes = TEXT,
        inbound: Sequence[bytes] = (TEXT,),
        deadline: float | None = None,
        fault: MfnError | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> None:
        self.sent: list[bytes] = []
        self.room = asyncio.Event()
        self.room.set()
        self.first = asyncio.Event()

        async def messages() -> AsyncIterator[bytes]:
            for message in inbound:
                yield message

        async def deliver(message: bytes) -> None:
            await self.room.wait()
            self.sent.append(message)
            self.first.set()

        self.target = target
        self.call = Call(
            id=target.new_call_id(),
            operation=op,
            transport="test",
            metadata=Metadata(metadata),
            peer=Peer(address="127.0.0.1:1"),
            deadline=None if deadline is None else time.monotonic() + deadline,
            request=None if op.shape.client_streams else Request(raw=raw),
            inbound=messages() if op.shape.client_streams else None,
            deliver=deliver if op.shape.server_streams else None,
            fault=fault,
        )

    async def run(self) -> Outcome:
        return await self.target.dispatch(self.call)

    def texts(self) -> list[str]:
        return [StringValue.FromString(raw).value for raw in self.sent]


async def echo(request: StringValue, call: Call) -> StringValue:
    return request


async def count(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
    for number in range(3):
        yield StringValue(value=f"{request.value} {number}")


async def join(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
    return StringValue(value=" ".join([request.value async for request in requests]))


async def echo_all(requests: AsyncIterator[StringValue], call: Call) -> AsyncIterator[StringValue]:
    async for request in requests:
        yield request


HANDLERS = {Shape.UNARY: echo, Shape.SERVER_STREAM: count, Shape.CLIENT_STREAM: join, Shape.BIDI: echo_all}
shapes = pytest.mark.parametrize("shape", list(Shape), ids=lambda shape: shape.label)


@shapes
async def test_every_shape_reaches_its_handler_and_comes_back(shape: Shape) -> None:
    op = operation(shape, HANDLERS[shape])
    client = Client(dispatcher(op), op, inbound=(TEXT, TEXT))
    outcome = await client.run()
    assert outcome.code is Code.OK
    if shape.server_streams:
        assert outcome.reply is None
        expected = ["hello 0", "hello 1", "hello 2"] if shape is Shape.SERVER_STREAM else ["hello", "hello"]
        assert client.texts() == expected
    else:
        assert outcome.reply is not None
        expected_text = "hello" if shape is Shape.UNARY else "hello hello"
        assert StringValue.FromString(outcome.reply).value == expected_text


class Recorder:
    """A middleware that writes down what it sees."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def __call__(self, call: Call, call_next: Next) -> None:
        self.seen.append(f"{self.name} in")
        try:
            await call_next(call)
        except MfnError as error:
            self.seen.append(f"{self.name} {error.code.name}")
            raise
        else:
            self.seen.append(f"{self.name} out")


@shapes
async def test_middlewares_wrap_the_whole_call_in_their_order(shape: Shape) -> None:
    seen: list[str] = []

    async def one(request: Any, call: Call) -> StringValue:
        seen.append("handler")
        return StringValue()

    async def many(request: Any, call: Call) -> AsyncIterator[StringValue]:
        seen.append("handler")
        yield StringValue()
        seen.append("handler ends")

    op = operation(shape, many if shape.server_streams else one)
    await Client(dispatcher(op, Recorder("a", seen), Recorder("b", seen)), op).run()
    inner = ["handler", "handler ends"] if shape.server_streams else ["handler"]
    assert seen == ["a in", "b in", *inner, "b out", "a out"]


@shapes
@pytest.mark.parametrize("late", [False, True], ids=["first", "mid-stream"])
async def test_an_error_of_a_handler_is_the_outcome(shape: Shape, late: bool) -> None:
    error = MfnError(Code.NOT_FOUND, "no such field", retry_after=1.5, details={"name": "x"})

    async def one(request: Any, call: Call) -> StringValue:
        raise error

    async def many(request: Any, call: Call) -> AsyncIterator[StringValue]:
        if late:
            yield StringValue(value="one")
        raise error
        yield StringValue()  # makes it a generator

    op = operation(shape, many if shape.server_streams else one)
    client = Client(dispatcher(op), op)
    outcome = await client.run()
    assert outcome.code is Code.NOT_FOUND
    assert outcome.error is error
    assert len(client.sent) == (1 if late and shape.server_streams else 0)


@shapes
async def test_an_unexpected_exception_tells_its_caller_the_call_id_alone(
    shape: Shape, caplog: pytest.LogCaptureFixture
) -> None:
    async def one(request: Any, call: Call) -> StringValue:
        raise RuntimeError("password=hunter2")

    async def many(request: Any, call: Call) -> AsyncIterator[StringValue]:
        raise RuntimeError("password=hunter2")
        yield StringValue()

    seen: list[str] = []
    op = operation(shape, many if shape.server_streams else one)
    client = Client(dispatcher(op, Recorder("m", seen)), op)
    with caplog.at_level(logging.ERROR):
        outcome = await client.run()
    assert outcome.code is Code.INTERNAL
    assert client.call.id in outcome.message
    assert "hunter2" not in outcome.message
    assert "hunter2" in caplog.text
    assert client.call.id in caplog.text
    assert seen == ["m in", "m INTERNAL"]


async def test_an_unexpected_exception_of_a_middleware_is_internal_too(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(call: Call, call_next: Next) -> None:
        raise KeyError("inner")

    seen: list[str] = []
    op = operation(Shape.UNARY, echo)
    outcome = await Client(dispatcher(op, Recorder("outer", seen), broken), op).run()
    assert outcome.code is Code.INTERNAL
    assert seen == ["outer in", "outer INTERNAL"]


async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    for shape in Shape:
        op = operation(shape, HANDLERS[shape])
        outcome = await Client(dispatcher(op), op, raw=b"\x0a\xff", inbound=(b"\x0a\xff",)).run()
        assert outcome.code is Code.INVALID_ARGUMENT
        assert "StringValue" in outcome.message


@pytest.mark.parametrize("shape", [Shape.UNARY, Shape.SERVER_STREAM], ids=lambda shape: shape.label)
async def test_what_is_not_protobuf_is_made_so_once_the_call_was_let_in(shape: Shape) -> None:
    seen: list[str] = []

    def transcode(raw: bytes) -> bytes:
        seen.append("transcoded")
        return StringValue(value=raw.decode()).SerializeToString()

    async def stage(call: Call, call_next: Next) -> None:
        seen.append("let in")
        await call_next(call)

    op = operation(shape, HANDLERS[shape])
    client = Client(dispatcher(op, stage), op)
    client.call.request = Request(raw=b"plain text", transcode=transcode)
    outcome = await client.run()
    assert seen == ["let in", "transcoded"]
    if shape is Shape.UNARY:
        assert outcome.reply is not None
        assert StringValue.FromString(outcome.reply).value == "plain text"
    else:
        assert client.texts() == ["plain text 0", "plain text 1", "plain text 2"]


async def test_a_long_message_is_transcoded_beside_the_loop() -> None:
    threads: list[bool] = []

    def transcode(raw: bytes) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return StringValue(value="short").SerializeToString()

    op = operation(Shape.UNARY, echo)
    for size in (10, 100_000):
        client = Client(dispatcher(op), op)
        client.call.request = Request(raw=bytes(size), transcode=transcode)
        outcome = await client.run()
        assert outcome.reply == StringValue(value="short").SerializeToString()
    assert threads == [True, False]


async def test_what_cannot_be_transcoded_is_the_callers_error() -> None:
    def transcode(raw: bytes) -> bytes:
        raise MfnError.invalid([FieldViolation(field="alpha", description="is no number")])

    op = operation(Shape.UNARY, echo)
    client = Client(dispatcher(op), op)
    client.call.request = Request(raw=b"{", transcode=transcode)
    outcome = await client.run()
    assert outcome.code is Code.INVALID_ARGUMENT
    assert outcome.error is not None
    assert [violation.field for violation in outcome.error.violations] == ["alpha"]


async def test_a_violation_names_its_field_before_the_handler_runs() -> None:
    def refuse(request: StringValue) -> Sequence[FieldViolation]:
        return [FieldViolation(field="value", description="must be empty")] if request.value else []

    async def never(request: Any, call: Call) -> StringValue:
        raise AssertionError("the handler ran")

    for shape in (Shape.UNARY, Shape.CLIENT_STREAM):
        handler = never if shape is Shape.UNARY else join
        op = operation(shape, handler, validate=refuse)
        outcome = await Client(dispatcher(op), op).run()
        assert outcome.code is Code.INVALID_ARGUMENT
        assert outcome.error is not None
        assert [violation.field for violation in outcome.error.violations] == ["value"]


async def test_cost_is_charged_after_validation_and_before_the_handler() -> None:
    events: list[object] = []

    async def charge(call: Call, cost: float) -> None:
        events.append(cost)

    async def handler(request: Int64Value, call: Call) -> StringValue:
        events.append("handler")
        return StringValue()

    op = operation(Shape.UNARY, handler, validate=lambda _: events.append("validate") or (), cost=lambda _: 64.0)
    client = Client(dispatcher(op, charge=charge), op)
    assert (await client.run()).code is Code.OK
    assert events == ["validate", 64.0, "handler"]
    assert client.call.cost == 64.0


async def test_a_fault_of_the_transport_is_on_record_and_goes_no_further() -> None:
    seen: list[str] = []
    op = operation(Shape.UNARY, echo)
    target = dispatcher(op, Recorder("audit", seen), Recorder("auth", seen), outer=1)
    outcome = await Client(target, op, fault=MfnError(Code.RESOURCE_EXHAUSTED, "too large")).run()
    assert outcome.code is Code.RESOURCE_EXHAUSTED
    assert seen == ["audit in", "audit RESOURCE_EXHAUSTED"]


async def test_an_unknown_method_is_on_record_and_unimplemented() -> None:
    seen: list[str] = []
    op = operation(Shape.UNARY, echo)
    target = dispatcher(op, Recorder("audit", seen), Recorder("auth", seen), outer=1)
    unknown = target.unknown("/nobody.Home/Knock")
    assert unknown.path == "/nobody.Home/Knock"
    assert target.unknown("/favicon.ico").path == "/favicon.ico"
    assert target.unknown("/a/b/c").path == "/a/b/c"
    outcome = await Client(target, unknown).run()
    assert outcome.code is Code.UNIMPLEMENTED
    assert "/nobody.Home/Knock" in outcome.message
    assert seen == ["audit in", "audit UNIMPLEMENTED"]


# Cancellation and deadlines.


class Handlers:
    """Handlers that wait, and say how they ended."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.ended: list[str] = []

    async def one(self, request: Any, call: Call) -> StringValue:
        await self._wait(call)
        return StringValue()

    async def many(self, request: Any, call: Call) -> AsyncIterator[StringValue]:
        yield StringValue(value="one")
        await self._wait(call)

    async def _wait(self, call: Call) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # cleaning up may await
            self.ended.append("cancelled")
            raise

    def of(self, shape: Shape) -> Any:
        return self.many if shape.server_streams else self.one


@shapes
@pytest.mark.parametrize("how", ["abort", "task"])
async def test_a_client_that_gives_up_ends_the_call_as_cancelled(shape: Shape, how: str) -> None:
    handlers = Handlers()
    seen: list[str] = []
    op = operation(shape, handlers.of(shape))
    client = Client(dispatcher(op, Recorder("m", seen)), op)
    running = asyncio.create_task(client.run())
    await handlers.entered.wait()
    if how == "abort":
        client.call.abort()
        assert client.call.cancel.is_set()
    else:
        running.cancel()
    outcome = await running
    assert outcome.code is Code.CANCELLED
    assert handlers.ended == ["cancelled"]
    assert seen == ["m in", "m CANCELLED"]
    assert client.target.active == 0


@shapes
async def test_a_deadline_ends_the_call(shape: Shape) -> None:
    handlers = Handlers()
    seen: list[str] = []
    op = operation(shape, handlers.of(shape))
    outcome = await Client(dispatcher(op, Recorder("m", seen)), op, deadline=0.02).run()
    assert outcome.code is Code.DEADLINE_EXCEEDED
    assert handlers.ended == ["cancelled"]
    assert seen == ["m in", "m DEADLINE_EXCEEDED"]


async def test_a_deadline_that_has_passed_already_ends_the_call_at_its_first_wait() -> None:
    handlers = Handlers()
    op = operation(Shape.UNARY, handlers.one)
    assert (await Client(dispatcher(op), op, deadline=-1.0).run()).code is Code.DEADLINE_EXCEEDED


async def test_a_middleware_may_await_in_its_finally_when_the_call_was_aborted() -> None:
    closed: list[str] = []

    async def closing(call: Call, call_next: Next) -> None:
        try:
            await call_next(call)
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    handlers = Handlers()
    op = operation(Shape.UNARY, handlers.one)
    client = Client(dispatcher(op, closing), op)
    running = asyncio.create_task(client.run())
    await handlers.entered.wait()
    client.call.abort()
    assert (await running).code is Code.CANCELLED
    assert closed == ["closed"]


async def test_an_abort_that_comes_as_the_chain_returns_does_not_strike_the_transport() -> None:
    async def last_moment(call: Call, call_next: Next) -> None:
        await call_next(call)
        call.abort()

    op = operation(Shape.UNARY, echo)
    client = Client(dispatcher(op, last_moment), op)
    outcome = await client.run()
    await asyncio.sleep(0)  # would raise CancelledError
    assert outcome.code in (Code.OK, Code.CANCELLED)
    current = asyncio.current_task()
    assert current is not None
    assert not current.cancelling()


async def test_an_abort_after_the_end_does_nothing() -> None:
    op = operation(Shape.UNARY, echo)
    client = Client(dispatcher(op), op)
    assert (await client.run()).code is Code.OK
    client.call.abort()
    await asyncio.sleep(0)
    assert not client.call.cancel.is_set()


async def test_a_stream_closes_its_generator_when_the_client_leaves_between_messages() -> None:
    closed = asyncio.Event()

    async def endless(request: Any, call: Call) -> AsyncIterator[StringValue]:
        try:
            while True:
                yield StringValue(value="more")
        finally:
            closed.set()

    op = operation(Shape.SERVER_STREAM, endless)
    client = Client(dispatcher(op), op)
    running = asyncio.create_task(client.run())
    await client.first.wait()
    client.room.clear()
    client.call.abort()
    assert (await running).code is Code.CANCELLED
    assert closed.is_set()


async def test_a_slow_reader_slows_the_handler() -> None:
    produced: list[int] = []

    async def endless(request: Any, call: Call) -> AsyncIterator[StringValue]:
        while True:
            produced.append(1)
            yield StringValue(value="more")

    op = operation(Shape.SERVER_STREAM, endless)
    client = Client(dispatcher(op), op)
    client.room.clear()
    running = asyncio.create_task(client.run())
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(produced) == 1
    client.call.abort()
    await running


# The drain.


async def test_a_drain_answers_what_runs_and_refuses_what_comes() -> None:
    release = asyncio.Event()
    entered = asyncio.Event()

    async def handler(request: Any, call: Call) -> StringValue:
        entered.set()
        await release.wait()
        return StringValue(value="answered")

    op = operation(Shape.UNARY, handler)
    target = dispatcher(op)
    running = asyncio.create_task(Client(target, op).run())
    await entered.wait()
    draining = asyncio.create_task(target.drain(5.0))
    await asyncio.sleep(0)
    refused = await Client(target, op).run()
    assert refused.code is Code.UNAVAILABLE
    assert not draining.done()
    release.set()
    assert (await running).code is Code.OK
    await draining


async def test_a_drain_aborts_what_outlasts_it_as_unavailable() -> None:
    handlers = Handlers()
    op = operation(Shape.SERVER_STREAM, handlers.many)
    target = dispatcher(op)
    running = asyncio.create_task(Client(target, op).run())
    await handlers.entered.wait()
    await target.drain(0.01)
    assert (await running).code is Code.UNAVAILABLE
    assert handlers.ended == ["cancelled"]


# The kernel's own stages.


class Sink:
    """An audit sink in memory that can be slow, or fail."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fails: OSError | None = None

    async def write(self, record: AuditRecord) -> None:
        await self.open.wait()
        if self.fails is not None:
            raise self.fails
        self.records.append(record)


@shapes
async def test_every_call_leaves_one_record_whatever_became_of_it(shape: Shape) -> None:
    async def fail_one(request: Any, call: Call) -> StringValue:
        raise MfnError(Code.ABORTED, "public", reason="true")

    async def fail_many(request: Any, call: Call) -> AsyncIterator[StringValue]:
        yield StringValue(value="one")
        raise MfnError(Code.ABORTED, "public", reason="true")

    sink = Sink()
    op = operation(shape, fail_many if shape.server_streams else fail_one)
    await Client(dispatcher(op, AuditMiddleware([sink]), outer=1), op, metadata=[("x-request-id", "r" * 300)]).run()
    (record,) = sink.records
    assert record.status == "ABORTED"
    assert record.reason == "true"
    assert record.shape == shape.label
    assert record.method == "/test.Service/Call"
    assert record.request_id == "r" * 128
    assert record.messages_out == (1 if shape.server_streams else 0)
    assert record.duration >= 0


@pytest.mark.parametrize("error", [None, MfnError(Code.NOT_FOUND, "gone", reason="nobody knows why")])
def test_a_record_is_whole_and_equal_to_one_made_of_its_fields(error: MfnError | None) -> None:
    op = operation(Shape.UNARY, echo)
    client = Client(dispatcher(op), op, metadata=[("x-request-id", "r" * 200)])
    record = record_of(client.call, error)
    assert set(vars(record)) == {field.name for field in attrs.fields(AuditRecord)}
    again = AuditRecord(**vars(record))
    assert record == again
    assert hash(record) == hash(again)
    assert repr(record) == repr(again)
    assert (record.status, record.reason) == (("OK", None) if error is None else ("NOT_FOUND", "nobody knows why"))
    assert record.request_id == "r" * 128
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        record.status = "OK"  # type: ignore[misc]  # it is frozen


@pytest.mark.parametrize(
    ("code", "fields", "reason"),
    [
        (Code.INVALID_ARGUMENT, ["string_value", "fields[patient john]"], "at fault: string_value, fields[…]"),
        (Code.INVALID_ARGUMENT, ["list_value.values[3].fields[a].b]"], "at fault: list_value.values[3].fields[…]"),
        (Code.INVALID_ARGUMENT, ["fields[3]", "fields[4]", "list_value[x"], "at fault: fields[…], list_value[…]"),
        (
            Code.INVALID_ARGUMENT,
            ["patient_john", "values[0]patient", "values.", ""],
            "at fault: …, values[…], values.…, the message",
        ),
        (Code.OUT_OF_RANGE, ["kind"], "at fault: kind"),
        (
            Code.INVALID_ARGUMENT,
            [f"values[{index}]" for index in range(20)],
            f"at fault: {', '.join(f'values[{index}]' for index in range(8))} and 12 more",
        ),
        (Code.NOT_FOUND, [], "what its caller was told may quote the request, and is not kept"),
        (Code.DEADLINE_EXCEEDED, ["fields[x]"], "told"),
    ],
)
def test_a_record_has_no_words_of_the_request(code: Code, fields: list[str], reason: str) -> None:
    op = attrs.evolve(operation(Shape.UNARY, echo), request_type=Value)
    found = [FieldViolation(field=each, description="quoted") for each in fields]
    error = MfnError(code, "told", violations=found)
    assert record_of(Client(dispatcher(op), op).call, error).reason == reason
    apart = MfnError(code, "told", reason="for the operator", violations=found)
    assert record_of(Client(dispatcher(op), op).call, apart).reason == "for the operator"


async def test_an_unknown_method_is_on_record_as_one() -> None:
    sink = Sink()
    served = dispatcher(operation(Shape.UNARY, echo), AuditMiddleware([sink]), outer=1)
    await Client(served, served.unknown("/patient.John/Doe")).run()
    assert sink.records[0].reason == "unknown method"


async def test_a_reply_waits_for_its_record() -> None:
    sink = Sink()
    sink.open.clear()
    op = operation(Shape.UNARY, echo)
    running = asyncio.create_task(Client(dispatcher(op, AuditMiddleware([sink]), outer=1), op).run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not running.done()
    sink.open.set()
    assert (await running).reply is not None
    assert [record.status for record in sink.records] == ["OK"]


async def test_a_record_is_kept_though_the_client_leaves_while_it_is_written() -> None:
    sink = Sink()
    sink.open.clear()
    op = operation(Shape.UNARY, echo)
    client = Client(dispatcher(op, AuditMiddleware([sink]), outer=1), op)
    running = asyncio.create_task(client.run())
    for _ in range(20):
        await asyncio.sleep(0)
    client.call.abort()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not running.done()
    sink.open.set()
    await running
    assert len(sink.records) == 1


async def test_a_call_whose_record_cannot_be_kept_is_not_answered() -> None:
    sink = Sink()
    sink.fails = OSError(28, "No space left on device")
    op = operation(Shape.UNARY, echo)
    outcome = await Client(dispatcher(op, AuditMiddleware([sink]), outer=1), op).run()
    assert outcome.code is Code.UNAVAILABLE
    assert outcome.reply is None
    assert "space" not in outcome.message


class Doorman:
    """An authenticator of one password."""

    async def authenticate(self, call: Call) -> Principal | None:
        word = call.metadata.get("password")
        if word is None:
            return None
        if word != "sesame":
            raise unauthenticated("wrong word")
        return Principal(name="ali", roles=frozenset({"read"}), method="word")


@shapes
@pytest.mark.parametrize(
    ("metadata", "role", "code"),
    [
        ((("password", "sesame"),), "read", Code.OK),
        ((("password", "sesame"),), "admin", Code.PERMISSION_DENIED),
        ((("password", "wrong"),), "read", Code.UNAUTHENTICATED),
        ((), "read", Code.UNAUTHENTICATED),
    ],
)
async def test_no_handler_runs_for_a_caller_who_may_not(
    shape: Shape, metadata: Sequence[tuple[str, str]], role: str, code: Code
) -> None:
    ran: list[int] = []

    async def one(request: Any, call: Call) -> StringValue:
        ran.append(1)
        return StringValue()

    async def many(request: Any, call: Call) -> AsyncIterator[StringValue]:
        ran.append(1)
        yield StringValue()

    op = operation(shape, many if shape.server_streams else one, role=role)
    client = Client(dispatcher(op, AuthMiddleware([Doorman()])), op, metadata=metadata)
    outcome = await client.run()
    assert outcome.code is code
    assert bool(ran) == (code is Code.OK)
    if code is Code.UNAUTHENTICATED:
        assert outcome.message == "authentication failed"


async def test_a_public_operation_asks_for_nothing() -> None:
    op = operation(Shape.UNARY, echo, public=True)
    assert (await Client(dispatcher(op, AuthMiddleware([Doorman()])), op).run()).code is Code.OK


@pytest.mark.parametrize(
    ("roles", "needed", "granted"),
    [("read", "read", True), ("write", "read", True), ("admin", "write", True), ("read", "write", False)],
)
def test_a_role_includes_the_ones_before_it(roles: str, needed: str, granted: bool) -> None:
    assert Principal(name="p", roles=frozenset({roles}), method="m").has_role(needed) is granted


class Slots:
    """A limiter of calls in flight."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.charged: list[float] = []

    async def admit(self, call: Call) -> Slots:
        if self.free == 0:
            raise MfnError(Code.RESOURCE_EXHAUSTED, "no slot", retry_after=1.0)
        self.free -= 1
        return self

    async def charge(self, call: Call, cost: float) -> None:
        self.charged.append(cost)

    def release(self) -> None:
        self.free += 1


@shapes
@pytest.mark.parametrize("end", ["ok", "error", "cancel", "deadline"])
async def test_a_slot_is_held_until_the_call_is_over_and_no_longer(shape: Shape, end: str) -> None:
    handlers = Handlers()

    async def fail_one(request: Any, call: Call) -> StringValue:
        raise RuntimeError("broken")

    async def fail_many(request: Any, call: Call) -> AsyncIterator[StringValue]:
        yield StringValue()
        raise RuntimeError("broken")

    slots = Slots(1)
    if end == "ok":
        handler: Any = HANDLERS[shape]
    elif end == "error":
        handler = fail_many if shape.server_streams else fail_one
    else:
        handler = handlers.of(shape)
    op = operation(shape, handler)
    target = dispatcher(op, LimitMiddleware([slots]))
    client = Client(target, op, deadline=0.02 if end == "deadline" else None)
    running = asyncio.create_task(client.run())
    if end in ("cancel", "deadline"):
        await handlers.entered.wait()
        assert slots.free == 0
        assert (await Client(target, op).run()).code is Code.RESOURCE_EXHAUSTED
    if end == "cancel":
        client.call.abort()
    await running
    assert slots.free == 1


@pytest.mark.parametrize("full", [0, 1, 2, None])
async def test_of_several_limiters_each_is_asked_and_none_keeps_a_slot(full: int | None) -> None:
    asked: list[int] = []

    class Counted(Slots):
        def __init__(self, place: int) -> None:
            super().__init__(0 if place == full else 1)
            self.place = place

        async def admit(self, call: Call) -> Slots:
            asked.append(self.place)
            return await super().admit(call)

        def release(self) -> None:
            super().release()
            asked.append(-self.place)

    async def handle(request: Any, call: Call) -> StringValue:
        assert [each.free for each in limiters] == [0, 0, 0]
        return StringValue()

    limiters = [Counted(place) for place in range(3)]
    op = operation(Shape.UNARY, handle)
    outcome = await Client(dispatcher(op, LimitMiddleware(limiters)), op).run()
    assert outcome.code is (Code.OK if full is None else Code.RESOURCE_EXHAUSTED)
    assert asked == {0: [0], 1: [0, 1, 0], 2: [0, 1, 2, -1, 0], None: [0, 1, 2, -2, -1, 0]}[full]
    assert [each.free for each in limiters] == [int(place != full) for place in range(3)]


def test_two_operations_of_one_path_are_refused() -> None:
    op = operation(Shape.UNARY, echo)
    with pytest.raises(ValueError, match=r"/test\.Service/Call"):
        Dispatcher([Service(name="a", operations=[op]), Service(name="b", operations=[op])])


def test_call_ids_are_24_hex_characters_and_never_repeat() -> None:
    target = dispatcher(operation(Shape.UNARY, echo))
    ids = {target.new_call_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == 24 and int(one, 16) >= 0 for one in ids)


@pytest.mark.parametrize(("own", "expected"), [("of the message", "of the message"), ("", "of the transport")])
async def test_the_id_of_a_request_is_its_messages_and_else_what_the_transport_gave(own: str, expected: str) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="named.proto", package="named", syntax="proto3")
    file.message_type.add(name="Named").field.add(
        name="request_id", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, label=1
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    named: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("named.Named"))
    op = Operation(
        service="test.Service",
        method="Call",
        shape=Shape.UNARY,
        request_type=named,
        response_type=named,
        handler=echo,
    )
    call = Call(
        id="1",
        operation=op,
        transport="test",
        metadata=Metadata(),
        peer=Peer(address="unix:"),
        request=Request(raw=named(request_id=own).SerializeToString()),
    )
    call.decoded_request_id = "of the transport"
    assert (await dispatcher(op).dispatch(call)).code is Code.OK
    assert call.request_id == expected


async def test_a_dispatcher_tells_that_it_drains() -> None:
    target = dispatcher(operation(Shape.UNARY, echo))
    assert not target.draining
    await target.drain(0)
    assert target.draining
