"""What the compiled step of a model depends on: the order of its updates, and the coefficients of a specification.

Both models that are computed here are variants of one set of equations. What a model fixes is a constant, what a
specification chooses is a parameter; the program reads either from the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from mfn_engine_numpy._lattice import FloatArray
from mfn_model import MYCELIUM, MYCELIUM_RD, FieldSpec
from mfn_model.mycelium import ACTIVATOR_DIFFUSION, ACTIVATOR_RATE, INHIBITOR_DIFFUSION, INHIBITOR_RATE

__all__ = ["EQUATIONS", "Coefficients", "Equations", "Kinetics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equations:
    """One variant."""

    sequential: bool
    """Whether the inhibitor reacts to the new activator (Gauss–Seidel) or to the old one (Jacobi)."""
    draws_absent_species: bool
    """Whether activator and inhibitor are drawn where a specification has none."""


EQUATIONS: Final[Mapping[str, Equations]] = MappingProxyType(
    {
        MYCELIUM.name: Equations(sequential=True, draws_absent_species=False),
        MYCELIUM_RD.name: Equations(sequential=False, draws_absent_species=True),
    }
)
"""The variants by the name of their model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinetics:
    """Coefficients of activator and inhibitor under one specification."""

    activator_diffusion: float = ACTIVATOR_DIFFUSION
    inhibitor_diffusion: float = INHIBITOR_DIFFUSION
    activator_rate: float = ACTIVATOR_RATE
    inhibitor_rate: float = INHIBITOR_RATE

    @classmethod
    def of(cls, spec: FieldSpec) -> Kinetics:
        """Those that the specification chooses, and the model's constants for the rest."""
        chosen = {
            "activator_diffusion": spec.parameters.get("d_activator", ACTIVATOR_DIFFUSION),
            "inhibitor_diffusion": spec.parameters.get("d_inhibitor", INHIBITOR_DIFFUSION),
            "activator_rate": spec.parameters.get("r_activator", ACTIVATOR_RATE),
            "inhibitor_rate": spec.parameters.get("r_inhibitor", INHIBITOR_RATE),
        }
        return cls(**chosen)

    @property
    def obey_maximum_principle(self) -> bool:
        """Whether a step replaces every concentration by a weighted mean, apart from the activator's reaction."""
        return self.activator_diffusion <= 0.25 and self.inhibitor_diffusion <= (1.0 - self.inhibitor_rate) / 4.0


class Coefficients:
    """Zero-dimensional arrays, which the operations of a program read anew at every step.

    Those of diffusion are four times the coefficient, because programs work on a quarter of the Laplacian.
    """

    __slots__ = (
        "activator_rate",
        "four_activator_diffusion",
        "four_alpha",
        "four_inhibitor_diffusion",
        "inhibitor_rate",
    )

    def __init__(self) -> None:
        self.four_alpha: FloatArray = np.zeros(())
        self.four_activator_diffusion: FloatArray = np.zeros(())
        self.four_inhibitor_diffusion: FloatArray = np.zeros(())
        self.activator_rate: FloatArray = np.zeros(())
        self.inhibitor_rate: FloatArray = np.zeros(())

    def adopt(self, alpha: float, kinetics: Kinetics) -> None:
        """Take these values from the next step on."""
        self.four_alpha[...] = 4.0 * alpha
        self.four_activator_diffusion[...] = 4.0 * kinetics.activator_diffusion
        self.four_inhibitor_diffusion[...] = 4.0 * kinetics.inhibitor_diffusion
        self.activator_rate[...] = kinetics.activator_rate
        self.inhibitor_rate[...] = kinetics.inhibitor_rate
