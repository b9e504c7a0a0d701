"""The reference evaluation of the mycelium model, against recorded trajectories and against its own definition."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfn_model import (
    MYCELIUM,
    FieldModel,
    FieldSpec,
    SpecError,
    Species,
    active_mask,
    box_counting_dimension_legacy,
    field_statistics,
    mycelium_spec,
    reference_mycelium,
    register_model,
)
from mfn_model.mycelium import draw_initial_fields

RECORDED = json.loads((Path(__file__).parent / "data" / "mycelium_trajectories.json").read_text())["trajectories"]


def close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-12 * max(1.0, abs(one), abs(other))


@pytest.mark.parametrize(
    "row", RECORDED, ids=lambda row: f"seed {row['seed']}, {row['grid_size']} cells, {row['steps']} steps"
)
def test_the_reference_reproduces_recorded_trajectories(row: dict[str, Any]) -> None:
    names = ("seed", "grid_size", "alpha", "spike_probability", "turing_enabled", "jitter")
    state = reference_mycelium(mycelium_spec(**{name: row[name] for name in names}), row["steps"])
    assert state.step == row["steps"]
    assert state.growth_events == row["growth_events"]
    statistics = field_statistics(state.field)
    for name in ("minimum_mv", "maximum_mv", "mean_mv", "std_mv"):
        assert close(getattr(statistics, name), row[name]), name
    assert close(box_counting_dimension_legacy(active_mask(state.field)), row["legacy_dimension"])
    for k, value in enumerate(row["diagonal"]):
        cell = k * row["grid_size"] // 8
        assert close(state.field[cell, cell], value)


def test_an_initial_field_has_the_recorded_dimension_and_activity() -> None:
    state = reference_mycelium(mycelium_spec(seed=5, turing_enabled=False), 0)
    mask = active_mask(state.field)
    assert np.count_nonzero(mask) == 90
    assert close(box_counting_dimension_legacy(mask), 1.1360992111252113)


def test_initial_fields_are_the_same_whole_or_in_chunks() -> None:
    whole = np.random.default_rng(3)
    expected = [whole.normal(-0.070, 0.005, (300, 300)), *(whole.uniform(0.0, 0.1, (300, 300)) for _ in range(2))]
    generator = np.random.default_rng(3)
    drawn = [np.empty((300, 300)) for _ in range(3)]
    draw_initial_fields(generator, drawn)
    for one, other in zip(drawn, expected, strict=True):
        assert np.array_equal(one, other)
    assert generator.bit_generator.state == whole.bit_generator.state


def test_diffusion_damps_a_wave_by_its_exact_factor() -> None:
    n, alpha, steps = 32, 0.18, 25
    still = mycelium_spec(grid_size=n, alpha=alpha, spike_probability=0.0, turing_enabled=False)
    before, after = reference_mycelium(still, 0).field, reference_mycelium(still, steps).field
    wave = np.cos(2 * np.pi * np.arange(n) / n)[:, None] * np.ones(n)
    damping = (1 - 2 * alpha * (1 - math.cos(2 * math.pi / n))) ** steps
    assert np.sum(after * wave) == pytest.approx(np.sum(before * wave) * damping, rel=1e-9)


def test_without_spikes_the_mean_is_conserved() -> None:
    still = mycelium_spec(grid_size=16, spike_probability=0.0)
    assert reference_mycelium(still, 200).field.mean() == pytest.approx(
        reference_mycelium(still, 0).field.mean(), rel=1e-12
    )


def test_every_spike_is_counted() -> None:
    assert reference_mycelium(mycelium_spec(grid_size=8, spike_probability=1.0), 30).growth_events == 30
    assert reference_mycelium(mycelium_spec(grid_size=8, spike_probability=0.0), 30).growth_events == 0


def test_the_switch_decides_which_species_there_are() -> None:
    assert set(reference_mycelium(mycelium_spec(grid_size=8), 1).species) == {"activator", "inhibitor"}
    assert not reference_mycelium(mycelium_spec(grid_size=8, turing_enabled=False), 1).species


def test_concentrations_and_potential_stay_in_their_ranges() -> None:
    state = reference_mycelium(mycelium_spec(grid_size=16, turing_threshold=0.0, jitter=True), 100)
    assert -0.095 <= state.field.min() <= state.field.max() <= 0.040
    for values in state.species.values():
        assert 0.0 <= values.min() <= values.max() <= 1.0
    assert state.counters["turing_activations"] > 0
    assert state.counters["clamping_events"] > 0


def test_a_specification_of_another_model_is_refused() -> None:
    register_model(
        FieldModel(
            name="of_another_kind",
            summary="nothing",
            species=(Species(name="u", unit="1", description="nothing"),),
            parameters=(),
            boundary="periodic",
            source="this test",
        )
    )
    with pytest.raises(ValueError, match="of_another_kind"):
        reference_mycelium(FieldSpec(model="of_another_kind", grid_size=4, seed=0), 1)


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        reference_mycelium(mycelium_spec(grid_size=4), -1)


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("alpha", 0.0, "0 < alpha <= 0.25"),
        ("alpha", math.nextafter(0.25, 1.0), "0 < alpha <= 0.25"),
        ("spike_probability", -0.1, "0 <= spike_probability <= 1"),
        ("spike_probability", 1.1, "0 <= spike_probability <= 1"),
        ("turing_threshold", 1.01, "0 <= turing_threshold <= 1"),
        ("jitter_variance", 0.011, "0 <= jitter_variance <= 0.01"),
        ("jitter_variance", -1e-9, "0 <= jitter_variance <= 0.01"),
    ],
)
def test_values_beyond_the_bounds_are_refused_with_the_bound(name: str, value: float, bound: str) -> None:
    with pytest.raises(SpecError) as caught:
        FieldSpec(model="mycelium", grid_size=8, seed=0, parameters={name: value})
    (violation,) = caught.value.violations
    assert (violation.field, violation.value, violation.bound) == (name, value, bound)
    assert bound in str(caught.value)


def test_the_bounds_themselves_are_allowed() -> None:
    mycelium_spec(alpha=0.25, spike_probability=0.0, turing_threshold=0.0, jitter_variance=0.0)
    mycelium_spec(alpha=1e-300, spike_probability=1.0, turing_threshold=1.0, jitter_variance=0.01)


def test_the_declaration_gives_a_unit_and_a_description_for_everything() -> None:
    assert MYCELIUM.boundary == "periodic"
    assert MYCELIUM.clamp == (-0.095, 0.040)
    units = [species.unit for species in MYCELIUM.species] + [parameter.unit for parameter in MYCELIUM.parameters]
    assert all(units)
    assert all(species.description for species in MYCELIUM.species)
    assert all(parameter.description for parameter in MYCELIUM.parameters)
