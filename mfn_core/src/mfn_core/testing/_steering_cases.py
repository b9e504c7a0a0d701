"""What a backend must do whose sessions can be steered, and go on from checkpoints; skipped for one that cannot."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from mfn_core.compute import Backend
from mfn_core.testing._backend_cases import NEVER, assert_same_state
from mfn_core.testing._batch_cases import BatchCases
from mfn_model import SpecError

__all__ = ["SteeringCases"]


class SteeringCases(BatchCases):
    """The part of the suite of backends that is about `SupportsSteering` and `SupportsCheckpoint`."""

    # Steering.

    def test_setting_a_parameter_to_its_own_value_changes_no_number(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            session = backend.open(spec)
            steered = self.steerable(session)
            for name, value in spec.parameters.items():
                session.step(2, NEVER)
                steered.set_parameter(name, value)
            steps = 2 * len(spec.parameters)
            session.step(5, NEVER)
            assert_same_state(session.state(), self.after(backend, spec, steps + 5), about=title)
            session.close()

    def test_a_changed_parameter_takes_effect_from_the_next_step(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            deciding = {species.when for species in spec.declaration.species}
            for parameter in spec.declaration.parameters:
                name = parameter.name
                if name in deciding or (parameter.kind == "float" and math.isinf(parameter.minimum)):
                    continue  # a session keeps the species that it began with
                if parameter.kind == "bool":
                    changed: float = not spec[name]
                else:
                    changed = (spec.number(name) + parameter.minimum) / 2 or 0.01
                other = spec.with_parameters(**{name: changed})
                first, second = self.reference(spec, 0), self.reference(other, 0)
                arrays = [(first.field, second.field)] + [(first.species[s], second.species[s]) for s in first.species]
                if not all(np.array_equal(one, another) for one, another in arrays):
                    continue  # it sets the initial state as well, which a running session has behind it
                session = backend.open(spec)
                self.steerable(session).set_parameter(name, changed)
                session.step(6, NEVER)
                assert_same_state(session.state(), self.reference(other, 6), self.tolerance, (title, name))
                session.close()

    def test_a_refused_parameter_changes_nothing(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            steered = self.steerable(session)
            session.step(2, NEVER)
            for parameter in spec.declaration.parameters:
                for value in (math.nan, math.inf, -1e9, 1e9):
                    with pytest.raises(SpecError, match=parameter.name):
                        steered.set_parameter(parameter.name, value)
            with pytest.raises(SpecError, match="no_such_parameter"):
                steered.set_parameter("no_such_parameter", 1.0)
            session.step(3, NEVER)
            assert_same_state(session.state(), self.after(backend, spec, 5))
            session.close()

    def test_an_injection_changes_one_cell_and_counts_as_growth(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            steered = self.steerable(session)
            session.step(3, NEVER)
            before, cell = session.state(), (spec.grid_size - 1, 0)
            steered.inject(*cell, 0.015)
            after = session.state()
            expected = before.field.copy()
            expected[cell] = min(max(expected[cell] + 0.015, spec.declaration.clamp[0]), spec.declaration.clamp[1])
            assert np.abs(after.field - expected).max() <= self.tolerance
            assert after.growth_events == before.growth_events + 1
            assert after.step == before.step
            session.close()

    def test_an_injection_is_clamped(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            steered = self.steerable(session)
            lowest, highest = spec.declaration.clamp
            steered.inject(0, 0, 1e6)
            steered.inject(0, spec.grid_size - 1, -1e6)
            field = session.state().field
            assert (field[0, 0], field[0, -1]) == (highest, lowest)
            session.step(20, NEVER)
            field = session.state().field
            assert lowest <= field.min() <= field.max() <= highest
            session.close()

    def test_an_injection_draws_nothing_from_the_generator(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            steered = self.steerable(session)
            session.step(3, NEVER)
            steered.inject(0, 0, 0.0)
            session.step(30, NEVER)
            state, expected = session.state(), self.after(backend, spec, 33)
            assert np.array_equal(state.field, expected.field)
            assert state.growth_events == expected.growth_events + 1
            session.close()

    def test_a_refused_injection_changes_nothing(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            steered = self.steerable(session)
            n = spec.grid_size
            for row, column, amplitude in (
                (-1, 0, 0.01),
                (n, 0, 0.01),
                (0, -1, 0.01),
                (0, n, 0.01),
                (0, 0, math.nan),
                (0, 0, math.inf),
            ):
                with pytest.raises(SpecError):
                    steered.inject(row, column, amplitude)
            session.step(4, NEVER)
            assert_same_state(session.state(), self.after(backend, spec, 4))
            session.close()

    # Checkpoints.

    def test_a_restored_session_goes_on_bit_for_bit(self, backend: Backend) -> None:
        for title, spec in self.supported(backend).items():
            session = backend.open(spec)
            restoring, writing = self.writable(backend, session)
            session.step(11, NEVER)
            checkpoint = pickle.loads(pickle.dumps(writing.checkpoint()))  # noqa: S301 - our own bytes
            session.step(11, NEVER)
            session.close()
            restored = restoring.restore(checkpoint)
            assert_same_state(restored.state(), self.after(backend, spec, 11), about=title)
            assert restored.step(24, NEVER) == 24
            assert_same_state(restored.state(), self.after(backend, spec, 35), about=title)
            restored.close()

    def test_writing_a_checkpoint_does_not_disturb_the_session(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            restoring, writing = self.writable(backend, session)
            for _ in range(5):
                session.step(3, NEVER)
                other = restoring.restore(writing.checkpoint())
                other.step(2, NEVER)
                other.close()
            assert_same_state(session.state(), self.after(backend, spec, 15))
            session.close()

    def test_a_checkpoint_that_no_session_has_written_is_refused(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            restoring, writing = self.writable(backend, session)
            written = writing.checkpoint()
            session.close()
            state = written.state
            beyond = {"step": replace(state, step=2**63 - 1), "growth_events": replace(state, growth_events=2**63)}
            for name in state.counters:
                beyond[name] = replace(state, counters={**state.counters, name: 2**63})
            for name, broken in beyond.items():
                with pytest.raises(ValueError, match=name):
                    restoring.restore(replace(written, state=broken))

    def test_a_checkpoint_keeps_what_steering_changed(self, backend: Backend) -> None:
        for spec in self.one_of_each_model(backend):
            session = backend.open(spec)
            restoring, writing = self.writable(backend, session)
            steered = self.steerable(session)
            parameter = next(each for each in spec.declaration.parameters if each.kind == "float")
            steered.set_parameter(parameter.name, spec.number(parameter.name) / 2)
            session.step(4, NEVER)
            restored = restoring.restore(writing.checkpoint())
            session.step(6, NEVER)
            restored.step(6, NEVER)
            assert_same_state(restored.state(), session.state())
            session.close()
            restored.close()
