"""Whole runs on an executor whose workers share no memory: what is sent, what comes back, and what stays."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core import Call, CancelToken, Code, Dispatcher, Metadata, MfnError, Operation, Peer, Request, Session, Shape
from mfn_core.components import ComponentKind
from mfn_core.config import ServerSettings
from mfn_core.execution import ComputePool, EngineRecipe
from mfn_core.registry import PluginRegistry
from mfn_core.testing.executor import RemoteExecutorSuite
from mfn_model import FieldSpec, FieldState, mycelium_spec, reference_mycelium

ENGINE = """
import threading
from mfn_core.compute import require_supported
from mfn_model import NumericalInstabilityError, SpecError, reference_mycelium

made = []


class Plain:
    def __init__(self, config):
        self.config = config
        made.append(config)

    async def start(self):
        self.config.started.append(1) if hasattr(self.config, "started") else None

    def supports(self, spec):
        return spec.model == "mycelium"

    def open(self, spec):
        require_supported(self, spec)
        return Session(spec)


class Session:
    def __init__(self, spec):
        self.spec, self.done, self.thread = spec, 0, threading.current_thread().name

    def step(self, n, cancel):
        if self.spec.seed == 666:
            raise NumericalInstabilityError(step=3, species="potential", nan_count=1, inf_count=0)
        for number in range(n):
            if cancel.is_set():
                return number
            if self.spec.seed != 99:  # of which the last step never comes
                self.done += 1
            else:
                while not cancel.is_set():
                    pass
                return number
        return n

    def state(self):
        return reference_mycelium(self.spec, self.done)

    def close(self):
        pass


@frozen
class Settings:
    gain: float = 1.0


@hookimpl
def mfn_backends():
    factory = lambda config, context: Plain(config)
    return [ComponentSpec(name="plain", config=Settings, factory=factory, summary="plain")]
"""


class ValueToken:
    """A token that the executor sets."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def is_set(self) -> bool:
        return self.event.is_set()


class ByValue:
    """A remote executor in this process: jobs and results are pickled, as if they went over a wire."""

    remote: Literal[True] = True

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.threads = ThreadPoolExecutor(slots, thread_name_prefix="elsewhere")
        self.sent: list[bytes] = []
        self.away = False

    def submit(self, job: Callable[[CancelToken], Any], /) -> Future[Any]:
        if self.away:
            raise MfnError(Code.UNAVAILABLE, "away", retry_after=2.0)
        raw = pickle.dumps(job)
        self.sent.append(raw)
        outer: Future[Any] = Future()
        token = ValueToken()

        def work() -> None:
            if not token.is_set():
                try:
                    result = pickle.loads(pickle.dumps(pickle.loads(raw)(token)))
                except Exception as failed:  # noqa: BLE001 - a future carries whatever its work raised
                    if outer.set_running_or_notify_cancel():
                        outer.set_exception(pickle.loads(pickle.dumps(failed)))
                else:
                    if outer.set_running_or_notify_cancel():
                        outer.set_result(result)

        inner = self.threads.submit(work)
        outer.add_done_callback(lambda ended: (token.event.set(), inner.cancel()) if ended.cancelled() else None)
        return outer


class TestByValue(RemoteExecutorSuite):
    """The suite, on the executor of this module."""

    @pytest.fixture
    def executor(self) -> Any:
        return ByValue()


_gains = itertools.count(2.5)


@pytest.fixture
def engine(install_plugin: Callable[..., None]) -> Any:
    """The plugin's backend and the recipe of it."""
    install_plugin("engine_plain", ENGINE)
    registry = PluginRegistry(["engine_plain"])
    spec = registry.component(ComponentKind.BACKEND, "plain").spec
    config = spec.config(gain=next(_gains))  # another one for every test: what is made is kept
    recipe = EngineRecipe.of(
        plugin="engine_plain", component="plain", name="plain", config=config, server=ServerSettings()
    )
    return spec.factory(config, None), recipe


@pytest.fixture
def far() -> ByValue:
    return ByValue()


@pytest.fixture
def pool(engine: Any, far: ByValue) -> ComputePool:
    backend, recipe = engine
    pool = ComputePool({}, threads=1, queue=1, remote=far)
    pool.use({"plain": backend}, {"plain": recipe})
    return pool


async def _handler(request: StringValue, call: Call) -> StringValue:
    return request


