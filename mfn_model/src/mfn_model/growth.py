"""Fractal growth by iterated function systems: random similarities, their attractor, its exponents and dimensions.

An iterated function system is a set of contracting maps; the chaos game applies one after the other, each chosen at
random, and its orbit fills the attractor (M. Barnsley, Fractals Everywhere, 2nd ed., ch. III). `generate_ifs` draws
maps and orbit as earlier results did, to the last bit; `grow` does so within the bounds of a `GrowthConfig` and
measures.

Two numbers are called Lyapunov exponents. `lyapunov_legacy` is the mean of ln |det| over the orbit, which is the sum of
the two true exponents; `ifs_lyapunov_exponents` gives these themselves.

>>> growth = grow(GrowthConfig(points=5000), seed=42)
>>> growth.metrics.points_generated, growth.metrics.is_contractive
(5000, True)
>>> round(growth.metrics.lyapunov_exponent, 3), round(sum(growth.exponents), 3)
(-2.335, -2.342)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model._affine import AffineTransform, similarity_dimension, validate_contraction
from mfn_model._bounds import integer_problems, number_problems
from mfn_model._chaos_game import (
    IfsAttractor,
    NotContractiveError,
    generate_ifs,
    play_chaos_game,
    refuse_scale,
    scale_problems,
)
from mfn_model._random_product import ifs_lyapunov_exponents
from mfn_model.dimension import DimensionEstimate, box_counting_legacy

__all__ = [
    "BIOLOGICAL_DIMENSION_RANGE",
    "COORDINATE_LIMIT",
    "DIMENSION_RANGE",
    "AffineTransform",
    "Growth",
    "GrowthConfig",
    "GrowthMetrics",
    "IfsAttractor",
    "NotContractiveError",
    "UnboundedOrbitError",
    "generate_ifs",
    "grow",
    "ifs_lyapunov_exponents",
    "occupied_cells",
    "play_chaos_game",
    "require_bounded",
    "similarity_dimension",
    "validate_contraction",
    "validate_dimension_range",
]

COORDINATE_LIMIT: Final = 100.0
"""An orbit of `grow` stays strictly within ± this, in the length unit of the translations."""
DIMENSION_RANGE: Final = (0.0, 2.0)
"""What the dimension of a set in the plane can be."""
BIOLOGICAL_DIMENSION_RANGE: Final = (1.4, 1.9)
"""Where box-counting dimensions of grown mycelia are expected, by the model's published range."""


class UnboundedOrbitError(ArithmeticError):
    """An orbit that left its bound or is no longer finite; whatever is measured on it means nothing."""

    def __init__(self, *, index: int, x: float, y: float, bound: float) -> None:
        self.index = index
        """The first point at fault."""
        self.x = x
        self.y = y
        self.bound = bound
        super().__init__(
            f"the orbit is unbounded: point {index} is ({x:g}, {y:g}), coordinates must be finite and within "
            f"±{bound:g}; lower the scale or the translation range"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.index, self.x, self.y, self.bound)


