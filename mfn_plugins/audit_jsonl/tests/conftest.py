"""Trails to test with."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
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
Fill = Callable[[], Path]
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
def rotating(tmp_path: Path) -> MakeSink:
    """A sink that closes files of a few records each, which no operator may ask for."""

    def make(**settings: Any) -> JsonlSink:
        given = {"path": tmp_path / "audit.jsonl", "fsync": "always", "rotate_bytes": 1500, **settings}
        with attrs.validators.disabled():
            return JsonlSink(JsonlSettings(**given))

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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "mfn-audit-test", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a file system is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def fill(small_disk: Path) -> Fill:
    """Takes all that is left of the small disk, and returns the file that holds it."""

    def take() -> Path:
        ballast = small_disk / "ballast"
        with ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 1024)
            except OSError:
                pass
        return ballast

    return take


@pytest.fixture(scope="session")
def until() -> Until:
    """Waits for something outside the event loop: the content of a file, the work of a thread."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.001)

    return wait
