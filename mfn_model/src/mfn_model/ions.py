"""Ions that membranes let through, with concentrations as they are typical of a mammalian neuron.

Measured concentrations vary with cell and preparation; the published table gives ranges for most of them (D. Purves et
al., Neuroscience, 2nd ed. 2001, table 2.1: K⁺ 140 inside and 5 outside, Na⁺ 5–15 and 145, Cl⁻ 4–30 and 110, Ca²⁺ 0.0001
and 1–2 mmol/L). The constants here are one value of each range, those with which the model's numbers were published.

>>> {ion.symbol: round(ion.equilibrium_potential() * 1000, 2) for ion in TYPICAL_IONS}
{'K+': -89.01, 'Na+': 66.56, 'Cl-': -64.05, 'Ca2+': 132.27}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mfn_model._bounds import number_problems, refuse
from mfn_model.nernst import BODY_TEMPERATURE, VALENCES, equilibrium_potential

__all__ = ["CALCIUM", "CHLORIDE", "POTASSIUM", "SODIUM", "TYPICAL_IONS", "Ion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ion:
    """An ion with its concentrations; raises `ValueError` that lists everything out of its bound."""

    name: str
    symbol: str
    valence: int
    """One of `mfn_model.nernst.VALENCES`."""
    concentration_out: float
    """mol/L, positive and finite: free ions outside the cell."""
    concentration_in: float
    """mol/L, positive and finite: free ions inside the cell."""

    def __post_init__(self) -> None:
        problems = []
        if isinstance(self.valence, bool) or self.valence not in VALENCES:
            problems.append(f"valence must be one of {', '.join(map(str, VALENCES))}, got {self.valence!r}")
        for name in ("concentration_out", "concentration_in"):
            problems += number_problems(name, getattr(self, name), 0.0, math.inf, unit="mol/L", minimum_exclusive=True)
        refuse(problems)

    def equilibrium_potential(self, temperature: float = BODY_TEMPERATURE) -> float:
        """Its Nernst potential in V; the temperature is in K, in `mfn_model.nernst.TEMPERATURE_RANGE`."""
        return equilibrium_potential(self.valence, self.concentration_out, self.concentration_in, temperature)


POTASSIUM: Final = Ion(name="potassium", symbol="K+", valence=1, concentration_out=5e-3, concentration_in=140e-3)
"""5 mmol/L outside, 140 inside: −89.01 mV at body temperature."""
SODIUM: Final = Ion(name="sodium", symbol="Na+", valence=1, concentration_out=145e-3, concentration_in=12e-3)
"""145 mmol/L outside, 12 inside: +66.56 mV at body temperature."""
CHLORIDE: Final = Ion(name="chloride", symbol="Cl-", valence=-1, concentration_out=110e-3, concentration_in=10e-3)
"""110 mmol/L outside, 10 inside; negative charge turns the sign: −64.05 mV at body temperature."""
CALCIUM: Final = Ion(name="calcium", symbol="Ca2+", valence=2, concentration_out=2e-3, concentration_in=1e-7)
"""2 mmol/L outside, 100 nmol/L inside: +132.27 mV at body temperature, not the 101.52 mV of a floor at 1 µmol/L."""
TYPICAL_IONS: Final = (POTASSIUM, SODIUM, CHLORIDE, CALCIUM)
