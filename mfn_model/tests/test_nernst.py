"""The Nernst potential."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mfn_model import equilibrium_potential, nernst_potential

RECORDED = json.loads((Path(__file__).parent / "data" / "nernst.json").read_text())["potentials"]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"valence {row['valence']}")
def test_recorded_potentials_are_reproduced(row: dict[str, float]) -> None:
    potential = nernst_potential(
        int(row["valence"]), row["concentration_out"], row["concentration_in"], row["temperature"]
    )
    assert potential * 1000.0 == pytest.approx(row["potential_mv"], rel=1e-12)
    checked = equilibrium_potential(
        int(row["valence"]), row["concentration_out"], row["concentration_in"], row["temperature"]
    )
    assert checked == potential  # none of these concentrations is below the floor


def test_body_temperature_is_the_default() -> None:
    assert nernst_potential(1, 0.005, 0.140) == nernst_potential(1, 0.005, 0.140, 310.0)


def test_equal_concentrations_give_no_potential() -> None:
    assert nernst_potential(2, 0.01, 0.01) == 0.0


def test_low_concentrations_are_raised_to_the_minimum() -> None:
    assert nernst_potential(2, 0.002, 1e-7) * 1000.0 == pytest.approx(101.51859, abs=5e-6)
    assert nernst_potential(2, 0.002, 1e-7) == nernst_potential(2, 0.002, 1e-6)
    assert nernst_potential(1, -5.0, 0.0) == 0.0


def test_no_valence_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        nernst_potential(0, 0.005, 0.140)


@pytest.mark.parametrize("potential", [nernst_potential, equilibrium_potential])
def test_concentrations_however_far_apart_give_a_finite_potential(potential: Any) -> None:
    largest = 1.7e308
    up, down = potential(1, largest, 1e-6), potential(1, 1e-6, largest)
    assert up == pytest.approx(-down, rel=1e-12)
    assert up == pytest.approx(8.314 * 310.0 / 96485.33212 * (math.log(largest) - math.log(1e-6)), rel=1e-12)


def test_free_calcium_inside_a_cell_has_its_true_potential() -> None:
    assert equilibrium_potential(2, 0.002, 1e-7) * 1000.0 == pytest.approx(132.27220, abs=5e-6)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 0.1, 0.1, 310.0), ["valence must be one of -2, -1, 1, 2, got 0"]),
        ((3, 0.1, 0.1, 310.0), ["valence must be one of -2, -1, 1, 2, got 3"]),
        ((True, 0.1, 0.1, 310.0), ["valence must be one of -2, -1, 1, 2, got True"]),
        ((1, 0.0, 0.1, 310.0), ["concentration_out must be positive and finite, in mol/L, got 0.0"]),
        ((1, 0.1, math.inf, 310.0), ["concentration_in must be positive and finite, in mol/L, got inf"]),
        ((1, 0.1, 0.1, 37.0), ["temperature must be from 273 to 373 K, got 37.0"]),
        (
            (1, math.nan, -1.0, math.nan),
            [
                "concentration_out must be positive and finite, in mol/L, got nan",
                "concentration_in must be positive and finite, in mol/L, got -1.0",
                "temperature must be from 273 to 373 K, got nan",
            ],
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_everything_that_is_wrong(arguments: Any, named: list[str]) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        equilibrium_potential(*arguments)
    assert str(caught.value).split("; ") == named


@pytest.mark.parametrize("temperature", [273.0, 373.0])
def test_the_temperatures_at_the_bounds_are_allowed(temperature: float) -> None:
    assert equilibrium_potential(-1, 0.110, 0.010, temperature) < 0.0
