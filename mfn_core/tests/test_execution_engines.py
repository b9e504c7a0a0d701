"""Which engine runs a spec, and how fast each one is found to be."""

from __future__ import annotations

import logging

import pytest

from mfn_core import CancelToken, Code, MfnError, Session
from mfn_core.execution import ComputePool, Engine, choose_backend
from mfn_core.execution.calibration import GRID, measured, measured_spec
from mfn_core.execution.engines import Engines
from mfn_model import FieldSpec, FieldState, SpecError, mycelium_spec, reference_mycelium


class Clock:
    """Time that passes only while an engine steps."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of measurements, and of the engines below."""
    clock = Clock()
    monkeypatch.setattr("mfn_core.execution.calibration.time", clock)
    monkeypatch.setattr(Paced, "clock", clock)
    return clock


class Paced:
    """An engine of a known speed, in cell-steps a second."""

    clock = Clock()

    def __init__(self, speed: float, *, models: tuple[str, ...] = ("mycelium",), first: float = 0.0) -> None:
        self.paced = speed
        self.models = models
        self.first = first
        """Seconds that its first step takes beside."""
        self.opened: list[FieldSpec] = []
        self.closed = 0

    def supports(self, spec: FieldSpec) -> bool:
        return spec.model in self.models

    def open(self, spec: FieldSpec) -> Session:
        self.opened.append(spec)
        return PacedSession(self, spec)


class PacedSession:
    def __init__(self, engine: Paced, spec: FieldSpec) -> None:
        self.engine = engine
        self.spec = spec
        self.done = 0

    def step(self, n: int, cancel: CancelToken) -> int:
        done = 0
        while done < n and not cancel.is_set():
            self.engine.clock.now += self.spec.grid_size**2 / self.engine.paced + self.engine.first
            self.engine.first = 0.0
            done += 1
        self.done += done
        return done

    def state(self) -> FieldState:
        return reference_mycelium(self.spec, self.done)

    def close(self) -> None:
        self.engine.closed += 1


class Estimating(Paced):
    """One that also says how fast it is, and may be wrong."""

    def __init__(self, speed: float, *, says: float, models: tuple[str, ...] = ("mycelium",)) -> None:
        super().__init__(speed, models=models)
        self.says = says

    def speed(self, spec: FieldSpec) -> float:
        return self.says * (2.0 if spec.switch("turing_enabled") else 1.0)


class Failing(Estimating):
    def open(self, spec: FieldSpec) -> Session:
        raise OSError("no device")


# The choice.


def test_an_engine_that_says_nothing_counts_as_slower_than_any_that_does() -> None:
    silent, speaking = Paced(1e9), Estimating(1e6, says=10.0)
    assert choose_backend({"silent": silent, "speaking": speaking}, mycelium_spec(), "auto") == ("speaking", speaking)


def test_auto_leaves_out_what_does_not_support_the_spec() -> None:
    fast, slow = Estimating(1.0, says=1e9, models=("mycelium_rd",)), Estimating(1.0, says=1.0)
    assert choose_backend({"fast": fast, "slow": slow}, mycelium_spec(), "auto") == ("slow", slow)


def test_a_spec_that_nobody_supports_is_refused_with_what_there_is() -> None:
    engines = {"one": Paced(1.0, models=()), "two": Paced(1.0, models=())}
    with pytest.raises(SpecError, match="no engine supports 'mycelium'; there is: one, two"):
        choose_backend(engines, mycelium_spec(), "auto")
    with pytest.raises(SpecError, match="engine 'two' does not support 'mycelium'"):
        choose_backend(engines, mycelium_spec(), "two")
    with pytest.raises(SpecError, match="no engine 'three' is installed; there is: one, two"):
        choose_backend(engines, mycelium_spec(), "three")


def test_engines_are_asked_how_fast_they_are_once_for_each_kind_of_spec_and_again_once_measured(
    clock: Clock,
) -> None:
    asked: list[int] = []

    class Counting(Estimating):
        def speed(self, spec: FieldSpec) -> float:
            asked.append(spec.seed)
            return super().speed(spec)

    pool = ComputePool({"counting": Counting(1e7, says=1.0), "other": Estimating(1e7, says=0.5)})
    for seed in range(100):
        assert pool.backend_for(mycelium_spec(seed=seed))[0] == "counting"
    assert asked == [0]
    pool.backend_for(mycelium_spec(seed=100, alpha=0.1))
    pool.backend_for(mycelium_spec(seed=101, grid_size=9))
    pool.backend_for(mycelium_spec(seed=102, alpha=0.1))
    assert asked == [0, 100, 101]
    pool.calibrate(0.01)
    asked.clear()
    pool.backend_for(mycelium_spec(seed=103))
    assert asked == [103]


