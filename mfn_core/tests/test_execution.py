"""Compute off the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from mfn_core import Call, CancelToken, Code, MfnError, Session
from mfn_core.execution import BoundedExecutor, ComputePool
from mfn_model import FieldSpec, FieldState, mycelium_spec, reference_mycelium

NewCall = Callable[..., Call]


class OracleSession:
    """A session on the model's reference stepping: slow and plain."""

    def __init__(self, spec: FieldSpec, closed: list[int]) -> None:
        self.spec = spec
        self.done = 0
        self.closed = closed

    def step(self, n: int, cancel: CancelToken) -> int:
        for number in range(n):
            if cancel.is_set():
                return number
            self.done += 1
        return n

    def state(self) -> FieldState:
        return reference_mycelium(self.spec, self.done)

    def close(self) -> None:
        self.closed.append(1)


class Oracle:
    """A backend of such sessions."""

    def __init__(self, speed: float = 1.0) -> None:
        self.closed: list[int] = []
        self.rate = speed

    def supports(self, spec: FieldSpec) -> bool:
        return spec.model == "mycelium"

    def speed(self, spec: FieldSpec) -> float:
        return self.rate

    def open(self, spec: FieldSpec) -> Session:
        return OracleSession(spec, self.closed)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def pool(oracle: Oracle) -> ComputePool:
    return ComputePool({"oracle": oracle}, threads=1, queue=1)


async def test_a_session_steps_and_is_closed(pool: ComputePool, oracle: Oracle, new_call: NewCall) -> None:
    spec = mycelium_spec(grid_size=8)
    async with pool.session(new_call(), spec) as session:
        state = await session.step(3)
        assert state.step == 3
        assert oracle.closed == []
    assert oracle.closed == [1]


async def test_a_job_that_is_at_work_sees_the_abort_and_is_waited_for(pool: ComputePool, new_call: NewCall) -> None:
    call = new_call()
    started, ended = threading.Event(), threading.Event()

    def job(cancel: CancelToken) -> None:
        started.set()
        while not cancel.is_set():
            time.sleep(0.001)  # compute that looks at its token
        ended.set()

    running = asyncio.create_task(pool.run(call, job))
    await asyncio.get_running_loop().run_in_executor(None, started.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_job_that_still_waits_is_taken_out_of_the_queue(pool: ComputePool, new_call: NewCall) -> None:
    gate = threading.Event()
    ran: list[int] = []
    first = asyncio.create_task(pool.run(new_call(), lambda _: gate.wait(10)))
    await asyncio.sleep(0)
    second = asyncio.create_task(pool.run(new_call(), lambda _: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    assert ran == []


async def test_a_full_queue_refuses_with_a_retry_hint_and_recovers(pool: ComputePool, new_call: NewCall) -> None:
    gate = threading.Event()
    held = [asyncio.create_task(pool.run(new_call(), lambda _: gate.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(MfnError) as refused:
        await pool.run(new_call(), lambda _: None)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.retry_after
    gate.set()
    await asyncio.gather(*held)
    assert await pool.run(new_call(), lambda _: 7) == 7


async def test_a_deadline_that_passed_in_the_job_is_the_call_s_error(pool: ComputePool, new_call: NewCall) -> None:
    call = new_call(deadline=-0.001)
    with pytest.raises(MfnError) as late:
        await pool.run(call, lambda _: 1)
    assert late.value.code is Code.DEADLINE_EXCEEDED


def test_auto_takes_the_fastest_engine_that_supports_the_spec() -> None:
    slow, fast = Oracle(1.0), Oracle(5.0)
    pool = ComputePool({"slow": slow, "fast": fast})
    assert pool.backend_for(mycelium_spec()) == ("fast", fast)
    assert pool.backend_for(mycelium_spec(), engine="slow") == ("slow", slow)


def test_an_engine_that_is_not_there_is_an_invalid_argument_that_lists_what_is() -> None:
    pool = ComputePool({"oracle": Oracle()}, engine="gpu")
    with pytest.raises(MfnError, match="oracle") as refused:
        pool.backend_for(mycelium_spec())
    assert refused.value.code is Code.INVALID_ARGUMENT


async def test_shutdown_of_the_executor_cancels_what_waits() -> None:
    from concurrent.futures import ThreadPoolExecutor

    executor = BoundedExecutor(ThreadPoolExecutor(1), running=1, waiting=2)
    assert executor.capacity == 3
    gate = threading.Event()
    running = executor.submit(gate.wait, 10)
    waiting = executor.submit(gate.wait, 10)
    gate.set()
    executor.shutdown(cancel_futures=True)
    assert running.done()
    assert waiting.cancelled() or waiting.done()
