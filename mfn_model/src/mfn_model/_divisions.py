"""Dividing a rectangle into boxes that are as nearly square as whole numbers allow, finer and finer.

The shorter side is divided into 2, 4, 8, … parts; the longer side into m, 2m, 4m, …, where m is the whole number
nearest to twice the ratio of the sides, in the sense of ratios. Every division refines the one before, splitting each
box into 2 × 2, and covers the whole rectangle. For a square m = 2. A box's sides differ by a factor of at most √1.5,
which does not change a dimension: it is the same in coordinates that are stretched along an axis (K. Falconer, Fractal
Geometry, 3rd ed., §2.2: bi-Lipschitz invariance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

__all__ = ["Divisions", "divisions", "grid_text", "too_few_scales"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divisions:
    """Divisions of a grid of `height` × `width` cells."""

    height: int
    width: int
    boxes: tuple[tuple[int, int], ...]
    """Boxes along height and width, from the finest division to the coarsest."""

    @property
    def scales(self) -> list[float]:
        """ε of each division in cells, ascending: the geometric mean of the sides of its mean box."""
        return [math.sqrt((self.height / rows) * (self.width / columns)) for rows, columns in self.boxes]

    def between(self, begin: int, end: int) -> Divisions:
        """The divisions from number `begin`, the finest being number 0, to the one before number `end`."""
        return replace(self, boxes=self.boxes[begin:end])


@lru_cache(maxsize=256)
def divisions(height: int, width: int, min_box: int) -> Divisions:
    """The divisions whose boxes are at least `min_box` ≥ 1 cells wide along both sides."""
    shorter, longer = min(height, width), max(height, width)
    boxes = []
    across, along = 2, _nearest_ratio(2 * longer, shorter)
    while across <= shorter // min_box and along <= longer // min_box:
        boxes.append((across, along) if height <= width else (along, across))
        across, along = 2 * across, 2 * along
    return Divisions(height=height, width=width, boxes=tuple(reversed(boxes)))


def too_few_scales(division: Divisions, min_box: int) -> str:
    """The reason why nothing can be fitted."""
    grid = grid_text(division.height, division.width)
    return f"a grid of {grid} has {len(division.boxes)} of the two scales needed at box sizes from {min_box} cells"


def grid_text(height: int, width: int) -> str:
    """`64 cells` for a square, `64 × 80 cells` for another rectangle."""
    return f"{height} cells" if height == width else f"{height} × {width} cells"


def _nearest_ratio(over: int, under: int) -> int:
    """The whole number at least 1 whose ratio to over / under is nearest to 1; 1 for an empty side."""
    if under == 0:
        return 1
    below = max(1, over // under)
    # Between n and n + 1 the change is at their geometric mean.
    return below if over * over < below * (below + 1) * under * under else below + 1
