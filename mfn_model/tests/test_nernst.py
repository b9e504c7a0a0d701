"""The Nernst potential."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_model import equilibrium_potential, nernst_potential
from mfn_model.nernst import nernst_potential_alternative, nernst_potentials, rt_over_f_mv

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


concentrations = st.floats(1e-6, 1.0)


def exact_mv(valence: int, outside: float, inside: float, temperature: float) -> float:
    """The formula on the same doubles with 50 digits, rounded once."""
    with localcontext() as context:
        context.prec = 50
        logarithm = (Decimal(outside) / Decimal(inside)).ln()
        gas, faraday = 8.314, 96485.33212
        thermal = Decimal(gas) * Decimal(temperature) / (Decimal(valence) * Decimal(faraday))
        return float(thermal * logarithm * 1000)


@given(
    valence=st.sampled_from([-2, -1, 1, 2]),
    outside=concentrations,
    inside=concentrations,
    temperature=st.floats(273.0, 373.0),
)
def test_both_evaluations_agree_with_fifty_digits(
    valence: int, outside: float, inside: float, temperature: float
) -> None:
    exact = exact_mv(valence, outside, inside, temperature)
    for evaluation in (nernst_potential, nernst_potential_alternative):
        assert evaluation(valence, outside, inside, temperature) * 1000.0 == pytest.approx(exact, abs=1e-12)


def test_the_alternative_evaluation_gives_the_published_digits_for_potassium() -> None:
    assert nernst_potential_alternative(1, 0.005, 0.140) * 1000.0 == -89.01066911987905
    assert nernst_potential(1, 0.005, 0.140) * 1000.0 == -89.01066911987907 == exact_mv(1, 0.005, 0.140, 310.0)


def test_the_alternative_evaluation_has_the_same_floor() -> None:
    assert nernst_potential_alternative(2, 0.002, 0.0) == nernst_potential_alternative(2, 0.002, 1e-6)
    with pytest.raises(ZeroDivisionError):
        nernst_potential_alternative(0, 0.005, 0.140)


def test_the_thermal_potential_is_that_of_the_published_constants() -> None:
    assert rt_over_f_mv() == pytest.approx(26.71224675678714, rel=1e-15)
    assert rt_over_f_mv() * math.log(10.0) == pytest.approx(61.507, abs=1e-3)
    assert rt_over_f_mv(293.15) * math.log(10.0) == pytest.approx(58.164, abs=1e-3)
    with pytest.raises(ValueError, match=r"temperature must be from 273 to 373 K, got 37\.0"):
        rt_over_f_mv(37.0)


@given(
    valence=st.sampled_from([-2, -1, 1, 2]),
    outside=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
    inside=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2),
)
def test_arrays_give_what_each_of_their_pairs_gives(valence: int, outside: list[float], inside: list[float]) -> None:
    result = nernst_potentials(valence, outside, np.array(inside)[:, np.newaxis])
    expected = [[nernst_potential(valence, o, i) for o in outside] for i in inside]
    assert result.potentials == pytest.approx(np.array(expected), rel=1e-13, abs=1e-17)
    assert result.raised_out == 2 * sum(o < 1e-6 for o in outside)
    assert result.raised_in == 3 * sum(i < 1e-6 for i in inside)


def test_the_floor_of_an_array_can_be_lowered_and_taken_away() -> None:
    assert nernst_potentials(2, 0.002, 1e-7, minimum_concentration=1e-9).raised_in == 0
    lowered = nernst_potentials(2, 0.002, [1e-10, 1e-9], minimum_concentration=1e-9)
    assert lowered.raised_in == 1
    assert lowered.potentials[0] == lowered.potentials[1]
    without = nernst_potentials(1, 1e300, 1e-300, minimum_concentration=None)
    assert (without.raised_out, without.raised_in, without.potentials.shape) == (0, 0, ())
    assert float(without.potentials) == pytest.approx(rt_over_f_mv() / 1000.0 * 600.0 * math.log(10.0), rel=1e-14)


def test_potentials_of_an_array_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        nernst_potentials(1, [0.1, 0.2], 0.1).potentials[0] = 0.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"valence": 0}, ["valence must be one of -2, -1, 1, 2, got 0"]),
        ({"concentration_out": [0.1, -0.1]}, ["concentration_out must be at least 0 and finite, in mol/L, got -0.1"]),
        ({"concentration_in": [[math.nan]]}, ["concentration_in must be at least 0 and finite, in mol/L, got nan"]),
        (
            {"concentration_out": 0.0, "minimum_concentration": None},
            ["concentration_out must be positive and finite, in mol/L, got 0.0"],
        ),
        (
            {"temperature": math.inf, "minimum_concentration": 0.0},
            [
                "temperature must be from 273 to 373 K, got inf",
                "minimum_concentration must be above 0 mol/L and finite, got 0.0",
            ],
        ),
    ],
)
def test_arrays_that_make_no_sense_are_refused(arguments: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        nernst_potentials(**{"valence": 1, "concentration_out": 0.1, "concentration_in": 0.1, **arguments})
    assert str(caught.value).split("; ") == named


def test_arrays_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        nernst_potentials(1, [0.1, 0.2], [0.1, 0.2, 0.3])
