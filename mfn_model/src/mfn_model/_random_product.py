"""Lyapunov exponents of a product of random matrices: of the linear parts of an iterated function system."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mfn_model._affine import AffineTransform

__all__ = ["ifs_lyapunov_exponents"]

_START = (math.cos(1.0), math.sin(1.0))
"""A direction that no map of a hand-written system has for its kernel, as it may have an axis."""


def ifs_lyapunov_exponents(
    transforms: Sequence[AffineTransform], choices: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Both Lyapunov exponents, largest first, in nats per iteration, of maps that are chosen with equal probability.

    `choices`, [n] of indices into `transforms`, is the sequence of maps over which the product is followed by QR
    decomposition (G. Benettin et al., Meccanica 15 (1980) 9–30). Their sum, the mean of ln |det|, is known without a
    sequence and taken exactly, so that only half of their difference is an estimate, with an error of the order 1/√n.
    For similarities there is none: both exponents are the mean of ln s. A map of determinant 0 makes the smaller −∞,
    and both where the product vanishes.

    Raises `ValueError` when there is no transform, no choice or an index that is out of range.
    """
    if not transforms:
        raise ValueError("lyapunov exponents need at least one transform, got none")
    indices = np.asarray(choices)
    if indices.ndim != 1 or indices.size == 0 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"choices must be a sequence of at least one integer, got {indices.dtype} {indices.shape}")
    if int(indices.min()) < 0 or int(indices.max()) >= len(transforms):
        raise ValueError(
            f"choices must be from 0 to {len(transforms) - 1}, got {int(indices.min())} to {int(indices.max())}"
        )
    sizes = [abs(each.determinant) for each in transforms]
    singular = min(sizes) == 0.0
    # Maps divided by √|det| keep areas: what is left of their exponents is ± half of the difference.
    scales = [1.0 if singular else math.sqrt(size) for size in sizes]
    matrices = [
        (each.a / scale, each.b / scale, each.c / scale, each.d / scale)
        for each, scale in zip(transforms, scales, strict=True)
    ]
    rate = _growth_of_first_column(matrices, indices.tolist())
    if singular:
        return rate, -math.inf
    mean = math.fsum(math.log(size) for size in sizes) / (2.0 * len(sizes))
    return mean + abs(rate), mean - abs(rate)


def _growth_of_first_column(matrices: Sequence[tuple[float, float, float, float]], choices: Sequence[int]) -> float:
    """Mean of ln r₁₁ over the QR decompositions; r₂₂ is |det| / r₁₁ and needs no second column."""
    x, y = _START
    logarithms = []
    for a, b, c, d in map(matrices.__getitem__, choices):
        x, y = a * x + b * y, c * x + d * y
        length = math.hypot(x, y)
        if length == 0.0:
            return -math.inf
        x, y = x / length, y / length
        logarithms.append(math.log(length))
    return math.fsum(logarithms) / len(logarithms)
