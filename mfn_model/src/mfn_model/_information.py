"""The information dimension: how the mass around a point of a measure grows, in the mean of its logarithm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfn_model._estimate import DimensionEstimate, fitted, undefined
from mfn_model._windows import WindowSettings, window_masses

__all__ = ["information_dimension"]


def information_dimension(
    weights: npt.ArrayLike,
    *,
    min_reach: int = 2,
    max_reach: int | None = None,
    periodic: bool = False,
    centres: int = 2**16,
    seed: int = 0,
) -> DimensionEstimate:
    """Information dimension of a mask, or of a matrix of weights, rows × columns.

    It is the Rényi dimension of order 1: the slope of S(ε) = −Σ wᵢ ln pᵢ(ε) against ln(1/ε), where pᵢ is the share of
    the whole mass in the box of side ε around cell i, and wᵢ the share of that cell in the mass of the centres (A.
    Rényi, Acta Math. Acad. Sci. Hung. 10 (1959) 193–215; with boxes around the points instead of on a grid, P.
    Grassberger, Phys. Lett. A 97 (1983) 227–230; K. Pawelzik, H. G. Schuster, Phys. Rev. A 35 (1987) 481–484). So a box
    counts as often as it has mass, wherever a grid would lie.

    The mass of a mask (bool) is its true cells, each with 1. Any other array holds weights, finite and not negative,
    in any unit, which does not matter: a concentration, or a potential above a floor, `field - field.min()`.

    Boxes, centres, `periodic`, `centres` and `seed` are those of `correlation_dimension`. For a set that is alike
    everywhere both give its dimension; otherwise the correlation dimension, which the densest parts rule, is the lower.

    Undefined, with a reason, when all weights are zero, where no centre is left, and for a grid too small for two
    boxes. Raises `ValueError` when `weights` is not a matrix or holds a negative, infinite or NaN weight, when their
    sum overflows, and for the other arguments as `correlation_dimension`.
    """
    settings = WindowSettings(min_reach=min_reach, max_reach=max_reach, periodic=periodic, centres=centres, seed=seed)
    matrix = np.asarray(weights)
    if matrix.ndim != 2:
        raise ValueError(f"weights are a matrix, rows and columns, got shape {matrix.shape}")
    if matrix.dtype != np.bool_:
        matrix = _checked(matrix.astype(np.float64))
    if not matrix.any():
        return undefined("the mask is empty" if matrix.dtype == np.bool_ else "all weights are zero")
    found = window_masses(matrix, settings)
    if isinstance(found, str):
        return undefined(found)
    entropies = [-float(np.average(np.log(masses), weights=found.weights)) for masses in found.masses]
    return fitted(found.scales, entropies)


def _checked(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    wrong = ~((weights >= 0.0) & np.isfinite(weights))
    if wrong.any():
        row, column = (int(index) for index in np.argwhere(wrong)[0])
        raise ValueError(
            f"a weight is finite and not negative, got {weights[row, column]} at ({row}, {column}); "
            "subtract a floor, and leave cells without a value out by a weight of 0"
        )
    with np.errstate(over="ignore"):  # an overflow is what is looked for
        if not np.isfinite(weights.sum()):
            raise ValueError("the sum of the weights exceeds the largest float64; divide them by their maximum")
    return weights
