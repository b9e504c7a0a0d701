"""What the conformance suite does not ask: blocks, memory, interruption, corners of steering and restoring."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_core.compute import NeverCancelled
from mfn_core.testing.backend import CancelledAfter, assert_same_state
from mfn_engine_numpy import NumpyBackend, NumpySession
from mfn_engine_numpy._program import passes
from mfn_engine_numpy.session import PASSES_PER_SLICE
from mfn_model import (
    MODELS,
    Checkpoint,
    Constant,
    FieldModel,
    FieldSpec,
    FieldState,
    Kick,
    Noise,
    Normal,
    NumericalInstabilityError,
    Parameter,
    SpecError,
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
from mfn_model.stencil import periodic_laplacian

NEVER = NeverCancelled()


def stepped(session: NumpySession, steps: int) -> FieldState:
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
    state = stepped(NumpySession(spec, block_cells=block_cells), steps)
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
    state = stepped(NumpySession(spec, block_cells=block_cells), steps)
    expected = reference_mycelium_rd(spec, steps)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_a_pattern_that_forms_and_is_kicked_equals_its_reference(boundary: str) -> None:
    fast = {"r_activator": 0.1, "r_inhibitor": 0.001, "d_activator": 0.01, "d_inhibitor": 0.24}
    spec = mycelium_rd_spec(seed=5, grid_size=12, turing_threshold=0.5, boundary=boundary, **fast)  # type: ignore[arg-type]  # a table of numbers
    state, expected = stepped(NumpySession(spec), 600), reference_mycelium_rd(spec, 600)
    assert expected.counters["turing_activations"] > 1000
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


@pytest.mark.parametrize(("grid_size", "steps"), [(150, 30), (257, 12)])
@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_grids_of_the_variant_in_several_blocks_equal_its_reference(grid_size: int, steps: int, boundary: str) -> None:
    spec = mycelium_rd_spec(seed=3, grid_size=grid_size, spike_probability=0.9, boundary=boundary)
    assert_same_state(stepped(NumpySession(spec), steps), reference_mycelium_rd(spec, steps))


def test_a_held_edge_can_be_steered() -> None:
    spec = mycelium_rd_spec(grid_size=6, spike_probability=0.0, boundary="dirichlet", boundary_potential=-0.07)
    session = NumpySession(spec)
    session.step(20, NEVER)
    session.set_parameter("boundary_potential", 0.04)
    assert stepped(session, 2000).field.min() == pytest.approx(0.04, abs=1e-9)


@given(
    model=st.sampled_from(sorted(MODELS)),
    seed=st.integers(0, 2**63 - 1),
    grid_size=st.integers(1, 24),
    steps=st.integers(0, 60),
    block_cells=st.sampled_from([None, 1, 50, 300]),
    boundary=st.integers(0, 2),
)
@settings(max_examples=150, deadline=None)
def test_every_declared_model_equals_its_plain_evaluation_bit_for_bit(
    model: str, seed: int, grid_size: int, steps: int, block_cells: int | None, boundary: int
) -> None:
    boundaries = MODELS[model].boundaries
    spec = FieldSpec(model=model, seed=seed, grid_size=grid_size, boundary=boundaries[boundary % len(boundaries)])
    state, expected = stepped(NumpySession(spec, block_cells=block_cells), steps), reference(spec, steps)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_pattern_in_several_blocks_equals_its_plain_evaluation(model: str) -> None:
    spec = FieldSpec(model=model, seed=5, grid_size=40)
    state, expected = stepped(NumpySession(spec, block_cells=400), 900), reference(spec, 900)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


WHOLE_LANGUAGE = FieldModel(
    name="numpy_whole_language",
    summary="every function of the language, kicks of both signs, two noises, species that stand still",
    species=(
        Species(
            name="u",
            unit="1",
            description="reacts",
            diffusion="d",
            reaction="rate * (tanh(u) - abs(v) * u**3 + minimum(u, v)"
            " - maximum(-u, v) / (2 + exp(-u**2)) + u**0 - u**1)",
            minimum=-1.5,
            maximum=1.5,
            counts_clamping=True,
            initial=Normal(mean="0", deviation="0.6"),
        ),
        Species(
            name="v",
            unit="1",
            description="changes without diffusion",
            reaction="-0.1 * sqrt(abs(u)) * v + 0.02",
            minimum=-1.0,
            maximum=1.0,
            initial=Uniform(low="-1", high="1"),
        ),
        Species(name="w", unit="1", description="takes the value of v", reaction="v", minimum=-9.0, maximum=9.0),
        Species(name="k", unit="1", description="only diffuses", diffusion="d", initial=Uniform(low="0", high="1")),
        Species(name="s", unit="1", description="stands still", initial=Uniform(low="0", high="1")),
    ),
    parameters=(
        Parameter(name="d", default=0.2, unit="cells²/step", description="diffusion", minimum=0.0, maximum=0.25),
        Parameter(name="rate", default=0.1, unit="1/step", description="rate", minimum=0.0, maximum=1.0),
        Parameter(name="noisy", default=True, unit="1", description="whether there is noise", kind="bool"),
    ),
    spikes=(
        Spike(species="u", probability="0.5", mean="1", deviation="0.5"),
        Spike(species="k", probability="0.9", mean="-2", deviation="0.1"),
    ),
    kicks=(
        Kick(species="u", above="0.9", target="k", amount="0.25", counter="raised"),
        Kick(species="k", above="0.5", target="u", amount="-0.3", counter="lowered"),
    ),
    noises=(
        Noise(species="u", variance="0.0001", when="noisy"),
        Noise(species="k", variance="0.0004", when="noisy"),
    ),
    boundary="periodic",
    further_boundaries=("neumann", "dirichlet"),
    source="this test",
)


@pytest.fixture
def whole_language() -> str:
    return register_model(WHOLE_LANGUAGE).name


@pytest.mark.parametrize("update", ["simultaneous", "sequential"])
@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
@pytest.mark.parametrize("block_cells", [None, 60])
def test_all_that_a_declaration_can_say_equals_its_plain_evaluation(
    update: Literal["simultaneous", "sequential"], noisy: bool, boundary: str, block_cells: int | None
) -> None:
    model = register_model(dataclasses.replace(WHOLE_LANGUAGE, name=f"numpy_whole_language_{update}", update=update))
    spec = FieldSpec(model=model.name, seed=11, grid_size=14, boundary=boundary, parameters={"noisy": noisy})
    state, expected = stepped(NumpySession(spec, block_cells=block_cells), 80), reference(spec, 80)
    assert min(expected.counters.values()) > 0
    assert_same_state(state, expected, 1e-12)  # exp and tanh may differ in the last place
    assert dict(state.counters) == dict(expected.counters)


def test_noise_can_be_switched_on_and_off_without_another_difference(whole_language: str) -> None:
    spec = FieldSpec(model=whole_language, seed=2, grid_size=9, parameters={"noisy": False})
    session = NumpySession(spec)
    before = stepped(session, 5)
    session.set_parameter("noisy", True)
    assert_same_state(session.state(), before)
    session.set_parameter("noisy", 0)
    assert_same_state(stepped(session, 5), reference(spec, 10), 1e-12)


def exploding(name: str, **changes: Any) -> FieldSpec:
    species = Species(
        name="u", unit="1", description="doubles", diffusion="0.1", reaction="3 * u**2", initial=Constant(value="2")
    )
    model = FieldModel(
        name=name,
        summary="explodes",
        species=(dataclasses.replace(species, **changes),),
        parameters=(),
        boundary="periodic",
        source="this test",
    )
    return FieldSpec(model=register_model(model).name, seed=0, grid_size=6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"minimum": -1e200, "maximum": 1e200, "reaction": "(u - 3) * 1e300 * 1e300 - u * 1e300 * 1e300"},
        {"minimum": -1.0, "maximum": 1.0, "reaction": "(u - u) / (u - u)", "counts_clamping": True},
        {"minimum": -1.0, "maximum": 1.0, "reaction": "(u - u) / (u - u)"},
    ],
)
@pytest.mark.parametrize("block_cells", [None, 10])
def test_numbers_that_are_not_finite_end_the_session_at_the_step_of_the_plain_evaluation(
    changes: dict[str, Any], block_cells: int | None
) -> None:
    spec = exploding(f"numpy_explodes_{abs(hash(str(changes)))}", **changes)
    session = NumpySession(spec, block_cells=block_cells)
    with pytest.raises(NumericalInstabilityError) as expected:
        reference(spec, 40)
    with pytest.raises(NumericalInstabilityError) as caught:
        session.step(40, NEVER)
    for about in ("step", "species", "nan_count", "inf_count"):
        assert getattr(caught.value, about) == getattr(expected.value, about)
    with pytest.raises(RuntimeError, match="open another"):
        session.step(1, NEVER)


@pytest.mark.parametrize("block_cells", [None, 10])
def test_infinities_that_a_range_takes_back_are_no_instability(block_cells: int | None) -> None:
    spec = exploding("numpy_vanishing", minimum=-1.0, maximum=1.0, reaction="1 / (u - 1)", counts_clamping=True)
    assert_same_state(stepped(NumpySession(spec, block_cells=block_cells), 9), reference(spec, 9))


def test_a_state_from_outside_the_ranges_is_looked_at_although_the_ranges_prove_the_rest() -> None:
    checkpoint = NumpySession(mycelium_spec(grid_size=6)).checkpoint()
    huge = {**checkpoint.state.species, "activator": np.full((6, 6), 1e200)}
    state = FieldState(step=0, field=checkpoint.state.field, species=huge)
    session = NumpyBackend().restore(dataclasses.replace(checkpoint, state=state))
    session.step(1, NEVER)  # to −∞, and back into its range
    assert float(session.state().species["activator"].max()) == 0.0
    absurd = {**checkpoint.state.species, "activator": np.full((6, 6), 1.5e308)}
    state = FieldState(step=0, field=checkpoint.state.field, species=absurd)
    session = NumpyBackend().restore(dataclasses.replace(checkpoint, state=state))
    with pytest.raises(NumericalInstabilityError):
        session.step(1, NEVER)


@pytest.mark.parametrize(("grid_size", "steps"), [(150, 30), (257, 12)])
def test_grids_in_several_blocks_equal_the_reference(grid_size: int, steps: int) -> None:
    spec = mycelium_spec(seed=3, grid_size=grid_size, spike_probability=0.9)
    assert_same_state(stepped(NumpySession(spec), steps), reference_mycelium(spec, steps))


@pytest.mark.parametrize("block_cells", [None, 100])
def test_very_long_trajectories_equal_the_reference(block_cells: int | None) -> None:
    spec = mycelium_spec(seed=5, grid_size=12, spike_probability=1.0)
    state = stepped(NumpySession(spec, block_cells=block_cells), 10_000)
    assert state.field.max() == 0.040  # the mean rises with every spike until it meets the clamp
    assert_same_state(state, reference_mycelium(spec, 10_000))


def test_concentrations_clipped_at_zero_equal_the_reference() -> None:
    checkpoint = NumpySession(mycelium_spec(seed=1, grid_size=8)).checkpoint()
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
    session = NumpySession(mycelium_spec(grid_size=grid_size, spike_probability=1.0, **spec))
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
    token = CancelledAfter(3)
    session = NumpySession(mycelium_spec(grid_size=side))
    assert session.step(10, token) == 3
    assert len(token.times) == 4


def test_a_small_grid_does_many_steps_between_two_looks() -> None:
    token = CancelledAfter(1)
    spec = mycelium_spec(grid_size=10)
    work = passes(spec.declaration.dynamics.switched(spec.parameters)) * 100
    assert NumpySession(spec).step(10**9, token) == PASSES_PER_SLICE // work


def test_a_number_of_steps_that_is_no_integer_is_refused() -> None:
    session = NumpySession(mycelium_spec(grid_size=4))
    with pytest.raises(TypeError):
        session.step(1.5, NEVER)  # type: ignore[arg-type]  # what is being tested
    assert stepped(session, 1).step == 1


def test_an_interrupt_in_the_middle_of_a_step_makes_the_session_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    session = NumpySession(mycelium_spec(grid_size=4, spike_probability=1.0))

    def interrupted(self: NumpySession, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(NumpySession, "_spike", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.step(1, NEVER)
    monkeypatch.undo()
    for use in (lambda: session.step(1, NEVER), session.state, session.checkpoint, lambda: session.inject(0, 0, 0.1)):
        with pytest.raises(RuntimeError, match="interrupted in the middle of a step"):
            use()
    session.close()


def test_every_method_of_a_closed_session_refuses() -> None:
    session = NumpySession(mycelium_spec(grid_size=4))
    session.close()
    for use in (session.checkpoint, lambda: session.inject(0, 0, 0.1), lambda: session.set_parameter("alpha", 0.1)):
        with pytest.raises(RuntimeError, match="the session is closed"):
            use()


def test_a_switch_is_steered_by_a_truth_value_or_by_one_and_zero() -> None:
    noisy, quiet = mycelium_spec(grid_size=8, jitter=True), mycelium_spec(grid_size=8)
    for on in (True, 1.0, 1):
        session = NumpySession(quiet)
        session.set_parameter("jitter", on)
        assert_same_state(stepped(session, 5), reference_mycelium(noisy, 5))
    session = NumpySession(noisy)
    session.set_parameter("jitter", 0.0)
    assert_same_state(stepped(session, 5), reference_mycelium(quiet, 5))
    with pytest.raises(SpecError, match="jitter must be true or false"):
        session.set_parameter("jitter", 0.5)


def test_the_species_cannot_be_switched_in_a_running_session() -> None:
    for enabled in (True, False):
        spec = mycelium_spec(grid_size=6, turing_enabled=enabled)
        session = NumpySession(spec)
        with pytest.raises(SpecError, match="turing_enabled cannot change in a running session"):
            session.set_parameter("turing_enabled", not enabled)
        assert_same_state(stepped(session, 3), reference_mycelium(spec, 3))


def test_a_lower_threshold_takes_effect_although_kicks_were_ruled_out_before() -> None:
    session = NumpySession(mycelium_spec(grid_size=8))
    session.step(30, NEVER)
    before = session.state()
    assert before.counters["turing_activations"] == 0
    session.set_parameter("turing_threshold", 0.0)
    session.step(1, NEVER)
    assert session.state().counters["turing_activations"] == 64


def test_repeated_injections_are_clamped_and_counted() -> None:
    session = NumpySession(mycelium_spec(grid_size=8, spike_probability=0.0))
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
        NumpySession(mycelium_spec(grid_size=8)).inject(*arguments)
    assert [violation.field for violation in caught.value.violations] == fields


def checkpoint_of(steps: int = 5, **values: Any) -> Checkpoint:
    session = NumpySession(mycelium_spec(grid_size=6, spike_probability=1.0, **values))
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
    even = {**checkpoint.generator, "state": {**checkpoint.generator["state"], "inc": 4}}
    for generator in ({}, np.random.MT19937(1).state, {**checkpoint.generator, "state": {"state": "x"}}, even):
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
    nan = np.full((6, 6), np.nan)
    for changes, message in (
        ({"field": nan}, "potential holds values that are not finite"),
        ({"species": {**checkpoint.state.species, "inhibitor": nan}}, "inhibitor holds values that are not finite"),
    ):
        state = dataclasses.replace(checkpoint.state, **changes)
        with pytest.raises(ValueError, match=message):
            NumpyBackend().restore(dataclasses.replace(checkpoint, state=state))
