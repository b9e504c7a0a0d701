"""The Nernst potential of an ion across a membrane.

`nernst_potential` keeps the published numbers: it raises low concentrations to a floor and checks nothing, because its
callers do. `nernst_potentials` does the same for whole arrays, checked, and counts what it raised.
`equilibrium_potential` is the one to compute with: no floor, and what makes no sense is refused. Typical ions stand in
`mfn_model.ions`, membranes that let several through in `mfn_model.goldman`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import number_problems, refuse

__all__ = [
    "BODY_TEMPERATURE",
    "FARADAY_CONSTANT",
    "GAS_CONSTANT",
    "MINIMUM_CONCENTRATION",
    "TEMPERATURE_RANGE",
    "VALENCES",
    "NernstPotentials",
    "equilibrium_potential",
    "nernst_potential",
    "nernst_potential_alternative",
    "nernst_potentials",
    "rt_over_f_mv",
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


def rt_over_f_mv(temperature: float = BODY_TEMPERATURE) -> float:
    """R T / F in mV: the potential of a monovalent ion for each factor of e between its concentrations.

    For each factor of ten it is ln 10 times that, 61.507 mV at 310 K. The temperature is in K, in `TEMPERATURE_RANGE`.
    Raises `ValueError` for any other.

    >>> round(rt_over_f_mv(), 6), round(rt_over_f_mv(293.15), 6)
    (26.712247, 25.260307)
    """
    refuse(_temperature_problems(temperature))
    return (GAS_CONSTANT * temperature) / FARADAY_CONSTANT * 1000.0


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


def nernst_potential_alternative(
    valence: int,
    concentration_out: float,
    concentration_in: float,
    temperature: float = BODY_TEMPERATURE,
) -> float:
    """The formula of `nernst_potential` by another evaluation, in V: (R T)/(z F) · (ln c_out − ln c_in).

    Both are the same number in exact arithmetic; in double precision they differ by the rounding of the two logarithms,
    some 1e-14 mV. It is published beside the other one as a check of the arithmetic, and as such earlier results called
    it symbolic: they let a computer algebra system evaluate the expression, whose last digit the difference of
    logarithms reproduces for potassium at 5 and 140 mmol/L and 310 K. Neither is the better one; there, the other one
    is the double nearest to the exact value. Floor, units and errors are those of `nernst_potential`.

    >>> nernst_potential_alternative(1, 0.005, 0.140) * 1000, nernst_potential(1, 0.005, 0.140) * 1000
    (-89.01066911987905, -89.01066911987907)
    """
    outside = max(concentration_out, MINIMUM_CONCENTRATION)
    inside = max(concentration_in, MINIMUM_CONCENTRATION)
    return (GAS_CONSTANT * temperature) / (valence * FARADAY_CONSTANT) * (math.log(outside) - math.log(inside))


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
    wrong = _valence_problems(valence)
    for name, value in (("concentration_out", concentration_out), ("concentration_in", concentration_in)):
        if not 0.0 < value < math.inf:
            wrong.append(f"{name} must be positive and finite, in mol/L, got {value!r}")
    wrong += _temperature_problems(temperature)
    refuse(wrong)
    logarithm = _log_ratio(concentration_out, concentration_in)
    return (GAS_CONSTANT * temperature) / (valence * FARADAY_CONSTANT) * logarithm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NernstPotentials:
    """Potentials of one ion under many concentrations, and how many of these were raised to the floor."""

    potentials: npt.NDArray[np.float64]
    """float64 in V, read-only, of the shape to which the arguments broadcast."""
    raised_out: int
    """Concentrations outside that were below the floor, counted after broadcasting."""
    raised_in: int
    """The same inside."""


def nernst_potentials(
    valence: int,
    concentration_out: npt.ArrayLike,
    concentration_in: npt.ArrayLike,
    temperature: float = BODY_TEMPERATURE,
    *,
    minimum_concentration: float | None = MINIMUM_CONCENTRATION,
) -> NernstPotentials:
    """Nernst potentials of one ion for arrays of concentrations that broadcast against each other.

    Concentrations are in mol/L, finite and at least 0; those below `minimum_concentration` are raised to it and
    counted. `None` sets no floor; 0 is then refused. The valence is one of `VALENCES`, the temperature, in K, in
    `TEMPERATURE_RANGE`. Raises `ValueError` that names everything out of its bound, for an array the first such value.

    >>> result = nernst_potentials(2, [0.002, 0.0018], 1e-7)
    >>> result.potentials.shape, result.raised_in
    ((2,), 2)
    """
    wrong = _valence_problems(valence) + _temperature_problems(temperature)
    if minimum_concentration is not None:
        wrong += number_problems(
            "minimum_concentration", minimum_concentration, 0.0, unit="mol/L", minimum_exclusive=True
        )
    outside = np.asarray(concentration_out, dtype=np.float64)
    inside = np.asarray(concentration_in, dtype=np.float64)
    for name, values in (("concentration_out", outside), ("concentration_in", inside)):
        low = values > 0.0 if minimum_concentration is None else values >= 0.0
        refused = values[~(low & np.isfinite(values))]
        if refused.size:
            bound = "positive" if minimum_concentration is None else "at least 0"
            wrong.append(f"{name} must be {bound} and finite, in mol/L, got {float(refused.flat[0])!r}")
    refuse(wrong)
    outside, inside = np.broadcast_arrays(outside, inside)
    floor = 0.0 if minimum_concentration is None else minimum_concentration
    raised_out, raised_in = int(np.count_nonzero(outside < floor)), int(np.count_nonzero(inside < floor))
    outside, inside = np.maximum(outside, floor), np.maximum(inside, floor)
    with np.errstate(over="ignore", under="ignore"):
        ratio = outside / inside
    # Where the ratio overflows or loses digits, the difference of logarithms does not.
    plain = (ratio > 1e-300) & (ratio < 1e300)
    logarithm = np.where(plain, np.log(np.where(plain, ratio, 1.0)), np.log(outside) - np.log(inside))
    potentials = np.asarray((GAS_CONSTANT * temperature) / (valence * FARADAY_CONSTANT) * logarithm)
    potentials.flags.writeable = False
    return NernstPotentials(potentials=potentials, raised_out=raised_out, raised_in=raised_in)


def _valence_problems(valence: object) -> list[str]:
    if isinstance(valence, bool) or valence not in VALENCES:
        return [f"valence must be one of {', '.join(map(str, VALENCES))}, got {valence!r}"]
    return []


def _temperature_problems(temperature: float) -> list[str]:
    coldest, hottest = TEMPERATURE_RANGE
    if not coldest <= temperature <= hottest:
        return [f"temperature must be from {coldest:g} to {hottest:g} K, got {temperature!r}"]
    return []


def _log_ratio(dividend: float, divisor: float) -> float:
    """ln(dividend / divisor), also where the ratio would overflow or lose its digits."""
    ratio = dividend / divisor
    if 1e-300 < ratio < 1e300:
        return math.log(ratio)
    return math.log(dividend) - math.log(divisor)
