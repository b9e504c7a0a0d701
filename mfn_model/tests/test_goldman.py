"""The Goldman–Hodgkin–Katz voltage."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_model.goldman import goldman_potential
from mfn_model.ions import CALCIUM, CHLORIDE, POTASSIUM, SODIUM, TYPICAL_IONS, Ion
from mfn_model.nernst import rt_over_f_mv

# Hodgkin and Katz, 1949: a resting squid axon at 20 °C, mol/L.
SQUID = {
    Ion(name="potassium", symbol="K+", valence=1, concentration_out=0.010, concentration_in=0.345): 1.0,
    Ion(name="sodium", symbol="Na+", valence=1, concentration_out=0.455, concentration_in=0.072): 0.04,
    Ion(name="chloride", symbol="Cl-", valence=-1, concentration_out=0.540, concentration_in=0.061): 0.45,
}

permeabilities = st.dictionaries(st.sampled_from(TYPICAL_IONS), st.floats(1e-6, 1e6), min_size=1)


def test_a_resting_squid_axon_has_the_potential_of_the_three_ion_equation() -> None:
    above = 0.010 + 0.04 * 0.455 + 0.45 * 0.061
    below = 0.345 + 0.04 * 0.072 + 0.45 * 0.540
    potential = goldman_potential(SQUID, 293.15) * 1000.0
    assert potential == pytest.approx(25.260307 * math.log(above / below), abs=1e-5)
    assert -61.0 < potential < -59.0


@pytest.mark.parametrize("ion", TYPICAL_IONS, ids=lambda ion: ion.name)
def test_a_membrane_that_lets_one_ion_through_has_its_equilibrium_potential(ion: Ion) -> None:
    others = dict.fromkeys(TYPICAL_IONS, 0.0)
    assert goldman_potential({**others, ion: 3.0}) == pytest.approx(ion.equilibrium_potential(), rel=1e-13)


@given(permeabilities)
def test_the_potential_lies_between_those_of_the_ions(permeable: dict[Ion, float]) -> None:
    equilibria = [ion.equilibrium_potential() for ion in permeable]
    assert min(equilibria) - 1e-15 <= goldman_potential(permeable) <= max(equilibria) + 1e-15


@given(permeabilities, st.floats(1e-9, 1e9))
def test_only_the_ratios_of_permeabilities_matter(permeable: dict[Ion, float], unit: float) -> None:
    scaled = {ion: permeability * unit for ion, permeability in permeable.items()}
    assert goldman_potential(scaled) == pytest.approx(goldman_potential(permeable), abs=1e-13)


@given(st.floats(1e-6, 1e6), st.floats(273.0, 373.0))
def test_potassium_with_calcium_solves_its_quadratic_equation(ratio: float, temperature: float) -> None:
    # With x = exp(V F/(R T)) the current of cations of valence 1 and 2 vanishes where a quadratic form in x does.
    a = POTASSIUM.concentration_in + 4.0 * ratio * CALCIUM.concentration_in
    b = POTASSIUM.concentration_in - POTASSIUM.concentration_out
    c = -(POTASSIUM.concentration_out + 4.0 * ratio * CALCIUM.concentration_out)
    x = -2.0 * c / (b + math.sqrt(b * b - 4.0 * a * c))
    expected = rt_over_f_mv(temperature) / 1000.0 * math.log(x)
    assert goldman_potential({POTASSIUM: 1.0, CALCIUM: ratio}, temperature) == pytest.approx(expected, abs=1e-12)


def test_the_closed_form_and_the_search_agree_where_both_apply() -> None:
    trace = {POTASSIUM: 1.0, SODIUM: 0.04, CHLORIDE: 0.45}
    assert goldman_potential({**trace, CALCIUM: 1e-15}) == pytest.approx(goldman_potential(trace), abs=1e-12)


def test_ions_in_balance_give_no_potential() -> None:
    balanced = Ion(name="magnesium", symbol="Mg2+", valence=2, concentration_out=0.001, concentration_in=0.001)
    cation = Ion(name="potassium", symbol="K+", valence=1, concentration_out=0.1, concentration_in=0.1)
    assert goldman_potential({balanced: 1.0, cation: 1.0}) == 0.0


@pytest.mark.parametrize(
    ("permeable", "named"),
    [
        ({}, "at least one permeability must be above 0"),
        ({POTASSIUM: 0.0, SODIUM: 0.0}, "at least one permeability must be above 0"),
        ({POTASSIUM: -1.0}, r"permeability of potassium must be at least 0 and finite, got -1\.0"),
        ({POTASSIUM: 1.0, SODIUM: math.nan}, "permeability of sodium must be at least 0 and finite, got nan"),
    ],
)
def test_permeabilities_that_make_no_sense_are_refused(permeable: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        goldman_potential(permeable)
    with pytest.raises(ValueError, match=r"temperature must be from 273 to 373 K, got 10\.0"):
        goldman_potential({POTASSIUM: 1.0}, 10.0)
