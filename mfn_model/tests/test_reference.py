"""The interpreter of declarations, against evaluations written by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mfn_model import (
    Constant,
    FieldModel,
    FieldSpec,
    FieldState,
    Kick,
    Noise,
    Normal,
    NumericalInstabilityError,
    Parameter,
    Species,
    Spike,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
    reference_mycelium,
    reference_mycelium_rd,
    register_model,
)
from mfn_model.stencil import laplacian

SWITCHES = list(itertools.product((True, False), repeat=2))
BOUNDARIES = ("periodic", "neumann", "dirichlet")


def assert_identical(one: FieldState, other: FieldState) -> None:
    assert (one.step, one.growth_events, dict(one.counters)) == (other.step, other.growth_events, dict(other.counters))
    assert list(one.species) == list(other.species)
    assert np.array_equal(one.field, other.field)
    for name, values in one.species.items():
        assert np.array_equal(values, other.species[name]), name


def assert_reproduces(by_hand: Callable[[FieldSpec, int], FieldState], spec: FieldSpec, steps: int) -> FieldState:
    state = reference(spec, steps)
    assert_identical(state, by_hand(spec, steps))
    return state


@pytest.mark.parametrize(("turing", "jitter"), SWITCHES)
def test_it_reproduces_the_mycelium_bit_for_bit(turing: bool, jitter: bool) -> None:
    for seed, steps in ((0, 0), (1, 1), (2, 60), (3, 200)):
        spec = mycelium_spec(
            seed=seed, grid_size=13 + seed, spike_probability=0.6, turing_enabled=turing, jitter=jitter
        )
        assert_reproduces(reference_mycelium, spec, steps)


def test_it_reproduces_kicks_and_clamping_of_the_mycelium() -> None:
    kicked = mycelium_spec(seed=4, grid_size=16, turing_threshold=0.05, jitter=True, jitter_variance=0.01)
    state = assert_reproduces(reference_mycelium, kicked, 80)
    assert min(state.counters.values()) > 100


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("turing", "jitter"), SWITCHES)
def test_it_reproduces_the_variant_bit_for_bit(boundary: str, turing: bool, jitter: bool) -> None:
    for seed, steps in ((0, 0), (1, 1), (2, 60), (3, 200)):
        spec = mycelium_rd_spec(
            seed=seed,
            grid_size=13 + seed,
            spike_probability=0.6,
            turing_enabled=turing,
            jitter=jitter,
            boundary=boundary,
            boundary_potential=-0.03,
        )
        assert_reproduces(reference_mycelium_rd, spec, steps)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_it_reproduces_a_pattern_that_is_kicked(boundary: str) -> None:
    spec = mycelium_rd_spec(
        seed=5,
        grid_size=8,
        turing_threshold=0.5,
        d_activator=0.01,
        d_inhibitor=0.24,
        r_activator=0.1,
        r_inhibitor=0.001,
        boundary=boundary,
    )
    state = assert_reproduces(reference_mycelium_rd, spec, 700)
    if boundary == "neumann":
        assert state.counters["turing_activations"] > 0


def test_one_cell_and_two_cells_a_side_are_grids() -> None:
    for n, boundary in itertools.product((1, 2), BOUNDARIES):
        spec = mycelium_rd_spec(seed=9, grid_size=n, spike_probability=0.5, boundary=boundary)
        assert_reproduces(reference_mycelium_rd, spec, 30)


def whole(name: str, **changes: Any) -> FieldSpec:
    """A model that uses every part of a declaration, on a few cells."""
    arguments: dict[str, Any] = {
        "name": name,
        "summary": "for a test",
        "species": (
            Species(name="food", unit="1", description="eaten", symbol="f", reaction="-rate * f * e", initial=Normal()),
            Species(
                name="eater",
                unit="1",
                description="eats",
                symbol="e",
                diffusion="rate / 2",
                reaction="rate * f * e - abs(e) / 4",
                outside="rate",
                minimum=-2.0,
                counts_clamping=True,
                initial=Normal(mean="1"),
            ),
            Species(name="ground", unit="1", description="stays", symbol="g", initial=Constant(value="rate * 3")),
        ),
        "parameters": (
            Parameter(name="rate", default=0.25, unit="1", description="a number", minimum=0.0, maximum=0.5),
        ),
        "spikes": (
            Spike(species="eater", probability="0.5", mean="rate", deviation="0"),
            Spike(species="ground", probability="rate", mean="1", deviation="rate"),
        ),
        "kicks": (
            Kick(species="eater", above="rate", target="food", amount="0.5", counter="fed"),
            Kick(species="food", above="1", target="ground", amount="-rate", counter="trodden"),
        ),
        "noises": (Noise(species="food", variance="rate / 25"), Noise(species="ground", variance="1e-4")),
        "boundary": "periodic",
        "further_boundaries": ("neumann", "dirichlet"),
        "source": "this test",
    }
    register_model(FieldModel(**{**arguments, **changes}))
    return FieldSpec(model=name, grid_size=6, seed=3)


def by_hand(spec: FieldSpec, steps: int, sequential: bool) -> FieldState:
    n, rate = spec.grid_size, spec.number("rate")
    g = np.random.default_rng(spec.seed)
    food, eater, ground = g.normal(0.0, 1.0, (n, n)), g.normal(1.0, 1.0, (n, n)), np.full((n, n), rate * 3.0)
    growth = fed = trodden = clamped = 0
    for _ in range(steps):
        if g.random() < 0.5:
            i, j = g.integers(0, n), g.integers(0, n)
            eater[i, j] += g.normal(rate, 0.0)
            growth += 1
        if g.random() < rate:
            i, j = g.integers(0, n), g.integers(0, n)
            ground[i, j] += g.normal(1.0, rate)
            growth += 1
        eaten = food + -rate * food * eater
        seen = eaten if sequential else food
        spread = rate / 2.0 * laplacian(eater, spec.boundary, rate)
        eater = eater + (spread + (rate * seen * eater - np.abs(eater) / 4.0))
        food = eaten
        hungry = eater > rate
        food = np.where(hungry, food + 0.5, food)
        fed += int(hungry.sum())
        full = food > 1.0
        ground = np.where(full, ground - rate, ground)
        trodden += int(full.sum())
        food = food + g.normal(0.0, math.sqrt(rate / 25.0), (n, n))
        ground = ground + g.normal(0.0, math.sqrt(1e-4), (n, n))
        clamped += int((eater < -2.0).sum())
        eater = np.maximum(eater, -2.0)
    return FieldState(
        step=steps,
        field=food,
        species={"eater": eater, "ground": ground},
        growth_events=growth,
        counters={"fed": fed, "trodden": trodden, "clamping_events": clamped},
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("update", ["simultaneous", "sequential"])
def test_every_part_of_a_declaration_is_carried_out_in_its_order(update: str, boundary: str) -> None:
    spec = whole(f"whole_{update}", update=update)
    spec = FieldSpec(model=spec.model, grid_size=6, seed=3, boundary=boundary)
    for steps in (0, 1, 25):
        expected = by_hand(spec, steps, sequential=update == "sequential")
        assert_identical(reference(spec, steps), expected)
    assert min(expected.counters.values()) > 0
    assert expected.growth_events > 10


def test_the_two_updates_differ() -> None:
    one, other = (reference(whole(f"whole_{update}", update=update), 3) for update in ("simultaneous", "sequential"))
    assert not np.array_equal(one.species["eater"], other.species["eater"])


def test_numbers_that_are_no_longer_finite_end_it_with_the_step_and_the_species() -> None:
    register_model(
        FieldModel(
            name="explodes",
            summary="for a test",
            species=(
                Species(name="calm", unit="1", description="stays"),
                Species(name="wild", unit="1", description="grows", symbol="u", reaction="u**8", initial=Normal()),
            ),
            parameters=(),
            boundary="periodic",
            source="this test",
        )
    )
    with pytest.raises(NumericalInstabilityError, match="wild") as caught:
        reference(FieldSpec(model="explodes", grid_size=6, seed=1), 1000)
    assert 1 < caught.value.step < 50
    assert caught.value.nan_count + caught.value.inf_count > 0


def test_a_division_by_zero_is_found_without_a_warning() -> None:
    register_model(
        FieldModel(
            name="divides",
            summary="for a test",
            species=(Species(name="u", unit="1", description="nothing", reaction="1 / u"),),
            parameters=(),
            boundary="periodic",
            source="this test",
        )
    )
    with pytest.raises(NumericalInstabilityError, match="after step 1 the u holds 0 NaN and 9 infinite"):
        reference(FieldSpec(model="divides", grid_size=3, seed=1), 1)


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        reference(mycelium_spec(grid_size=4), -1)
