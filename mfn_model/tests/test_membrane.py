"""The potential of a membrane in time."""

from __future__ import annotations

import json
import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.membrane import (
    IntegratedPotential,
    MembraneConfig,
    PotentialInstabilityError,
    integrate_potential,
    membrane_equilibrium,
    validate_potential_range,
)

RECORDED = json.loads((Path(__file__).parent / "data" / "membrane.json").read_text())["runs"]

Scheme = Literal["euler", "rk4"]


def relaxed(scheme: Scheme, time_step: float, steps: int, initial: float = -0.070) -> IntegratedPotential:
    config = MembraneConfig(scheme=scheme, time_step=time_step)
    return integrate_potential(initial, lambda v: (-0.060 - v) / 0.010, steps, config=config)


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["scheme"])
def test_recorded_relaxations_are_reproduced(row: dict[str, Any]) -> None:
    result = integrate_potential(
        row["initial"],
        lambda v: (row["target"] - v) / row["time_constant"],
        row["steps"],
        config=MembraneConfig(scheme=row["scheme"], time_step=row["time_step"]),
    )
    assert float(result.potential) == pytest.approx(row["potential"], rel=1e-14)
    assert (result.steps, result.clamping_events, result.history) == (10, 0, None)
    assert result.time == pytest.approx(0.01)


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("rk4", 4)])
def test_the_error_falls_with_the_order_of_the_scheme(scheme: Scheme, order: int) -> None:
    exact = -0.060 - 0.010 * math.exp(-2.0)  # after two time constants
    errors = [abs(float(relaxed(scheme, 0.020 / steps, steps).potential) - exact) for steps in (16, 32, 64)]
    observed = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert observed == pytest.approx([order, order], abs=0.2)


@given(steps=st.integers(0, 40), ratio=st.floats(0.01, 1.0))
@settings(deadline=None)
def test_a_relaxation_shrinks_by_the_stability_polynomial_of_its_scheme_at_each_step(steps: int, ratio: float) -> None:
    factors: dict[Scheme, float] = {
        "euler": 1.0 - ratio,
        "rk4": 1.0 - ratio + ratio**2 / 2.0 - ratio**3 / 6.0 + ratio**4 / 24.0,
    }
    for scheme, factor in factors.items():
        potential = float(relaxed(scheme, 0.010 * ratio, steps).potential)
        assert potential == pytest.approx(-0.060 - 0.010 * factor**steps, abs=1e-15)


def test_an_array_of_potentials_is_integrated_like_each_of_them() -> None:
    initial = np.linspace(-0.09, 0.03, 6).reshape(2, 3)
    together = integrate_potential(
        initial, lambda v: np.sin(50.0 * v), 20, config=MembraneConfig(scheme="rk4", time_step=1e-3)
    )
    assert together.potential.shape == (2, 3)
    for index in np.ndindex(2, 3):
        alone = integrate_potential(
            initial[index], lambda v: np.sin(50.0 * v), 20, config=MembraneConfig(scheme="rk4", time_step=1e-3)
        )
        assert float(alone.potential) == pytest.approx(float(together.potential[index]), abs=1e-16)


def test_the_initial_potential_is_left_as_it_is() -> None:
    initial = np.array([-0.07, -0.06])
    result = integrate_potential(initial, lambda v: -v, 3)
    assert initial.tolist() == [-0.07, -0.06]
    with pytest.raises(ValueError, match="read-only"):
        result.potential[0] = 0.0


def test_a_derivative_without_the_shape_of_the_potential_is_refused_unless_it_broadcasts() -> None:
    assert integrate_potential(np.zeros(3), lambda v: 1.0, 1).potential.tolist() == [1e-4] * 3
    with pytest.raises(ValueError, match=r"the derivative must have the potential's shape \(3,\), got \(2,\)"):
        integrate_potential(np.zeros(3), lambda v: np.zeros(2), 1)


def test_potentials_are_clipped_and_counted_where_clamping_is_on() -> None:
    config = MembraneConfig(time_step=1e-2, potential_minimum=-0.1, potential_maximum=0.05)
    rates = np.array([10.0, -10.0, 1.0])
    clamped = integrate_potential(np.zeros(3), lambda v: rates, 4, config=config)
    assert clamped.potential == pytest.approx([0.05, -0.1, 0.04])
    assert clamped.clamping_events == 4 + 3  # up from the first step; down beyond −0.1 V from the second
    free = integrate_potential(np.zeros(3), lambda v: rates, 4, config=config, clamp=False)
    assert free.potential == pytest.approx([0.4, -0.4, 0.04])
    assert free.clamping_events == 0