def make_call(deadline: float | None = None) -> Call:
    operation = Operation(
        service="t.S",
        method="M",
        shape=Shape.UNARY,
        request_type=StringValue,
        response_type=StringValue,
        handler=_handler,
    )
    return Call(
        id=Dispatcher([]).new_call_id(),
        operation=operation,
        transport="t",
        metadata=Metadata(),
        peer=Peer(address="unknown"),
        deadline=None if deadline is None else time.monotonic() + deadline,
        request=Request(),
    )


def measured(state: FieldState) -> tuple[int, str, float]:
    return state.step, threading.current_thread().name, float(state.field[0, 0])


def raising(state: FieldState) -> None:
    raise MfnError(Code.OUT_OF_RANGE, f"step {state.step}")


def every_mean(session: Session, steps: int, cancel: CancelToken) -> list[float]:
    means = []
    for _ in range(steps):
        if session.step(1, cancel) == 0:
            return means
        means.append(float(session.state().field.mean()))
    return means


async def test_a_run_is_measured_elsewhere_and_only_its_measure_comes_back(pool: ComputePool, far: ByValue) -> None:
    spec = mycelium_spec(seed=3, grid_size=8)
    step, thread, corner = await pool.final_state(make_call(), spec, 5, measured)
    assert (step, corner) == (5, float(reference_mycelium(spec, 5).field[0, 0]))
    assert thread.startswith("elsewhere")
    assert len(far.sent) == 1


async def test_without_a_measure_the_state_itself_comes_back(pool: ComputePool) -> None:
    spec = mycelium_spec(seed=3, grid_size=8)
    state = await pool.final_state(make_call(), spec, 5)
    assert state.field.tobytes() == reference_mycelium(spec, 5).field.tobytes()


async def test_a_run_that_is_followed_goes_there_too(pool: ComputePool, far: ByValue) -> None:
    spec = mycelium_spec(seed=3, grid_size=8)
    means = await pool.whole_run(make_call(), spec, 3, every_mean)
    assert means == [float(reference_mycelium(spec, step).field.mean()) for step in (1, 2, 3)]
    assert len(far.sent) == 1


async def test_without_a_remote_executor_it_is_followed_on_a_compute_thread(engine: Any) -> None:
    pool = ComputePool({"plain": engine[0]}, threads=1)
    spec = mycelium_spec(seed=3, grid_size=8)
    assert len(await pool.whole_run(make_call(), spec, 3, every_mean)) == 3
    pool.shutdown()


async def test_sessions_and_jobs_stay_on_the_server_s_own_threads(pool: ComputePool, far: ByValue) -> None:
    async with pool.session(make_call(), mycelium_spec(grid_size=8)) as running:
        assert (await running.step(2)).step == 2
    name = await pool.run(make_call(), lambda _: threading.current_thread().name)
    assert not name.startswith("elsewhere")
    assert far.sent == []


async def test_an_engine_without_a_recipe_stays_here(engine: Any, far: ByValue) -> None:
    pool = ComputePool({"plain": engine[0]}, threads=1, remote=far)
    assert (await pool.final_state(make_call(), mycelium_spec(grid_size=8), 1)).step == 1
    assert far.sent == []
    pool.shutdown()


async def test_the_engine_is_made_once_elsewhere_with_the_server_s_settings(pool: ComputePool, engine: Any) -> None:
    import engine_plain_module as module  # type: ignore[import-not-found]  # made by the fixture

    module.made.clear()
    for seed in range(4):
        await pool.final_state(make_call(), mycelium_spec(seed=seed, grid_size=8), 1)
    (config,) = module.made
    assert config.gain == engine[0].config.gain


