"""A process that writes a trail, for tests that kill it or limit it. Not a test itself."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from mfn_audit_jsonl import JsonlSettings, JsonlSink
from mfn_core import AuditRecord


def record(number: int) -> AuditRecord:
    return AuditRecord(
        time=1767225600.0,
        call_id=f"{number:024x}",
        request_id=None,
        principal="alice",
        key_id="alice-1",
        method="/mfn.MFNFeaturesService/ExtractFeatures",
        shape="unary",
        transport="grpc",
        status="OK",
        reason=None,
        duration=0.001,
        messages_in=1,
        messages_out=1,
        bytes_in=1,
        bytes_out=1,
        peer="127.0.0.1:1",
    )


def settings(path: Path, **given: Any) -> JsonlSettings:
    """Settings of a sink, also such as an operator may not choose."""
    with attrs.validators.disabled():
        return JsonlSettings(path=path, fsync="always", **given)


async def forever(path: Path, rotate_bytes: str = "0") -> None:
    """Write without end, and print the id of each record as soon as it is acknowledged."""
    sink = JsonlSink(settings(path, rotate_bytes=int(rotate_bytes)))
    await sink.start()
    life = time.time_ns() % 1_000_000_000 * 1_000_000

    async def caller(task: int) -> None:
        for turn in range(1_000_000):
            one = record(life + turn * 8 + task)
            await sink.write(one)
            os.write(1, one.call_id.encode() + b"\n")

    await asyncio.gather(*(caller(task) for task in range(8)))


async def limited(path: Path) -> None:
    """Write up to a file size limit, into it, and on after it is lifted; print what was kept and refused."""
    sink = JsonlSink(JsonlSettings(path=path, fsync="always"))
    await sink.start()
    limit = 2500
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    kept = refused = 0
    while refused < 5:
        try:
            await sink.write(record(kept))
        except OSError:
            refused += 1
        else:
            kept += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for _ in range(3):
        await sink.write(record(kept))
        kept += 1
    await sink.stop()
    os.write(1, f"{kept} {refused} {limit}\n".encode())


async def lifted(path: Path, fsync: str) -> None:
    """Write thirty records into a limit of the file's size, which is lifted when calls wait; print the size then."""
    sink = JsonlSink(JsonlSettings(path=path, fsync=fsync, on_error="wait"))  # type: ignore[arg-type]  # a policy
    await sink.start()
    limit = 2500
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for number in range(10):
        await asyncio.wait([asyncio.ensure_future(sink.write(record(number)))], timeout=0.0)
    while sink.statistics().failures < 2:
        await asyncio.sleep(0.01)
    waiting = [asyncio.ensure_future(sink.write(record(number))) for number in range(10, 30)]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await asyncio.gather(*waiting)
    await sink.stop()
    os.write(1, f"{size} {limit}\n".encode())


WAYS: dict[str, Callable[..., Awaitable[None]]] = {"forever": forever, "limited": limited, "lifted": lifted}


async def main() -> None:
    await WAYS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])


asyncio.run(main())
