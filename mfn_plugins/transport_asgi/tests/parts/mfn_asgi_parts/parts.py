"""A plugin for the tests of this transport: one service that shows what arrives, waits, floods and fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_core import Call, ComponentSpec, Operation, Service, Shape, hookimpl

# Of handlers that wait: how many are running, and how many were cancelled.
running = 0
cancelled = 0


async def echo(request: BytesValue, call: Call) -> BytesValue:
    call.initial_metadata.append(("x-initial", "first"))
    call.trailing_metadata.append(("x-trailing-bin", b"\x00\xff"))
    return request


async def wait(request: BytesValue, call: Call) -> BytesValue:
    """Wait until the named file is there; an empty name waits for ever."""
    global running, cancelled
    running += 1
    try:
        if name := request.value.decode():
            await asyncio.to_thread(_look_for, Path(name))
        else:
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled += 1
        raise
    finally:
        running -= 1
    return request


def _look_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)  # nothing tells of a file but looking


async def sit(request: BytesValue, call: Call) -> AsyncIterator[BytesValue]:
    """One message, and then nothing more for ever."""
    yield request
    await wait(BytesValue(), call)


async def flood(request: BytesValue, call: Call) -> AsyncIterator[BytesValue]:
    """Messages of so many bytes, for ever; `state` tells how many were sent."""
    global flooded
    while True:
        flooded += 1
        yield BytesValue(value=bytes(int(request.value)))


flooded = 0


async def count(requests: AsyncIterator[BytesValue], call: Call) -> BytesValue:
    total = 0
    async for request in requests:
        total += len(request.value)
    return BytesValue(value=b"%d" % total)


async def mirror(requests: AsyncIterator[BytesValue], call: Call) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def deaf(requests: AsyncIterator[BytesValue], call: Call) -> AsyncIterator[BytesValue]:
    """Answers, and never reads."""
    yield BytesValue(value=b"hello")
    await wait(BytesValue(), call)


async def state(request: BytesValue, call: Call) -> BytesValue:
    """What the worker looks like from inside."""
    content = {
        "metadata": [[key, value if isinstance(value, str) else value.hex()] for key, value in call.metadata],
        "peer": call.peer.address,
        "identity": call.peer.tls_identity,
        "path": sys.path,
        "executable": sys.executable,
        "directory": os.getcwd(),  # noqa: PTH109 - the text itself is looked at
        "environment": {
            name: os.environ.get(name) for name in ("LD_PRELOAD", "PYTHONHOME", "PYTHONPATH", "MFN_ASGI_HANDOVER")
        },
        "tasks": len(asyncio.all_tasks()),
        "running": running,
        "cancelled": cancelled,
        "flooded": flooded,
        "loop": type(asyncio.get_running_loop()).__module__,
        "imported": sorted(sys.modules.keys() & {"hijacked", "uvloop"}),
    }
    return BytesValue(value=json.dumps(content).encode())


async def crash(request: BytesValue, call: Call) -> BytesValue:
    os._exit(3)


def _operation(method: str, shape: Shape, handler: Any) -> Operation:
    return Operation(
        service="asgi.Test",
        method=method,
        shape=shape,
        request_type=BytesValue,
        response_type=BytesValue,
        handler=handler,
    )


@frozen(kw_only=True)
class Settings:
    start_seconds: float = 0.0
    fail: bool = False


class Provider:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.services: Sequence[Service] = [
            Service(
                name="asgi.Test",
                operations=[
                    _operation("Echo", Shape.UNARY, echo),
                    _operation("Wait", Shape.UNARY, wait),
                    _operation("Sit", Shape.SERVER_STREAM, sit),
                    _operation("Flood", Shape.SERVER_STREAM, flood),
                    _operation("Count", Shape.CLIENT_STREAM, count),
                    _operation("Mirror", Shape.BIDI, mirror),
                    _operation("Deaf", Shape.BIDI, deaf),
                    _operation("State", Shape.UNARY, state),
                    _operation("Crash", Shape.UNARY, crash),
                ],
            )
        ]

    async def start(self) -> None:
        if self._settings.fail:
            raise OSError("cannot open the store at /nowhere: no such directory")
        until = time.monotonic() + self._settings.start_seconds
        while time.monotonic() < until:
            print("starting", file=sys.stderr, flush=True)
            await asyncio.sleep(0.05)


@hookimpl
def mfn_services() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="asgi_test", config=Settings, factory=lambda settings, context: Provider(settings), summary="tests"
        )
    ]
