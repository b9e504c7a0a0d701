"""The Nernst potential of an ion across a membrane."""

from __future__ import annotations

import math
from typing import Final

__all__ = [
    "BODY_TEMPERATURE",
    "FARADAY_CONSTANT",
    "GAS_CONSTANT",
    "MINIMUM_CONCENTRATION",
    "nernst_potential",
]

GAS_CONSTANT: Final = 8.314
"""R, J/(mol·K), rounded to four digits as the model's published numbers are (CODATA: 8.314462618)."""
FARADAY_CONSTANT: Final = 96485.33212
"""F, C/mol (CODATA 2018)."""
BODY_TEMPERATURE: Final = 310.0
"""K."""
MINIMUM_CONCENTRATION: Final = 1e-6
"""mol/L; a lower concentration is raised to this one."""


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
    """
    outside = max(concentration_out, MINIMUM_CONCENTRATION)
    inside = max(concentration_in, MINIMUM_CONCENTRATION)
    return (GAS_CONSTANT * temperature) / (valence * FARADAY_CONSTANT) * math.log(outside / inside)
