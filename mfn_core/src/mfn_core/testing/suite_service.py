"""The service that `TransportSuite` calls: one operation of each shape, each of which does what its request says.

A plugin like any other, loaded by its import path: `plugins = ["mfn_core.testing.suite_service", …]`. For tests alone:
every operation is public, waits for files that a caller names and tells what the process holds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core.call import Call
from mfn_core.components import ComponentContext, ComponentSpec, NoSettings
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_core.hookspecs import hookimpl
from mfn_core.operation import Handler, Operation, Service, Shape

__all__ = ["PROBE", "SERVICE", "Script", "SuiteService", "Tally", "mfn_services", "path_of"]

SERVICE = "mfn.testing.TransportSuite"
PROBE = f"/{SERVICE}/Probe"
"""Unary: `StringValue` of a tag → `StringValue` of JSON: the tag's `Tally`, and the process's tasks and memory."""

REMEMBERED = 4096
"""Tags whose tallies are kept."""

_METHODS = {
    Shape.UNARY: "Unary",
    Shape.SERVER_STREAM: "ServerStream",
    Shape.CLIENT_STREAM: "ClientStream",
    Shape.BIDI: "Bidi",
}

Pairs = Sequence[tuple[str, str]]


def path_of(shape: Shape) -> str:
    """The path of the operation of that shape."""
    return f"/{SERVICE}/{_METHODS[shape]}"


@frozen(kw_only=True)
class Script:
    """What one call shall do. Travels as JSON in a `StringValue`: the request, or the first message of a client that
    streams; an empty text is a script of defaults.

    Replies are texts: `TAG:INDEX` where the client sends one message, the number of its reply; `TAG:a,b` from a client
    that streams `a` and `b` for one reply; `TAG:a` for each `a` of a bidirectional call, and `TAG:end` once it has
    half-closed.
    """

    tag: str = ""
    """Whose tally it counts in."""
    replies: int | None = None
    """Messages of a server stream: 1 unless given, endless if negative. Where both stream: replies after which the
    server ends the call; by default it waits for the client to half-close."""
    padding: int = 0
    """Dots after each reply, to make it long."""
    empty: bool = False
    """Whether replies are empty messages."""
    until: str = ""
    """Path of a file: the call waits until it exists. Before a single reply; after the first of several."""
    fail_after: int | None = None
    """Fail with `code` once so many messages have been streamed either way; 0: at once."""
    code: str = Code.FAILED_PRECONDITION.name
    message: str = ""
    violations: Pairs = ()
    retry_after: float | None = None
    details: Pairs = ()
    crash: str = ""
    """Fail with an exception of that text, which no caller may see, in place of `code`."""
    initial: Pairs = ()
    """Metadata to send before the first message; values of `-bin` keys in hexadecimal digits."""
    trailing: Pairs = ()
    """Metadata to send with the status, likewise."""
    metadata: bool = False
    """Reply with the call's own metadata as a JSON list of pairs, values of `-bin` keys in hexadecimal digits."""

    def encode(self) -> bytes:
        """As a request message."""
        return StringValue(value=json.dumps(asdict(self), ensure_ascii=False)).SerializeToString()

    @classmethod
    def decode(cls, message: StringValue) -> Script:
        """Of a request message.

        Raises:
            MfnError: INVALID_ARGUMENT, for a text that is no script.
        """
        try:
            return cls(**json.loads(message.value)) if message.value else cls()
        except (ValueError, TypeError) as wrong:
            raise MfnError.invalid([FieldViolation(field="value", description=f"no script: {wrong}")]) from wrong


@define(kw_only=True)
class Tally:
    """What has become of the calls with one tag."""

    started: int = 0
    running: int = 0
    finished: int = 0
    """Ended without an error."""
    failed: int = 0
    cancelled: int = 0
    """Interrupted: their handler saw a cancellation, or its generator was closed before its end."""
    produced: int = 0
    """Messages that a handler has been able to hand over."""
    received: int = 0
    """Messages that a handler has read after the script."""


@define
class _Tallies:
    """Tallies by tag; the oldest is forgotten when there are too many."""

    by_tag: OrderedDict[str, Tally] = field(factory=OrderedDict)

    def of(self, tag: str) -> Tally:
        tally = self.by_tag.setdefault(tag, Tally())
        if len(self.by_tag) > REMEMBERED:
            self.by_tag.popitem(last=False)
        return tally


