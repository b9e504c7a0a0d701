"""Whole runs of several calls, done together by engines that can: which go together, and that nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Call, CancelToken, Code, MfnError, Run, Session, SupportsBatch
from mfn_core.execution import BatchRules, ComputePool
from mfn_core.execution._batches import HELD_SECONDS, SIMILAR, Batch
from mfn_core.execution._jobs import Deliveries, Job
from mfn_core.execution._runs import RunWork
from mfn_core.execution.pool import JOB_SECONDS
from mfn_model import FieldSpec, FieldState, NumericalInstabilityError, mycelium_spec

NewCall = Callable[..., Call]
WAIT = 30.0


def state(spec: FieldSpec, step: int) -> FieldState:
    """What the engines below compute: the seed everywhere."""
    return FieldState(step=step, field=np.full((spec.grid_size, spec.grid_size), float(spec.seed)))


class Single:
    """An engine that does one run after another, in sessions."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    def supports(self, spec: FieldSpec) -> bool:
        return spec.boundary == "periodic"

    def open(self, spec: FieldSpec) -> Session:
        return SingleSession(self, spec)


class SingleSession:
    def __init__(self, engine: Single, spec: FieldSpec) -> None:
        self.engine = engine
        self.spec = spec
        self.done = 0

    def step(self, n: int, cancel: CancelToken) -> int:
        if cancel.is_set():
            return 0
        self.done += n
        return n

    def state(self) -> FieldState:
        self.engine.ran.append(self.spec.seed)
        return state(self.spec, self.done)

    def close(self) -> None:
        return


