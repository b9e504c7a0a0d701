"""What every middleware must do, as a suite that its author subclasses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core.call import Call
from mfn_core.dispatcher import Dispatcher
from mfn_core.errors import Code, MfnError
from mfn_core.middleware import Middleware
from mfn_core.operation import Operation, Service, Shape
from mfn_core.testing._in_memory import Ended, InMemoryCall, started

__all__ = ["MiddlewareSuite"]

SHAPES = [pytest.param(shape, id=shape.label) for shape in Shape]

TEXTS = ("one", "two", "three")

REPLIES = {
    Shape.UNARY: ["one"],
    Shape.SERVER_STREAM: ["one.0", "one.1", "one.2"],
    Shape.CLIENT_STREAM: ["one two three"],
    Shape.BIDI: ["one", "two", "three"],
}


@pytest.mark.asyncio
class MiddlewareSuite:
    """Subclass it under a name that begins with `Test`, and give a fixture `middleware`.

    `middleware`: what the factory makes, not started; `start` and `stop` are called where they are there. It must let
    the suite's calls through: override `prepare` to give them what it asks for, such as metadata.
    """

    patience: ClassVar[float] = 30.0
    """Seconds within which what must end has ended."""

    @pytest.fixture
    def middleware(self) -> Middleware:
        """The middleware under test, made anew for each test."""
        raise NotImplementedError(f"{type(self).__name__} gives no fixture `middleware`: what the factory makes")

    def prepare(self, call: Call) -> None:
        """Change a call before it is made."""

    # What the tests share.

    async def run(
        self,
        middleware: Middleware,
        shape: Shape,
        *,
        raises: Exception | None = None,
        public: bool = False,
        ran: list[str] | None = None,
    ) -> Ended:
        """One call through the middleware to a handler that replies, or that raises after its first reply.

        `ran` takes the path of the operation each time that the handler runs.
        """
        operation = _operation(shape, raises=raises, public=public, ran=[] if ran is None else ran)
        async with started(middleware):
            return await self._call(_dispatcher(operation, middleware), operation).run()

    def _call(self, dispatcher: Dispatcher, operation: Operation) -> InMemoryCall:
        made = InMemoryCall(dispatcher, operation, [_message(text) for text in TEXTS])
        self.prepare(made.call)
        return made

    # The tests.

    @pytest.mark.parametrize("public", [False, True], ids=["authenticated", "public"])
    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_call_goes_through_once_and_unchanged(
        self, middleware: Middleware, shape: Shape, public: bool
    ) -> None:
        ran: list[str] = []
        ended = await self.run(middleware, shape, public=public, ran=ran)
        assert ended.outcome.code is Code.OK, f"the call was refused: {ended.outcome}"
        assert [StringValue.FromString(reply).value for reply in ended.replies] == REPLIES[shape]
        assert len(ran) == 1, f"the handler ran {len(ran)} times; call_next is awaited once"

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_an_error_goes_through_unchanged(self, middleware: Middleware, shape: Shape) -> None:
        error = MfnError(
            Code.FAILED_PRECONDITION, "not now", reason="the true reason", retry_after=2.5, details={"limit": "suite"}
        )
        ended = await self.run(middleware, shape, raises=error)
        assert ended.outcome.error is error, f"the handler's error became {ended.outcome}"

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_defect_of_a_handler_stays_an_internal_error(self, middleware: Middleware, shape: Shape) -> None:
        ended = await self.run(middleware, shape, raises=RuntimeError("a defect"))
        assert ended.outcome.code is Code.INTERNAL, f"the handler's defect became {ended.outcome}"
        assert "a defect" not in ended.outcome.message

    @pytest.mark.parametrize("code", [Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE])
    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_call_that_ends_early_ends_as_what_it_is(
        self, middleware: Middleware, shape: Shape, code: Code
    ) -> None:
        begun, gate = asyncio.Event(), asyncio.Event()
        operation = _operation(shape, begun=begun, gate=gate)
        dispatcher = _dispatcher(operation, middleware)
        async with started(middleware):
            made = self._call(dispatcher, operation)
            running = asyncio.ensure_future(made.run())
            waiting = asyncio.ensure_future(begun.wait())
            try:
                async with asyncio.timeout(self.patience):
                    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
                    assert not running.done(), f"the call ended before its handler did: {running.result().outcome}"
                    made.call.abort(code)
                    ended = await running
            finally:
                gate.set()  # a handler that the middleware left behind ends as well
                waiting.cancel()
        assert ended.outcome.code is code, f"a call that was aborted as {code.name} ended as {ended.outcome}"

    async def test_calls_at_once_do_not_mix(self, middleware: Middleware) -> None:
        operations = [_operation(shape) for shape in Shape]
        service = Service(name=operations[0].service, operations=operations)
        async with started(middleware):
            dispatcher = Dispatcher([service], [middleware])
            wanted = [operations[number % len(operations)] for number in range(100)]
            async with asyncio.timeout(self.patience):
                ended = await asyncio.gather(*(self._call(dispatcher, operation).run() for operation in wanted))
        for operation, each in zip(wanted, ended, strict=True):
            assert [StringValue.FromString(reply).value for reply in each.replies] == REPLIES[operation.shape]


def _message(text: str) -> bytes:
    return StringValue(value=text).SerializeToString()


def _dispatcher(operation: Operation, middleware: Middleware) -> Dispatcher:
    return Dispatcher([Service(name=operation.service, operations=[operation])], [middleware])


def _operation(
    shape: Shape,
    *,
    raises: Exception | None = None,
    public: bool = False,
    ran: list[str] | None = None,
    begun: asyncio.Event | None = None,
    gate: asyncio.Event | None = None,
) -> Operation:
    """An operation that replies with what it is sent; it says in `begun` that it runs, and then waits for `gate`."""

    async def begin(call: Call) -> None:
        if ran is not None:
            ran.append(call.operation.path)
        if begun is not None:
            begun.set()
        if gate is not None:
            await gate.wait()

    async def unary(request: StringValue, call: Call) -> StringValue:
        await begin(call)
        if raises is not None:
            raise raises
        return request

    async def server_stream(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
        await begin(call)
        for number in range(3):
            yield StringValue(value=f"{request.value}.{number}")
            if raises is not None:
                raise raises

    async def client_stream(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
        await begin(call)
        texts = [request.value async for request in requests]
        if raises is not None:
            raise raises
        return StringValue(value=" ".join(texts))

    async def bidi(requests: AsyncIterator[StringValue], call: Call) -> AsyncIterator[StringValue]:
        await begin(call)
        async for request in requests:
            yield request
            if raises is not None:
                raise raises

    handlers: dict[Shape, Any] = {
        Shape.UNARY: unary,
        Shape.SERVER_STREAM: server_stream,
        Shape.CLIENT_STREAM: client_stream,
        Shape.BIDI: bidi,
    }
    return Operation(
        service="suite.Service",
        method=shape.label,
        shape=shape,
        request_type=StringValue,
        response_type=StringValue,
        handler=handlers[shape],
        public=public,
    )
