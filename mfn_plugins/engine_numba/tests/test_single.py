"""Single precision stays near double precision, as near as is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfn_core.compute import NeverCancelled
from mfn_engine_numba import NumbaBackend
from mfn_model import FieldSpec, FieldState, models, mycelium_rd_spec, reference

pytestmark = pytest.mark.timeout(300)  # what is compiled first takes a while

NEVER = NeverCancelled()

BOUND = 1e-5
"""Of the difference in any cell after 100 steps, relative to the largest value of the species; stated in the README."""


@pytest.fixture
def single(kernels: Path) -> NumbaBackend:
    return NumbaBackend(cache_dir=kernels, precision="single")


def after(backend: NumbaBackend, spec: FieldSpec, steps: int) -> FieldState:
    session = backend.open(spec)
    assert session.step(steps, NEVER) == steps
    return session.state()


def assert_near(state: FieldState, expected: FieldState) -> None:
    assert state.growth_events == expected.growth_events
    assert set(state.species) == set(expected.species)
    for one, other in (
        (state.field, expected.field),
        *((state.species[name], expected.species[name]) for name in state.species),
    ):
        assert one.dtype == np.float64
        assert np.abs(one - other).max() <= BOUND * np.abs(other).max()


@pytest.mark.slow
@pytest.mark.parametrize("grid_size", [1, 7, 16, 64])
@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_a_hundred_steps_stay_within_the_stated_bound(single: NumbaBackend, grid_size: int, boundary: str) -> None:
    spec = mycelium_rd_spec(seed=1, grid_size=grid_size, spike_probability=0.5, boundary=boundary)
    state, expected = after(single, spec, 100), reference(spec, 100)
    assert_near(state, expected)
    assert not np.array_equal(state.field, expected.field)


@pytest.mark.slow
def test_noise_stays_within_the_stated_bound(single: NumbaBackend) -> None:
    spec = mycelium_rd_spec(seed=2, grid_size=32, jitter=True, jitter_variance=1e-6)
    assert_near(after(single, spec, 100), reference(spec, 100))


@pytest.mark.slow
def test_every_model_stays_within_the_stated_bound(single: NumbaBackend) -> None:
    for name in models.__all__:
        model = getattr(models, name)
        for boundary in model.boundaries:
            spec = FieldSpec(model=model.name, grid_size=48, seed=3, boundary=boundary)
            assert_near(after(single, spec, 100), reference(spec, 100))


def test_the_initial_state_is_the_rounded_one(single: NumbaBackend) -> None:
    spec = mycelium_rd_spec(seed=3, grid_size=9)
    expected = reference(spec, 0)
    assert np.array_equal(after(single, spec, 0).field, expected.field.astype(np.float32))


def test_a_checkpoint_goes_on_bit_for_bit(single: NumbaBackend) -> None:
    spec = mycelium_rd_spec(seed=4, grid_size=16, spike_probability=1.0)
    session = single.open(spec)
    session.step(20, NEVER)
    restored = single.restore(session.checkpoint())
    session.step(20, NEVER)
    restored.step(20, NEVER)
    one, other = session.state(), restored.state()
    assert np.array_equal(one.field, other.field)
    assert all(np.array_equal(one.species[name], other.species[name]) for name in one.species)


def test_the_state_after_a_step_is_that_of_single_precision_arithmetic(single: NumbaBackend) -> None:
    spec = mycelium_rd_spec(seed=5, grid_size=16, spike_probability=0.0)
    field = after(single, spec, 0).field.astype(np.float32)
    neighbours = np.roll(field, 1, 0) + np.roll(field, -1, 0) + np.roll(field, 1, 1) + np.roll(field, -1, 1)
    expected = field + np.float32(0.18) * (neighbours - np.float32(4.0) * field)
    assert expected.dtype == np.float32
    assert np.array_equal(after(single, spec, 1).field, expected)


def test_a_pattern_that_is_kicked_counts_nearly_as_often(single: NumbaBackend) -> None:
    fast = {"r_activator": 0.1, "r_inhibitor": 0.001, "d_activator": 0.01, "d_inhibitor": 0.24}
    spec = mycelium_rd_spec(seed=6, grid_size=32, turing_threshold=0.5, **fast)  # type: ignore[arg-type]  # numbers
    state, expected = after(single, spec, 300), reference(spec, 300)
    count, wanted = state.counters["turing_activations"], expected.counters["turing_activations"]
    assert wanted > 1000
    assert count == pytest.approx(wanted, rel=0.01)
