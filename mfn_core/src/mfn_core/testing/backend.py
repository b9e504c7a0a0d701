"""What every compute backend must do, as a suite that its author subclasses."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mfn_core.compute import Backend, Run, SupportsBatch, SupportsSpeed
from mfn_core.testing._backend_cases import NEVER, CancelledAfter, assert_same_state
from mfn_core.testing._steering_cases import SteeringCases
from mfn_model import (
    FieldModel,
    FieldSpec,
    FieldState,
    NumericalInstabilityError,
    Parameter,
    SpecError,
    Species,
    Uniform,
    reference,
    register_model,
)

__all__ = ["BackendSuite", "CancelledAfter", "assert_same_state"]

_ENDLESS = 1_000_000_000

_FOREIGN = FieldModel(
    name="backend_suite_foreign",
    summary="a model that no backend was written for",
    species=(
        Species(
            name="potential",
            symbol="p",
            unit="V",
            description="leaks, or grows without bounds",
            diffusion="0.2",
            reaction="growth * p",
            initial=Uniform(low="-1", high="1"),
        ),
    ),
    parameters=(
        Parameter(name="growth", default=-0.1, unit="1/step", description="growth", minimum=-1.0, maximum=1e300),
    ),
    boundary="periodic",
    source="the suite of backends",
)


class BackendSuite(SteeringCases):
    """Subclass it under a name that begins with `Test`, and give a fixture `backend`.

    The suite tries every model of `mfn_model` that the backend supports, under every boundary that it supports, against
    the plain evaluation of its declaration. A backend of another model also gives `specs`. What a session can
    do beyond the contract (steering, checkpoints) is tested where it is there and skipped where it is not.
    """

    # Trajectories.

    @pytest.mark.parametrize("steps", [0, 1, 2, 37])
    def test_trajectories_agree_with_the_reference(self, backend: Backend, steps: int) -> None:
        for title, spec in self.supported(backend).items():
            assert_same_state(self.after(backend, spec, steps), self.reference(spec, steps), self.tolerance, title)

    def test_long_trajectories_agree_with_the_reference(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            if spec.grid_size <= 32:
                assert_same_state(self.after(backend, spec, 700), self.reference(spec, 700), self.tolerance, title)

    def test_every_species_of_the_model_is_carried_and_advances(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            field, *further = spec.declaration.species
            names = {species.name for species in further if species.when is None or spec[species.when]}
            before, state = self.after(backend, spec, 0), self.after(backend, spec, 3)
            assert set(state.species) == names, title
            assert field.name not in state.species, title
            for name in names:
                assert not np.array_equal(state.species[name], before.species[name]), (title, name)
            for array in (state.field, *state.species.values()):
                assert array.shape == (spec.grid_size, spec.grid_size), title
                assert array.dtype == np.float64, title
                assert np.isfinite(array).all(), title

    def test_the_same_specification_gives_the_same_numbers_again(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            assert_same_state(self.after(backend, spec, 20), self.after(backend, spec, 20), about=title)

    def test_another_seed_gives_another_field(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            other = replace(spec, seed=spec.seed + 1)
            assert not np.array_equal(self.after(backend, spec, 5).field, self.after(backend, other, 5).field)

    def test_the_largest_seed_is_taken_as_a_whole(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            largest = replace(spec, seed=2**63 - 1)
            assert_same_state(self.after(backend, largest, 5), self.reference(largest, 5), self.tolerance, spec.model)

    def test_a_specification_is_not_changed(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            given, expected = copy.deepcopy(spec), self.reference(spec, 3)
            state = self.after(backend, given, 3)
            assert given == spec, title
            assert_same_state(state, expected, self.tolerance, title)

    def test_every_counter_of_the_model_is_there_from_the_start(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            wanted = dict.fromkeys(spec.declaration.dynamics.counters, 0)
            assert dict(self.after(backend, spec, 0).counters) == wanted, title

    # Stepping.

    def test_single_and_uneven_steps_give_the_numbers_of_one_call(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            session = backend.open(spec)
            for n in (1, 0, 2, 1, 30, 5, 1):
                assert session.step(n, NEVER) == n, title
            assert_same_state(session.state(), self.after(backend, spec, 40), about=title)
            session.close()

    def test_no_steps_change_nothing(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            before = session.state()
            assert session.step(0, NEVER) == 0
            assert_same_state(session.state(), before)
            session.step(30, NEVER)
            assert_same_state(session.state(), self.after(backend, spec, 30))
            session.close()

    def test_a_negative_number_of_steps_is_refused_and_changes_nothing(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            with pytest.raises(ValueError, match="-1"):
                session.step(-1, NEVER)
            assert session.step(4, NEVER) == 4
            assert_same_state(session.state(), self.after(backend, spec, 4))
            session.close()

    # Cancellation.

    def test_a_token_that_is_set_already_allows_no_step(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            assert session.step(10, CancelledAfter(0)) == 0
            assert_same_state(session.state(), self.after(backend, spec, 0))
            session.close()

    def test_a_cancelled_session_stands_at_a_whole_step_and_may_go_on(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            done = session.step(_ENDLESS, CancelledAfter(2))
            assert 0 < done < _ENDLESS
            assert session.state().step == done
            assert_same_state(session.state(), self.after(backend, spec, done))
            assert session.step(9, NEVER) == 9
            assert_same_state(session.state(), self.after(backend, spec, done + 9))
            session.close()

    def test_the_token_is_looked_at_every_few_milliseconds(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(replace(spec, grid_size=64))
            session.step(1, NEVER)  # a backend that compiles does so now
            token = CancelledAfter(25)
            session.step(_ENDLESS, token)
            session.close()
            gaps = [later - earlier for earlier, later in itertools.pairwise(token.times)]
            assert statistics.median(gaps) <= self.longest_slice

    # Snapshots.

    def test_a_snapshot_does_not_change_with_later_steps(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            session = backend.open(spec)
            session.step(3, NEVER)
            snapshot = session.state()
            kept = copy.deepcopy(snapshot)
            session.step(3, NEVER)
            assert_same_state(snapshot, kept, about=title)
            assert not np.shares_memory(snapshot.field, session.state().field), title
            session.close()
            assert_same_state(snapshot, kept, about=title)

    def test_a_snapshot_cannot_be_written_to(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            state = self.after(backend, spec, 1)
            for array in (state.field, *state.species.values()):
                with pytest.raises(ValueError, match="read-only"):
                    array[0, 0] = 0.0

    def test_specifications_and_states_survive_pickling(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            sent = pickle.loads(pickle.dumps(spec))  # noqa: S301 - our own bytes
            assert sent == spec, title
            state = self.after(backend, sent, 3)
            received = pickle.loads(pickle.dumps(state))  # noqa: S301 - our own bytes
            assert_same_state(received, self.after(backend, spec, 3), about=title)
            assert not received.field.flags.writeable, title

    # Refusal.

    def test_a_specification_out_of_bounds_is_refused(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            for changes in self.tampered(spec):
                broken = copy.copy(spec)
                for name, value in changes.items():
                    object.__setattr__(broken, name, value)
                with pytest.raises(SpecError):
                    backend.open(broken)

    def tampered(self, spec: FieldSpec) -> Sequence[Mapping[str, Any]]:
        """Values that no specification can be made with, as if one had been tampered with."""
        broken: list[Mapping[str, Any]] = [{"grid_size": 0}, {"grid_size": 2.5}, {"seed": -1}, {"seed": 2**63}]
        for parameter in spec.declaration.parameters:
            if parameter.kind == "float":
                values = [math.nan, math.inf, parameter.maximum + 1.0, parameter.minimum - 1.0]
                broken += [{"parameters": {**spec.parameters, parameter.name: value}} for value in values]
        if len(spec.declaration.boundaries) > 1:
            broken.append({"boundary": "no_such_boundary"})
        return [*broken, {"parameters": {**spec.parameters, "no_such_parameter": 1.0}}]

    def test_a_model_of_a_stranger_is_computed_from_its_declaration_or_refused(self, backend: Backend) -> None:
        register_model(_FOREIGN)
        foreign = FieldSpec(model=_FOREIGN.name, grid_size=8, seed=0)
        if backend.supports(foreign):
            assert_same_state(self.after(backend, foreign, 5), reference(foreign, 5), self.tolerance)
            return
        with pytest.raises(SpecError, match=_FOREIGN.name):
            backend.open(foreign)

    def test_a_state_that_is_no_longer_finite_ends_the_trajectory(self, backend: Backend) -> None:
        register_model(_FOREIGN)
        calm = FieldSpec(model=_FOREIGN.name, grid_size=8, seed=0)
        wild = calm.with_parameters(growth=1e200)
        if not backend.supports(wild):
            pytest.skip("it computes no model without bounds that the suite declares")
        session = backend.open(wild)
        with pytest.raises(NumericalInstabilityError):
            session.step(5, NEVER)
        session.close()
        if isinstance(backend, SupportsBatch):
            first, second = backend.run_batch([Run(spec=each, steps=5, cancel=NEVER) for each in (wild, calm)])
            assert isinstance(first, NumericalInstabilityError), first
            assert isinstance(second, FieldState), second
            assert_same_state(second, self.after(backend, calm, 5))

    # Life of a session.

    def test_closing_twice_is_safe_and_a_closed_session_refuses(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            session.step(1, NEVER)
            session.close()
            session.close()
            with pytest.raises(RuntimeError, match="closed"):
                session.step(1, NEVER)
            with pytest.raises(RuntimeError, match="closed"):
                session.state()

    def test_sessions_do_not_affect_each_other(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            first, second = backend.open(spec), backend.open(spec)
            first.step(5, NEVER)
            first.close()
            second.step(8, NEVER)
            assert_same_state(second.state(), self.after(backend, spec, 8))
            second.close()

    def test_sessions_in_parallel_threads_give_the_numbers_of_serial_ones(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            specs = [replace(spec, grid_size=48, seed=seed) for seed in range(8)]
            serial = [self.after(backend, each, 60) for each in specs]
            with ThreadPoolExecutor(8) as pool:
                parallel = list(pool.map(lambda each: self.after(backend, each, 60), specs))
            for one, other in zip(parallel, serial, strict=True):
                assert_same_state(one, other)

    def test_a_session_may_move_from_thread_to_thread(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            for _ in range(4):
                with ThreadPoolExecutor(1) as pool:
                    assert pool.submit(session.step, 5, NEVER).result() == 5
            assert_same_state(session.state(), self.after(backend, spec, 20))
            session.close()

    def test_its_speed_is_a_positive_number(self, backend: Backend) -> None:
        if not isinstance(backend, SupportsSpeed):
            pytest.skip("it does not say how fast it is")
        for title, spec in self.supported(backend).items():
            assert 0.0 < backend.speed(spec) < math.inf, title