def test_what_is_remembered_of_specs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfn_core.execution.engines.REMEMBERED", 3)
    engines = Engines({"one": Estimating(1.0, says=2.0), "two": Estimating(1.0, says=1.0)})
    for size in range(1, 50):
        assert engines.choose(mycelium_spec(grid_size=size)).name == "one"
        assert len(engines._choices) <= 3


# The measurement.


def test_what_is_measured_is_a_model_that_the_engine_supports() -> None:
    spec = measured_spec(Paced(1.0, models=("mycelium_rd",)))
    assert spec is not None
    assert (spec.model, spec.grid_size) == ("mycelium_rd", GRID)
    assert measured_spec(Paced(1.0, models=("none",))) is None


def test_a_measured_speed_is_that_of_the_engine_and_corrects_its_estimates(clock: Clock) -> None:
    backend = Estimating(4e6, says=1e3)
    engine = measured(Engine.of("paced", backend), 0.1)
    assert engine.measured == pytest.approx(4e6)
    assert engine.speed(mycelium_spec(turing_enabled=True)) == pytest.approx(4e6)
    assert engine.speed(mycelium_spec(turing_enabled=False)) == pytest.approx(2e6)
    assert backend.closed == len(backend.opened) == 1
    assert clock.now == pytest.approx(0.1, abs=2 * GRID**2 / 4e6 + 1e-9)


def test_a_first_step_that_takes_long_is_not_part_of_the_measurement(clock: Clock) -> None:
    engine = measured(Engine.of("compiling", Paced(4e6, first=30.0)), 0.1)
    assert engine.measured == pytest.approx(4e6)
    assert clock.now == pytest.approx(30.1, abs=0.01)


def test_one_step_that_takes_longer_than_the_measurement_is_enough(clock: Clock) -> None:
    engine = measured(Engine.of("slow", Paced(100.0)), 0.1)
    assert engine.measured == pytest.approx(100.0)


def test_an_engine_that_says_nothing_has_a_speed_once_it_is_measured(clock: Clock) -> None:
    engine = Engine.of("silent", Paced(4e6))
    assert engine.speed(mycelium_spec()) is None
    assert measured(engine, 0.02).speed(mycelium_spec()) == pytest.approx(4e6)


def test_an_engine_of_no_known_model_is_left_as_it_is() -> None:
    engine = Engine.of("foreign", Paced(4e6, models=("none",)))
    assert measured(engine, 0.02) is engine


def test_auto_takes_what_was_measured_over_what_was_claimed(clock: Clock) -> None:
    honest, boasting = Estimating(2e7, says=1e3), Estimating(2e5, says=1e9)
    pool = ComputePool({"honest": honest, "boasting": boasting})
    assert pool.backend_for(mycelium_spec())[0] == "boasting"
    pool.calibrate(0.1)
    assert pool.backend_for(mycelium_spec())[0] == "honest"
    assert all(engine.measured is not None for engine in pool.engines)


def test_the_measurements_of_several_engines_share_the_time(clock: Clock) -> None:
    pool = ComputePool({str(number): Paced(1e7) for number in range(4)})
    pool.calibrate(0.2)
    assert clock.now == pytest.approx(0.2, abs=0.01)


def test_an_engine_that_cannot_be_measured_keeps_its_estimate_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = ComputePool({"failing": Failing(1.0, says=7.0)})
    with caplog.at_level(logging.WARNING, "mfn_core"):
        pool.calibrate(0.01)
    (engine,) = pool.engines
    assert engine.measured is None
    assert engine.speed(mycelium_spec(turing_enabled=False)) == 7.0
    assert "engine failing: its speed could not be measured" in caplog.text
    assert "no device" in caplog.text


def test_what_a_run_lasts_is_its_cell_steps_by_the_speed() -> None:
    pool = ComputePool({"paced": Estimating(1.0, says=1e6), "silent": Paced(1.0, models=("mycelium_rd",))})
    spec = mycelium_spec(grid_size=100, turing_enabled=False)
    assert pool.seconds(spec, 50) == pytest.approx(0.5)
    assert pool.seconds(spec, 0) == pytest.approx(0.01)
    silent = FieldSpec(model="mycelium_rd", grid_size=100, seed=0)
    assert pool.seconds(silent, 50) == pool.seconds(silent, 5000) > 0.0
    with pytest.raises(MfnError) as refused:
        ComputePool({}).seconds(spec, 1)
    assert refused.value.code is Code.INVALID_ARGUMENT
