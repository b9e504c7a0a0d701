"""Masses of square windows around the cells of a set: what correlation and information dimension average.

A window reaches r cells in each direction from its centre and has a side of ε = 2 r + 1: a ball of the maximum norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model._divisions import grid_text

__all__ = ["Indices", "WindowMasses", "WindowSettings", "window_masses"]

SCALES = 10
"""Window sizes of a fit, at most."""

Indices = npt.NDArray[np.intp]

SumTable = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """Which windows are laid around which cells; raises `ValueError` for what is out of its bounds."""

    min_reach: int
    max_reach: int | None
    periodic: bool
    centres: int
    seed: int

    def __post_init__(self) -> None:
        if self.min_reach < 1:
            raise ValueError(f"min_reach must be at least 1, got {self.min_reach}")
        if self.centres < 1:
            raise ValueError(f"centres must be at least 1, got {self.centres}")

    def reaches(self, height: int, width: int) -> list[int]:
        """Reaches in cells, ascending, for a grid of this size."""
        shorter = min(height, width)
        furthest = (shorter - 1) // 2
        most = self.max_reach
        if most is None:
            most = max(shorter // 8, min(2 * self.min_reach, shorter // 4))
        elif not self.min_reach <= most <= furthest:
            raise ValueError(
                f"max_reach must lie between min_reach, {self.min_reach}, and {furthest}, so that a window fits into "
                f"the grid, got {most}"
            )
        if most < self.min_reach:
            return []
        return sorted({round(float(each)) for each in np.geomspace(self.min_reach, most, SCALES)})


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMasses:
    """Masses of windows around the same centres, for each size."""

    scales: tuple[int, ...]
    """ε in cells, ascending."""
    masses: tuple[npt.NDArray[np.float64], ...]
    """For each ε, the share of the whole mass within the window around each centre, 0 … 1."""
    weights: npt.NDArray[np.float64]
    """The mass of each centre's own cell."""


def window_masses(weights: npt.NDArray[np.generic], settings: WindowSettings) -> WindowMasses | str:
    """The masses around the cells of positive weight, or the reason why there are none to be had.

    `weights` are bool or finite float64, not negative, and not all zero. Centres are the cells whose largest window
    lies in the grid; with `periodic` all of them. Of more than `settings.centres`, that many are drawn.
    """
    reaches = settings.reaches(*weights.shape)
    if len(reaches) < 2:
        grid = grid_text(*weights.shape)
        return f"a grid of {grid} has {len(reaches)} of the two windows needed, at reaches from {settings.min_reach}"
    margin = reaches[-1]
    rows, columns = _centres(weights, 0 if settings.periodic else margin, settings)
    if rows.size == 0:
        return f"no true cell lies {margin} cells or more from the edge; lower max_reach"
    own = weights[rows, columns].astype(np.float64)
    if settings.periodic:
        sums = _prefix_sums(np.pad(weights, margin, mode="wrap"))
        total = float(weights.sum(dtype=np.float64))
        rows, columns = rows + margin, columns + margin
    else:
        sums = _prefix_sums(weights)
        total = float(sums[-1, -1])
    # In float64 the difference of large sums may lose a small mass; the centre's own is always there.
    masses = [np.maximum(_within(sums, rows, columns, reach), own) / total for reach in reaches]
    return WindowMasses(scales=tuple(2 * reach + 1 for reach in reaches), masses=tuple(masses), weights=own)


def _centres(weights: npt.NDArray[np.generic], margin: int, settings: WindowSettings) -> tuple[Indices, Indices]:
    height, width = weights.shape
    rows, columns = np.nonzero(weights[margin : height - margin, margin : width - margin])
    if rows.size > settings.centres:
        drawn = np.random.default_rng(settings.seed).choice(rows.size, size=settings.centres, replace=False)
        rows, columns = rows[drawn], columns[drawn]
    return rows + margin, columns + margin


def _prefix_sums(weights: npt.NDArray[np.generic]) -> SumTable:
    """S with S[i, j] the sum of the rows before i and the columns before j (F. C. Crow, SIGGRAPH 1984, 207–212)."""
    kind = np.int64 if weights.dtype == np.bool_ else np.float64
    sums: SumTable = np.zeros((weights.shape[0] + 1, weights.shape[1] + 1), dtype=kind)
    np.cumsum(weights, axis=0, dtype=kind, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _within(sums: SumTable, rows: Indices, columns: Indices, reach: int) -> npt.NDArray[np.float64]:
    top, bottom, left, right = rows - reach, rows + reach + 1, columns - reach, columns + reach + 1
    total: npt.NDArray[np.float64] = sums[bottom, right].astype(np.float64)
    total -= sums[top, right]
    total -= sums[bottom, left]
    total += sums[top, left]
    return total