async def test_a_model_that_a_plugin_declared_travels_with_the_run(
    pool: ComputePool, far: ByValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[str] = []
    monkeypatch.setattr("mfn_core.execution.remote.register_model", lambda model: registered.append(model.name))
    await pool.final_state(make_call(), mycelium_spec(grid_size=8), 1)
    assert registered == ["mycelium"]


async def test_a_cancelled_call_stops_the_run_where_it_is(pool: ComputePool, far: ByValue) -> None:
    spec = mycelium_spec(seed=99, grid_size=8)
    call = make_call()
    running = asyncio.create_task(pool.final_state(call, spec, 5, measured))
    while not far.sent:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert call.cancel.code is Code.CANCELLED
    # The place is free again: as many runs as there are slots end.
    await asyncio.gather(*(pool.final_state(make_call(), mycelium_spec(grid_size=8), 1) for _ in range(2)))


async def test_the_deadline_travels_with_the_run(pool: ComputePool) -> None:
    # Nobody cancels the task: the worker itself sees that the time is over.
    with pytest.raises(MfnError) as late:
        await pool.final_state(make_call(deadline=0.2), mycelium_spec(seed=99, grid_size=8), 5, measured)
    assert late.value.code is Code.DEADLINE_EXCEEDED


async def test_what_goes_wrong_there_is_the_call_s_error_here(pool: ComputePool) -> None:
    with pytest.raises(MfnError) as unstable:
        await pool.final_state(make_call(), mycelium_spec(seed=666, grid_size=8), 5, measured)
    assert unstable.value.code is Code.FAILED_PRECONDITION
    assert "after step 3 the potential holds 1 NaN" in unstable.value.message
    with pytest.raises(MfnError) as refused:
        await pool.final_state(make_call(), mycelium_spec(grid_size=8), 5, raising)
    assert (refused.value.code, refused.value.message) == (Code.OUT_OF_RANGE, "step 5")


async def test_a_full_queue_refuses_with_a_time_and_recovers(pool: ComputePool) -> None:
    calls = [make_call() for _ in range(3)]  # two slots and one that waits
    spec = mycelium_spec(seed=99, grid_size=8)
    held = [asyncio.create_task(pool.final_state(call, spec, 1)) for call in calls]
    await asyncio.sleep(0)
    with pytest.raises(MfnError) as refused:
        await pool.final_state(make_call(), spec, 1)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.retry_after
    for task in held:
        task.cancel()
    await asyncio.wait(held)
    assert (await pool.final_state(make_call(), mycelium_spec(grid_size=8), 1)).step == 1


async def test_an_executor_that_is_away_is_unavailable_with_a_time_and_recovers(
    pool: ComputePool, far: ByValue
) -> None:
    far.away = True
    with pytest.raises(MfnError) as away:
        await pool.final_state(make_call(), mycelium_spec(grid_size=8), 1)
    assert (away.value.code, away.value.retry_after) == (Code.UNAVAILABLE, 2.0)
    far.away = False
    assert (await pool.final_state(make_call(), mycelium_spec(grid_size=8), 1)).step == 1


def test_an_error_of_a_call_is_the_same_after_its_journey() -> None:
    error = MfnError.invalid([])
    error = MfnError(Code.ABORTED, "m", reason="r", violations=error.violations, retry_after=1.5, details={"a": "b"})
    back = pickle.loads(pickle.dumps(error))
    assert (back.code, back.message, back.reason, back.retry_after) == (Code.ABORTED, "m", "r", 1.5)
    assert (back.violations, dict(back.details), str(back)) == ((), {"a": "b"}, "m")


def test_a_server_takes_a_remote_executor_for_one(
    install_plugin: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mfn_core.config import Document
    from mfn_core.server import assemble

    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))
    install_plugin("engine_plain", ENGINE)
    install_plugin(
        "executor_far",
        """
        from concurrent.futures import Future

        class Far:
            remote, slots = True, 3
            def submit(self, job, /):
                done = Future()
                done.set_result(("far", job))
                return done

        @hookimpl
        def mfn_executors():
            return [ComponentSpec(name="far", factory=lambda config, context: Far(), summary="far")]
        """,
    )
    document = Document(
        tables={
            "server": {"plugins": ["mfn_toy.parts", "engine_plain", "executor_far"], "engine": "plain"},
            "engines": {"plain": {"gain": 4.0}},
            "audit": {"file": {"path": str(tmp_path / "audit.jsonl")}},
        },
        base_dir=tmp_path,
        source="test",
    )
    server = assemble(document)

    async def ask() -> Any:
        return await server.compute.final_state(make_call(), mycelium_spec(grid_size=8), 2)

    where, run = asyncio.run(ask())
    assert where == "far"
    assert (run.engine.plugin, run.engine.component, run.steps, run.spec) == (
        "engine_plain",
        "plain",
        2,
        FieldSpec(model="mycelium", grid_size=8, seed=42),
    )
    config, settings = pickle.loads(run.engine.settings)
    assert config.gain == 4.0
    assert settings.engine == "plain"
    server.compute.shutdown()
