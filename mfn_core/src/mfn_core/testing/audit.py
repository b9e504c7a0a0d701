"""What every audit sink must do, as a suite that its author subclasses."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from mfn_core.audit import AuditRecord, AuditSink
from mfn_core.testing._in_memory import lifecycle, started

__all__ = ["AuditSinkSuite", "Kept"]

Kept = Sequence[Mapping[str, Any]]
"""Records as they are read back: keyed by the names of `AuditRecord`'s fields, in the order of the chain."""

HOSTILE: Mapping[str, str] = {
    "line ends": 'a\nb\r\nc\u2028d\u2029e\x85f"}\n{"seq":1,"status":"OK"}',
    "quotes and braces": """"'`\\"{}[],:\\u0000\\n""",
    "controls": "".join(chr(code) for code in (*range(1, 32), 127, *range(128, 160))),
    "nul": "before\0after",
    "terminal escapes": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "bidirectional overrides": "\u202eko\u2066evil\u2069",
    "beyond the basic plane": "\U0001f344 \U0010ffff",
    "separators": "a\tb;c|d,e\x1fg\x1eh",
    "statements": "'; DROP TABLE audit; -- ${jndi:x} {{7*7}} %s %n",
    "empty": "",
}
"""Texts of up to 100 characters that a careless encoding loses, by what they try."""

_TIMEOUT = 30.0


