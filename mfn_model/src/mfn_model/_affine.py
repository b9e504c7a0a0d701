"""Affine maps of the plane, and what follows from a set of them without iterating it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import number_problems, refuse

__all__ = ["AffineTransform", "similarity_dimension", "validate_contraction"]

_SIMILARITY_TOLERANCE = 1e-12
"""Relative; what rounding leaves of the orthogonality of s·cos φ and s·sin φ is below it by far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineTransform:
    """(x, y) ↦ (a x + b y + e, c x + d y + f); raises `ValueError` for coefficients that are not finite."""

    a: float
    b: float
    c: float
    d: float
    e: float = 0.0
    f: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        for name in ("a", "b", "c", "d", "e", "f"):
            problems += number_problems(name, getattr(self, name))
        refuse(problems)

    @classmethod
    def similarity(cls, *, ratio: float, angle: float = 0.0, e: float = 0.0, f: float = 0.0) -> AffineTransform:
        """Rotation by `angle` radians and scaling by `ratio`, then translation by (e, f)."""
        cosine, sine = math.cos(angle), math.sin(angle)
        return cls(a=ratio * cosine, b=-ratio * sine, c=ratio * sine, d=ratio * cosine, e=e, f=f)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """[2, 2] float64, the linear part."""
        return np.array([[self.a, self.b], [self.c, self.d]], dtype=np.float64)

    @property
    def determinant(self) -> float:
        """a d − b c, the signed factor by which areas grow."""
        return self.a * self.d - self.b * self.c

    @property
    def norm(self) -> float:
        """The largest factor by which a distance grows: the largest singular value of the linear part."""
        # The singular values are p + q and |p − q| (J. Blinn, IEEE Comput. Graph. Appl. 16(2) (1996) 82–88).
        p = math.hypot(self.a + self.d, self.c - self.b) / 2.0
        q = math.hypot(self.a - self.d, self.b + self.c) / 2.0
        return p + q

    @property
    def ratio(self) -> float | None:
        """The factor by which every distance changes, where there is one: where the map is a similarity."""
        size = self.a**2 + self.b**2 + self.c**2 + self.d**2
        stretch = self.a**2 + self.c**2 - self.b**2 - self.d**2
        shear = self.a * self.b + self.c * self.d
        if max(abs(stretch), abs(shear)) > _SIMILARITY_TOLERANCE * size:
            return None
        return math.sqrt(abs(self.determinant))


def validate_contraction(transforms: Sequence[AffineTransform]) -> bool:
    """Whether every map shrinks areas: |a d − b c| < 1.

    This is the criterion of earlier results. It does not make an attractor: a map may shrink areas and still stretch
    one direction. A system whose maps all have a `norm` below 1 has exactly one (J. Hutchinson, Indiana Univ. Math. J.
    30 (1981) 713–747). For similarities both criteria are the same.
    """
    return all(abs(each.determinant) < 1.0 for each in transforms)


def similarity_dimension(transforms: Sequence[AffineTransform]) -> float:
    """The D ≥ 0 at which Σ sᵢᴰ over the ratios of similarities is 1.

    The equation is Moran's (P. A. P. Moran, Proc. Camb. Phil. Soc. 42 (1946) 15–23). D is the Hausdorff and the
    box-counting dimension of the attractor where the images of the attractor do not overlap (open set condition), and
    an upper bound of both where they do; it may then exceed 2. Raises `ValueError` when there is no transform, one is
    not a similarity, or a ratio is not above 0 and below 1.

    >>> thirds = [AffineTransform.similarity(ratio=1 / 3, e=shift) for shift in (0.0, 2 / 3)]
    >>> round(similarity_dimension(thirds), 6)  # Cantor's set: ln 2 / ln 3
    0.63093
    """
    if not transforms:
        raise ValueError("a similarity dimension needs at least one transform, got none")
    ratios = []
    for index, each in enumerate(transforms):
        ratio = each.ratio
        if ratio is None:
            raise ValueError(
                f"transform {index} is not a similarity, so that it has no ratio; estimate a dimension from the points"
            )
        if not 0.0 < ratio < 1.0:
            raise ValueError(f"the ratio of transform {index} must be above 0 and below 1, got {ratio!r}")
        ratios.append(ratio)
    logarithms = [math.log(ratio) for ratio in ratios]
    # The sum is convex and falls with D, so that Newton's method from the left approaches the root from the left.
    dimension = 0.0
    while True:
        powers = [math.exp(dimension * each) for each in logarithms]
        excess = math.fsum(powers) - 1.0
        slope = math.fsum(power * each for power, each in zip(powers, logarithms, strict=True))
        following = dimension - excess / slope
        if following <= dimension:
            return dimension
        dimension = following