class Together(Single):
    """An engine that does several at once. Each batch begins, and ends when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.permits = threading.Semaphore(0)
        self.in_place: dict[int, Exception] = {}
        """What stands in the place of a run, by its seed."""
        self.fails: BaseException | None = None
        self.loses_one = False

    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        self.batches.append([run.spec.seed for run in runs])
        self.begun.release()
        assert self.permits.acquire(timeout=WAIT)
        if self.fails is not None:
            raise self.fails
        found: list[FieldState | Exception] = []
        for run in runs:
            if run.cancel.is_set():
                found.append(RuntimeError("cancelled"))
            else:
                found.append(self.in_place.get(run.spec.seed) or state(run.spec, run.steps))
        return found[:-1] if self.loses_one else found


class Bench:
    """A pool with one such engine, and runs on it."""

    def __init__(self, new_call: NewCall, **settings: Any) -> None:
        self.engine = Together()
        self.new_call = new_call
        rules = settings.pop("rules", BatchRules(max_size=32))
        backends = {"together": self.engine, **settings.pop("backends", {})}
        settings = {"threads": 1, "engine": "together", **settings}
        self.pool = ComputePool(backends, batching=rules, **settings)
        self.calls: dict[int, Call] = {}

    def run(
        self,
        seed: int,
        *,
        grid: int = 8,
        steps: int = 10,
        measure: Callable[[FieldState], Any] | None = None,
        deadline: float | None = None,
    ) -> asyncio.Task[Any]:
        """Begin a run whose result is twice its seed, unless something else is measured."""
        self.calls[seed] = self.new_call(deadline)
        spec = mycelium_spec(seed=seed, grid_size=grid)
        return asyncio.create_task(self.pool.final_state(self.calls[seed], spec, steps, measure or twice))

    async def at_work(self) -> None:
        """Wait until one more batch has begun."""
        assert await asyncio.to_thread(self.engine.begun.acquire, timeout=WAIT)

    async def busy(self) -> asyncio.Task[Any]:
        """Keep the one thread busy with a run of its own, until it is let."""
        task = self.run(1000)
        await self.at_work()
        return task

    def let(self, batches: int = 1) -> None:
        self.engine.permits.release(batches)


def twice(state: FieldState) -> float:
    return 2.0 * float(state.field[0, 0])


async def turned() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


Benches = Callable[..., Bench]


@pytest.fixture
def benches(new_call: NewCall) -> Iterator[Benches]:
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(new_call, **settings))
        return made[-1]

    yield make
    for each in made:
        each.let(1000)
        each.pool.shutdown()


def test_the_engine_of_these_tests_declares_that_it_batches() -> None:
    assert isinstance(Together(), SupportsBatch)
    assert not isinstance(Single(), SupportsBatch)


async def test_what_waits_while_the_thread_is_busy_is_done_together(benches: Benches) -> None:
    bench = benches()
    first = await bench.busy()
    others = [bench.run(seed) for seed in range(5)]
    await turned()
    bench.let(2)
    assert await asyncio.gather(first, *others) == [2000.0, 0.0, 2.0, 4.0, 6.0, 8.0]
    assert bench.engine.batches == [[1000], [0, 1, 2, 3, 4]]
    assert bench.engine.ran == []


async def test_a_state_is_given_whole_where_nothing_is_measured(benches: Benches, new_call: NewCall) -> None:
    bench = benches()
    bench.let()
    found = await bench.pool.final_state(new_call(), mycelium_spec(seed=3, grid_size=4), 7)
    assert (found.step, found.field.tolist()) == (7, [[3.0] * 4] * 4)


async def test_a_cancelled_member_leaves_at_once_and_alone(benches: Benches) -> None:
    bench = benches()
    first = await bench.busy()
    others = [bench.run(seed) for seed in range(3)]
    await turned()
    bench.let()
    await bench.at_work()
    others[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await others[1]  # the batch still stands at its gate
    assert bench.calls[1].cancel.is_set()
    assert not bench.calls[0].cancel.is_set()
    bench.let()
    assert await asyncio.gather(first, others[0], others[2]) == [2000.0, 0.0, 4.0]


async def test_a_lone_run_is_waited_for_when_it_is_cancelled(benches: Benches) -> None:
    bench = benches()
    running = await bench.busy()
    running.cancel()
    await turned()
    assert not running.done()
    bench.let()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_one_member_fails_with_touches_no_other(benches: Benches) -> None:
    bench = benches()
    bench.engine.in_place[1] = NumericalInstabilityError(step=4, species="potential", nan_count=1, inf_count=0)

    def fails(state: FieldState) -> float:
        raise ValueError("cannot be measured")

    first = await bench.busy()
    others = [bench.run(0), bench.run(1), bench.run(2, measure=fails), bench.run(3)]
    await turned()
    bench.let(2)
    found = await asyncio.gather(first, *others, return_exceptions=True)
    assert (found[0], found[1], found[4]) == (2000.0, 0.0, 6.0)
    assert isinstance(found[2], MfnError)
    assert (found[2].code, found[2].details) == (Code.FAILED_PRECONDITION, {"reason": "NUMERICAL_INSTABILITY"})
    assert isinstance(found[3], ValueError)


async def test_what_is_measured_is_not_held_back_until_the_whole_batch_is(benches: Benches) -> None:
    bench = benches()
    first = await bench.busy()
    gate = threading.Event()

    def long(state: FieldState) -> float:
        until = time.monotonic() + 2.0 * HELD_SECONDS
        while time.monotonic() < until:
            pass
        return twice(state)

    def blocked(state: FieldState) -> float:
        assert gate.wait(WAIT)
        return twice(state)

    others = [bench.run(0), bench.run(1, measure=long), bench.run(2, measure=blocked)]
    await turned()
    bench.let(2)
    assert await asyncio.gather(first, *others[:2]) == [2000.0, 0.0, 2.0]
    gate.set()
    assert await others[2] == 4.0
    assert bench.engine.batches == [[1000], [0, 1, 2]]


async def test_a_run_whose_deadline_has_passed_never_reaches_the_engine(benches: Benches) -> None:
    bench = benches()
    first = await bench.busy()
    others = [bench.run(seed, deadline=3600.0) for seed in range(3)]
    await turned()
    bench.calls[1].cancel.deadline = 0.0
    bench.let(2)
    found = await asyncio.gather(first, *others, return_exceptions=True)
    assert bench.engine.batches == [[1000], [0, 2]]
    assert isinstance(found[2], MfnError)
    assert found[2].code is Code.DEADLINE_EXCEEDED
    assert (found[1], found[3]) == (0.0, 4.0)


async def test_a_run_that_stops_early_and_was_not_aborted_is_a_defect(benches: Benches) -> None:
    bench = benches()
    bench.engine.run_batch = lambda runs: [state(run.spec, run.steps - 1) for run in runs]  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="stopped at step 9 of 10"):
        await bench.run(1)


@pytest.mark.parametrize("defect", ["raises", "exits", "loses one"])
async def test_runs_of_a_batch_that_fails_as_a_whole_are_done_alone(
    benches: Benches, defect: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = benches()
    first = await bench.busy()
    others = [bench.run(seed) for seed in range(3)]
    await turned()
    bench.let()
    await first
    await bench.at_work()
    bench.engine.fails = {"raises": OSError("the device is gone"), "exits": SystemExit(1)}.get(defect)
    bench.engine.loses_one = defect == "loses one"
    bench.let()
    with caplog.at_level(logging.ERROR, "mfn_core"):
        assert await asyncio.gather(*others) == [0.0, 2.0, 4.0]
    assert bench.engine.ran == [0, 1, 2]
    assert "Together: failed a batch of 3 runs" in caplog.text
    await bench.pool.run(bench.new_call(), lambda _: None)  # the thread has counted it since
    assert bench.pool.batches.failed == 1


async def test_batching_that_is_off_runs_sessions(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=1))
    assert await asyncio.gather(*(bench.run(seed) for seed in range(3))) == [0.0, 2.0, 4.0]
    assert bench.engine.batches == []
    assert bench.engine.ran == [0, 1, 2]
    assert bench.pool.batches.batches == 0


async def test_a_batch_holds_no_more_than_its_size(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=4))
    first = await bench.busy()
    others = [bench.run(seed) for seed in range(10)]
    await turned()
    bench.let(4)
    await asyncio.gather(first, *others)
    assert bench.engine.batches == [[1000], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_only_runs_of_similar_cost_go_together_and_the_oldest_goes_first(benches: Benches) -> None:
    bench = benches()
    first = await bench.busy()
    costs = {0: 10, 1: 1000, 2: 30, 3: 250, 4: 40, 5: 41}  # steps; 4 times as many at most
    others = [bench.run(seed, steps=steps) for seed, steps in costs.items()]
    await turned()
    bench.let(4)
    await asyncio.gather(first, *others)
    assert bench.engine.batches == [[1000], [0, 2, 4], [1, 3], [5]]


async def test_a_batch_does_no_more_work_than_its_bound_and_a_large_run_goes_alone(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=32, max_cell_steps=3 * 8 * 8 * 10))
    first = await bench.busy()
    others = [bench.run(seed) for seed in range(5)] + [bench.run(5, steps=31), bench.run(6, steps=31)]
    await turned()
    bench.let(6)
    await asyncio.gather(first, *others)
    assert bench.engine.batches == [[1000], [0, 1, 2], [3, 4], [5], [6]]


async def test_other_jobs_wait_for_one_batch_at_most(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=2))
    first = await bench.busy()
    order: list[str] = []
    others: list[asyncio.Future[Any]] = [bench.run(0, measure=lambda _: order.append("run 0"))]
    await turned()
    others.append(asyncio.ensure_future(bench.pool.run(bench.new_call(), lambda _: order.append("job"))))
    await turned()
    for seed in (1, 2, 3):
        others.append(bench.run(seed, measure=lambda _, seed=seed: order.append(f"run {seed}")))  # type: ignore[misc]
    await turned()
    bench.let(3)
    await asyncio.gather(first, *others)
    assert order == ["run 0", "run 1", "job", "run 2", "run 3"]


async def test_a_thread_leaves_the_others_their_share_of_what_waits(benches: Benches) -> None:
    bench = benches(threads=2)
    first = [bench.run(1000), bench.run(1001)]
    await bench.at_work()
    await bench.at_work()
    others = [bench.run(seed) for seed in range(6)]
    await turned()
    bench.let()
    await bench.at_work()
    assert bench.engine.batches[2:] == [[0, 1, 2]]
    bench.let(10)
    await asyncio.gather(*first, *others)


async def test_runs_of_another_engine_do_not_go_along(new_call: NewCall, benches: Benches) -> None:
    second = Together()
    second.permits.release(100)
    bench = benches(backends={"second": second}, engine="auto")
    bench.engine.supports = lambda spec: spec.seed % 2 == 0  # type: ignore[method-assign]
    second.supports = lambda spec: spec.seed % 2 == 1  # type: ignore[method-assign]
    first = await bench.busy()
    others = [bench.run(seed) for seed in range(6)]
    await turned()
    bench.let(2)
    assert await asyncio.gather(first, *others) == [2000.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert bench.engine.batches == [[1000], [0, 2, 4]]
    assert second.batches == [[1, 3, 5]]


async def test_the_queue_counts_calls_and_not_batches(benches: Benches) -> None:
    bench = benches(queue=3)
    first = await bench.busy()
    waiting = [bench.run(seed) for seed in range(3)]
    await turned()
    with pytest.raises(MfnError, match="queue is full"):
        await bench.run(3)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    last = bench.run(4)
    await turned()
    bench.let(2)
    assert await asyncio.gather(first, waiting[1], waiting[2], last) == [2000.0, 2.0, 4.0, 8.0]


# With a window.


async def test_with_a_window_a_run_waits_for_others_until_the_batch_is_full(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=3, window=3600.0), threads=2)
    bench.let(10)
    tasks = [bench.run(seed) for seed in range(3)]
    assert await asyncio.gather(*tasks) == [0.0, 2.0, 4.0]
    assert bench.engine.batches == [[0, 1, 2]]


async def test_with_a_window_a_lone_run_goes_when_the_window_is_over(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=3, window=0.001))
    bench.let()
    assert await bench.run(7) == 14.0
    assert bench.engine.batches == [[7]]


async def test_a_run_that_waits_for_others_can_be_withdrawn_and_its_thread_goes_on(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=2, window=3600.0))
    bench.let(10)
    lone = bench.run(0)
    await turned()
    lone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lone
    assert await bench.pool.run(bench.new_call(), lambda _: "job") == "job"
    assert await asyncio.gather(bench.run(1), bench.run(2)) == [2.0, 4.0]
    assert bench.engine.batches == [[1, 2]]


async def test_shutdown_does_not_wait_for_a_window(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=2, window=3600.0))
    bench.let(10)
    lone = bench.run(0)
    await turned()
    await asyncio.to_thread(bench.pool.shutdown)
    found = await asyncio.gather(lone, return_exceptions=True)
    # Its thread had it already, or not yet.
    assert found == [0.0] or (isinstance(found[0], MfnError) and found[0].code is Code.UNAVAILABLE)


# With a window while callers come again.


async def test_after_a_batch_runs_wait_until_as_many_have_come_again(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=8, busy_window=3600.0))
    first = await bench.busy()
    together = [bench.run(seed) for seed in range(3)]
    await turned()
    bench.let(10)
    assert await asyncio.gather(first, *together) == [2000.0, 0.0, 2.0, 4.0]
    again = []
    for seed in range(3, 6):
        again.append(bench.run(seed))
        await turned()
    assert await asyncio.gather(*again) == [6.0, 8.0, 10.0]
    assert bench.engine.batches == [[1000], [0, 1, 2], [3, 4, 5]]


async def test_a_run_that_comes_alone_after_one_that_was_alone_waits_for_none(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=8, busy_window=3600.0))
    bench.let(10)
    assert [await bench.run(seed) for seed in range(3)] == [0.0, 2.0, 4.0]
    assert bench.engine.batches == [[0], [1], [2]]


async def test_where_fewer_come_than_before_they_go_when_the_window_is_over(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=8, busy_window=0.001))
    first = await bench.busy()
    together = [bench.run(seed) for seed in range(8)]
    await turned()
    bench.let(100)
    await asyncio.gather(first, *together)
    # Fewer are waited for each time, and in the end none.
    assert [await bench.run(seed) for seed in range(8, 20)] == [2.0 * seed for seed in range(8, 20)]
    assert bench.engine.batches[2:] == [[seed] for seed in range(8, 20)]
    assert bench.pool._jobs._usual == 1  # type: ignore[union-attr]  # these are the pool's own threads


async def test_no_run_waits_for_others_while_a_thread_is_idle(benches: Benches) -> None:
    bench = benches(rules=BatchRules(max_size=8, busy_window=3600.0), threads=2)
    first, second = bench.run(100), bench.run(101)
    await bench.at_work()
    await bench.at_work()
    together = [bench.run(seed) for seed in range(4)]
    await turned()
    bench.let(100)
    await asyncio.gather(first, second, *together)
    for _ in range(2):  # whichever thread takes it, the other one is idle, or soon will be
        await bench.pool.run(bench.new_call(), lambda _: None)
    while bench.pool._jobs._idle < 2:  # type: ignore[union-attr]  # as above
        await asyncio.sleep(0)
    assert await bench.run(7) == 14.0


# The count of batches.


async def test_batches_are_counted_by_their_sizes(benches: Benches, caplog: pytest.LogCaptureFixture) -> None:
    bench = benches()
    with caplog.at_level(logging.DEBUG, "mfn_core.execution"):
        first = await bench.busy()
        others = [bench.run(seed) for seed in range(5)]
        await turned()
        bench.let(2)
        await asyncio.gather(first, *others)
    counts = bench.pool.batches
    assert (counts.batches, counts.runs, counts.cell_steps, counts.failed) == (2, 6, 6 * 8 * 8 * 10, 0)
    sizes = dict(counts.sizes)
    assert [sizes[bound] for bound in (1, 2, 4, 8, float("inf"))] == [1, 1, 1, 2, 2]
    assert all(one[0] < two[0] and one[1] <= two[1] for one, two in pairwise(counts.sizes))
    assert "Together: a batch of 5 runs, 3200 cell-steps" in caplog.text


# Any mix of runs.


@pytest.mark.parametrize(("window", "busy_window"), [(0.0, 0.0), (0.0005, 0.0), (0.0, 0.0005)])
async def test_calls_that_come_and_go_at_random_all_end_and_leave_nothing_behind(
    benches: Benches, window: float, busy_window: float
) -> None:
    bench = benches(threads=4, queue=40, rules=BatchRules(max_size=8, window=window, busy_window=busy_window))
    bench.let(10_000)
    draw = random.Random(7)

    async def come_and_go(seed: int) -> str:
        for _ in range(draw.randrange(8)):
            await asyncio.sleep(0)
        task = bench.run(seed, steps=draw.choice([5, 10, 100, 1000]))
        if draw.random() < 0.4:
            for _ in range(draw.randrange(8)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            assert await task == 2.0 * seed
        except asyncio.CancelledError:
            return "cancelled"
        except MfnError as refused:
            return refused.code.name
        return "done"

    found: list[str] = []
    for group in range(20):
        found += await asyncio.gather(*(come_and_go(100 * group + number) for number in range(100)))
    assert {"done", "cancelled"} <= set(found) <= {"done", "cancelled", "RESOURCE_EXHAUSTED"}
    assert bench.pool.expected_wait == 0.0
    # Every place is free again, once the threads have come back for more: so many jobs may be there at once.
    gate = threading.Event()

    async def taken() -> bool:
        while True:
            try:
                return await bench.pool.run(bench.new_call(), lambda _: gate.wait(WAIT))
            except MfnError:
                await asyncio.sleep(0)

    jobs = [asyncio.create_task(taken()) for _ in range(44)]
    while bench.pool.expected_wait < 40 * JOB_SECONDS / 4 - 1e-9:
        await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*jobs) == [True] * 44


@given(
    sizes=st.lists(st.integers(1, 100_000), min_size=1, max_size=60),
    max_size=st.integers(1, 20),
    bound=st.integers(1, 1_000_000),
    limit=st.integers(1, 40),
)
def test_a_batch_keeps_its_bounds_whatever_comes(sizes: list[int], max_size: int, bound: int, limit: int) -> None:
    loop = asyncio.new_event_loop()
    engine, way_back = Together(), Deliveries(loop)
    batch = Batch(engine, BatchRules(max_size=max_size, max_cell_steps=bound), limit)
    jobs: list[Job[Any]] = []
    for steps in sizes:
        run = Run(spec=mycelium_spec(grid_size=1), steps=steps, cancel=threading.Event())
        work: RunWork[Any] = RunWork(backend=engine, engine=engine, run=run, measure=twice)
        jobs.append(Job(work.alone, way_back, 0.0, work))
    loop.close()
    taken = [(job, steps) for job, steps in zip(jobs, sizes, strict=True) if batch.add(job)]
    assert taken[0] == (jobs[0], sizes[0])  # the first one always
    assert len(taken) <= min(max_size, limit)
    total = sum(steps for _, steps in taken)
    assert batch.cell_steps == total
    assert total <= bound or len(taken) == 1
    assert all(sizes[0] / SIMILAR <= steps <= sizes[0] * SIMILAR for _, steps in taken)
    for job, _ in taken:
        assert batch.remove(job)
        assert not batch.remove(job)
    assert (batch.cell_steps, batch.jobs) == (0, [])
