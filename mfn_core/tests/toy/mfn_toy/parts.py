"""A whole server of toy parts: a line protocol over TCP, one password, records in a file.

The transport is as small as a real one can be. A call is one line `METHOD PASSWORD TEXT`; its replies are lines
`= TEXT`, and its end is a line `CODE MESSAGE`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import asdict, frozen
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core import (
    AuditRecord,
    Call,
    Code,
    ComponentContext,
    ComponentSpec,
    Dispatcher,
    Lease,
    Metadata,
    MfnError,
    Next,
    Operation,
    Peer,
    Principal,
    Problem,
    Request,
    Service,
    Shape,
    hookimpl,
    setting,
    unauthenticated,
)
from mfn_core.config import split_address


@frozen(kw_only=True)
class LineSettings:
    """The `[transports.line]` table."""

    listen: str = setting(default="127.0.0.1:0", help="address")
    encrypted: bool = setting(default=False, help="whether to claim that it is")


class LineTransport:
    def __init__(self, settings: LineSettings, context: ComponentContext) -> None:
        self.settings = settings
        self.name = context.name
        self.server: asyncio.Server | None = None
        self.connections: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> Sequence[str]:
        if self.server is None or not self.server.sockets:
            return ()
        host, port = self.server.sockets[0].getsockname()[:2]
        return (f"{host}:{port}",)

    def preflight(self) -> Iterable[str]:
        host, port = split_address(self.settings.listen)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError as failed:
                return (f"{self.settings.listen}: {failed.strerror}",)
        return ()

    async def start(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        host, port = split_address(self.settings.listen)
        self.server = await asyncio.start_server(self.serve, host, port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            while line := await reader.readline():
                method, password, text = line.decode().rstrip("\n").split(" ", 2)
                operation = self.dispatcher.operations.get(method) or self.dispatcher.unknown(method)

                async def deliver(message: bytes) -> None:
                    writer.write(b"= " + StringValue.FromString(message).value.encode() + b"\n")
                    await writer.drain()

                call = Call(
                    id=self.dispatcher.new_call_id(),
                    operation=operation,
                    transport=self.name,
                    metadata=Metadata([("password", password)] if password != "-" else []),
                    peer=Peer(address="127.0.0.1:1"),
                    request=Request(raw=StringValue(value=text).SerializeToString()),
                    deliver=deliver,
                )
                outcome = await self.dispatcher.dispatch(call)
                writer.write(f"{outcome.code.name} {outcome.message}\n".encode())
                await writer.drain()
        finally:
            self.connections.discard(task)
            writer.close()

    async def drain(self) -> None:
        if self.server is not None:
            self.server.close()

    async def stop(self) -> None:
        for task in tuple(self.connections):
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)


class Doorman:
    async def authenticate(self, call: Call) -> Principal | None:
        word = call.metadata.get("password")
        if word is None:
            return None
        if word != "sesame":
            raise unauthenticated("wrong word")
        return Principal(name="ali", roles=frozenset({"write"}), method="word")


@frozen(kw_only=True)
class FileSettings:
    """The `[audit.file]` table."""

    path: Path = setting(help="file of records")


class FileSink:
    def __init__(self, settings: FileSettings, context: ComponentContext) -> None:
        self.path = settings.path
        self.file: IO[str] | None = None

    async def start(self) -> None:
        self.file = self.path.open("a")

    async def write(self, record: AuditRecord) -> None:
        assert self.file is not None
        self.file.write(json.dumps(asdict(record)) + "\n")
        self.file.flush()

    async def stop(self) -> None:
        if self.file is not None:
            self.file.close()


@frozen(kw_only=True)
class SlotSettings:
    """The `[limits.slots]` table."""

    free: int = setting(default=100, help="calls in flight")


class Slots:
    """One limiter for the whole server."""

    def __init__(self, settings: SlotSettings, context: ComponentContext) -> None:
        self.free = settings.free

    async def admit(self, call: Call) -> Lease:
        if self.free == 0:
            raise MfnError(Code.RESOURCE_EXHAUSTED, "no slot", retry_after=1.0)
        self.free -= 1
        return self

    async def charge(self, call: Call, cost: float) -> None:
        return

    def release(self) -> None:
        self.free += 1


class Greeter:
    """Services of greeting; says in `greeter.log` how it lived."""

    def __init__(self, settings: Any, context: ComponentContext) -> None:
        self.worker = context.worker

    async def start(self) -> None:
        self.gate = asyncio.Event()

    @property
    def services(self) -> Sequence[Service]:
        async def greet(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
            yield StringValue(value=f"hello {request.value} from {os.getpid()}")

        async def wait(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
            yield StringValue(value="waiting")
            gate = Path(request.value)
            Path(f"{gate}.waiting").touch()
            while not gate.exists():
                await asyncio.sleep(0.01)
            yield StringValue(value="done")

        async def crash(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
            os._exit(3)
            yield StringValue()

        return [
            Service(
                name="toy.Greeter",
                operations=[
                    Operation(
                        service="toy.Greeter",
                        method=name,
                        shape=Shape.SERVER_STREAM,
                        request_type=StringValue,
                        response_type=StringValue,
                        handler=handler,
                    )
                    for name, handler in (("Greet", greet), ("Wait", wait), ("Crash", crash))
                ],
            )
        ]


@frozen(kw_only=True)
class FailingSettings:
    """The `[middlewares.shout]` table."""

    word: str = setting(default="HEY", help="what to shout")


class Shout:
    def __init__(self, settings: FailingSettings, context: ComponentContext) -> None:
        self.word = settings.word

    async def __call__(self, call: Call, call_next: Next) -> None:
        call.trailing_metadata.append(("shout", self.word))
        await call_next(call)


@hookimpl
def mfn_transports() -> list[ComponentSpec]:
    return [ComponentSpec(name="line", config=LineSettings, factory=LineTransport, summary="lines over TCP")]


@hookimpl
def mfn_authenticators() -> list[ComponentSpec]:
    return [ComponentSpec(name="doorman", factory=lambda _, __: Doorman(), summary="one password")]


@hookimpl
def mfn_audit_sinks() -> list[ComponentSpec]:
    return [ComponentSpec(name="file", config=FileSettings, factory=FileSink, summary="lines in a file")]


@hookimpl
def mfn_limiters() -> list[ComponentSpec]:
    return [ComponentSpec(name="slots", config=SlotSettings, factory=Slots, summary="calls in flight", scope="shared")]


@hookimpl
def mfn_services() -> list[ComponentSpec]:
    return [ComponentSpec(name="greeter", factory=Greeter, summary="greets")]


@hookimpl
def mfn_check(plan: Any) -> list[Problem]:
    if any(component.name == "line/forbidden" for component in plan.components):
        return [Problem(path='transports."line/forbidden"', message="this name is forbidden", remedy="choose another")]
    return []
