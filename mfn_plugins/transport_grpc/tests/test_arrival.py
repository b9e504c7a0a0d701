from __future__ import annotations

import asyncio

import pytest

from mfn_transport_grpc._arrival import ArrivalWatch


class Request:
    """A request that arrives when it is told to."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()

    async def read(self) -> bytes:
        await self.arrived.wait()
        return b"request"


async def test_a_request_that_comes_in_time_is_read() -> None:
    watch, request = ArrivalWatch(30), Request()
    reading = asyncio.create_task(watch.read(request))
    request.arrived.set()
    assert await reading == b"request"
    watch.close()


async def test_each_request_has_its_own_time() -> None:
    watch = ArrivalWatch(0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def late() -> float:
        with pytest.raises(TimeoutError):
            await watch.read(Request())
        return loop.time() - started

    first = asyncio.create_task(late())
    await asyncio.sleep(0.1)  # the second begins to wait later: that is what is tested
    second = asyncio.create_task(late())
    assert 0.2 <= await first < await second
    assert await second >= 0.3
    watch.close()


async def test_a_task_whose_request_was_late_can_go_on() -> None:
    watch = ArrivalWatch(0.01)
    with pytest.raises(TimeoutError):
        await watch.read(Request())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    watch.close()


async def test_a_client_that_cancels_is_not_taken_for_a_late_request() -> None:
    watch = ArrivalWatch(30)
    reading = asyncio.create_task(watch.read(Request()))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    watch.close()


async def test_a_client_that_cancels_as_its_time_runs_out_is_gone() -> None:
    watch = ArrivalWatch(30)
    reading = asyncio.create_task(watch.read(Request()))
    await asyncio.sleep(0)
    watch.seconds = 0.0
    watch._look(asyncio.get_running_loop())
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    watch.close()


async def test_no_timer_runs_when_nothing_is_awaited() -> None:
    watch, request = ArrivalWatch(0.05), Request()
    request.arrived.set()
    await watch.read(request)
    timer = watch._timer
    assert timer is not None
    while not timer.cancelled() and watch._timer is timer:
        await asyncio.sleep(0.01)
    assert watch._timer is None
    watch.close()
