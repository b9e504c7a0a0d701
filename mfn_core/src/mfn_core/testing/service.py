"""What every service must do, as a suite that its author subclasses."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pytest
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from mfn_core.auth import ROLES
from mfn_core.dispatcher import Dispatcher
from mfn_core.errors import Code
from mfn_core.operation import Operation, ServiceProvider
from mfn_core.testing._in_memory import Ended, InMemoryCall, started

__all__ = ["Requests", "ServiceSuite"]

Requests = Mapping[str, Sequence[Message | Sequence[Message]]]
"""By path, what calls of an operation send: a message each, or a sequence of messages where the client streams."""

_FULL_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_METHOD = re.compile(r"[A-Za-z_]\w*")


@pytest.mark.asyncio
class ServiceSuite:
    """Subclass it under a name that begins with `Test`; give a fixture `provider`, and `valid`.

    `provider`: what the factory makes, not started; `start` and `stop` are called where they are there. `valid` has
    requests of every operation that succeed. `invalid` may have some that are refused. Calls are made through a real
    dispatcher by a principal with every role.
    """

    patience: ClassVar[float] = 30.0
    """Seconds within which a valid call ends."""
    random_messages: ClassVar[int] = 200
    """Messages without sense that each operation is sent."""

    @pytest.fixture
    def provider(self) -> ServiceProvider:
        """The service under test, made anew for each test."""
        raise NotImplementedError(f"{type(self).__name__} gives no fixture `provider`: what the factory makes")

    def valid(self) -> Requests:
        """Requests that succeed: at least one for every operation."""
        raise NotImplementedError(f"{type(self).__name__} gives no `valid`: requests by path that succeed")

    def invalid(self) -> Requests:
        """Requests that are refused as INVALID_ARGUMENT; of as many operations as the author likes."""
        return {}

    # What the tests share.

    def operations(self, provider: ServiceProvider) -> dict[str, Operation]:
        """Every operation by path."""
        found = [operation for service in provider.services for operation in service.operations]
        assert found, "the service has no operation"
        return {operation.path: operation for operation in found}

    async def run(self, provider: ServiceProvider, path: str, request: Message | Sequence[Message]) -> Ended:
        """The one call of a test, to its end; the service runs for as long."""
        async with started(provider):
            return await self._call(Dispatcher(provider.services), path, _encoded(_messages(request)))

    async def _call(
        self, dispatcher: Dispatcher, path: str, messages: Sequence[bytes], *, seconds: float | None = None
    ) -> Ended:
        deadline = self.patience if seconds is None else seconds
        return await InMemoryCall(dispatcher, dispatcher.operations[path], messages, seconds=deadline).run()

    def cases(self, provider: ServiceProvider, requests: Requests) -> Iterator[tuple[Operation, Sequence[Message]]]:
        """Operation and messages of every call."""
        known = self.operations(provider)
        assert set(requests) <= set(known), f"no such operation: {sorted(set(requests) - set(known))}"
        for path, calls in requests.items():
            for request in calls:
                yield known[path], _messages(request)

    # What it declares.

    async def test_names_and_roles_are_what_transports_and_configurations_take(self, provider: ServiceProvider) -> None:
        for service in provider.services:
            assert _FULL_NAME.fullmatch(service.name), f"{service.name!r} is no name of a service"
            for operation in service.operations:
                assert operation.service == service.name, f"{operation.path} stands in service {service.name!r}"
                assert _METHOD.fullmatch(operation.method), f"{operation.path}: {operation.method!r} is no method name"
                assert operation.role in ROLES, (
                    f"{operation.path} needs the role {operation.role!r}, not one of {ROLES}"
                )
        Dispatcher(provider.services)  # refuses two operations of one path

    async def test_every_operation_has_a_valid_request_here(self, provider: ServiceProvider) -> None:
        missing = {path for path in self.operations(provider) if not self.valid().get(path)}
        assert not missing, f"`valid` has no request of {sorted(missing)}"

    # Its calls.

    async def test_valid_requests_are_answered(self, provider: ServiceProvider) -> None:
        async with started(provider):
            dispatcher = Dispatcher(provider.services)
            for operation, messages in self.cases(provider, self.valid()):
                ended = await self._call(dispatcher, operation.path, _encoded(messages))
                assert ended.outcome.code is Code.OK, f"{operation.path} of {messages!r} ended as {ended.outcome}"
                for reply in ended.replies:
                    # What is of another type is parsed as well: as fields that this type does not know.
                    strange = UnknownFieldSet(operation.response_type.FromString(reply))
                    assert not len(strange), f"{operation.path} replies with more than {operation.response_type}"
                if not operation.shape.server_streams:
                    assert len(ended.replies) == 1, f"{operation.path} gave {len(ended.replies)} replies, not one"

    async def test_invalid_requests_are_refused_with_the_field_at_fault(self, provider: ServiceProvider) -> None:
        async with started(provider):
            dispatcher = Dispatcher(provider.services)
            for operation, messages in self.cases(provider, self.invalid()):
                ended = await self._call(dispatcher, operation.path, _encoded(messages))
                about = f"{operation.path} of {messages!r} ended as {ended.outcome}"
                assert ended.outcome.code is Code.INVALID_ARGUMENT, about
                assert ended.outcome.error is not None, about
                assert ended.outcome.error.violations, f"{about}, which names no field; use MfnError.invalid"

    async def test_a_message_without_sense_is_no_defect(self, provider: ServiceProvider) -> None:
        chance = random.Random(20)  # noqa: S311 - the same messages at every run
        async with started(provider):
            dispatcher = Dispatcher(provider.services)
            for operation, messages in self.cases(provider, self.valid()):
                for _ in range(self.random_messages):
                    raw = [_garbled(chance, message) for message in _encoded(messages)]
                    ended = await self._call(dispatcher, operation.path, raw, seconds=1.0)
                    assert ended.outcome.code is not Code.INTERNAL, f"{operation.path} failed on {raw!r}"

    async def test_a_deterministic_operation_gives_the_same_reply_again(self, provider: ServiceProvider) -> None:
        async with started(provider):
            dispatcher = Dispatcher(provider.services)
            for operation, messages in self.cases(provider, self.valid()):
                if operation.deterministic:
                    first = await self._call(dispatcher, operation.path, _encoded(messages))
                    again = await self._call(dispatcher, operation.path, _encoded(messages))
                    assert first.replies == again.replies, f"{operation.path} of {messages!r} replies differently"

    async def test_a_call_that_is_given_up_ends(self, provider: ServiceProvider) -> None:
        async with started(provider):
            dispatcher = Dispatcher(provider.services)
            for operation, messages in self.cases(provider, self.valid()):
                made = InMemoryCall(dispatcher, operation, _encoded(messages), seconds=self.patience)
                running = asyncio.ensure_future(made.run())
                await asyncio.sleep(0)  # its first step: it has begun
                made.call.abort()
                async with asyncio.timeout(self.patience):
                    ended = await running
                # It may have been over already.
                assert ended.outcome.code in (Code.CANCELLED, Code.OK), f"{operation.path} ended as {ended.outcome}"


def _messages(request: Message | Sequence[Message]) -> Sequence[Message]:
    return [request] if isinstance(request, Message) else request


def _encoded(messages: Sequence[Message]) -> list[bytes]:
    return [message.SerializeToString() for message in messages]


def _garbled(chance: random.Random, valid: bytes) -> bytes:
    """Any bytes, or a valid message with some of its bytes changed, lost or added."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(64))
    raw = bytearray(valid)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(raw) + 1)
        match chance.randrange(3):
            case 0:
                raw[place:place] = chance.randbytes(1)
            case 1:
                del raw[place : place + 1]
            case _:
                raw[place : place + 1] = chance.randbytes(1)
    return bytes(raw)
