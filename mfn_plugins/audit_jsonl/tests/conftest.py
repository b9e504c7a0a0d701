"""Trails to test with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from mfn_audit_jsonl import JsonlSettings, JsonlSink
from mfn_audit_jsonl._format import GENESIS, body_of, seal
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
MakeTrail = Callable[[int], Path]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

TIMEOUT = 30.0


def make_record(number: int, **changes: Any) -> AuditRecord:
    return attrs.evolve(
        AuditRecord(
            time=1767225600.5 + number,
            call_id=f"{number:024x}",
            request_id=f"request-{number}",
            principal="alice",
            key_id="alice-1",
            method="/mfn.MFNFeaturesService/ExtractFeatures",
            shape="unary",
            transport="grpc",
            status="OK",
            reason=None,
            duration=0.00125,
            messages_in=1,
            messages_out=1,
            bytes_in=7,
            bytes_out=300,
            peer="127.0.0.1:40112",
        ),
        **changes,
    )


@pytest.fixture(scope="session")
def record() -> MakeRecord:
    return make_record


@pytest.fixture
def make_sink(tmp_path: Path) -> MakeSink:
    def make(path: Path | None = None, **settings: Any) -> JsonlSink:
        return JsonlSink(JsonlSettings(path=path or tmp_path / "audit.jsonl", **settings))

    return make


@pytest.fixture
def trail(tmp_path: Path) -> MakeTrail:
    """Writes a whole trail of so many records, without a sink."""

    def write(count: int) -> Path:
        path = tmp_path / "audit.jsonl"
        head = GENESIS
        with path.open("wb") as file:
            for number in range(1, count + 1):
                line, head = seal(number, head, body_of(make_record(number)))
                file.write(line)
        return path

    return write


@pytest.fixture(scope="session")
def until() -> Until:
    """Waits for something outside the event loop: the content of a file, the work of a thread."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.001)

    return wait
