"""The reaction–diffusion variant, against recorded trajectories and against its own definition."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfn_model import (
    MYCELIUM,
    MYCELIUM_RD,
    FieldSpec,
    NumericalInstabilityError,
    SpecError,
    active_mask,
    box_counting_dimension_legacy,
    field_statistics,
    mycelium_rd_spec,
    mycelium_spec,
    reference_mycelium,
    reference_mycelium_rd,
)

RECORDED = json.loads((Path(__file__).parent / "data" / "mycelium_rd_trajectories.json").read_text())["trajectories"]
BOUNDARIES = ("periodic", "neumann", "dirichlet")


def close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-12 * max(1.0, abs(one), abs(other))


def title(row: dict[str, Any]) -> str:
    return f"{row['spec']['boundary']}, seed {row['spec']['seed']}, {row['spec']['grid_size']} cells"


@pytest.mark.parametrize("row", RECORDED, ids=title)
def test_the_reference_reproduces_recorded_trajectories(row: dict[str, Any]) -> None:
    state = reference_mycelium_rd(mycelium_rd_spec(**row["spec"]), row["steps"])
    statistics = field_statistics(state.field)
    found = {
        "growth_events": state.growth_events,
        **state.counters,
        **{name: getattr(statistics, name) for name in ("minimum_mv", "maximum_mv", "mean_mv", "std_mv")},
        "activator_mean": state.species["activator"].mean(),
        "inhibitor_mean": state.species["inhibitor"].mean(),
        "legacy_dimension": box_counting_dimension_legacy(active_mask(state.field)),
        "corner": state.field[0, 0],
    }
    stated = {name: value for name, value in row.items() if name in found}
    assert len(stated) >= 3
    for name, value in stated.items():
        assert close(found[name], value), name
    for k, value in enumerate(row.get("diagonal", ())):
        cell = k * state.grid_size // 8
        assert close(state.field[cell, cell], value)


def test_the_potential_does_not_depend_on_the_switch_below_the_threshold() -> None:
    on = reference_mycelium_rd(mycelium_rd_spec(grid_size=12, jitter=True), 30)
    off = reference_mycelium_rd(mycelium_rd_spec(grid_size=12, jitter=True, turing_enabled=False), 30)
    assert on.counters["turing_activations"] == 0
    assert np.array_equal(on.field, off.field)
    assert set(on.species) == {"activator", "inhibitor"}
    assert not off.species


def test_the_first_step_differs_from_the_other_variant_in_the_inhibitor_alone() -> None:
    sequential = reference_mycelium(mycelium_spec(grid_size=10), 1)
    together = reference_mycelium_rd(mycelium_rd_spec(grid_size=10), 1)
    assert np.array_equal(sequential.field, together.field)
    assert np.array_equal(sequential.species["activator"], together.species["activator"])
    difference = np.abs(sequential.species["inhibitor"] - together.species["inhibitor"]).max()
    assert 0.0 < difference < 1e-2


def test_nothing_flows_through_a_closed_edge() -> None:
    still = mycelium_rd_spec(grid_size=16, spike_probability=0.0, boundary="neumann")
    before, after = reference_mycelium_rd(still, 0).field, reference_mycelium_rd(still, 3000).field
    assert after.mean() == pytest.approx(before.mean(), rel=1e-12)
    assert after.std() < 1e-12  # it has become even


@pytest.mark.parametrize("outside", [0.0, -0.070, -0.095, 0.040])
def test_a_held_edge_draws_the_potential_to_its_own(outside: float) -> None:
    still = mycelium_rd_spec(grid_size=8, spike_probability=0.0, boundary="dirichlet", boundary_potential=outside)
    state = reference_mycelium_rd(still, 1500)
    assert np.abs(state.field - outside).max() < 1e-9
    assert state.species["activator"].max() < 1e-9


def test_the_outer_potential_does_nothing_where_there_is_no_edge() -> None:
    specs = [mycelium_rd_spec(grid_size=8, boundary_potential=potential) for potential in (0.0, -0.07)]
    one, other = (reference_mycelium_rd(spec, 20) for spec in specs)
    assert np.array_equal(one.field, other.field)


def test_a_chosen_reaction_reaches_the_threshold_and_kicks() -> None:
    fast = {"r_activator": 0.1, "r_inhibitor": 0.001, "d_activator": 0.01, "d_inhibitor": 0.24}
    state = reference_mycelium_rd(mycelium_rd_spec(seed=5, grid_size=8, turing_threshold=0.5, **fast), 400)  # type: ignore[arg-type]  # a table of numbers
    assert state.counters["turing_activations"] > 10_000
    assert 0.0 <= state.species["activator"].min() <= state.species["activator"].max() <= 1.0


def test_noise_beyond_the_clamps_is_counted() -> None:
    state = reference_mycelium_rd(mycelium_rd_spec(grid_size=8, jitter=True), 60)
    assert state.counters["clamping_events"] > 0
    assert -0.095 <= state.field.min() <= state.field.max() <= 0.040


@pytest.mark.parametrize(
    ("name", "inside", "outside", "bound"),
    [
        ("alpha", (0.05, math.nextafter(0.25, 0.0)), (math.nextafter(0.05, 0.0), 0.25), "0.05 <= alpha < 0.25"),
        ("d_activator", (0.01, math.nextafter(0.25, 0.0)), (0.0, 0.25), "0.01 <= d_activator < 0.25"),
        ("d_inhibitor", (0.01, math.nextafter(0.25, 0.0)), (0.0, 0.25), "0.01 <= d_inhibitor < 0.25"),
        ("r_activator", (0.001, 0.1), (0.0, 0.11), "0.001 <= r_activator <= 0.1"),
        ("r_inhibitor", (0.001, 0.1), (0.0, 0.11), "0.001 <= r_inhibitor <= 0.1"),
        ("turing_threshold", (0.5, 0.95), (0.49, 0.96), "0.5 <= turing_threshold <= 0.95"),
        ("jitter_variance", (0.0, 0.01), (-1e-9, 0.011), "0 <= jitter_variance <= 0.01"),
        ("spike_probability", (0.0, 1.0), (-0.1, 1.1), "0 <= spike_probability <= 1"),
        ("boundary_potential", (-0.095, 0.04), (-0.0951, 0.041), "-0.095 <= boundary_potential <= 0.04"),
    ],
)
def test_bounds_are_those_of_the_mathematics(
    name: str, inside: tuple[float, ...], outside: tuple[float, ...], bound: str
) -> None:
    for value in inside:
        assert mycelium_rd_spec(**{name: value})[name] == value  # type: ignore[arg-type]  # a table of numbers
    for value in (*outside, math.nan, math.inf):
        with pytest.raises(SpecError) as caught:
            mycelium_rd_spec(**{name: value})  # type: ignore[arg-type]  # a table of numbers
        assert [violation.bound for violation in caught.value.violations] == [bound]


def test_the_declaration_shares_what_the_variants_have_in_common() -> None:
    described = [(each.name, each.symbol, each.unit, each.when, each.initial) for each in MYCELIUM.species]
    assert [(each.name, each.symbol, each.unit, each.when, each.initial) for each in MYCELIUM_RD.species] == described
    assert MYCELIUM_RD.clamp == MYCELIUM.clamp
    assert MYCELIUM_RD.boundaries == BOUNDARIES
    assert {parameter.name for parameter in MYCELIUM.parameters} < {p.name for p in MYCELIUM_RD.parameters}
    spec = mycelium_rd_spec(seed=1, grid_size=16)
    assert spec == FieldSpec(model="mycelium_rd", grid_size=16, seed=1)


def test_a_specification_of_another_model_or_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="'mycelium_rd', got a spec of 'mycelium'"):
        reference_mycelium_rd(mycelium_spec(grid_size=4), 1)
    with pytest.raises(ValueError, match="-1"):
        reference_mycelium_rd(mycelium_rd_spec(grid_size=4), -1)


@pytest.mark.parametrize(("name", "species"), [("alpha", "potential"), ("d_activator", "activator")])
def test_a_number_that_is_not_finite_is_found_at_its_step(name: str, species: str) -> None:
    spec = mycelium_rd_spec(grid_size=4)
    # A specification cannot be made with it; this one was tampered with.
    object.__setattr__(spec, "parameters", {**spec.parameters, name: math.nan})
    with pytest.raises(NumericalInstabilityError, match=f"after step 1 the {species} holds 16 NaN") as caught:
        reference_mycelium_rd(spec, 5)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.step, error.species, error.nan_count, error.inf_count) == (1, species, 16, 0)
    assert str(error) == str(caught.value)
