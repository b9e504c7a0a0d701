"""Every trajectory equals the plain evaluation of its declaration, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfn_core.compute import NeverCancelled
from mfn_core.testing.backend import assert_same_state
from mfn_engine_numba import NumbaBackend, _field
from mfn_model import (
    Constant,
    FieldModel,
    FieldSpec,
    FieldState,
    Kick,
    Noise,
    Normal,
    Parameter,
    Patches,
    Species,
    Spike,
    Uniform,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
    reference_mycelium,
    reference_mycelium_rd,
    register_model,
)

pytestmark = pytest.mark.timeout(300)  # what is compiled first takes a while

NEVER = NeverCancelled()

of_one_backend = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def after(backend: NumbaBackend, spec: FieldSpec, *steps: int) -> FieldState:
    session = backend.open(spec)
    for count in steps:
        assert session.step(count, NEVER) == count
    state = session.state()
    session.close()
    return state


def assert_equal(state: FieldState, expected: FieldState, tolerance: float = 0.0) -> None:
    assert_same_state(state, expected, tolerance)
    assert dict(state.counters) == dict(expected.counters)


@given(
    seed=st.integers(0, 2**63 - 1),
    grid_size=st.integers(1, 40),
    steps=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    alpha=st.floats(0.001, 0.25),
    spike_probability=st.floats(0.0, 1.0),
    turing_enabled=st.booleans(),
    turing_threshold=st.sampled_from([0.0, 0.01, 0.04, 0.05, 0.06, 0.09, 0.75, 1.0]),
    jitter=st.booleans(),
    jitter_variance=st.sampled_from([0.0, 1e-8, 0.0005, 0.01]),
)
@of_one_backend
def test_every_trajectory_of_the_mycelium_equals_the_evaluation_by_hand(
    backend: NumbaBackend, steps: list[int], **values: Any
) -> None:
    spec = mycelium_spec(**values)
    assert_equal(after(backend, spec, *steps), reference_mycelium(spec, sum(steps)))


@given(
    seed=st.integers(0, 2**63 - 1),
    grid_size=st.integers(1, 24),
    steps=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    alpha=st.floats(0.05, 0.2499),
    spike_probability=st.floats(0.0, 1.0),
    turing_enabled=st.booleans(),
    turing_threshold=st.floats(0.5, 0.95),
    jitter=st.booleans(),
    jitter_variance=st.sampled_from([0.0, 1e-8, 0.0005, 0.01]),
    d_activator=st.floats(0.01, 0.2499),
    d_inhibitor=st.floats(0.01, 0.2499),
    r_activator=st.floats(0.001, 0.1),
    r_inhibitor=st.floats(0.001, 0.1),
    boundary=st.sampled_from(["periodic", "neumann", "dirichlet"]),
    boundary_potential=st.floats(-0.095, 0.040),
)
@of_one_backend
def test_every_trajectory_of_the_variant_equals_the_evaluation_by_hand(
    backend: NumbaBackend, steps: list[int], **values: Any
) -> None:
    spec = mycelium_rd_spec(**values)
    assert_equal(after(backend, spec, *steps), reference_mycelium_rd(spec, sum(steps)))


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_a_pattern_that_forms_and_is_kicked_equals_the_evaluation_by_hand(backend: NumbaBackend, boundary: str) -> None:
    spec = mycelium_rd_spec(
        seed=5,
        grid_size=16,
        turing_threshold=0.5,
        d_activator=0.01,
        d_inhibitor=0.24,
        r_activator=0.1,
        r_inhibitor=0.001,
        boundary=boundary,
    )
    expected = reference_mycelium_rd(spec, 600)
    assert expected.counters["turing_activations"] > 1000
    assert_equal(after(backend, spec, 600), expected)


def test_very_long_trajectories_equal_the_evaluation_by_hand(backend: NumbaBackend) -> None:
    spec = mycelium_spec(seed=5, grid_size=12, spike_probability=1.0)
    state = after(backend, spec, 10_000)
    assert state.field.max() == 0.040  # the mean rises with every spike until it meets the clamp
    assert_equal(state, reference_mycelium(spec, 10_000))


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
@pytest.mark.parametrize("grid_size", [1, 2, 3, 5, 8, 9, 16, 24, 31])
def test_sweeps_of_many_steps_give_the_same_numbers_on_the_smallest_grids(
    backend: NumbaBackend, monkeypatch: pytest.MonkeyPatch, grid_size: int, boundary: str
) -> None:
    # As if the fields were too large for the caches.
    monkeypatch.setattr(_field, "_SMALL_FIELD", 0)
    monkeypatch.setattr(_field, "_MANY_LEVELS", 16)
    spec = mycelium_rd_spec(seed=9, grid_size=grid_size, spike_probability=0.9, boundary=boundary)
    assert_equal(after(backend, spec, 1, 40, 7), reference_mycelium_rd(spec, 48))
    kicked = mycelium_spec(seed=9, grid_size=grid_size, spike_probability=0.9, turing_threshold=0.0)
    assert_equal(after(backend, kicked, 5, 40), reference_mycelium(kicked, 45))


@pytest.mark.parametrize(("grid_size", "steps"), [(257, 12), (424, 20)])
def test_large_grids_equal_the_evaluation_by_hand(backend: NumbaBackend, grid_size: int, steps: int) -> None:
    spec = mycelium_spec(seed=3, grid_size=grid_size, spike_probability=0.9)
    assert_equal(after(backend, spec, steps), reference_mycelium(spec, steps))


def _parameter(name: str, default: float | bool, **further: Any) -> Parameter:
    return Parameter(name=name, default=default, unit="1", description=name, **further)


EVERYTHING = FieldModel(
    name="numba_test_everything",
    summary="whatever a declaration can say, in one model",
    species=(
        Species(
            name="first",
            symbol="u",
            unit="1",
            description="reads the second one",
            diffusion="0.1 + width / 10",
            reaction="rate * (minimum(u, v) - maximum(u, 0.1) / 2) * abs(u - v) + sqrt(v) / 50 - u**3 / 40",
            minimum=-0.75,
            maximum=1.1,
            counts_clamping=True,
            outside="rate",
            initial=Normal(mean="0.1 * rate", deviation="width"),
        ),
        Species(
            name="second",
            symbol="v",
            unit="1",
            description="does not diffuse",
            reaction="0.01 * (tanh(u) + exp(-u * u) - v) * u**0",
            minimum=0.0,
            initial=Uniform(low="0.25", high="rate"),
        ),
        Species(
            name="third",
            symbol="w",
            unit="1",
            description="reads the first one, where it is there",
            diffusion="0.25",
            reaction="-0.02 * (w - u) / (1 + w * w)",
            when="enabled",
            initial=Constant(value="0.5"),
        ),
        Species(
            name="fourth",
            symbol="x",
            unit="1",
            description="never changes by itself",
            when="enabled",
            initial=Normal(mean="0", deviation="1"),
        ),
    ),
    parameters=(
        _parameter("rate", 0.5, minimum=0.3, maximum=2.0),
        _parameter("width", 0.2, minimum=0.0, maximum=1.0),
        _parameter("enabled", True, kind="bool"),
        _parameter("noisy", False, kind="bool"),
        _parameter("spiking", True, kind="bool"),
    ),
    update="sequential",
    spikes=(
        Spike(species="first", probability="0.3", mean="-0.2", deviation="0.3", when="spiking"),
        Spike(species="fourth", probability="0.6", mean="0.2", deviation="width"),
    ),
    kicks=(
        Kick(species="first", above="rate / 4", target="second", amount="0.002", counter="pushed"),
        Kick(species="second", above="0.4", target="first", amount="-0.001", counter="pulled"),
        Kick(species="fourth", above="2", target="fourth", amount="-0.5", counter="pulled"),
    ),
    noises=(
        Noise(species="second", variance="0.0001", when="noisy"),
        Noise(species="first", variance="0.0002", when="noisy"),
    ),
    patches=Patches(count="3", side="2", values=(("first", "0.9"), ("fourth", "rate"))),
    draws_absent_species=True,
    boundary="periodic",
    further_boundaries=("neumann", "dirichlet"),
    source="these tests",
)


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
@pytest.mark.parametrize("grid_size", [2, 7, 16])
@pytest.mark.parametrize(
    "switches",
    [{}, {"noisy": True}, {"spiking": False}, pytest.param({"enabled": False}, marks=pytest.mark.slow)],
)
def test_whatever_a_declaration_can_say_is_computed(
    backend: NumbaBackend, grid_size: int, boundary: str, switches: dict[str, bool]
) -> None:
    register_model(EVERYTHING)
    spec = FieldSpec(model=EVERYTHING.name, grid_size=grid_size, seed=4, boundary=boundary, parameters=switches)
    expected = reference(spec, 50)
    assert (grid_size, boundary) != (16, "periodic") or all(expected.counters.values())
    # exp and tanh are those of another library.
    assert_equal(after(backend, spec, 20, 30), expected, 1e-13)


def test_initial_states_are_those_of_numpy(backend: NumbaBackend) -> None:
    register_model(EVERYTHING)
    for grid_size in (1, 8, 13):
        for seed in (0, 2**32, 2**63 - 1):
            spec = FieldSpec(model=EVERYTHING.name, grid_size=grid_size, seed=seed)
            assert_equal(after(backend, spec, 0), reference(spec, 0))


def test_states_are_matrices_in_the_order_of_rows_and_columns(backend: NumbaBackend) -> None:
    spec = mycelium_spec(seed=1, grid_size=16, spike_probability=0.0)
    session = backend.open(spec)
    session.inject(3, 5, 0.05)
    state = session.state()
    assert np.unravel_index(int(np.argmax(state.field)), (16, 16)) == (3, 5)
