"""What the conformance suite does not ask: memory, slices, corners of steering and restoring, numbers that end."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mfn_core.compute import NeverCancelled
from mfn_core.testing.backend import CancelledAfter, assert_same_state
from mfn_engine_numba import NumbaBackend, NumbaSession, _field
from mfn_engine_numba import backend as backend_module
from mfn_model import (
    Checkpoint,
    FieldSpec,
    FieldState,
    NumericalInstabilityError,
    SpecError,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
    reference_mycelium,
)
from mfn_model.initial import draw_initial_state

pytestmark = pytest.mark.timeout(300)  # what is compiled first takes a while

NEVER = NeverCancelled()


def stepped(session: NumbaSession, steps: int) -> FieldState:
    assert session.step(steps, NEVER) == steps
    return session.state()


# Memory and slices.


@pytest.mark.parametrize("spec", [{}, {"jitter": True}, {"turing_threshold": 0.0}, {"turing_enabled": False}])
@pytest.mark.parametrize("grid_size", [64, 200])
def test_stepping_allocates_nothing(backend: NumbaBackend, spec: dict[str, Any], grid_size: int) -> None:
    session = backend.open(mycelium_spec(grid_size=grid_size, spike_probability=1.0, **spec))
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
    assert after - before < 1024
    assert peak - before < 2048  # a row would be larger


def test_a_session_takes_the_memory_of_one_field_and_a_little_more(backend: NumbaBackend) -> None:
    backend.open(mycelium_spec(grid_size=8)).close()
    tracemalloc.start()
    try:
        session = backend.open(mycelium_spec(grid_size=512))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    session.close()
    assert taken < 1.1 * 3 * 512 * 512 * 8


def test_a_large_grid_looks_at_the_token_after_a_few_steps(backend: NumbaBackend) -> None:
    token = CancelledAfter(3)
    session = backend.open(mycelium_spec(grid_size=1024, turing_enabled=False))
    assert 3 <= session.step(1000, token) <= 90
    assert len(token.times) == 4


def test_a_small_grid_does_many_steps_between_two_looks(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=10))
    assert session.step(10**9, CancelledAfter(1)) > 10_000


@pytest.mark.parametrize("guess", [2e7, 2e10])
def test_slices_adapt_to_the_speed_that_is_found(backend: NumbaBackend, guess: float) -> None:
    session = backend.open(mycelium_spec(grid_size=64, turing_enabled=False))
    session._speed = guess
    token = CancelledAfter(25)
    session.step(10**9, token)
    assert 1e8 < session._speed < 1.9e10
    gaps = [later - earlier for earlier, later in itertools.pairwise(token.times)]
    assert statistics.median(gaps[5:]) < 0.1


def test_a_number_of_steps_that_is_no_integer_is_refused(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=4))
    with pytest.raises(TypeError):
        session.step(1.5, NEVER)  # type: ignore[arg-type]  # what is being tested
    assert stepped(session, 1).step == 1


def test_every_method_of_a_closed_session_refuses(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=4))
    session.close()
    uses: list[Callable[[], object]] = [
        session.checkpoint,
        session.state,
        lambda: session.inject(0, 0, 0.1),
        lambda: session.set_parameter("alpha", 0.1),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="the session is closed"):
            use()


# Steering.


@pytest.mark.parametrize("bands", [1, 3])
def test_a_switch_is_steered_by_a_truth_value_or_by_one_and_zero(
    backend: NumbaBackend, monkeypatch: pytest.MonkeyPatch, bands: int
) -> None:
    monkeypatch.setattr(backend_module, "band_count", lambda grid, threads: bands)
    backend._threads = 3
    noisy, quiet = mycelium_rd_spec(grid_size=24, jitter=True), mycelium_rd_spec(grid_size=24)
    for on in (True, 1.0, 1):
        session = backend.open(quiet)
        session.set_parameter("jitter", on)
        assert_same_state(stepped(session, 5), reference(noisy, 5))
    session = backend.open(noisy)
    session.set_parameter("jitter", 0.0)
    assert_same_state(stepped(session, 5), reference(quiet, 5))
    with pytest.raises(SpecError, match="jitter must be true or false"):
        session.set_parameter("jitter", 0.5)
    backend.close()


def test_counters_and_the_step_go_on_when_noise_is_switched(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=8, spike_probability=1.0, turing_threshold=0.0))
    before = stepped(session, 10)
    session.set_parameter("jitter", True)
    after = session.state()
    assert (after.step, after.growth_events) == (10, 10)
    assert dict(after.counters) == dict(before.counters)
    assert after.counters["turing_activations"] > 0
    assert np.array_equal(after.field, before.field)


def test_the_species_cannot_be_switched_in_a_running_session(backend: NumbaBackend) -> None:
    for enabled in (True, False):
        spec = mycelium_spec(grid_size=6, turing_enabled=enabled)
        session = backend.open(spec)
        with pytest.raises(SpecError, match="turing_enabled cannot change in a running session"):
            session.set_parameter("turing_enabled", not enabled)
        assert_same_state(stepped(session, 3), reference_mycelium(spec, 3))


def test_a_held_edge_can_be_steered(backend: NumbaBackend) -> None:
    spec = mycelium_rd_spec(grid_size=6, spike_probability=0.0, boundary="dirichlet", boundary_potential=-0.07)
    session = backend.open(spec)
    session.step(20, NEVER)
    session.set_parameter("boundary_potential", 0.04)
    assert stepped(session, 2000).field.min() == pytest.approx(0.04, abs=1e-9)


def test_a_lower_threshold_takes_effect_although_kicks_were_ruled_out_before(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=8))
    assert stepped(session, 30).counters["turing_activations"] == 0
    session.set_parameter("turing_threshold", 0.0)
    assert stepped(session, 1).counters["turing_activations"] == 64


def test_an_injection_takes_effect_although_clipping_was_ruled_out_before(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=8, spike_probability=0.0))
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
def test_an_injection_reports_everything_that_is_wrong(
    backend: NumbaBackend, arguments: tuple[Any, Any, Any], fields: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        backend.open(mycelium_spec(grid_size=8)).inject(*arguments)
    assert [violation.field for violation in caught.value.violations] == fields


# Checkpoints.


def checkpoint_of(backend: NumbaBackend, steps: int = 5, **values: Any) -> Checkpoint:
    session = backend.open(mycelium_spec(grid_size=6, spike_probability=1.0, **values))
    session.step(steps, NEVER)
    return session.checkpoint()


def test_counters_go_on_after_restoring(backend: NumbaBackend) -> None:
    checkpoint = checkpoint_of(backend, turing_threshold=0.0, jitter=True)
    state = stepped(backend.restore(checkpoint), 5)
    expected = reference_mycelium(checkpoint.spec, 10)
    assert_same_state(state, expected)
    assert dict(state.counters) == dict(expected.counters)


def test_a_checkpoint_holds_the_state_of_numpy_s_generator(backend: NumbaBackend) -> None:
    spec = mycelium_spec(seed=3, grid_size=6, spike_probability=1.0)
    session = backend.open(spec)
    generator = np.random.default_rng(3)
    draw_initial_state(spec, generator, [np.empty((6, 6)) for _ in range(3)])
    assert dict(session.checkpoint().generator) == generator.bit_generator.state
    session.step(1, NEVER)
    generator.random(), generator.integers(0, 6), generator.integers(0, 6), generator.normal()
    assert dict(session.checkpoint().generator) == generator.bit_generator.state


def test_concentrations_that_begin_out_of_their_range_are_clipped(backend: NumbaBackend) -> None:
    checkpoint = checkpoint_of(backend, steps=0)
    species = {name: 2.0 * np.ones((6, 6)) for name in checkpoint.state.species}
    state = FieldState(step=0, field=checkpoint.state.field, species=species)
    session = backend.restore(dataclasses.replace(checkpoint, state=state))
    assert {values.max() for values in stepped(session, 1).species.values()} == {1.0}


def test_a_checkpoint_whose_generator_is_not_ours_is_refused(backend: NumbaBackend) -> None:
    checkpoint = checkpoint_of(backend)
    even = {**checkpoint.generator, "state": {**checkpoint.generator["state"], "inc": 4}}
    for generator in ({}, np.random.MT19937(1).state, {**checkpoint.generator, "state": {"state": "x"}}, even):
        broken = dataclasses.replace(checkpoint, generator=generator)
        with pytest.raises(ValueError, match="not the state of a PCG64"):
            backend.restore(broken)


def test_a_checkpoint_without_the_species_of_its_specification_is_refused(backend: NumbaBackend) -> None:
    checkpoint = checkpoint_of(backend)
    state = dataclasses.replace(checkpoint.state, species={})
    with pytest.raises(ValueError, match=r"carries the species \[\], its spec needs \['activator', 'inhibitor'\]"):
        backend.restore(dataclasses.replace(checkpoint, state=state))


def test_a_checkpoint_with_impossible_values_is_refused(backend: NumbaBackend) -> None:
    checkpoint = checkpoint_of(backend)
    nan = np.full((6, 6), np.nan)
    for changes, message in (
        ({"field": nan}, "potential holds values that are not finite"),
        ({"species": {**checkpoint.state.species, "inhibitor": nan}}, "inhibitor holds values that are not finite"),
    ):
        state = dataclasses.replace(checkpoint.state, **changes)
        with pytest.raises(ValueError, match=message):
            backend.restore(dataclasses.replace(checkpoint, state=state))


# Numbers that are no longer finite.


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
@pytest.mark.parametrize(("grid_size", "levels", "bands"), [(9, 2, 1), (16, 8, 1), (32, 8, 1), (32, 8, 3)])
def test_the_step_and_the_cells_of_an_instability_are_those_of_the_plain_evaluation(
    backend: NumbaBackend,
    monkeypatch: pytest.MonkeyPatch,
    explosive: FieldSpec,
    grid_size: int,
    boundary: str,
    levels: int,
    bands: int,
) -> None:
    monkeypatch.setattr(_field, "_SMALL_FIELD", 0)
    monkeypatch.setattr(_field, "_MANY_LEVELS", levels)
    monkeypatch.setattr(backend_module, "band_count", lambda grid, threads: bands)
    backend._threads = 3
    for seed in range(4):
        spec = dataclasses.replace(explosive, grid_size=grid_size, seed=seed, boundary=boundary)
        with pytest.raises(NumericalInstabilityError) as expected:
            reference(spec, 100)
        assert expected.value.step > 3
        session = backend.open(spec)
        with pytest.raises(NumericalInstabilityError) as caught:
            session.step(100, NEVER)
        assert str(caught.value) == str(expected.value)
        session.close()
        session = backend.open(spec)
        assert_same_state(stepped(session, expected.value.step - 1), reference(spec, expected.value.step - 1))
        session.close()
    backend.close()


def test_a_session_whose_numbers_are_not_finite_is_of_no_further_use(
    backend: NumbaBackend, explosive: FieldSpec
) -> None:
    session = backend.open(explosive)
    with pytest.raises(NumericalInstabilityError):
        session.step(100, NEVER)
    uses: list[Callable[[], object]] = [
        lambda: session.step(1, NEVER),
        session.state,
        session.checkpoint,
        lambda: session.inject(0, 0, 0.1),
        lambda: session.set_parameter("growth", 0.1),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="the session ended, open another one: the simulation is unstable"):
            use()
    session.close()


def test_noise_finds_the_numbers_that_are_not_finite_too(backend: NumbaBackend) -> None:
    session = backend.open(mycelium_spec(grid_size=8, jitter=True))
    session.step(2, NEVER)
    session._usable().set_cell(2, 3, np.nan)
    with pytest.raises(NumericalInstabilityError) as caught:
        session.step(5, NEVER)
    assert (caught.value.step, caught.value.species, caught.value.nan_count) == (3, "potential", 5)
