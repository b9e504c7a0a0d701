"""The compute threads: a bounded queue, threads when they are needed, and one wake-up for several finished jobs."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from mfn_core import Call, CancelToken, Code, MfnError, Session
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec, FieldState, mycelium_spec

NewCall = Callable[..., Call]
Pools = Callable[..., ComputePool]

WAIT = 30.0
"""Longer than anything takes that is not broken."""


class Sliced:
    """An engine whose sessions do one slice for each permit, and say when they have begun."""

    def __init__(self, speed: float = 1e6) -> None:
        self.rate = speed
        self.begun = threading.Semaphore(0)
        self.permits = threading.Semaphore(0)
        self.slices: list[int] = []
        self.opened = 0
        self.closed = 0
        self.lock = threading.Lock()

    def supports(self, spec: FieldSpec) -> bool:
        return True

    def speed(self, spec: FieldSpec) -> float:
        return self.rate

    def open(self, spec: FieldSpec) -> Session:
        with self.lock:
            self.opened += 1
        return SlicedSession(self, spec)


class SlicedSession:
    def __init__(self, engine: Sliced, spec: FieldSpec) -> None:
        self.engine = engine
        self.spec = spec
        self.done = 0

    def step(self, n: int, cancel: CancelToken) -> int:
        self.engine.begun.release()
        began = self.done
        while self.done < began + n and not cancel.is_set():
            assert self.engine.permits.acquire(timeout=WAIT)
            self.done += 1
        with self.engine.lock:
            self.engine.slices.append(self.done - began)
        return self.done - began

    def state(self) -> FieldState:
        import numpy as np

        return FieldState(step=self.done, field=np.full((1, 1), float(self.spec.seed)))

    def close(self) -> None:
        with self.engine.lock:
            self.engine.closed += 1


@pytest.fixture
def pools() -> Iterator[Pools]:
    made: list[ComputePool] = []

    def make(backends: dict[str, Any] | None = None, **settings: Any) -> ComputePool:
        made.append(ComputePool(backends or {}, **settings))
        return made[-1]

    yield make
    for each in made:
        each.shutdown()


class Gate:
    """A job that says when it has begun, and ends when it is let."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self, cancel: CancelToken) -> Any:
        self.begun.set()
        assert self.open.wait(WAIT)
        return self.result

    async def at_work(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, WAIT)


