"""Runs that are done together."""

from __future__ import annotations

import copy

import pytest

from mfn_core.compute import NeverCancelled, Run
from mfn_core.testing.backend import CancelledAfter, assert_same_state
from mfn_engine_numba import NumbaBackend
from mfn_model import (
    FieldSpec,
    FieldState,
    NumericalInstabilityError,
    SpecError,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
)

pytestmark = pytest.mark.timeout(300)  # what is compiled first takes a while

NEVER = NeverCancelled()


def states(backend: NumbaBackend, *runs: tuple[FieldSpec, int]) -> list[FieldState | Exception]:
    return backend.run_batch([Run(spec=spec, steps=steps, cancel=NEVER) for spec, steps in runs])


def test_runs_of_several_models_and_sizes_are_each_their_own(backend: NumbaBackend) -> None:
    runs = [
        (spec, steps)
        for grid_size in (5, 16, 40)
        for spec in (
            mycelium_spec(seed=grid_size, grid_size=grid_size),
            mycelium_rd_spec(seed=1, grid_size=grid_size, boundary="neumann"),
            mycelium_spec(seed=2, grid_size=grid_size, jitter=True),
        )
        for steps in (0, 1, 50)
    ]
    for (spec, steps), state in zip(runs, states(backend, *runs), strict=True):
        assert isinstance(state, FieldState)
        assert_same_state(state, reference(spec, steps))


def test_memory_that_a_run_leaves_is_as_new_for_the_next_one(backend: NumbaBackend) -> None:
    specs = [
        mycelium_spec(seed=seed, grid_size=16, spike_probability=0.9, turing_enabled=turing)
        for turing in (True, False)
        for seed in range(20)
    ]
    kept = states(backend, *((spec, 30) for spec in specs))
    later = states(backend, *((spec, 7) for spec in reversed(specs)))
    for spec, state in zip(specs, kept, strict=True):
        assert isinstance(state, FieldState)
        assert_same_state(state, reference(spec, 30))
    for spec, state in zip(reversed(specs), later, strict=True):
        assert isinstance(state, FieldState)
        assert_same_state(state, reference(spec, 7))


@pytest.mark.slow
def test_a_run_that_fails_does_not_spoil_the_memory_of_the_next_one(
    backend: NumbaBackend, explosive: FieldSpec
) -> None:
    steps = 2000
    (failed,) = states(backend, (explosive, steps))
    assert isinstance(failed, NumericalInstabilityError)
    calm, again = states(backend, (explosive, 1), (explosive, steps))
    assert isinstance(calm, FieldState)
    assert_same_state(calm, reference(explosive, 1))
    assert isinstance(again, NumericalInstabilityError)
    assert (again.step, again.nan_count, again.inf_count) == (failed.step, failed.nan_count, failed.inf_count)


def test_a_run_that_is_cancelled_before_it_begins_ends_at_step_0(backend: NumbaBackend) -> None:
    spec = mycelium_spec(grid_size=16, seed=4)
    (gone,) = backend.run_batch([Run(spec=spec, steps=100, cancel=CancelledAfter(0))])
    assert isinstance(gone, FieldState)
    assert_same_state(gone, reference(spec, 0))


@pytest.mark.slow
def test_long_runs_take_turns_in_slices(backend: NumbaBackend) -> None:
    tokens = [CancelledAfter(10**9) for _ in range(3)]
    specs = [mycelium_spec(seed=seed, grid_size=64) for seed in range(3)]
    found = backend.run_batch(
        [Run(spec=spec, steps=3000, cancel=token) for spec, token in zip(specs, tokens, strict=True)]
    )
    for spec, token, state in zip(specs, tokens, found, strict=True):
        assert isinstance(state, FieldState)
        assert_same_state(state, reference(spec, 3000))
        assert len(token.times) > 1


def test_a_run_that_is_cancelled_ends_early_and_the_others_do_not(backend: NumbaBackend) -> None:
    spec = mycelium_spec(grid_size=48)
    gone, wanted = backend.run_batch(
        [Run(spec=spec, steps=10**9, cancel=CancelledAfter(3)), Run(spec=spec, steps=100, cancel=NEVER)]
    )
    assert isinstance(gone, FieldState)
    assert 0 < gone.step < 10**9
    assert isinstance(wanted, FieldState)
    assert_same_state(wanted, reference(spec, 100))


def test_a_run_that_is_refused_does_not_touch_the_others(backend: NumbaBackend) -> None:
    spec = mycelium_spec(grid_size=8)
    broken = copy.copy(spec)
    object.__setattr__(broken, "seed", -1)
    refused, state = states(backend, (broken, 5), (spec, 5))
    assert isinstance(refused, SpecError)
    assert isinstance(state, FieldState)
    assert_same_state(state, reference(spec, 5))


@pytest.mark.slow
def test_a_run_that_becomes_unstable_does_not_touch_the_others(backend: NumbaBackend, explosive: FieldSpec) -> None:
    unstable, state = states(backend, (explosive, 100), (mycelium_spec(grid_size=8), 5))
    assert isinstance(unstable, NumericalInstabilityError)
    with pytest.raises(NumericalInstabilityError) as expected:
        reference(explosive, 100)
    assert str(unstable) == str(expected.value)
    assert isinstance(state, FieldState)
