"""The potential of a membrane that lets several ions through, at which they carry no net current together.

In a constant field an ion of valence z and permeability P carries, with w = z V F/(R T), a current in proportion to P
z² V (c_in − c_out e⁻ʷ)/(1 − e⁻ʷ). Where all ions are monovalent their sum vanishes at the voltage of Goldman, Hodgkin
and Katz (D. Goldman, J. Gen. Physiol. 27 (1943) 37–60; A. Hodgkin, B. Katz, J. Physiol. 108 (1949) 37–77). With
divalent ions among them there is no closed form in general; the sum rises with V, so that its zero is found by
bisection.

>>> from mfn_model.ions import CHLORIDE, POTASSIUM, SODIUM
>>> round(goldman_potential({POTASSIUM: 1.0, SODIUM: 0.04, CHLORIDE: 0.45}) * 1000, 3)
-67.29
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from mfn_model._bounds import number_problems, refuse
from mfn_model.ions import Ion
from mfn_model.nernst import BODY_TEMPERATURE, rt_over_f_mv

__all__ = ["goldman_potential"]


def goldman_potential(permeabilities: Mapping[Ion, float], temperature: float = BODY_TEMPERATURE) -> float:
    """The Goldman–Hodgkin–Katz voltage in V, inside against outside.

    `permeabilities` are relative, in any common unit, finite, at least 0 and one of them above 0; the temperature is in
    K, in `mfn_model.nernst.TEMPERATURE_RANGE`. The result lies between the smallest and the largest equilibrium
    potential of the permeant ions. It is in closed form where all of these are monovalent; else it is exact up
    to rounding. Raises `ValueError` that lists everything out of its bound.
    """
    problems = []
    for ion, permeability in permeabilities.items():
        problems += number_problems(f"permeability of {ion.name}", permeability, 0.0)
    if not problems and not any(permeabilities.values()):
        problems.append("at least one permeability must be above 0, or nothing sets the potential")
    refuse(problems)
    thermal = rt_over_f_mv(temperature) / 1000.0
    largest = max(permeabilities.values())
    permeant = {ion: permeability / largest for ion, permeability in permeabilities.items() if permeability > 0.0}
    if all(abs(ion.valence) == 1 for ion in permeant):
        return thermal * _monovalent(permeant)
    limits = [ion.equilibrium_potential(temperature) / thermal for ion in permeant]
    return thermal * _zero_current(permeant, min(limits), max(limits))


def _monovalent(permeant: Mapping[Ion, float]) -> float:
    """V F/(R T) = ln(Σ P c over cations outside and anions inside, over the same with the sides exchanged)."""
    above, below = [], []
    for ion, permeability in permeant.items():
        outside, inside = permeability * ion.concentration_out, permeability * ion.concentration_in
        above.append(outside if ion.valence > 0 else inside)
        below.append(inside if ion.valence > 0 else outside)
    return math.log(math.fsum(above)) - math.log(math.fsum(below))


def _zero_current(permeant: Mapping[Ion, float], low: float, high: float) -> float:
    """The zero, in units of R T/F, of the current between two potentials where it is not positive and not negative."""
    while True:
        middle = low + (high - low) / 2.0
        if not low < middle < high:
            return middle
        if math.fsum(_current(ion, permeability, middle) for ion, permeability in permeant.items()) < 0.0:
            low = middle
        else:
            high = middle


def _current(ion: Ion, permeability: float, potential: float) -> float:
    """P z (c_in w/(1 − e⁻ʷ) − c_out w/(eʷ − 1)) with w = z V F/(R T); both fractions are 1 at w = 0."""
    w = ion.valence * potential
    outward, inward = _damped(-w), _damped(w)
    return permeability * ion.valence * (ion.concentration_in * outward - ion.concentration_out * inward)


def _damped(w: float) -> float:
    """w/(eʷ − 1), positive and falling, without overflow."""
    if w == 0.0:
        return 1.0
    if w > 0.0:
        return w * math.exp(-w) / -math.expm1(-w)
    return w / math.expm1(w)