async def turned() -> None:
    """Let every task that can go on do so, up to its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_jobs_that_need_each_other_run_at_once_even_when_one_thread_was_idle(
    pools: Pools, new_call: NewCall
) -> None:
    pool = pools(threads=3)
    await pool.run(new_call(), lambda _: None)  # one thread is started, and idle from here on
    together = threading.Barrier(3)
    found = await asyncio.gather(*(pool.run(new_call(), lambda _: together.wait(WAIT)) for _ in range(3)))
    assert sorted(found) == [0, 1, 2]


async def test_no_more_jobs_than_threads_are_at_work(pools: Pools, new_call: NewCall) -> None:
    pool = pools(threads=2)
    gates = [Gate(number) for number in range(5)]
    tasks = [asyncio.create_task(pool.run(new_call(), gate)) for gate in gates]
    await gates[0].at_work()
    await gates[1].at_work()
    assert [gate.begun.is_set() for gate in gates] == [True, True, False, False, False]
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3, 4]


async def test_jobs_that_end_before_the_loop_has_turned_share_one_wake_up(
    pools: Pools, new_call: NewCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools(threads=1, queue=10)
    loop = asyncio.get_running_loop()
    first, last = Gate(), Gate()
    tasks = [asyncio.create_task(pool.run(new_call(), first))]
    await first.at_work()
    tasks += [asyncio.create_task(pool.run(new_call(), lambda _: None)) for _ in range(6)]
    tasks.append(asyncio.create_task(pool.run(new_call(), last)))
    await turned()
    called = 0
    call_soon = loop.call_soon_threadsafe

    def counting(*arguments: Any, **settings: Any) -> Any:
        nonlocal called
        called += 1
        return call_soon(*arguments, **settings)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    first.open.set()
    assert last.begun.wait(WAIT)  # the loop stands still until the seven before it are over
    assert called == 1
    monkeypatch.undo()
    last.open.set()
    await asyncio.gather(*tasks)


async def test_what_a_job_raises_is_raised_where_it_is_awaited(pools: Pools, new_call: NewCall) -> None:
    pool = pools(threads=1)

    def fails(cancel: CancelToken) -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        await pool.run(new_call(), fails)
    assert await pool.run(new_call(), lambda _: 1) == 1


async def test_an_idle_thread_holds_nothing_of_its_last_job(pools: Pools, new_call: NewCall) -> None:
    class Large:
        pass

    pool = pools(threads=1)
    kept = Large()
    seen = weakref.ref(kept)
    result = await pool.run(new_call(), lambda _, kept=kept: kept)  # type: ignore[misc]
    await pool.run(new_call(), lambda _: None)  # the thread has come back for it since
    del kept, result
    gc.collect()
    assert seen() is None


async def test_a_job_that_is_withdrawn_leaves_its_place(pools: Pools, new_call: NewCall) -> None:
    pool = pools(threads=1, queue=1)
    gate = Gate()
    running = asyncio.create_task(pool.run(new_call(), gate))
    await gate.at_work()
    for _ in range(50):
        waiting = asyncio.create_task(pool.run(new_call(), lambda _: None))
        await turned()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    last = asyncio.create_task(pool.run(new_call(), lambda _: "done"))
    await turned()
    gate.open.set()
    await running
    assert await last == "done"


async def test_with_no_place_to_wait_a_free_thread_still_takes_a_job(pools: Pools, new_call: NewCall) -> None:
    pool = pools(threads=2, queue=0)
    gates = [Gate(), Gate()]
    tasks = [asyncio.create_task(pool.run(new_call(), gate)) for gate in gates]
    for gate in gates:
        await gate.at_work()
    with pytest.raises(MfnError, match="2 jobs"):
        await pool.run(new_call(), lambda _: None)
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("speed", "retry_after"),
    [
        (1e6, 3 * 64 * 64 * 100 / 1e6),
        (1e12, 0.05),
        (1.0, 5.0),
    ],
)
async def test_a_full_queue_tells_how_long_what_waits_in_it_will_take(
    pools: Pools, new_call: NewCall, speed: float, retry_after: float
) -> None:
    engine = Sliced(speed)
    pool = pools({"sliced": engine}, threads=1, queue=3)
    tasks = [
        asyncio.create_task(pool.final_state(new_call(), mycelium_spec(grid_size=64, seed=seed), 100))
        for seed in range(4)
    ]
    assert await asyncio.to_thread(engine.begun.acquire, timeout=WAIT)
    with pytest.raises(MfnError) as refused:
        await pool.final_state(new_call(), mycelium_spec(grid_size=64), 100)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.details == {"limit": "compute_queue"}
    assert refused.value.retry_after == pytest.approx(retry_after)
    engine.permits.release(400)
    await asyncio.gather(*tasks)
    assert pool.expected_wait == 0.0


async def test_the_expected_wait_is_shared_by_the_threads_and_falls_as_jobs_are_taken_or_withdrawn(
    pools: Pools, new_call: NewCall
) -> None:
    pool = pools(threads=2)
    gates = [Gate(), Gate()]
    tasks = [asyncio.create_task(pool.run(new_call(), gate, seconds=9.0)) for gate in gates]
    for gate in gates:
        await gate.at_work()
    assert pool.expected_wait == 0.0
    waiting = [asyncio.create_task(pool.run(new_call(), lambda _: None, seconds=4.0)) for _ in range(3)]
    await turned()
    assert pool.expected_wait == pytest.approx(6.0)
    waiting[1].cancel()
    await asyncio.gather(waiting[1], return_exceptions=True)
    assert pool.expected_wait == pytest.approx(4.0)
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*tasks, waiting[0], waiting[2])
    assert pool.expected_wait == 0.0


async def test_aborted_jobs_end_within_one_slice_while_64_of_them_compute(pools: Pools, new_call: NewCall) -> None:
    jobs = 64
    engine = Sliced()
    pool = pools({"sliced": engine}, threads=jobs)
    calls = [new_call(deadline=3600.0) for _ in range(jobs)]
    tasks = [
        asyncio.create_task(pool.final_state(call, mycelium_spec(grid_size=8, seed=seed), 10**9))
        for seed, call in enumerate(calls)
    ]
    for _ in range(jobs):
        assert await asyncio.to_thread(engine.begun.acquire, timeout=WAIT)
    for call in calls:
        call.cancel.deadline = 0.0  # it has passed, and no timer of the loop says so
    engine.permits.release(jobs)  # one slice for each; a session that asked for a second one would wait in vain
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert {error.code for error in found if isinstance(error, MfnError)} == {Code.DEADLINE_EXCEEDED}
    assert len(engine.slices) == engine.closed == jobs
    assert engine.slices == [1] * jobs


async def test_shutdown_fails_what_waits_and_what_comes_later_as_unavailable(new_call: NewCall) -> None:
    pool = ComputePool({}, threads=1)
    gate = Gate("done")
    running = asyncio.create_task(pool.run(new_call(), gate))
    await gate.at_work()
    waiting = asyncio.create_task(pool.run(new_call(), lambda _: None))
    await turned()
    stopping = asyncio.create_task(asyncio.to_thread(pool.shutdown))
    with pytest.raises(MfnError, match="shutting down") as refused:
        await waiting
    assert refused.value.code is Code.UNAVAILABLE
    gate.open.set()
    assert await running == "done"
    await stopping
    pool.shutdown()
    with pytest.raises(MfnError, match="shutting down"):
        await pool.run(new_call(), lambda _: None)


async def test_a_system_without_a_thread_to_give_is_unavailable_and_recovers(
    pools: Pools, new_call: NewCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools(threads=2)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MfnError, match="no thread") as refused:
        await pool.run(new_call(), lambda _: None)
    assert refused.value.code is Code.UNAVAILABLE
    monkeypatch.undo()
    assert await pool.run(new_call(), lambda _: 1) == 1
    # With one thread there, a second one that cannot be started is no reason to refuse anything.
    gate = Gate("first")
    first = asyncio.create_task(pool.run(new_call(), gate))
    await gate.at_work()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    second = asyncio.create_task(pool.run(new_call(), lambda _: "second"))
    await turned()
    monkeypatch.undo()
    gate.open.set()
    assert await asyncio.gather(first, second) == ["first", "second"]


def test_one_pool_serves_one_loop_after_another_and_survives_a_closed_one(pools: Pools, new_call: NewCall) -> None:
    pool = pools(threads=1)
    gate = Gate()

    async def leaves_a_job_behind() -> None:
        waiter = asyncio.ensure_future(pool.run(new_call(), gate))
        await gate.at_work()
        waiter.cancel()
        # The job is at work and waited for; this loop is closed before it ends.

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leaves_a_job_behind())
    left = asyncio.all_tasks(loop)
    loop.close()
    gate.open.set()

    async def one() -> int:
        return await pool.run(new_call(), lambda _: 5)

    assert asyncio.run(one()) == 5
    assert len(left) == 1
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was left on purpose


# On an executor of others.


async def test_an_executor_takes_the_place_of_the_pool_s_threads(pools: Pools, new_call: NewCall) -> None:
    pool = pools(threads=1, queue=1, executor=ThreadPoolExecutor(1, thread_name_prefix="others"))
    assert (await pool.run(new_call(), lambda _: threading.current_thread().name)).startswith("others")
    gate = Gate("done")
    running = asyncio.create_task(pool.run(new_call(), gate))
    await gate.at_work()
    waiting = asyncio.create_task(pool.run(new_call(), lambda _: "never", seconds=2.0))
    await turned()
    with pytest.raises(MfnError, match="queue is full") as refused:
        await pool.run(new_call(), lambda _: None)
    assert refused.value.retry_after == pytest.approx(2.0, abs=0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open.set()
    assert await running == "done"
    assert await pool.run(new_call(), lambda _: 3) == 3


async def test_an_executor_s_own_failure_is_the_job_s(pools: Pools, new_call: NewCall) -> None:
    class Broken(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor("its workers are gone"))
            return future

    pool = pools(threads=1, executor=Broken())
    with pytest.raises(BrokenExecutor, match="gone"):
        await pool.run(new_call(), lambda _: None)
    assert pool.expected_wait == 0.0
