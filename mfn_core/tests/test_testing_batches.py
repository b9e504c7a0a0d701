"""The suite of backends passes one that batches rightly, and fails those with the faults that it is there to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mfn_core.compute import CancelToken, Run, SupportsBatch, require_supported
from mfn_core.testing._batch_cases import BatchCases
from mfn_core.testing.backend import BackendSuite
from mfn_model import FieldSpec, FieldState, SpecError, mycelium_rd_spec, mycelium_spec, reference

SPECS = {
    "small": mycelium_spec(seed=1, grid_size=6, spike_probability=0.5),
    "another model": mycelium_rd_spec(seed=2, grid_size=5),
    "one cell": mycelium_spec(seed=3, grid_size=1),
}


class PlainSession:
    """A session whose state is the reference's."""

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        self.done = 0

    def step(self, n: int, cancel: CancelToken) -> int:
        for number in range(n):
            if cancel.is_set():
                return number
            self.done += 1
        return n

    def state(self) -> FieldState:
        return reference(self.spec, self.done)

    def close(self) -> None:
        return


class Plain:
    """A backend without batches."""

    def supports(self, spec: FieldSpec) -> bool:
        return True

    def open(self, spec: FieldSpec) -> PlainSession:
        require_supported(self, spec)
        return PlainSession(spec)


class Batching(Plain):
    """One that does several runs in one call, as it should."""

    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        return [self.one(run) for run in runs]

    def one(self, run: Run) -> FieldState | Exception:
        try:
            session = self.open(run.spec)
        except SpecError as refused:
            return refused
        session.step(run.steps, run.cancel)
        return session.state()


class Swapping(Batching):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        return super().run_batch(runs)[::-1]


class GivingAllOneSeed(Batching):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        seed = runs[0].spec.seed
        return super().run_batch(
            [Run(spec=replace(run.spec, seed=seed), steps=run.steps, cancel=run.cancel) for run in runs]
        )


class CancellingAll(Batching):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        found = list(super().run_batch(runs))
        return [RuntimeError("cancelled")] * len(runs) if any(run.cancel.is_set() for run in runs) else found


class FailingAll(Batching):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        found = super().run_batch(runs)
        failed = [each for each in found if isinstance(each, Exception)]
        return failed * len(runs) if failed else found


class Raising(Batching):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        for run in runs:
            self.open(run.spec)
        return super().run_batch(runs)


class LosingTheLast(Batching):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        return super().run_batch(runs)[: max(len(runs) - 1, 1)]


class SharingItsArrays(Batching):
    def one(self, run: Run) -> FieldState | Exception:
        state = super().one(run)
        if isinstance(state, FieldState):
            object.__setattr__(state, "field", state.field.copy())
        return state


class Suite(BackendSuite):
    specs = SPECS


CASES = sorted(name for name in vars(BatchCases) if name.startswith("test_"))
ON_THE_TRUE_ONE = pytest.mark.parametrize("case", CASES)


@ON_THE_TRUE_ONE
def test_a_backend_that_batches_rightly_passes(case: str) -> None:
    assert isinstance(Batching(), SupportsBatch)
    getattr(Suite(), case)(Batching())


@ON_THE_TRUE_ONE
def test_a_backend_that_does_not_batch_is_not_asked(case: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="one run at a time"):
        getattr(Suite(), case)(Plain())


@pytest.mark.parametrize(
    ("faulty", "case"),
    [
        (Swapping, "test_runs_that_are_done_together_give_the_numbers_of_sessions"),
        (GivingAllOneSeed, "test_runs_of_many_seeds_are_each_their_own"),
        (CancellingAll, "test_a_cancelled_run_ends_early_and_the_others_do_not"),
        (FailingAll, "test_a_run_that_cannot_be_done_fails_alone"),
        (LosingTheLast, "test_the_same_run_may_stand_in_a_batch_twice"),
        (SharingItsArrays, "test_a_state_of_a_batch_cannot_be_written_to"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_faulty_batch_is_found(faulty: Callable[[], Any], case: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(Suite(), case)(faulty())


def test_a_batch_that_raises_for_one_run_is_found() -> None:
    with pytest.raises(SpecError):
        Suite().test_a_run_that_cannot_be_done_fails_alone(Raising())
