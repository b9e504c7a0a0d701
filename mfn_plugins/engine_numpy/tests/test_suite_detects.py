"""The conformance suite fails for backends with the faults that it is there to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mfn_core.compute import CancelToken, NeverCancelled, Run
from mfn_core.testing.backend import BackendSuite
from mfn_engine_numpy import NumpyBackend, NumpySession
from mfn_model import (
    Checkpoint,
    FieldSpec,
    FieldState,
    NumericalInstabilityError,
    mycelium_spec,
    register_model,
)

NEVER = NeverCancelled()


class Faulty(NumpyBackend):
    """A backend whose sessions have one fault."""

    def __init__(self, session: type[NumpySession]) -> None:
        self._session = session

    def open(self, spec: FieldSpec) -> NumpySession:
        return self._session(spec)


class Inaccurate(NumpySession):
    def step(self, n: int, cancel: CancelToken) -> int:
        done = super().step(n, cancel)
        self._species[0][-1, -1] += 1e-9 * bool(n)
        return done


class ForgetsTheInhibitor(NumpySession):
    def state(self) -> FieldState:
        state = super().state()
        species = {name: values for name, values in state.species.items() if name != "inhibitor"}
        return FieldState(step=state.step, field=state.field, species=species, growth_events=state.growth_events)


class FreezesTheInhibitor(NumpySession):
    def step(self, n: int, cancel: CancelToken) -> int:
        kept = [values.copy() for values in self._species[1:]]
        done = super().step(n, cancel)
        for values, old in zip(self._species[1:], kept, strict=True):
            values[...] = old
        return done


class DrawsAtEveryCall(NumpySession):
    _called = False

    def step(self, n: int, cancel: CancelToken) -> int:
        if self._called:
            self._generator.random()
        self._called = True
        return super().step(n, cancel)


class IgnoresTheToken(NumpySession):
    def step(self, n: int, cancel: CancelToken) -> int:
        return super().step(min(n, 50), NEVER)


class LooksOnlyOnce(NumpySession):
    def step(self, n: int, cancel: CancelToken) -> int:
        self._slice = 2_000
        return super().step(n, cancel)


class SharesItsArrays(NumpySession):
    def state(self) -> FieldState:
        state = super().state()
        object.__setattr__(state, "field", self._species[0])
        return state


class ReopensItself(NumpySession):
    def close(self) -> None:
        pass


class DrawsForInjections(NumpySession):
    def inject(self, row: int, column: int, amplitude: float) -> None:
        self._generator.random()
        super().inject(row, column, amplitude)


class InjectsWithoutClamping(NumpySession):
    def inject(self, row: int, column: int, amplitude: float) -> None:
        super().inject(row, column, 0.0)
        self._species[0][row, column] += amplitude


class InjectsBeyondTheEdge(NumpySession):
    def inject(self, row: int, column: int, amplitude: float) -> None:
        super().inject(row, max(column, 0), amplitude)


class CountsNothing(NumpySession):
    def state(self) -> FieldState:
        state = super().state()
        return FieldState(
            step=state.step, field=state.field, species=state.species, growth_events=state.growth_events, counters={}
        )


class RenamesACounter(NumpySession):
    def state(self) -> FieldState:
        state = super().state()
        object.__setattr__(state, "counters", {f"{name}s": count for name, count in state.counters.items()})
        return state


class SeedsWithThirtyTwoBits(NumpySession):
    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(replace(spec, seed=spec.seed % 2**32))


class GoesOnWhateverComes(NumpySession):
    def step(self, n: int, cancel: CancelToken) -> int:
        try:
            return super().step(n, cancel)
        except NumericalInstabilityError:
            self._torn = False
            return n


class NeverSwitches(NumpySession):
    def set_parameter(self, name: str, value: float) -> None:
        if not isinstance(value, bool):
            super().set_parameter(name, value)


class SteersTooLate(NumpySession):
    def set_parameter(self, name: str, value: float) -> None:
        super().set_parameter(name, value)
        self._table.four_diffusion[0][...] = 4.0 * 0.18


class ChecksNothing(NumpyBackend):
    def open(self, spec: FieldSpec) -> NumpySession:
        return NumpySession(mycelium_spec(grid_size=4))


class RestoresWithAFreshGenerator(NumpyBackend):
    def restore(self, checkpoint: Checkpoint) -> NumpySession:
        session = super().restore(checkpoint)
        session._generator = np.random.default_rng(0)
        return session


class RestoresWhateverItIsGiven(NumpyBackend):
    def restore(self, checkpoint: Checkpoint) -> NumpySession:
        state = checkpoint.state
        counts = {name: count % 2**62 for name, count in state.counters.items()}
        step, events = state.step % 2**62, state.growth_events % 2**62
        sound = replace(state, step=step, growth_events=events, counters=counts)
        return super().restore(replace(checkpoint, state=sound))


class ChangesWhatItIsGiven(NumpyBackend):
    def open(self, spec: FieldSpec) -> NumpySession:
        other = spec.with_parameters(**{name: value / 2 for name, value in spec.parameters.items() if name == "alpha"})
        object.__setattr__(spec, "parameters", other.parameters)
        return super().open(spec)


class BatchesWithoutALook(NumpyBackend):
    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        sessions = [GoesOnWhateverComes(run.spec) for run in runs]
        for run, session in zip(runs, sessions, strict=True):
            session.step(run.steps, run.cancel)
        return [session.state() for session in sessions]


class KeepsEveryGridPeriodic(NumpyBackend):
    def open(self, spec: FieldSpec) -> NumpySession:
        return super().open(replace(spec, boundary="periodic"))


class UpdatesTheInhibitorLast(NumpyBackend):
    def open(self, spec: FieldSpec) -> NumpySession:
        model = replace(spec.declaration, name=f"{spec.model}_sequential", update="sequential")
        return super().open(replace(spec, model=register_model(model).name))


SUITE = BackendSuite()


@pytest.mark.parametrize(
    ("session", "test", "arguments"),
    [
        (Inaccurate, SUITE.test_trajectories_agree_with_the_reference, {"steps": 2}),
        (Inaccurate, SUITE.test_single_and_uneven_steps_give_the_numbers_of_one_call, {}),
        (ForgetsTheInhibitor, SUITE.test_every_species_of_the_model_is_carried_and_advances, {}),
        (FreezesTheInhibitor, SUITE.test_every_species_of_the_model_is_carried_and_advances, {}),
        (DrawsAtEveryCall, SUITE.test_single_and_uneven_steps_give_the_numbers_of_one_call, {}),
        (DrawsAtEveryCall, SUITE.test_no_steps_change_nothing, {}),
        (IgnoresTheToken, SUITE.test_a_token_that_is_set_already_allows_no_step, {}),
        (LooksOnlyOnce, SUITE.test_the_token_is_looked_at_every_few_milliseconds, {}),
        (SharesItsArrays, SUITE.test_a_snapshot_does_not_change_with_later_steps, {}),
        (SharesItsArrays, SUITE.test_a_snapshot_cannot_be_written_to, {}),
        (ReopensItself, SUITE.test_closing_twice_is_safe_and_a_closed_session_refuses, {}),
        (DrawsForInjections, SUITE.test_an_injection_draws_nothing_from_the_generator, {}),
        (InjectsBeyondTheEdge, SUITE.test_a_refused_injection_changes_nothing, {}),
        (CountsNothing, SUITE.test_trajectories_agree_with_the_reference, {"steps": 1}),
        (CountsNothing, SUITE.test_every_counter_of_the_model_is_there_from_the_start, {}),
        (RenamesACounter, SUITE.test_trajectories_agree_with_the_reference, {"steps": 1}),
        (SeedsWithThirtyTwoBits, SUITE.test_the_largest_seed_is_taken_as_a_whole, {}),
        (GoesOnWhateverComes, SUITE.test_a_state_that_is_no_longer_finite_ends_the_trajectory, {}),
        (NeverSwitches, SUITE.test_a_changed_parameter_takes_effect_from_the_next_step, {}),
        (InjectsWithoutClamping, SUITE.test_an_injection_is_clamped, {}),
        (SteersTooLate, SUITE.test_a_changed_parameter_takes_effect_from_the_next_step, {}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_faulty_session_is_found(
    session: type[NumpySession], test: Callable[..., None], arguments: dict[str, Any]
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(Faulty(session), **arguments)


@pytest.mark.parametrize(
    ("backend", "test"),
    [
        (KeepsEveryGridPeriodic, lambda backend: SUITE.test_trajectories_agree_with_the_reference(backend, 2)),
        (UpdatesTheInhibitorLast, lambda backend: SUITE.test_trajectories_agree_with_the_reference(backend, 2)),
        (ChangesWhatItIsGiven, lambda backend: SUITE.test_trajectories_agree_with_the_reference(backend, 1)),
        (ChangesWhatItIsGiven, SUITE.test_a_specification_is_not_changed),
        (BatchesWithoutALook, SUITE.test_a_state_that_is_no_longer_finite_ends_the_trajectory),
        (ChecksNothing, SUITE.test_a_specification_out_of_bounds_is_refused),
        (RestoresWhateverItIsGiven, SUITE.test_a_checkpoint_that_no_session_has_written_is_refused),
        (RestoresWithAFreshGenerator, SUITE.test_a_restored_session_goes_on_bit_for_bit),
        (RestoresWithAFreshGenerator, SUITE.test_a_checkpoint_keeps_what_steering_changed),
    ],
    ids=lambda value: value.__name__,
)
def test_a_faulty_backend_is_found(backend: type[NumpyBackend], test: Callable[..., None]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(backend())
