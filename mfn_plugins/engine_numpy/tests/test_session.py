"""What the conformance suite does not ask: blocks, memory, interruption, corners of steering and restoring."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_core.compute import NeverCancelled
from mfn_core.testing.backend import CancelledAfter, assert_same_state
from mfn_engine_numpy import MyceliumSession, NumpyBackend
from mfn_engine_numpy._guard import LONGEST_QUIET
from mfn_engine_numpy.session import CELL_STEPS_PER_SLICE
from mfn_model import (
    Checkpoint,
    FieldState,
    NumericalInstabilityError,
    SpecError,
    mycelium_rd_spec,
    mycelium_spec,
    reference_mycelium,
    reference_mycelium_rd,
)
from mfn_model.stencil import periodic_laplacian

NEVER = NeverCancelled()


def stepped(session: MyceliumSession, steps: int) -> FieldState:
    assert session.step(steps, NEVER) == steps
    return session.state()


@given(
    seed=st.integers(0, 2**63 - 1),
    grid_size=st.integers(1, 40),
    steps=st.integers(0, 150),
    alpha=st.floats(0.001, 0.25),
    spike_probability=st.floats(0.0, 1.0),
    turing_enabled=st.booleans(),
    turing_threshold=st.sampled_from([0.0, 0.01, 0.04, 0.05, 0.06, 0.09, 0.75, 1.0]),
    jitter=st.booleans(),
    jitter_variance=st.sampled_from([0.0, 1e-8, 0.0005, 0.01]),
    block_cells=st.sampled_from([None, 1, 50, 300]),
)
@settings(max_examples=150, deadline=None)
def test_every_trajectory_equals_the_reference_bit_for_bit(steps: int, block_cells: int | None, **values: Any) -> None:
    spec = mycelium_spec(**values)
    state = stepped(MyceliumSession(spec, block_cells=block_cells), steps)
    expected = reference_mycelium(spec, steps)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


@given(
    seed=st.integers(0, 2**63 - 1),
    grid_size=st.integers(1, 24),
    steps=st.integers(0, 120),
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
    block_cells=st.sampled_from([None, 1, 50, 300]),
)
@settings(max_examples=200, deadline=None)
def test_every_trajectory_of_the_variant_equals_its_reference_bit_for_bit(
    steps: int, block_cells: int | None, **values: Any
) -> None:
    spec = mycelium_rd_spec(**values)
    state = stepped(MyceliumSession(spec, block_cells=block_cells), steps)
    expected = reference_mycelium_rd(spec, steps)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_a_pattern_that_forms_and_is_kicked_equals_its_reference(boundary: str) -> None:
    fast = {"r_activator": 0.1, "r_inhibitor": 0.001, "d_activator": 0.01, "d_inhibitor": 0.24}
    spec = mycelium_rd_spec(seed=5, grid_size=12, turing_threshold=0.5, boundary=boundary, **fast)  # type: ignore[arg-type]  # a table of numbers
    state, expected = stepped(MyceliumSession(spec), 600), reference_mycelium_rd(spec, 600)
    assert expected.counters["turing_activations"] > 1000
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


@pytest.mark.parametrize(("grid_size", "steps"), [(150, 30), (257, 12)])
@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_grids_of_the_variant_in_several_blocks_equal_its_reference(grid_size: int, steps: int, boundary: str) -> None:
    spec = mycelium_rd_spec(seed=3, grid_size=grid_size, spike_probability=0.9, boundary=boundary)
    assert_same_state(stepped(MyceliumSession(spec), steps), reference_mycelium_rd(spec, steps))


def test_a_held_edge_can_be_steered() -> None:
    spec = mycelium_rd_spec(grid_size=6, spike_probability=0.0, boundary="dirichlet", boundary_potential=-0.07)
    session = MyceliumSession(spec)
    session.step(20, NEVER)
    session.set_parameter("boundary_potential", 0.04)
    assert stepped(session, 2000).field.min() == pytest.approx(0.04, abs=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("species", [0, 1])
def test_numbers_that_are_not_finite_end_the_session_with_a_typed_error(species: int, value: float) -> None:
    session = MyceliumSession(mycelium_rd_spec(grid_size=8))
    session.step(5, NEVER)
    session._species[species][2, 3] = value
    session._forget_prospect()
    with pytest.raises(NumericalInstabilityError) as caught:
        session.step(100, NEVER)
    name = ("potential", "activator")[species]
    assert (caught.value.step, caught.value.species) == (5, name)
    assert caught.value.nan_count + caught.value.inf_count == 1
    with pytest.raises(RuntimeError, match="open another"):
        session.step(1, NEVER)


def test_numbers_that_are_not_finite_are_found_within_the_longest_quiet() -> None:
    session = MyceliumSession(mycelium_rd_spec(grid_size=8, spike_probability=0.0))
    session.step(60, NEVER)
    session._potential[2, 3] = np.nan
    with pytest.raises(NumericalInstabilityError):
        session.step(LONGEST_QUIET + 1, NEVER)


@pytest.mark.parametrize(("grid_size", "steps"), [(150, 30), (257, 12)])
def test_grids_in_several_blocks_equal_the_reference(grid_size: int, steps: int) -> None:
    spec = mycelium_spec(seed=3, grid_size=grid_size, spike_probability=0.9)
    assert_same_state(stepped(MyceliumSession(spec), steps), reference_mycelium(spec, steps))


@pytest.mark.parametrize("block_cells", [None, 100])
def test_very_long_trajectories_equal_the_reference(block_cells: int | None) -> None:
    spec = mycelium_spec(seed=5, grid_size=12, spike_probability=1.0)
    state = stepped(MyceliumSession(spec, block_cells=block_cells), 10_000)
    assert state.field.max() == 0.040  # the mean rises with every spike until it meets the clamp
    assert_same_state(state, reference_mycelium(spec, 10_000))


def test_concentrations_clipped_at_zero_equal_the_reference() -> None:
    checkpoint = MyceliumSession(mycelium_spec(seed=1, grid_size=8)).checkpoint()
    side = np.zeros((8, 8))
    side[:, :4] = 1.0
    species = {"activator": side, "inhibitor": 1.0 - side}
    state = FieldState(step=0, field=checkpoint.state.field, species=species)
    session = NumpyBackend().restore(dataclasses.replace(checkpoint, state=state))
    activator, inhibitor = side, 1.0 - side
    for _ in range(40):
        reaction = 0.01 * (activator * (1 - activator) - inhibitor)
        new = activator + (0.1 * periodic_laplacian(activator) + reaction)
        inhibitor = inhibitor + (0.05 * periodic_laplacian(inhibitor) + 0.02 * (new - inhibitor))
        activator, inhibitor = np.clip(new, 0, 1), np.clip(inhibitor, 0, 1)
        session.step(1, NEVER)
        assert np.array_equal(session.state().species["activator"], activator)
        assert np.array_equal(session.state().species["inhibitor"], inhibitor)


@pytest.mark.parametrize("spec", [{}, {"jitter": True}, {"turing_threshold": 0.0}, {"turing_enabled": False}])
@pytest.mark.parametrize("grid_size", [64, 200])
def test_stepping_allocates_nothing(spec: dict[str, Any], grid_size: int) -> None:
    session = MyceliumSession(mycelium_spec(grid_size=grid_size, spike_probability=1.0, **spec))
    session.step(3, NEVER)
    tracemalloc.start()
    try:
        session.step(3, NEVER)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        session.step(40, NEVER)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Numbers and views come and go; an array of one row would already be larger.
    assert peak - before < grid_size * 8 + 4096
    assert after - before < 1024
    assert peak - before < grid_size * grid_size


def test_a_large_grid_looks_at_the_token_before_every_step() -> None:
    side = 450
    assert side * side > CELL_STEPS_PER_SLICE
    token = CancelledAfter(3)
    session = MyceliumSession(mycelium_spec(grid_size=side))
    assert session.step(10, token) == 3
    assert len(token.times) == 4


def test_a_small_grid_does_many_steps_between_two_looks() -> None:
    token = CancelledAfter(1)
    assert MyceliumSession(mycelium_spec(grid_size=10)).step(10**9, token) == CELL_STEPS_PER_SLICE // 100


def test_a_number_of_steps_that_is_no_integer_is_refused() -> None:
    session = MyceliumSession(mycelium_spec(grid_size=4))
    with pytest.raises(TypeError):
        session.step(1.5, NEVER)  # type: ignore[arg-type]  # what is being tested
    assert stepped(session, 1).step == 1


def test_an_interrupt_in_the_middle_of_a_step_makes_the_session_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    session = MyceliumSession(mycelium_spec(grid_size=4, spike_probability=1.0))

    def interrupted(self: MyceliumSession) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MyceliumSession, "_spike", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.step(1, NEVER)
    monkeypatch.undo()
    for use in (lambda: session.step(1, NEVER), session.state, session.checkpoint, lambda: session.inject(0, 0, 0.1)):
        with pytest.raises(RuntimeError, match="interrupted in the middle of a step"):
            use()
    session.close()


def test_every_method_of_a_closed_session_refuses() -> None:
    session = MyceliumSession(mycelium_spec(grid_size=4))
    session.close()
    for use in (session.checkpoint, lambda: session.inject(0, 0, 0.1), lambda: session.set_parameter("alpha", 0.1)):
        with pytest.raises(RuntimeError, match="the session is closed"):
            use()


def test_a_switch_is_steered_by_a_truth_value_or_by_one_and_zero() -> None:
    noisy, quiet = mycelium_spec(grid_size=8, jitter=True), mycelium_spec(grid_size=8)
    for on in (True, 1.0, 1):
        session = MyceliumSession(quiet)
        session.set_parameter("jitter", on)
        assert_same_state(stepped(session, 5), reference_mycelium(noisy, 5))
    session = MyceliumSession(noisy)
    session.set_parameter("jitter", 0.0)
    assert_same_state(stepped(session, 5), reference_mycelium(quiet, 5))
    with pytest.raises(SpecError, match="jitter must be true or false"):
        session.set_parameter("jitter", 0.5)


def test_the_species_cannot_be_switched_in_a_running_session() -> None:
    for enabled in (True, False):
        spec = mycelium_spec(grid_size=6, turing_enabled=enabled)
        session = MyceliumSession(spec)
        with pytest.raises(SpecError, match="turing_enabled cannot change in a running session"):
            session.set_parameter("turing_enabled", not enabled)
        assert_same_state(stepped(session, 3), reference_mycelium(spec, 3))


def test_a_lower_threshold_takes_effect_although_kicks_were_ruled_out_before() -> None:
    session = MyceliumSession(mycelium_spec(grid_size=8))
    session.step(30, NEVER)
    before = session.state()
    assert before.counters["turing_activations"] == 0
    session.set_parameter("turing_threshold", 0.0)
    session.step(1, NEVER)
    assert session.state().counters["turing_activations"] == 64


def test_repeated_injections_are_clamped_and_counted() -> None:
    session = MyceliumSession(mycelium_spec(grid_size=8, spike_probability=0.0))
    session.step(40, NEVER)
    for _ in range(10):
        session.inject(3, 4, 0.05)
    state = session.state()
    assert state.field[3, 4] == 0.040
    assert state.growth_events == 10
    assert state.counters["clamping_events"] == 8
    assert stepped(session, 5).field.max() < 0.040


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ((-1, 0, 0.01), ["row"]),
        ((0, 8, 0.01), ["column"]),
        ((0.0, True, 0.01), ["row", "column"]),
        ((0, 0, float("nan")), ["amplitude"]),
        ((9, 9, "0.01"), ["row", "column", "amplitude"]),
    ],
)
def test_an_injection_reports_everything_that_is_wrong(arguments: tuple[Any, Any, Any], fields: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        MyceliumSession(mycelium_spec(grid_size=8)).inject(*arguments)
    assert [violation.field for violation in caught.value.violations] == fields


def checkpoint_of(steps: int = 5, **values: Any) -> Checkpoint:
    session = MyceliumSession(mycelium_spec(grid_size=6, spike_probability=1.0, **values))
    session.step(steps, NEVER)
    return session.checkpoint()


def test_counters_go_on_after_restoring() -> None:
    checkpoint = checkpoint_of(turing_threshold=0.0, jitter=True)
    state = stepped(NumpyBackend().restore(checkpoint), 5)
    expected = reference_mycelium(checkpoint.spec, 10)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


def test_a_checkpoint_whose_generator_is_not_ours_is_refused() -> None:
    checkpoint = checkpoint_of()
    for generator in ({}, np.random.MT19937(1).state, {**checkpoint.generator, "state": {"state": "x"}}):
        broken = dataclasses.replace(checkpoint, generator=generator)
        with pytest.raises(ValueError, match="not the state of a PCG64"):
            NumpyBackend().restore(broken)


def test_a_checkpoint_without_the_species_of_its_specification_is_refused() -> None:
    checkpoint = checkpoint_of()
    state = dataclasses.replace(checkpoint.state, species={})
    with pytest.raises(ValueError, match=r"carries the species \[\], its spec needs \['activator', 'inhibitor'\]"):
        NumpyBackend().restore(dataclasses.replace(checkpoint, state=state))


def test_a_checkpoint_with_impossible_values_is_refused() -> None:
    checkpoint = checkpoint_of()
    nan, negative = np.full((6, 6), np.nan), np.full((6, 6), -0.5)
    for changes, message in (
        ({"field": nan}, "field holds values that are not finite"),
        ({"species": {**checkpoint.state.species, "activator": negative}}, r"activator holds values outside \[0, 1\]"),
        ({"species": {**checkpoint.state.species, "inhibitor": nan}}, r"inhibitor holds values outside \[0, 1\]"),
    ):
        state = dataclasses.replace(checkpoint.state, **changes)
        with pytest.raises(ValueError, match=message):
            NumpyBackend().restore(dataclasses.replace(checkpoint, state=state))
