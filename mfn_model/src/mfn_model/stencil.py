"""The five-point Laplacian at unit spacing, plainly: what backends are measured against.

At every cell it is the sum of the four neighbours, upper, lower, left and right in this order, minus four times the
cell. Its unit is that of the values, per cell².
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["laplacian", "periodic_laplacian"]

FloatArray = npt.NDArray[np.float64]

_PADDING: Final[Mapping[str, str]] = {"periodic": "wrap", "neumann": "edge", "dirichlet": "constant"}


def periodic_laplacian(values: FloatArray) -> FloatArray:
    """Five-point Laplacian of a matrix at unit spacing, periodic in both directions; same shape and unit."""
    neighbours = np.roll(values, 1, axis=0) + np.roll(values, -1, axis=0)
    neighbours = neighbours + np.roll(values, 1, axis=1) + np.roll(values, -1, axis=1)
    return np.asarray(neighbours - 4.0 * values)


def laplacian(values: FloatArray, boundary: str = "periodic", outside: float = 0.0) -> FloatArray:
    """Five-point Laplacian of a matrix at unit spacing; same shape and unit.

    Beyond the edge lies, by `boundary`: the opposite side (`"periodic"`), the cell at the edge itself, so that nothing
    flows through the edge (`"neumann"`), or the constant `outside` (`"dirichlet"`). Raises `ValueError` for any other.
    """
    mode = _PADDING.get(boundary)
    if mode is None:
        raise ValueError(f"no boundary is called {boundary!r}; known: {', '.join(_PADDING)}")
    constant: dict[str, Any] = {"constant_values": outside} if mode == "constant" else {}
    padded = np.pad(values, 1, mode=mode, **constant)  # type: ignore[call-overload]  # the mode is looked up
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1]
    neighbours = neighbours + padded[1:-1, :-2] + padded[1:-1, 2:]
    return np.asarray(neighbours - 4.0 * values)
