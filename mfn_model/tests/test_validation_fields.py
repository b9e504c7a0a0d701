"""Fields drawn one after the other from one generator, against the model's reference and recorded frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model import mycelium_spec, reference_mycelium
from mfn_model.mycelium import ACTIVATOR_RATE, draw_initial_fields
from mfn_model.validation._fields import _react, _Torus, draw_field, unreachable_threshold

FRAMES = json.loads((Path(__file__).parent / "data" / "validation.json").read_text())["successive_fields"]


@given(
    seed=st.integers(0, 2**32),
    grid_size=st.integers(1, 20),
    steps=st.integers(0, 40),
    alpha=st.sampled_from([0.05, 0.18, 0.25]),
    probability=st.sampled_from([0.0, 0.25, 1.0]),
    turing_enabled=st.booleans(),
    jitter=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_field_is_that_of_the_reference_to_the_bit(
    seed: int, grid_size: int, steps: int, alpha: float, probability: float, turing_enabled: bool, jitter: bool
) -> None:
    field, growth_events = draw_field(
        np.random.default_rng(seed),
        grid_size,
        steps,
        alpha=alpha,
        spike_probability=probability,
        turing_enabled=turing_enabled,
        jitter=jitter,
    )
    spec = mycelium_spec(seed, grid_size, alpha, probability, turing_enabled, jitter=jitter)
    expected = reference_mycelium(spec, steps)
    assert field.tobytes() == expected.field.tobytes()
    assert growth_events == expected.growth_events


def test_a_long_run_whose_reaction_might_matter_is_that_of_the_reference_too() -> None:
    assert not unreachable_threshold(260)
    field, growth_events = draw_field(np.random.default_rng(7), 12, 260)
    expected = reference_mycelium(mycelium_spec(seed=7, grid_size=12), 260)
    assert field.tobytes() == expected.field.tobytes()
    assert growth_events == expected.growth_events


def test_recorded_fields_follow_each_other_from_one_generator() -> None:
    generator = np.random.default_rng(42)
    for frame in FRAMES:
        field, growth_events = draw_field(generator, 16, frame["steps"])
        assert growth_events == frame["growth_events"]
        measured = np.array([field.min(), field.max(), field.mean(), field.std()]) * 1000.0
        expected = [frame[name] for name in ("pot_min_mv", "pot_max_mv", "pot_mean_mv", "pot_std_mv")]
        assert measured == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 2**32), grid_size=st.integers(1, 12), steps=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_the_reaction_is_that_of_the_reference_to_the_bit(seed: int, grid_size: int, steps: int) -> None:
    tori = [_Torus(grid_size) for _ in range(3)]
    draw_initial_fields(np.random.default_rng(seed), [torus.cells for torus in tori])
    _, activator, inhibitor = tori
    change, other = np.empty((grid_size, grid_size)), np.empty((grid_size, grid_size))
    for _ in range(steps):
        assert not _react(activator, inhibitor, change, other).any()
    expected = reference_mycelium(mycelium_spec(seed=seed, grid_size=grid_size), steps).species
    assert activator.cells.tobytes() == expected["activator"].tobytes()
    assert inhibitor.cells.tobytes() == expected["inhibitor"].tobytes()


def test_an_activator_above_the_threshold_is_told_and_confined() -> None:
    activator, inhibitor = _Torus(4), _Torus(4)
    activator.cells[...], inhibitor.cells[...] = 0.0, 0.0
    activator.cells[1, 2] = 1.9
    kicked = _react(activator, inhibitor, np.empty((4, 4)), np.empty((4, 4)))
    assert [place.tolist() for place in np.nonzero(kicked)] == [[1], [2]]
    assert activator.cells[1, 2] == 1.0


def test_the_threshold_stays_out_of_reach_as_long_as_growth_by_the_full_rate_would_not_reach_it() -> None:
    largest, steps = 0.1, 0
    while largest * (1.0 + ACTIVATOR_RATE) <= 0.75:
        largest *= 1.0 + ACTIVATOR_RATE
        steps += 1
    assert unreachable_threshold(steps)
    assert not unreachable_threshold(steps + 1)
    assert not unreachable_threshold(10**9)


def test_a_check_is_made_about_every_65536_cell_steps() -> None:
    calls: list[None] = []
    draw_field(np.random.default_rng(0), 64, 64, check=lambda: calls.append(None))
    assert len(calls) == 4
    calls.clear()
    draw_field(np.random.default_rng(0), 512, 3, check=lambda: calls.append(None))
    assert len(calls) == 3