@pytest.mark.asyncio
class AuditSinkSuite:
    """Subclass it under a name that begins with `Test`, and give the methods `make_sink` and `read_back`.

    A test makes its sinks over one folder of its own, starts them where they have a `start`, stops them where they
    have a `stop`, and then reads back what was kept.
    """

    durable: ClassVar[bool] = True
    """Whether a second sink over the same place continues what the first one kept."""
    text_kept: ClassVar[int] = 128
    """Characters of a text that are kept at least; what is longer may be cut behind them."""

    def make_sink(self, place: Path) -> AuditSink:
        """A sink that is not started; whatever it keeps in files is under `place`, an empty folder at first."""
        raise NotImplementedError(f"{type(self).__name__} gives no `make_sink`: a sink over a folder, not started")

    def read_back(self, sink: AuditSink) -> Kept | Awaitable[Kept]:
        """Everything kept where this sink keeps it, in order; called when the sink is stopped.

        Values equal those of the `AuditRecord`; `time` and `duration` are in seconds and exact to a microsecond.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no `read_back`: the records that a sink has kept")

    def refusing(self, place: Path) -> AbstractContextManager[None] | None:
        """Makes the place take no record while it is entered: a full disk, a database that is away.

        Afterwards it takes records again. None, the default: that cannot be shown, and tests of it are skipped.
        """
        return None

    # What the tests are made of.

    def record(self, number: int, **changes: Any) -> AuditRecord:
        """A record with every field set, all different by `number`."""
        return attrs.evolve(
            AuditRecord(
                time=1767225600.123456 + number,
                call_id=f"{number:024x}",
                request_id=f"request-{number}",
                principal=f"principal-{number}",
                key_id=f"key-{number}",
                method=f"/suite.Service/Method{number}",
                shape="server_stream",
                transport="grpc/public",
                status="RESOURCE_EXHAUSTED",
                reason=f"reason {number}",
                duration=0.001002 + number,
                messages_in=number + 1,
                messages_out=number + 2,
                bytes_in=number + 3,
                bytes_out=2**40 + number,
                peer=f"[::1]:{number}",
                tls_identity=f"CN=client-{number}",
                protocol=f"protocol-{number}",
            ),
            **changes,
        )

    @asynccontextmanager
    async def running(self, place: Path) -> AsyncIterator[AuditSink]:
        """A sink that is started, and stopped at the end."""
        sink = self.make_sink(place)
        async with started(sink):
            yield sink

    async def kept(self, sink: AuditSink) -> Kept:
        """What the sink kept."""
        found = self.read_back(sink)
        return await found if inspect.isawaitable(found) else found

    async def test_a_record_is_read_back_with_every_field(self, tmp_path: Path) -> None:
        record = self.record(7)
        async with self.running(tmp_path) as sink:
            await sink.write(record)
        (kept,) = await self.kept(sink)
        _assert_equal(kept, record)

    async def test_absent_values_stay_absent(self, tmp_path: Path) -> None:
        record = self.record(
            7, request_id=None, principal=None, key_id=None, reason=None, tls_identity=None, messages_in=0
        )
        async with self.running(tmp_path) as sink:
            await sink.write(record)
        (kept,) = await self.kept(sink)
        _assert_equal(kept, record)

    async def test_records_of_many_tasks_are_kept_in_the_order_of_their_writes(self, tmp_path: Path) -> None:
        order: list[str] = []

        async def caller(sink: AuditSink, task: int) -> None:
            for turn in range(20):
                record = self.record(task * 20 + turn)
                order.append(record.call_id)
                await sink.write(record)
                await asyncio.sleep(0)

        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            await asyncio.gather(*(caller(sink, task) for task in range(50)))
        assert len(order) == 1000
        assert _ids(await self.kept(sink)) == order

    async def test_a_cancelled_caller_neither_loses_nor_doubles_its_record(self, tmp_path: Path) -> None:
        # As the kernel does it: the caller is cancelled, and the write that it waits for is shielded.
        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            writes = [asyncio.ensure_future(sink.write(self.record(number))) for number in range(40)]
            callers = [asyncio.ensure_future(_shielded(write)) for write in writes]
            await asyncio.sleep(0)
            for caller in callers[::2]:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await asyncio.gather(*writes)
        assert _ids(await self.kept(sink)) == [self.record(number).call_id for number in range(40)]

    async def test_a_cancelled_write_disturbs_no_other_record(self, tmp_path: Path) -> None:
        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            writes = [asyncio.ensure_future(sink.write(self.record(number))) for number in range(40)]
            await asyncio.sleep(0)
            for write in writes[1::2]:
                write.cancel()
            await asyncio.gather(*writes, return_exceptions=True)
            await sink.write(self.record(40))
        ids = _ids(await self.kept(sink))
        assert len(ids) == len(set(ids))
        assert ids == sorted(ids)
        assert {self.record(number).call_id for number in range(0, 41, 2)} <= set(ids)

    async def test_stop_keeps_everything_that_was_written(self, tmp_path: Path) -> None:
        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            for number in range(200):
                await sink.write(self.record(number))
        assert _ids(await self.kept(sink)) == [self.record(number).call_id for number in range(200)]

    async def test_start_and_stop_are_safe_twice(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        await lifecycle(sink, "start")
        await lifecycle(sink, "start")
        await sink.write(self.record(1))
        await lifecycle(sink, "stop")
        await lifecycle(sink, "stop")
        assert _ids(await self.kept(sink)) == [self.record(1).call_id]

    async def test_stop_without_start_is_safe(self, tmp_path: Path) -> None:
        await lifecycle(self.make_sink(tmp_path), "stop")

    async def test_a_write_to_a_stopped_sink_is_refused(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        if not hasattr(sink, "stop"):
            pytest.skip("the sink has no stop")
        await lifecycle(sink, "start")
        await sink.write(self.record(1))
        await lifecycle(sink, "stop")
        with pytest.raises(OSError, match=r"\w"):
            await sink.write(self.record(2))
        assert _ids(await self.kept(sink)) == [self.record(1).call_id]

    async def test_a_record_is_taken_between_drain_and_stop(self, tmp_path: Path) -> None:
        # The server drains its parts first of all, and calls end long after that.
        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            await sink.write(self.record(1))
            await lifecycle(sink, "drain")
            await sink.write(self.record(2))
            await lifecycle(sink, "drain")
            await sink.write(self.record(3))
        assert _ids(await self.kept(sink)) == [self.record(number).call_id for number in (1, 2, 3)]

    async def test_a_place_that_refuses_costs_no_record_that_was_acknowledged(self, tmp_path: Path) -> None:
        refusing = self.refusing(tmp_path)
        if refusing is None:
            pytest.skip("the subclass cannot make the place refuse")
        acknowledged: list[str] = []
        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            number = 0
            await sink.write(self.record(number))
            acknowledged.append(self.record(number).call_id)
            with refusing:
                # What is only queued may be taken for a while; then calls fail, or wait until their deadlines.
                while await self._acknowledged_soon(sink, number := number + 1, acknowledged):
                    pass
            while not await self._acknowledged_soon(sink, number := number + 1, acknowledged):
                pass
        ids = _ids(await self.kept(sink))
        assert len(ids) == len(set(ids))
        assert ids == sorted(ids)
        assert set(acknowledged) <= set(ids)

    async def test_a_call_that_is_aborted_does_not_wait_for_a_place_that_refuses(self, tmp_path: Path) -> None:
        refusing = self.refusing(tmp_path)
        if refusing is None:
            pytest.skip("the subclass cannot make the place refuse")

        async def aborted(record: AuditRecord) -> bool:
            """As the kernel does it: whether the record was kept, for a call that is cancelled while it is written."""
            writing = asyncio.ensure_future(sink.write(record))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
            except OSError:
                return False
            return writing.exception() is None

        async with self.running(tmp_path) as sink, asyncio.timeout(_TIMEOUT):
            with refusing:
                kept: list[bool] = []
                while False not in kept:
                    call = asyncio.ensure_future(aborted(self.record(len(kept))))
                    await asyncio.wait([call], timeout=0.05)
                    call.cancel()
                    kept.append(await call)
            while not await self._acknowledged_soon(sink, 1000, []):
                pass
        ids = _ids(await self.kept(sink))
        assert len(ids) == len(set(ids))
        assert ids[-1] == self.record(1000).call_id
        assert {self.record(number).call_id for number, one in enumerate(kept) if one} <= set(ids)

    async def _acknowledged_soon(self, sink: AuditSink, number: int, acknowledged: list[str]) -> bool:
        """Write one record as a call with a short deadline does; whether it was acknowledged."""
        record = self.record(number)
        await asyncio.sleep(0.01)  # the sink tells nobody how its place does: it can only be tried

        async def call() -> None:
            # Called in the task that is cancelled, as the kernel calls it in the task of the call.
            await asyncio.shield(asyncio.ensure_future(sink.write(record)))

        done, _ = await asyncio.wait([task := asyncio.ensure_future(call())], timeout=0.5)
        if not done:
            task.cancel()
        (failed,) = await asyncio.gather(task, return_exceptions=True)
        if failed is None:
            acknowledged.append(record.call_id)
        elif not isinstance(failed, OSError | asyncio.CancelledError):
            raise failed
        return failed is None

    @pytest.mark.parametrize("hostile", list(HOSTILE))
    async def test_hostile_text_survives_and_stays_in_its_field(self, tmp_path: Path, hostile: str) -> None:
        text = HOSTILE[hostile]
        fields = ("request_id", "principal", "key_id", "method", "reason", "peer", "tls_identity")
        records = [self.record(number, **{name: text}) for number, name in enumerate(fields)]
        async with self.running(tmp_path) as sink:
            for record in records:
                await sink.write(record)
        kept = await self.kept(sink)
        assert len(kept) == len(records)
        for found, record in zip(kept, records, strict=True):
            _assert_equal(found, record)

    async def test_text_that_is_no_unicode_costs_no_record(self, tmp_path: Path) -> None:
        # Bytes of a header that were decoded with surrogateescape, and half a pair.
        broken = self.record(1, reason="bad \udc80\udcff header", request_id="\ud83d")
        async with self.running(tmp_path) as sink:
            await sink.write(broken)
            await sink.write(self.record(2))
        first, second = await self.kept(sink)
        _assert_equal(first, broken, besides=("reason", "request_id"))
        _assert_equal(second, self.record(2))
        assert first["reason"].startswith("bad ")
        for name in ("reason", "request_id"):
            first[name].encode("utf-8")

    async def test_a_very_long_text_costs_no_record(self, tmp_path: Path) -> None:
        text = "".join(chr(0x4E00 + index % 5000) for index in range(200_000))
        long = self.record(1, reason=text, request_id=text)
        async with self.running(tmp_path) as sink:
            await sink.write(long)
            await sink.write(self.record(2))
        first, second = await self.kept(sink)
        _assert_equal(first, long, besides=("reason", "request_id"))
        _assert_equal(second, self.record(2))
        for name in ("reason", "request_id"):
            assert first[name][: self.text_kept] == text[: self.text_kept]

    async def test_a_restart_continues_what_was_kept(self, tmp_path: Path) -> None:
        if not self.durable:
            pytest.skip("the sink keeps nothing over a restart")
        for life in range(3):
            async with self.running(tmp_path) as sink:
                for turn in range(5):
                    await sink.write(self.record(life * 5 + turn))
        assert _ids(await self.kept(sink)) == [self.record(number).call_id for number in range(15)]


async def _shielded(write: asyncio.Future[None]) -> None:
    await asyncio.shield(write)


def _ids(kept: Kept) -> list[str]:
    return [record["call_id"] for record in kept]


def _assert_equal(kept: Mapping[str, Any], record: AuditRecord, besides: Iterable[str] = ()) -> None:
    for name, value in attrs.asdict(record).items():
        if name in besides:
            continue
        assert name in kept, f"{name} was not kept; `read_back` gave {sorted(kept)}"
        if name in ("time", "duration"):
            assert kept[name] == pytest.approx(value, rel=0, abs=1e-6), f"{name} was not kept as it was"
        else:
            assert kept[name] == value, f"{name} was not kept as it was"