def _rebuilt(index: int, x: float, y: float, bound: float) -> UnboundedOrbitError:
    return UnboundedOrbitError(index=index, x=x, y=y, bound=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthConfig:
    """How to grow and measure; raises `ValueError` that lists everything out of its bound.

    It is a `NotContractiveError`, which is a `ValueError`, where a ratio may reach 1.
    """

    points: int = 10_000
    """1000 … 100,000."""
    transforms: int = 4
    """2 … 8."""
    scale_min: float = 0.2
    """Smallest ratio, above 0."""
    scale_max: float = 0.5
    """Largest ratio, from `scale_min`, below 1."""
    translation_range: float = 1.0
    """0 … 2, in the length unit of the plane."""
    num_scales: int = 5
    """Box sizes of the dimension, 3 … 10."""
    min_box_size: int = 2
    """Smallest box in cells, at least 1."""

    def __post_init__(self) -> None:
        problems = integer_problems("points", self.points, 1000, 100_000)
        problems += integer_problems("transforms", self.transforms, 2, 8)
        problems += scale_problems("scale_min, scale_max", self.scale_min, self.scale_max)
        problems += number_problems("translation_range", self.translation_range, 0.0, 2.0)
        problems += integer_problems("num_scales", self.num_scales, 3, 10)
        problems += integer_problems("min_box_size", self.min_box_size, 1)
        refuse_scale(problems, self.scale_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthMetrics:
    """The numbers of earlier results."""

    lyapunov_exponent: float
    """Mean of ln |det| over the orbit, nats per iteration."""
    fractal_dimension: float
    """Slope of the legacy box counting over the occupied cells; 0.0 where it is undefined."""
    points_generated: int
    points_bounded: bool
    """Whether all coordinates are within ±`COORDINATE_LIMIT`; `grow` returns none for which they are not."""
    max_point_distance: float
    """Largest Euclidean distance of a point from the origin."""
    is_contractive: bool
    """Whether `lyapunov_exponent` is below 0."""
    dimension_r_squared: float
    """Coefficient of determination of the fit, 0 … 1; 0.0 where the dimension is undefined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Growth:
    """An attractor with what was measured on it."""

    attractor: IfsAttractor
    cells: npt.NDArray[np.bool_]
    """[side, side] bool, read-only: the occupied cells on which the dimension was measured."""
    dimension: DimensionEstimate
    """The fit behind `metrics.fractal_dimension`, or the reason why there is none."""
    exponents: tuple[float, float]
    """Both Lyapunov exponents, largest first, nats per iteration; equal, since the maps are similarities."""
    similarity_dimension: float
    """Solution of Moran's equation: the dimension where the parts do not overlap, a bound above it where they do."""
    metrics: GrowthMetrics


def grow(config: GrowthConfig | None = None, *, seed: int | np.random.Generator = 42, side: int = 256) -> Growth:
    """Draws a system within the bounds of `config`, plays the chaos game and measures what came out.

    `seed` and draws are those of `generate_ifs`. The dimension is that of the cells of a grid of `side` × `side`, at
    least 4, that hold a point; about ten points for each occupied cell are needed before it settles. Raises
    `UnboundedOrbitError` when a point is not finite or reaches ±`COORDINATE_LIMIT`.
    """
    config = config or GrowthConfig()
    attractor = generate_ifs(
        seed,
        points=config.points,
        transforms=config.transforms,
        scale_range=(config.scale_min, config.scale_max),
        translation_range=config.translation_range,
    )
    require_bounded(attractor.points)
    cells = occupied_cells(attractor.points, side)
    cells.flags.writeable = False
    dimension = box_counting_legacy(cells, config.min_box_size, None, config.num_scales)
    rate = attractor.lyapunov_legacy
    return Growth(
        attractor=attractor,
        cells=cells,
        dimension=dimension,
        exponents=ifs_lyapunov_exponents(attractor.transforms, attractor.choices),
        similarity_dimension=similarity_dimension(attractor.transforms),
        metrics=GrowthMetrics(
            lyapunov_exponent=rate,
            fractal_dimension=0.0 if dimension.value is None else dimension.value,
            points_generated=len(attractor.points),
            points_bounded=True,
            max_point_distance=float(np.sqrt(np.square(attractor.points).sum(axis=1).max())),
            is_contractive=rate < 0.0,
            dimension_r_squared=0.0 if dimension.r_squared is None else dimension.r_squared,
        ),
    )


def require_bounded(points: npt.NDArray[np.float64], bound: float = COORDINATE_LIMIT) -> None:
    """Raises `UnboundedOrbitError` for the first of these points, [n, 2], that is not finite and within ±`bound`."""
    orbit = _plane(points)
    inside = (np.abs(orbit) < bound).all(axis=1)  # NaN compares false
    if not inside.all():
        index = int(np.argmin(inside))
        raise UnboundedOrbitError(index=index, x=float(orbit[index, 0]), y=float(orbit[index, 1]), bound=bound)


def occupied_cells(points: npt.NDArray[np.float64], side: int = 256) -> npt.NDArray[np.bool_]:
    """[side, side] bool: the cells that hold a point, of a grid over the smallest square around all of them.

    `points` is [n, 2], finite, at least one; rows of the grid run along y, columns along x, from the smallest value up,
    and the square is centred on the points. Points that all coincide occupy one cell. Raises `ValueError` for anything
    else, and for a `side` below 4.
    """
    if side < 4:
        raise ValueError(f"side must be at least 4 cells, got {side}")
    orbit = _plane(points)
    if len(orbit) == 0 or not np.isfinite(orbit).all():
        raise ValueError("points must be finite and at least one, to lie on a grid; see require_bounded")
    low, high = orbit.min(axis=0), orbit.max(axis=0)
    extent = float((high - low).max())
    corner = (low + high - extent) / 2.0
    scaled = (orbit - corner) / extent if extent > 0.0 else np.zeros_like(orbit)
    indices = np.clip((scaled * side).astype(np.int64), 0, side - 1)
    cells = np.zeros((side, side), dtype=np.bool_)
    cells[indices[:, 1], indices[:, 0]] = True
    return cells


def validate_dimension_range(dimension: float, *, biological: bool = False) -> bool:
    """Whether a dimension lies in `DIMENSION_RANGE`, or in `BIOLOGICAL_DIMENSION_RANGE`, both closed; NaN does not."""
    low, high = BIOLOGICAL_DIMENSION_RANGE if biological else DIMENSION_RANGE
    return low <= dimension <= high and not math.isnan(dimension)


def _plane(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    orbit = np.asarray(points, dtype=np.float64)
    if orbit.ndim != 2 or orbit.shape[1] != 2:
        raise ValueError(f"points must have shape [n, 2], got {orbit.shape}")
    return orbit
