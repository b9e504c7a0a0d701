"""The correlation dimension: how many cells of a mask lie near to a cell of it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mfn_model._boxes import boolean_matrix
from mfn_model._estimate import DimensionEstimate, fitted, undefined
from mfn_model._windows import WindowSettings, window_masses

__all__ = ["correlation_dimension"]


def correlation_dimension(
    mask: npt.ArrayLike,
    *,
    min_reach: int = 2,
    max_reach: int | None = None,
    periodic: bool = False,
    centres: int = 2**16,
    seed: int = 0,
) -> DimensionEstimate:
    """Correlation dimension of a mask of truth values, rows × columns.

    It is the slope of ln C(ε) against ln ε, where C(ε) is the share of the true cells that lie in a square window of
    side ε around a true cell, on average over those cells: the correlation integral by the maximum norm (P.
    Grassberger, I. Procaccia, Physica D 9 (1983) 189–208). A window reaches r cells in each direction, ε = 2 r + 1; r
    runs geometrically from `min_reach` to `max_reach`, by default an eighth of the shorter side, in at most ten steps.
    A cell is in its own window: cells have an area, and without it C of a full mask would not grow as ε².

    Centres are the true cells at least `max_reach` from the edge, so that no window is cut: what lies beyond the edge
    is not known (minus sampling; B. D. Ripley, Statistical Inference for Spatial Processes, 1988, ch. 3). With
    `periodic`, windows go on at the opposite edge and every true cell is a centre.

    While there are at most `centres` of them, all pairs are counted. Of more, that many are drawn without replacement
    by a generator seeded with `seed`, and all their neighbours counted. Time and memory grow with the cells, not with
    the pairs.

    A full mask has 2, a row or a diagonal of cells 1, a single cell 0. A mask of clumps that lie far apart may have
    more than 2. Undefined, with a reason, for an empty mask, where no centre is left, and for a grid too small for two
    windows. Raises `ValueError` when the mask is not a matrix, `min_reach` or `centres` is below 1, or `max_reach` is
    below `min_reach` or so large that no window fits into the grid.
    """
    settings = WindowSettings(min_reach=min_reach, max_reach=max_reach, periodic=periodic, centres=centres, seed=seed)
    matrix = boolean_matrix(mask)
    if not matrix.any():
        return undefined("the mask is empty")
    found = window_masses(matrix.view(np.bool_), settings)
    if isinstance(found, str):
        return undefined(found)
    return fitted(found.scales, [-math.log(float(np.mean(masses))) for masses in found.masses])