def test_a_recorded_history_begins_with_the_initial_potential_and_ends_with_the_last() -> None:
    result = integrate_potential([-0.07, 0.0], lambda v: -v / 0.01, 5, record=True)
    assert result.history is not None
    assert result.history.shape == (6, 2)
    assert result.history[0].tolist() == [-0.07, 0.0]
    assert np.array_equal(result.history[-1], result.potential)
    shorter = integrate_potential([-0.07, 0.0], lambda v: -v / 0.01, 3)
    assert np.array_equal(result.history[3], shorter.potential)


def test_no_steps_leave_the_initial_potential() -> None:
    result = integrate_potential(-0.2, lambda v: v, 0, record=True)
    assert float(result.potential) == -0.2
    assert result.history is not None
    assert result.history.tolist() == [-0.2]


@pytest.mark.parametrize("scheme", ["euler", "rk4"])
def test_a_potential_that_becomes_nan_is_an_error_with_its_step(scheme: Scheme) -> None:
    calls = 0

    def derivative(v: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.where(calls > 2 * (4 if scheme == "rk4" else 1), [0.0, np.nan], 0.0)

    with pytest.raises(PotentialInstabilityError, match="after step 3 the potential holds 1 NaN and 0 inf") as caught:
        integrate_potential([0.0, 0.0], derivative, 10, config=MembraneConfig(scheme=scheme))
    assert (caught.value.step, caught.value.nan_count, caught.value.inf_count) == (3, 1, 0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_potential_that_overflows_without_clamping_is_an_error() -> None:
    with pytest.raises(PotentialInstabilityError) as caught:
        integrate_potential(1e-3, lambda v: v * 1e156, 10, config=MembraneConfig(time_step=1e-2), clamp=False)
    assert (caught.value.step, caught.value.inf_count) == (3, 1)  # 1e-3 · 1e154³ exceeds 1.8e308
    assert float(integrate_potential(1e-3, lambda v: v * 1e156, 10, config=MembraneConfig()).potential) == 0.15


def test_the_check_can_be_turned_off() -> None:
    config = MembraneConfig(check_stability=False)
    assert math.isnan(float(integrate_potential(0.0, lambda v: math.nan, 2, config=config).potential))


def test_an_initial_potential_that_is_not_finite_and_negative_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"steps must be at least 0, got -1; the initial potential must be finite"):
        integrate_potential([0.0, math.inf], lambda v: v, -1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"temperature": 272.9}, ["temperature must be at least 273 and at most 320 K, got 272.9"]),
        ({"temperature": 320.1}, ["temperature must be at least 273 and at most 320 K, got 320.1"]),
        ({"minimum_concentration": 0.0}, ["minimum_concentration must be above 0 mol/L and finite, got 0.0"]),
        ({"time_step": 1e-8}, ["time_step must be at least 1e-07 and at most 0.01 s, got 1e-08"]),
        ({"time_step": math.nan}, ["time_step must be at least 1e-07 and at most 0.01 s, got nan"]),
        (
            {"potential_maximum": 0.2, "scheme": "heun"},
            [
                "potential_maximum must be at least -0.15 and at most 0.15 V, got 0.2",
                "scheme must be 'euler' or 'rk4', got 'heun'",
            ],
        ),
        (
            {"potential_minimum": 0.1, "potential_maximum": 0.1},
            ["potential_minimum must be below potential_maximum, got 0.1 and 0.1 V"],
        ),
    ],
)
def test_a_configuration_out_of_its_bounds_is_refused_with_everything_that_is_wrong(
    arguments: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        MembraneConfig(**arguments)
    assert str(caught.value).split("; ") == named


def test_a_configuration_at_its_bounds_is_allowed() -> None:
    MembraneConfig(temperature=273.0, time_step=1e-7)
    MembraneConfig(temperature=320.0, time_step=1e-2, potential_minimum=0.149)


def test_equilibria_take_temperature_and_floor_from_the_configuration() -> None:
    warm, cold = MembraneConfig(minimum_concentration=1e-9), MembraneConfig(temperature=280.0)
    assert membrane_equilibrium(warm, 2, 0.002, 1e-7).potentials * 1000.0 == pytest.approx(132.27220, abs=5e-6)
    result = membrane_equilibrium(cold, 2, 0.002, [1e-7, 1e-3])
    assert result.raised_in == 1
    assert result.potentials[0] * 1000.0 == pytest.approx(101.51859 * 280.0 / 310.0, abs=5e-6)


def test_potentials_are_held_against_the_range_that_was_asked_for() -> None:
    assert validate_potential_range(-0.150)
    assert not validate_potential_range(-0.151)
    assert validate_potential_range([-0.095, 0.040], strict=True)
    assert not validate_potential_range([-0.070, 0.041], strict=True)
    assert not validate_potential_range([-0.070, math.nan])
    assert not validate_potential_range(0.06, config=MembraneConfig(potential_maximum=0.05))
