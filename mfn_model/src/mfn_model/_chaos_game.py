"""Points on the attractor of an iterated function system, by the chaos game, in a fixed order of draws.

All draws come from one NumPy generator. For each transform: ratio U(s₋, s₊), angle U(0, 2π), translations U(−t, t) for
x and for y; then for each point the index of its transform, uniform. The orbit starts at the origin, which is not
stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from mfn_model._affine import AffineTransform
from mfn_model._bounds import integer_problems, number_problems, refuse
from mfn_model._orbit import orbit

__all__ = ["IfsAttractor", "NotContractiveError", "generate_ifs", "play_chaos_game", "refuse_scale", "scale_problems"]

FloatArray = npt.NDArray[np.float64]

SMALLEST_DETERMINANT = 1e-10
"""A smaller |a d − b c| adds nothing to the legacy rate, instead of a logarithm near −∞."""


class NotContractiveError(ValueError):
    """A range of ratios that reaches 1: such maps do not contract, and the system need not have an attractor."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IfsAttractor:
    """An orbit of the chaos game. The first few dozen points are still on their way from the origin."""

    transforms: tuple[AffineTransform, ...]
    points: FloatArray
    """[n, 2] float64, read-only: x and y, in the order of the orbit."""
    choices: npt.NDArray[np.int64]
    """[n] int64, read-only: which transform led to the point."""
    lyapunov_legacy: float
    """Mean of ln |a d − b c| over the orbit, nats per iteration: the number of earlier results.

    It estimates the sum of both Lyapunov exponents, which for similarities is twice the one that they share; see
    `mfn_model.growth.ifs_lyapunov_exponents` for the exponents.
    """


def generate_ifs(
    seed: int | np.random.Generator,
    *,
    points: int = 10_000,
    transforms: int = 4,
    scale_range: tuple[float, float] = (0.2, 0.5),
    translation_range: float = 1.0,
) -> IfsAttractor:
    """Draws random contracting similarities and plays the chaos game with them.

    `seed` is a seed of PCG64, at least 0, or a generator, which is then left where the draws end. `scale_range` are the
    bounds of the ratios, above 0 and below 1; `translation_range` is t ≥ 0, translations are within ±t. The result is
    the same to the last bit for the same generator state. Raises `ValueError` for whatever is out of its bound, of the
    kind `NotContractiveError` where a ratio may reach 1. A contracting map
    costs about 0.1 µs a point.

    >>> attractor = generate_ifs(42, points=1000)
    >>> attractor.points.shape, round(attractor.lyapunov_legacy, 12)
    ((1000, 2), -2.331703932407)
    """
    low, high = scale_range
    problems = integer_problems("points", points, 1) + integer_problems("transforms", transforms, 1)
    problems += number_problems("translation_range", translation_range, 0.0)
    problems += scale_problems("scale_range", low, high)
    refuse_scale(problems, high)
    generator = _generator(seed)
    drawn = []
    for _ in range(transforms):
        ratio = float(generator.uniform(low, high))
        angle = float(generator.uniform(0.0, 2.0 * np.pi))
        e = float(generator.uniform(-translation_range, translation_range))
        f = float(generator.uniform(-translation_range, translation_range))
        drawn.append(AffineTransform.similarity(ratio=ratio, angle=angle, e=e, f=f))
    return _played(tuple(drawn), generator, points)


def play_chaos_game(
    transforms: Sequence[AffineTransform], seed: int | np.random.Generator, *, points: int = 10_000
) -> IfsAttractor:
    """The chaos game with given transforms, each chosen with the same probability (M. Barnsley, Fractals Everywhere).

    Seed, order of draws and cost are those of `generate_ifs`. Raises `ValueError` when there is no transform, `points`
    is below 1 or the seed is negative. Maps that do not contract are not refused; their orbit may leave every bound,
    and ends in infinities or NaN then, which `mfn_model.growth.require_bounded` finds.
    """
    problems = integer_problems("points", points, 1)
    if not transforms:
        problems.append("the chaos game needs at least one transform, got none")
    refuse(problems)
    return _played(tuple(transforms), _generator(seed), points)


def scale_problems(name: str, low: object, high: object) -> list[str]:
    """What is wrong with a range of contraction ratios: 0 < low ≤ high < 1."""
    lower = number_problems(f"the lower end of {name}", low, 0.0, 1.0, minimum_exclusive=True, maximum_exclusive=True)
    upper = number_problems(f"the upper end of {name}", high, 0.0, 1.0, minimum_exclusive=True, maximum_exclusive=True)
    if not lower and not upper and float(low) > float(high):  # type: ignore[arg-type]  # both are numbers by now
        return [f"the lower end of {name} must be at most the upper, got {low!r} and {high!r}"]
    return lower + upper


def refuse_scale(problems: Sequence[str], high: object) -> None:
    """Raises these problems together: as `NotContractiveError` where ratios may reach 1, else as `ValueError`."""
    if problems and isinstance(high, Real) and float(high) >= 1.0:
        raise NotContractiveError("; ".join(problems))
    refuse(problems)


def _generator(seed: int | np.random.Generator) -> np.random.Generator:
    if isinstance(seed, np.random.Generator):
        return seed
    refuse(integer_problems("seed", seed, 0))
    return np.random.default_rng(seed)


def _played(transforms: tuple[AffineTransform, ...], generator: np.random.Generator, points: int) -> IfsAttractor:
    # One call for all indices consumes the generator exactly as one call for each does, half-words included.
    choices = generator.integers(0, len(transforms), size=points)
    followed = orbit(transforms, choices)
    logarithms = np.array([_log_determinant(each) for each in transforms])
    # Summed from first to last, as earlier results are; np.sum adds pairwise and differs in the last digits.
    total = float(np.add.accumulate(logarithms[choices])[-1])
    followed.flags.writeable = False
    choices.flags.writeable = False
    return IfsAttractor(transforms=transforms, points=followed, choices=choices, lyapunov_legacy=total / points)


def _log_determinant(transform: AffineTransform) -> float:
    size = abs(transform.determinant)
    return math.log(size) if size > SMALLEST_DETERMINANT else 0.0
