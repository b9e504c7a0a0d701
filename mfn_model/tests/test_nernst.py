"""The Nernst potential."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfn_model import nernst_potential

RECORDED = json.loads((Path(__file__).parent / "data" / "nernst.json").read_text())["potentials"]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"valence {row['valence']}")
def test_recorded_potentials_are_reproduced(row: dict[str, float]) -> None:
    potential = nernst_potential(
        int(row["valence"]), row["concentration_out"], row["concentration_in"], row["temperature"]
    )
    assert potential * 1000.0 == pytest.approx(row["potential_mv"], rel=1e-12)


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
