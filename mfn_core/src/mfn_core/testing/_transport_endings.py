"""The part of `TransportSuite` about calls, clients and servers that end early."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from mfn_core.operation import Shape
from mfn_core.testing._transport_harness import SHAPES, Tally, TransportHarness, receive_all, receive_text
from mfn_core.testing.process import ServerProcess
from mfn_core.testing.suite_service import Script
from mfn_core.testing.wire import WireClient

__all__ = ["EndingTests"]


class EndingTests(TransportHarness):
    """What nobody waits for any more stops, and what somebody waits for is answered before the server ends."""

    # A call that ends early.

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_cancelled_call_stops_its_handler(
        self, shape: Shape, address: str, tag: str, tmp_path: Path
    ) -> None:
        async with self.client(address) as client:
            call = await self.begin(client, shape, Script(tag=tag, replies=9, until=str(tmp_path / "never")), "a")
            await self.until(client, tag, lambda tally: tally["running"] == 1, "the handler runs")
            call.cancel()
            assert (await call.status()).code == "CANCELLED"
            tally = await self.until(client, tag, lambda tally: tally["running"] == 0, "the handler has stopped")
        assert (tally["cancelled"], tally["finished"]) == (1, 0)

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_client_that_goes_away_stops_its_handler(
        self, shape: Shape, address: str, tag: str, tmp_path: Path
    ) -> None:
        async with self.client(address) as observer:
            async with self.client(address) as client:
                await self.begin(client, shape, Script(tag=tag, replies=9, until=str(tmp_path / "never")), "a")
                await self.until(observer, tag, lambda tally: tally["running"] == 1, "the handler runs")
            tally = await self.until(observer, tag, lambda tally: tally["running"] == 0, "the handler has stopped")
        assert (tally["cancelled"], tally["finished"]) == (1, 0)

    @pytest.mark.parametrize("shape", SHAPES)
    async def test_a_deadline_ends_the_call_on_both_sides(
        self, shape: Shape, address: str, tag: str, tmp_path: Path
    ) -> None:
        async with self.client(address) as client:
            script = Script(tag=tag, replies=9, until=str(tmp_path / "never"))
            call = await self.begin(client, shape, script, "a", seconds=1.0)
            assert len(await receive_all(call)) == int(shape.server_streams)
            assert (await call.status()).code == "DEADLINE_EXCEEDED"
            tally = await self.until(client, tag, lambda tally: tally["cancelled"] == 1, "the handler has stopped")
        assert (tally["running"], tally["finished"]) == (0, 0)

    async def test_a_cancelled_upload_never_passes_for_a_whole_one(self, address: str, tag: str) -> None:
        async with self.client(address) as client:
            for number in range(100):
                call = await self.begin(client, Shape.CLIENT_STREAM, Script(tag=tag), "a")

                def running(tally: Tally, started: int = number + 1) -> bool:
                    return bool(tally["started"] == started)

                await self.until(client, tag, running, "the handler runs")
                call.cancel()
            tally = await self.until(client, tag, lambda tally: tally["running"] == 0, "every handler has stopped")
        assert (tally["started"], tally["cancelled"], tally["finished"]) == (100, 100, 0)

    async def test_a_reader_that_does_not_read_holds_the_producer(self, address: str, tag: str) -> None:
        script = Script(tag=tag, replies=-1, padding=16 * 1024)
        async with self.client(address) as client, self.client(address) as slow:
            call = await self.begin(slow, Shape.SERVER_STREAM, script)
            seen: list[int] = []

            def still(tally: Tally) -> bool:
                seen.append(tally["produced"])
                return len(seen) > 20 and seen[-1] > 0 and len(set(seen[-20:])) == 1

            tally = await self.until(client, tag, still, "the producer waits for its reader")
            assert tally["running"] == 1
            held = tally["produced"]
            assert held * script.padding <= self.slow_reader_bytes
            for number in range(held + 100):
                assert await receive_text(call) == f"{tag}:{number}{'.' * script.padding}"
            await self.until(client, tag, lambda tally: tally["produced"] > held, "the producer goes on")
            call.cancel()
            tally = await self.until(client, tag, lambda tally: tally["running"] == 0, "the handler has stopped")
        assert tally["cancelled"] == 1

    async def test_a_client_that_stops_reading_does_not_outlive_its_deadline(self, address: str, tag: str) -> None:
        async with self.client(address) as client, self.client(address) as slow:
            script = Script(tag=tag, replies=-1, padding=256 * 1024)
            await self.begin(slow, Shape.SERVER_STREAM, script, seconds=1.0)
            await self.until(client, tag, lambda tally: tally["started"] == 1, "the handler runs")
            tally = await self.until(client, tag, lambda tally: tally["running"] == 0, "the handler has stopped")
        assert (tally["cancelled"], tally["finished"]) == (1, 0)

    async def test_cancelled_streams_leave_nothing_behind(self, address: str, tag: str) -> None:
        async def cancelled(client: WireClient) -> None:
            call = await self.begin(client, Shape.SERVER_STREAM, Script(tag=tag, replies=-1, padding=10_000))
            assert await call.receive() is not None
            call.cancel()

        async with self.client(address) as client:
            for _ in range(10):
                await asyncio.gather(*(cancelled(client) for _ in range(5)))
            before = await self.until(client, tag, lambda tally: tally["running"] == 0, "the first are over")
            for _ in range(40):
                await asyncio.gather(*(cancelled(client) for _ in range(5)))
            after = await self.until(
                client,
                tag,
                lambda tally: tally["running"] == 0 and tally["tasks"] <= before["tasks"],
                f"there are {before['tasks']} tasks again",
            )
        assert after["cancelled"] == 250
        assert after["memory"] - before["memory"] < 24 * 1024 * 1024

    # The end of the server.

    async def test_a_server_that_is_told_to_end_answers_what_runs_and_takes_nothing_new(
        self, tag: str, tmp_path: Path
    ) -> None:
        (tmp_path / "server").mkdir()
        go = tmp_path / "go"
        with ServerProcess(self.document(), tmp_path / "server") as server:
            address = server.address(self.name)
            async with self.client(address) as client:
                calls = {
                    shape: await self.begin(client, shape, Script(tag=tag, replies=2, until=str(go)), "a", "b")
                    for shape in Shape
                }
                await calls[Shape.CLIENT_STREAM].half_close()
                await self.until(client, tag, lambda tally: tally["running"] == 4, "one call of each shape runs")
                server.terminate()
                await self._refused(address)
                async with asyncio.timeout(self.patience):
                    # The listener is closed first; until the worker has heard, it takes what comes on old connections.
                    while (code := (await self.run(client, Shape.UNARY, Script(tag=tag))).status.code) == "OK":
                        pass
                assert code == "UNAVAILABLE"
                go.touch()
                for shape, call in calls.items():
                    replies = await receive_all(call)
                    status = await call.status()
                    assert (shape, status.code, status.message) == (shape, "OK", "")
                    assert len(replies) == (2 if shape.server_streams else 1)
                assert await asyncio.to_thread(server.wait, self.patience) == 0

    async def test_a_call_that_outlasts_the_drain_is_told_so(self, tag: str, tmp_path: Path) -> None:
        (tmp_path / "server").mkdir()
        document = self.document()
        document["server"] = {**document["server"], "drain_seconds": 0.2}
        with ServerProcess(document, tmp_path / "server") as server:
            async with self.client(server.address(self.name)) as client:
                script = Script(tag=tag, replies=2, until=str(tmp_path / "never"))
                calls = {shape: await self.begin(client, shape, script, "a", "b") for shape in Shape}
                await self.until(client, tag, lambda tally: tally["running"] == 4, "one call of each shape runs")
                server.terminate()
                for shape, call in calls.items():
                    replies = await receive_all(call)
                    assert (shape, (await call.status()).code) == (shape, "UNAVAILABLE")
                    assert len(replies) == int(shape.server_streams)
                assert await asyncio.to_thread(server.wait, self.patience) == 0

    async def _refused(self, address: str) -> None:
        """Wait until the address takes no new connection."""
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + self.patience
        while True:
            try:
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            except ConnectionError:
                return
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            assert time.monotonic() < deadline, f"{address} still takes connections"
            await asyncio.sleep(0.02)  # between two looks at another process
