"""`on_error = "wait"`: calls wait while the disk refuses their records, each as long as somebody waits for it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_audit_jsonl import JsonlSink, verify
from mfn_audit_jsonl._file import TrailFile
from mfn_core import AuditRecord
from mfn_core.audit import AuditMiddleware
from mfn_core.call import Call, Metadata, Peer, Request
from mfn_core.dispatcher import Dispatcher, Outcome
from mfn_core.errors import Code
from mfn_core.operation import Operation, Service, Shape

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Fill = Callable[[], Path]

TIMEOUT = 30.0
WRITER = Path(__file__).parent / "trail_writer.py"

pytestmark = pytest.mark.parametrize("fsync", ["always", "interval", "never"])


def ids(path: Path) -> list[str]:
    found = (json.loads(line) for line in path.read_bytes().split(b"\n")[:-1])
    return [record["call_id"] for record in found if "call_id" in record]


@pytest.fixture
def waiting_sink(make_sink: MakeSink, small_disk: Path, fsync: str) -> JsonlSink:
    return make_sink(small_disk / "audit.jsonl", fsync=fsync, on_error="wait")


async def until_it_waits(sink: JsonlSink, record: MakeRecord) -> tuple[list[int], asyncio.Task[None]]:
    """Write to a full disk until a call waits: the numbers that were taken before it, and the one that waits."""
    taken: list[int] = []
    async with asyncio.timeout(TIMEOUT):
        while True:
            task = asyncio.create_task(_written(sink, record(len(taken))))
            # Tests that are about other calls stop the sink while this one still waits.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            done, _ = await asyncio.wait([task], timeout=0.3)
            if not done:
                return taken, task
            await task
            taken.append(len(taken))
            # A small disk must have room for all of them in the end: no more are written than it takes to notice.
            await asyncio.sleep(0.003)


async def _written(sink: JsonlSink, record: AuditRecord) -> None:
    await sink.write(record)


async def test_calls_wait_for_room_and_nothing_is_lost(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    sink = waiting_sink
    await sink.start()
    ballast = fill()
    taken, first = await until_it_waits(sink, record)
    rest = [asyncio.create_task(_written(sink, record(len(taken) + 1 + each))) for each in range(50)]
    done, _ = await asyncio.wait([first, *rest], timeout=0.5)
    assert not done
    assert sink.statistics().waiting >= 51
    assert not sink.offer(record(0))
    ballast.unlink()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(first, *rest)
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(len(taken) + 51)]
    assert verify(sink.path, sink.statistics().head).ok
    assert "records cannot be written, calls wait until they can: " in caplog.text
    assert "records are written again" in caplog.text


async def test_a_call_whose_task_is_cancelled_is_refused_and_leaves_no_record(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill
) -> None:
    sink = waiting_sink
    await sink.start()
    ballast = fill()
    taken, first = await until_it_waits(sink, record)

    async def shielded(number: int) -> str:
        # As the kernel does it: the record is shielded from what happens to its call.
        writing = asyncio.ensure_future(sink.write(record(number)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            return str(writing.exception())
        return "kept"

    count = len(taken)
    calls = [asyncio.create_task(shielded(number)) for number in range(count + 1, count + 5)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    async with asyncio.timeout(TIMEOUT):
        refused = await asyncio.gather(*calls[::2])
    assert all(re.search("no space left on device", said) for said in refused)
    assert not first.done()
    assert not any(call.done() for call in calls[1::2])
    ballast.unlink()
    async with asyncio.timeout(TIMEOUT):
        assert await asyncio.gather(*calls[1::2]) == ["kept", "kept"]
        await first
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in [*range(count + 1), count + 2, count + 4]]


async def test_a_write_that_is_cancelled_itself_is_kept(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill
) -> None:
    # Nobody can be told that the record is not kept: so it is.
    sink = waiting_sink
    await sink.start()
    ballast = fill()
    taken, first = await until_it_waits(sink, record)
    first.cancel()
    await asyncio.wait([first])
    ballast.unlink()
    async with asyncio.timeout(TIMEOUT):
        await sink.write(record(len(taken) + 1))
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(len(taken) + 2)]


@pytest.mark.parametrize("status", ["CANCELLED", "DEADLINE_EXCEEDED"])
async def test_a_call_that_nobody_waits_for_any_more_is_refused_at_once(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill, status: str
) -> None:
    sink = waiting_sink
    await sink.start()
    fill()
    _, first = await until_it_waits(sink, record)
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(OSError, match="no space left on device"):
            await sink.write(record(99, status=status))
    assert not first.done()
    with pytest.raises(OSError, match="no space left on device"):
        await asyncio.gather(first, sink.stop())


async def test_no_more_calls_wait_than_the_queue_is_long(
    make_sink: MakeSink, record: MakeRecord, small_disk: Path, fill: Fill, fsync: str
) -> None:
    sink = make_sink(small_disk / "audit.jsonl", fsync=fsync, on_error="wait", queue=40)
    await sink.start()
    ballast = fill()
    taken, first = await until_it_waits(sink, record)
    before = sink.statistics().waiting
    rest = [asyncio.create_task(_written(sink, record(1000 + each))) for each in range(80)]
    async with asyncio.timeout(TIMEOUT):
        while sum(task.done() for task in rest) < 80 - max(0, 40 - before):
            await asyncio.sleep(0.001)
    refused = [task for task in rest if task.done()]
    assert {type(task.exception()) for task in refused} == {OSError}
    assert sink.statistics().waiting == max(40, before)
    ballast.unlink()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(first, *(task for task in rest if task not in refused))
    await sink.stop()
    kept = [1000 + each for each, task in enumerate(rest) if task not in refused]
    assert ids(sink.path) == [record(number).call_id for number in [*range(len(taken) + 1), *kept]]


async def test_stop_ends_every_wait_and_names_what_was_lost(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill, caplog: pytest.LogCaptureFixture, fsync: str
) -> None:
    sink = waiting_sink
    await sink.start()
    fill()
    taken, first = await until_it_waits(sink, record)
    async with asyncio.timeout(TIMEOUT):
        stopped, waited = await asyncio.gather(sink.stop(), first, return_exceptions=True)
    assert isinstance(waited, OSError)
    kept = set(ids(sink.path))
    lost = [record(number).call_id for number in taken if record(number).call_id not in kept]
    assert all(f'"call_id":"{call_id}"' in caplog.text for call_id in lost)
    assert isinstance(stopped, OSError) is bool(lost)
    assert fsync != "always" or not lost


async def test_a_failing_fsync_is_waited_out(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    failures = 0
    true = TrailFile.sync

    def sync(file: TrailFile) -> None:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise OSError(5, "input/output error", str(file.path))
        true(file)

    monkeypatch.setattr(TrailFile, "sync", sync)
    sink = make_sink(fsync=fsync, on_error="wait")
    await sink.start()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*(sink.write(record(number)) for number in range(10)))
        while fsync != "never" and failures < 3:
            await asyncio.sleep(0.001)
    await sink.stop()
    assert ids(sink.path) == [record(number).call_id for number in range(10)]
    assert verify(sink.path, sink.statistics().head).ok


async def test_a_defect_of_the_writer_is_not_waited_for(
    make_sink: MakeSink, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, until: Until, fsync: str
) -> None:
    def broken(file: TrailFile, bodies: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(TrailFile, "append", broken)
    sink = make_sink(fsync=fsync, on_error="wait")
    await sink.start()
    if fsync != "always":
        await sink.write(record(0))
        await until(lambda: sink._last is not None and sink._last.dead)
    async with asyncio.timeout(TIMEOUT):
        for _ in range(3):
            with pytest.raises(OSError, match="the audit writer failed: ZeroDivisionError"):
                await sink.write(record(1))
    await asyncio.gather(sink.stop(), return_exceptions=True)


async def test_a_file_size_limit_is_waited_out(tmp_path: Path, fsync: str) -> None:
    path = tmp_path / "audit.jsonl"
    found = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(WRITER), "lifted", str(path), fsync],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    before, limit = map(int, found.stdout.split())
    assert before < limit < path.stat().st_size
    assert verify(path).records == 30
    assert len(set(ids(path))) == 30


# In the kernel's chain.


@asynccontextmanager
async def server(sink: JsonlSink) -> AsyncIterator[Callable[..., Awaitable[Outcome]]]:
    """A dispatcher with the sink in its chain; calls are made with `deadline` in seconds."""

    async def handler(request: StringValue, call: Call) -> StringValue:
        return request

    operation = Operation(
        service="test.Service",
        method="Echo",
        shape=Shape.UNARY,
        request_type=StringValue,
        response_type=StringValue,
        handler=handler,
        public=True,
    )
    services = [Service(name="test.Service", operations=[operation])]
    dispatcher = Dispatcher(services, [AuditMiddleware([sink])], outer=1)

    async def call(deadline: float | None = None, made: list[Call] | None = None) -> Outcome:
        one = Call(
            id=dispatcher.new_call_id(),
            operation=operation,
            transport="test",
            metadata=Metadata(),
            peer=Peer(address="127.0.0.1:1"),
            request=Request(raw=StringValue(value="x").SerializeToString()),
            deadline=None if deadline is None else time.monotonic() + deadline,
        )
        if made is not None:
            made.append(one)
        return await dispatcher.dispatch(one)

    await sink.start()
    call.dispatcher = dispatcher  # type: ignore[attr-defined]  # for the test of the drain
    try:
        yield call
    finally:
        await asyncio.gather(sink.stop(), return_exceptions=True)


async def test_a_call_waits_up_to_its_deadline_and_no_longer(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill
) -> None:
    async with server(waiting_sink) as call:
        assert (await call(deadline=30.0)).code is Code.OK
        ballast = fill()
        _, first = await until_it_waits(waiting_sink, record)
        began = time.monotonic()
        async with asyncio.timeout(TIMEOUT):
            outcome = await call(deadline=0.6)
        assert 0.5 < time.monotonic() - began < 10.0
        assert outcome.code is Code.UNAVAILABLE
        assert outcome.message == "the server cannot record calls now"
        # One that is over before it gets there does not wait at all.
        assert (await call(deadline=0.0)).code is Code.UNAVAILABLE
        patient = asyncio.ensure_future(call(deadline=60.0))
        done, _ = await asyncio.wait([patient], timeout=0.3)
        assert not done
        ballast.unlink()
        async with asyncio.timeout(TIMEOUT):
            assert (await patient).code is Code.OK
            await first


async def test_a_call_whose_caller_is_gone_waits_no_longer(
    waiting_sink: JsonlSink, record: MakeRecord, fill: Fill
) -> None:
    async with server(waiting_sink) as call:
        fill()
        await until_it_waits(waiting_sink, record)
        made: list[Call] = []
        waiting = asyncio.ensure_future(call(made=made))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        made[0].abort()
        async with asyncio.timeout(TIMEOUT):
            assert (await waiting).code is Code.UNAVAILABLE


async def test_a_drain_waits_for_no_disk(waiting_sink: JsonlSink, record: MakeRecord, fill: Fill) -> None:
    async with server(waiting_sink) as call:
        fill()
        await until_it_waits(waiting_sink, record)
        waiting = [asyncio.ensure_future(call()) for _ in range(5)]
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert not done
        dispatcher: Dispatcher = call.dispatcher  # type: ignore[attr-defined]  # set above
        async with asyncio.timeout(TIMEOUT):
            await waiting_sink.drain()
            await dispatcher.drain(0.2)
            # Those that come now are refused by the drain, and not held by their records.
            late = await call()
        assert {outcome.code for outcome in await asyncio.gather(*waiting)} == {Code.UNAVAILABLE}
        assert late.code is Code.UNAVAILABLE
