"""The Nernst potential of an ion across a membrane.

`nernst_potential` keeps the published numbers: it raises low concentrations to a floor and checks nothing, because its
callers do. `equilibrium_potential` is the one to compute with: no floor, and what makes no sense is refused.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = [
    "BODY_TEMPERATURE",
    "FARADAY_CONSTANT",
    "GAS_CONSTANT",
    "MINIMUM_CONCENTRATION",
    "TEMPERATURE_RANGE",
    "VALENCES",
    "equilibrium_potential",
    "nernst_potential",
]

GAS_CONSTANT: Final = 8.314
"""R, J/(mol·K), rounded to four digits as the model's published numbers are (CODATA: 8.314462618)."""
FARADAY_CONSTANT: Final = 96485.33212
"""F, C/mol (CODATA 2018)."""
BODY_TEMPERATURE: Final = 310.0
"""K."""
MINIMUM_CONCENTRATION: Final = 1e-6
"""mol/L; `nernst_potential` raises a lower concentration to this one."""
TEMPERATURE_RANGE: Final = (273.0, 373.0)
"""K; the closed interval in which water, and so an electrolyte, is liquid at atmospheric pressure, to the degree."""
VALENCES: Final = (-2, -1, 1, 2)
"""Charges of the ions that membranes let through: K⁺, Na⁺, Cl⁻, Ca²⁺, Mg²⁺, SO₄²⁻."""


def nernst_potential(
    valence: int,
    concentration_out: float,
    concentration_in: float,
    temperature: float = BODY_TEMPERATURE,
) -> float:
    """E = (R T)/(z F) · ln(c_out / c_in), in V (W. Nernst, Z. phys. Chem. 4 (1889) 129–181).

    Both concentrations, in mol/L, are first raised to at least `MINIMUM_CONCENTRATION`. Mind that this is above the
    free calcium inside a cell, about 1e-7 mol/L: the result there is 101.5 mV where the unclamped formula gives
    132.3 mV. The temperature is in K.

    Raises `ZeroDivisionError` for valence 0; checks nothing else.

    >>> round(nernst_potential(1, 0.005, 0.140) * 1000, 9)
    -89.01066912
    >>> round(nernst_potential(2, 0.002, 1e-7) * 1000, 1)
    101.5
    """
    outside = max(concentration_out, MINIMUM_CONCENTRATION)
    inside = max(concentration_in, MINIMUM_CONCENTRATION)
    return (GAS_CONSTANT * temperature) / (valence * FARADAY_CONSTANT) * _log_ratio(outside, inside)


def equilibrium_potential(
    valence: int,
    concentration_out: float,
    concentration_in: float,
    temperature: float = BODY_TEMPERATURE,
) -> float:
    """The same formula, in V, without a floor under the concentrations.

    Concentrations are in mol/L, positive and finite; the valence is one of `VALENCES`, the temperature, in K, in
    `TEMPERATURE_RANGE`. Raises `ValueError` that names everything out of its bound.

    >>> round(equilibrium_potential(2, 0.002, 1e-7) * 1000, 1)
    132.3
    """
    wrong = []
    if isinstance(valence, bool) or valence not in VALENCES:
        wrong.append(f"valence must be one of {', '.join(map(str, VALENCES))}, got {valence!r}")
    for name, value in (("concentration_out", concentration_out), ("concentration_in", concentration_in)):
        if not 0.0 < value < math.inf:
            wrong.append(f"{name} must be positive and finite, in mol/L, got {value!r}")
    coldest, hottest = TEMPERATURE_RANGE
    if not coldest <= temperature <= hottest:
        wrong.append(f"temperature must be from {coldest:g} to {hottest:g} K, got {temperature!r}")
    if wrong:
        raise ValueError("; ".join(wrong))
    logarithm = _log_ratio(concentration_out, concentration_in)
    return (GAS_CONSTANT * temperature) / (valence * FARADAY_CONSTANT) * logarithm


def _log_ratio(dividend: float, divisor: float) -> float:
    """ln(dividend / divisor), also where the ratio would overflow or lose its digits."""
    ratio = dividend / divisor
    if 1e-300 < ratio < 1e300:
        return math.log(ratio)
    return math.log(dividend) - math.log(divisor)