class SuiteService:
    """A `mfn_core.operation.ServiceProvider`."""

    def __init__(self) -> None:
        self._tallies = _Tallies()
        handlers: dict[Shape, Handler] = {
            Shape.UNARY: self._unary,
            Shape.SERVER_STREAM: self._server_stream,
            Shape.CLIENT_STREAM: self._client_stream,
            Shape.BIDI: self._bidi,
        }
        operations = [_operation(_METHODS[shape], shape, handler) for shape, handler in handlers.items()]
        operations.append(_operation("Probe", Shape.UNARY, self._probe))
        self.services: Sequence[Service] = (Service(name=SERVICE, operations=operations),)

    async def _unary(self, request: StringValue, call: Call) -> Message:
        script = Script.decode(request)
        with self._counted(script, call):
            _fail_at(script, 0)
            await _held(script)
            return _reply(script, call, "0")

    async def _server_stream(self, request: StringValue, call: Call) -> AsyncIterator[Message]:
        script = Script.decode(request)
        replies = 1 if script.replies is None else script.replies
        with self._counted(script, call) as tally:
            for index in itertools.count():
                _fail_at(script, index)
                if index == replies:
                    return
                yield _reply(script, call, str(index))
                tally.produced += 1
                if index == 0:
                    await _held(script)

    async def _client_stream(self, requests: AsyncIterator[StringValue], call: Call) -> Message:
        script = await _first(requests)
        with self._counted(script, call) as tally:
            _fail_at(script, 0)
            texts: list[str] = []
            async for request in requests:
                tally.received += 1
                texts.append(request.value)
                _fail_at(script, len(texts))
            await _held(script)
            return _reply(script, call, ",".join(texts))

    async def _bidi(self, requests: AsyncIterator[StringValue], call: Call) -> AsyncIterator[Message]:
        script = await _first(requests)
        with self._counted(script, call) as tally:
            _fail_at(script, 0)
            index = 0
            async for request in requests:
                tally.received += 1
                yield _reply(script, call, request.value)
                tally.produced += 1
                if index == 0:
                    await _held(script)
                index += 1
                _fail_at(script, index)
                if index == script.replies:
                    return
            yield _reply(script, call, "end")
            tally.produced += 1

    async def _probe(self, request: StringValue, call: Call) -> Message:
        found: dict[str, Any] = asdict(self._tallies.of(request.value))
        found["tasks"] = len(asyncio.all_tasks())
        found["memory"] = _resident_bytes()
        return StringValue(value=json.dumps(found))

    @contextmanager
    def _counted(self, script: Script, call: Call) -> Iterator[Tally]:
        tally = self._tallies.of(script.tag)
        tally.started += 1
        tally.running += 1
        call.initial_metadata += _decoded(script.initial)
        call.trailing_metadata += _decoded(script.trailing)
        try:
            yield tally
        except (asyncio.CancelledError, GeneratorExit):
            tally.cancelled += 1
            raise
        except Exception:
            tally.failed += 1
            raise
        else:
            tally.finished += 1
        finally:
            tally.running -= 1


def _operation(method: str, shape: Shape, handler: Handler) -> Operation:
    return Operation(
        service=SERVICE,
        method=method,
        shape=shape,
        request_type=StringValue,
        response_type=StringValue,
        handler=handler,
        public=True,
    )


async def _first(requests: AsyncIterator[StringValue]) -> Script:
    async for request in requests:
        return Script.decode(request)
    raise MfnError(Code.INVALID_ARGUMENT, "the client half-closed before it had sent a script")


async def _held(script: Script) -> None:
    while script.until and not await asyncio.to_thread(os.path.exists, script.until):  # noqa: ASYNC110 - made by another process
        await asyncio.sleep(0.01)


def _fail_at(script: Script, streamed: int) -> None:
    if script.fail_after != streamed:
        return
    if script.crash:
        raise RuntimeError(script.crash)
    raise MfnError(
        Code[script.code],
        script.message,
        violations=[FieldViolation(field=path, description=text) for path, text in script.violations],
        retry_after=script.retry_after,
        details=dict(script.details),
    )


def _reply(script: Script, call: Call, text: str) -> StringValue:
    if script.empty:
        return StringValue()
    if script.metadata:
        return StringValue(value=json.dumps(_encoded(call)))
    return StringValue(value=f"{script.tag}:{text}{'.' * script.padding}")


def _encoded(call: Call) -> list[tuple[str, str]]:
    return [(key, value.hex() if isinstance(value, bytes) else value) for key, value in call.metadata]


def _decoded(pairs: Pairs) -> list[tuple[str, str | bytes]]:
    return [(key, bytes.fromhex(value) if key.endswith("-bin") else value) for key, value in pairs]


def _resident_bytes() -> int:
    """Physical memory of the process; its peak where the system does not tell the present."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")


def _make(settings: NoSettings, context: ComponentContext) -> SuiteService:
    return SuiteService()


@hookimpl
def mfn_services() -> Sequence[ComponentSpec]:
    """The service `transport_suite`."""
    return [ComponentSpec(name="transport_suite", factory=_make, summary="what the transport suite calls; for tests")]
