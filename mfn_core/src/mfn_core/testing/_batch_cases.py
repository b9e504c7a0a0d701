"""What a backend must do that advances several whole runs in one call; skipped for one that does not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mfn_core.compute import Backend, CancelToken, Run, SupportsBatch
from mfn_core.testing._backend_cases import NEVER, BackendCases, CancelledAfter, assert_same_state
from mfn_model import FieldSpec, FieldState, SpecError

__all__ = ["BatchCases"]

_ENDLESS = 1_000_000_000


class BatchCases(BackendCases):
    """The part of the suite of backends that is about `SupportsBatch`."""

    def batching(self, backend: Backend) -> SupportsBatch:
        if not isinstance(backend, SupportsBatch):
            pytest.skip("it does one run at a time")
        return backend

    def run_all(self, backend: SupportsBatch, runs: Sequence[Run]) -> list[FieldState]:
        """The states of runs none of which may fail."""
        found = backend.run_batch(runs)
        assert len(found) == len(runs)
        states = [each for each in found if isinstance(each, FieldState)]
        assert len(states) == len(runs), found
        return states

    def test_runs_that_are_done_together_give_the_numbers_of_sessions(self, backend: Backend) -> None:
        batching = self.batching(backend)
        wanted = [(title, spec, steps) for title, spec in self.supported(backend).items() for steps in (0, 1, 23)]
        states = self.run_all(batching, [run(spec, steps) for _, spec, steps in wanted])
        for (title, spec, steps), state in zip(wanted, states, strict=True):
            assert_same_state(state, self.after(backend, spec, steps), about=(title, steps))

    def test_one_run_is_a_batch_too(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            (state,) = self.run_all(batching, [run(spec, 9)])
            assert_same_state(state, self.after(backend, spec, 9))

    def test_the_same_run_may_stand_in_a_batch_twice(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            one, other = self.run_all(batching, [run(spec, 9), run(spec, 9)])
            assert_same_state(one, other)

    def test_runs_of_many_seeds_are_each_their_own(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            specs = [replace(spec, seed=seed) for seed in range(40)]
            for each, state in zip(specs, self.run_all(batching, [run(each, 12) for each in specs]), strict=True):
                assert_same_state(state, self.after(backend, each, 12), about=each.seed)

    def test_a_cancelled_run_ends_early_and_the_others_do_not(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            large = replace(spec, grid_size=128)
            cancelled = CancelledAfter(2)
            begun = time.perf_counter()
            found = batching.run_batch([run(spec, 20), run(large, _ENDLESS, cancelled), run(spec, 30)])
            assert len(found) == 3
            for steps, state in ((20, found[0]), (30, found[2])):
                assert isinstance(state, FieldState), state
                assert_same_state(state, self.after(backend, spec, steps))
            assert time.perf_counter() - begun < 30.0
            gaps = [after - before for before, after in zip(cancelled.times, cancelled.times[1:], strict=False)]
            assert not gaps or sorted(gaps)[len(gaps) // 2] < 0.5, f"its token is looked at every {gaps} s"

    def test_a_batch_whose_tokens_are_all_set_ends_at_once(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            assert len(batching.run_batch([run(spec, _ENDLESS, CancelledAfter(0))] * 3)) == 3

    def test_a_run_that_cannot_be_done_fails_alone(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            wrong = replace(spec)
            object.__setattr__(wrong, "grid_size", 0)
            found = batching.run_batch([run(spec, 5), run(wrong, 5), run(spec, 6)])
            assert isinstance(found[1], SpecError), found[1]
            for steps, state in ((5, found[0]), (6, found[2])):
                assert isinstance(state, FieldState), state
                assert_same_state(state, self.after(backend, spec, steps))

    def test_batches_in_parallel_threads_give_the_numbers_of_serial_ones(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            batches = [[run(replace(spec, seed=4 * first + seed), 15) for seed in range(4)] for first in range(6)]
            serial = [self.run_all(batching, batch) for batch in batches]
            with ThreadPoolExecutor(6) as pool:
                parallel = list(pool.map(lambda batch: self.run_all(batching, batch), batches))
            for one, other in zip(parallel, serial, strict=True):
                for state, expected in zip(one, other, strict=True):
                    assert_same_state(state, expected)

    def test_a_state_of_a_batch_cannot_be_written_to(self, backend: Backend) -> None:
        batching = self.batching(backend)
        for spec in self.one_of_each_model(backend):
            for state in self.run_all(batching, [run(spec, 3), run(replace(spec, seed=99), 3)]):
                for array in (state.field, *state.species.values()):
                    with pytest.raises(ValueError, match="read-only"):
                        array[0, 0] = 1.0


def run(spec: FieldSpec, steps: int, cancel: CancelToken = NEVER) -> Run:
    """A run that nobody cancels, unless a token says so."""
    return Run(spec=spec, steps=steps, cancel=cancel)
