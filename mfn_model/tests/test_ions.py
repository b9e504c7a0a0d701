"""Typical ions."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mfn_model.ions import CALCIUM, CHLORIDE, POTASSIUM, SODIUM, TYPICAL_IONS, Ion
from mfn_model.nernst import nernst_potential

PUBLISHED_RANGES = {  # mmol/L outside and inside, D. Purves et al., Neuroscience, 2nd ed., table 2.1
    "potassium": ((5.0, 5.0), (140.0, 140.0)),
    "sodium": ((145.0, 145.0), (5.0, 15.0)),
    "chloride": ((110.0, 110.0), (4.0, 30.0)),
    "calcium": ((1.0, 2.0), (1e-4, 1e-4)),
}


@pytest.mark.parametrize("ion", TYPICAL_IONS, ids=lambda ion: ion.name)
def test_typical_concentrations_lie_in_the_published_ranges(ion: Ion) -> None:
    (out_low, out_high), (in_low, in_high) = PUBLISHED_RANGES[ion.name]
    assert out_low <= ion.concentration_out * 1000.0 * (1.0 + 1e-12)
    assert ion.concentration_out * 1000.0 <= out_high * (1.0 + 1e-12)
    assert in_low <= ion.concentration_in * 1000.0 * (1.0 + 1e-12)
    assert ion.concentration_in * 1000.0 <= in_high * (1.0 + 1e-12)


def test_calcium_has_its_true_potential() -> None:
    assert CALCIUM.equilibrium_potential() * 1000.0 == pytest.approx(132.27220, abs=5e-6)


def test_the_charge_of_chloride_turns_the_sign() -> None:
    potential = CHLORIDE.equilibrium_potential(295.0) * 1000.0
    assert potential == pytest.approx(-60.95382327760461, rel=1e-12)
    as_a_cation = nernst_potential(1, CHLORIDE.concentration_out, CHLORIDE.concentration_in, 295.0) * 1000.0
    assert potential == pytest.approx(-as_a_cation)


def test_potassium_and_sodium_have_the_published_potentials() -> None:
    assert POTASSIUM.equilibrium_potential() * 1000.0 == pytest.approx(-89.01066911987907, rel=1e-12)
    assert SODIUM.equilibrium_potential() * 1000.0 == pytest.approx(66.5623001736488, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"valence": 3}, "valence must be one of -2, -1, 1, 2, got 3"),
        ({"concentration_out": 0.0}, "concentration_out must be above 0 mol/L and finite, got 0.0"),
        (
            {"concentration_in": math.inf, "valence": True},
            "valence must be one of -2, -1, 1, 2, got True; concentration_in must be above 0 mol/L and finite, got inf",
        ),
    ],
)
def test_an_ion_that_makes_no_sense_is_refused(changes: dict[str, Any], named: str) -> None:
    good = {"name": "x", "symbol": "X+", "valence": 1, "concentration_out": 0.1, "concentration_in": 0.2}
    with pytest.raises(ValueError, match="must be") as caught:
        Ion(**{**good, **changes})
    assert str(caught.value) == named


def test_a_temperature_without_water_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be from 273 to 373 K"):
        SODIUM.equilibrium_potential(200.0)
