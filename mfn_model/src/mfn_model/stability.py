"""Numbers that are no longer finite: found, counted and named."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["NumericalInstabilityError", "require_finite"]


class NumericalInstabilityError(ArithmeticError):
    """A simulation whose numbers became NaN or infinite; going on from there is useless."""

    def __init__(self, *, step: int, species: str, nan_count: int, inf_count: int) -> None:
        self.step = step
        """The step after which it was found; what caused it may have happened earlier."""
        self.species = species
        """The first species, in the order of the model, that holds such a number."""
        self.nan_count = nan_count
        """Its cells that are NaN."""
        self.inf_count = inf_count
        """Its cells that are infinite."""
        super().__init__(
            f"the simulation is unstable: after step {step} the {species} holds {nan_count} NaN and {inf_count} "
            "infinite cells; lower the diffusion coefficients or start from finite values"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.step, self.species, self.nan_count, self.inf_count)


def require_finite(step: int, species: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Raises `NumericalInstabilityError` for the first of these arrays, by name, that holds NaN or an infinity."""
    for name, values in species.items():
        nan_count = int(np.count_nonzero(np.isnan(values)))
        inf_count = int(np.count_nonzero(np.isinf(values)))
        if nan_count or inf_count:
            raise NumericalInstabilityError(step=step, species=name, nan_count=nan_count, inf_count=inf_count)


def _rebuilt(step: int, species: str, nan_count: int, inf_count: int) -> NumericalInstabilityError:
    return NumericalInstabilityError(step=step, species=species, nan_count=nan_count, inf_count=inf_count)
