"""What is measured of a state, on a compute thread."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mfn_core import Code, MfnError
from mfn_model import (
    DimensionEstimate,
    FieldState,
    FieldStatistics,
    active_mask,
    box_counting_dimension_legacy,
    estimate_dimension,
    field_statistics,
)

__all__ = ["dimension", "legacy_dimension", "statistics", "unstable"]


def statistics(state: FieldState, species: str | None = None) -> FieldStatistics:
    """Statistics of a simulated field, or of a further species, in its own unit.

    Raises:
        MfnError: FAILED_PRECONDITION, when it holds NaN or infinite values.
    """
    values = state.field if species is None else state.species[species]
    with np.errstate(over="ignore", invalid="ignore"):
        found = field_statistics(values)
    # NaN and infinities of any cell reach the mean or the deviation: no second pass over the field is needed.
    if not (math.isfinite(found.mean) and math.isfinite(found.std)):
        raise unstable(state, values)
    return found


def unstable(state: FieldState, values: npt.NDArray[np.float64] | None = None) -> MfnError:
    """FAILED_PRECONDITION: the numbers of the run became NaN or infinite; `values` of a further species."""
    field = state.field if values is None else values
    wrong = int(np.count_nonzero(~np.isfinite(field)))
    return MfnError(
        Code.FAILED_PRECONDITION,
        f"the simulation became unstable: after step {state.step}, {wrong} of {field.size} cells are NaN or "
        "infinite; change its parameters or lower the number of steps",
        reason="the simulation became unstable",
        details={
            "reason": "numerical_instability",
            "step": str(state.step),
            "cells": str(wrong),
        },
    )


def legacy_dimension(field: npt.NDArray[np.float64], active_cells: int | None = None) -> float:
    """The dimension of package `mfn`: that of the cells above the usual threshold, 0 where it is undefined.

    Args:
        field: in V.
        active_cells: how many such cells there are, where that is known; most fields have none.
    """
    return 0.0 if active_cells == 0 else box_counting_dimension_legacy(active_mask(field))


def dimension(field: npt.NDArray[np.float64], threshold: float | None = None) -> tuple[DimensionEstimate, float]:
    """Box-counting dimension of the cells above the threshold (V), and its legacy estimate."""
    mask = _active(field, threshold)
    return estimate_dimension(mask), box_counting_dimension_legacy(mask)


def _active(field: npt.NDArray[np.float64], threshold: float | None) -> npt.NDArray[np.bool_]:
    return active_mask(field) if threshold is None else active_mask(field, threshold)
