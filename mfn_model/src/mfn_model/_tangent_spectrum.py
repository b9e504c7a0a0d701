"""All Lyapunov exponents of a small system, from the stretching of tangent vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, number_problems, refuse
from mfn_model._twin_trajectories import StepFunction, UnstableTrajectoryError

__all__ = ["LyapunovSpectrum", "kaplan_yorke_dimension", "lyapunov_spectrum"]

FloatArray = npt.NDArray[np.float64]
Jacobian = Callable[[FloatArray], npt.ArrayLike]

_RELATIVE_STEP = float(np.finfo(np.float64).eps) ** (1.0 / 3.0)
"""Of central differences: about 6e-6, where truncation and rounding are of one size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LyapunovSpectrum:
    """The leading Lyapunov exponents, largest first."""

    exponents: tuple[float, ...]
    """Nats per unit of time; −∞ for a direction that a singular Jacobian wipes out."""
    standard_errors: tuple[float, ...]
    """Of the means, as if the steps were independent; infinite for one step or the exponent −∞."""
    steps: int
    """Steps that counted."""


def lyapunov_spectrum(
    step: StepFunction,
    state: npt.ArrayLike,
    *,
    steps: int,
    jacobian: Jacobian | None = None,
    count: int | None = None,
    transient: int = 0,
    time_step: float = 1.0,
) -> LyapunovSpectrum:
    """The `count` largest Lyapunov exponents, by default all, of a deterministic step on vectors.

    Orthonormal tangent vectors are mapped by the Jacobian at each step and made orthonormal again by QR decomposition;
    the exponents are the mean logarithms of the diagonal of R (G. Benettin, L. Galgani, A. Giorgilli, J.-M. Strelcyn,
    Meccanica 15 (1980) 9–20 and 21–30). A step costs O(n² · count) beside the Jacobian, so this is for systems of up to
    a few hundred components; for a field see `largest_lyapunov_exponent`.

    `state` is [n], finite; `jacobian` maps it to [n, n], ∂(new component i)/∂(old component j). Without one it is taken
    by central differences, with 2 n further evaluations of `step` and a relative error of about 1e-10. `transient`
    steps come before the `steps` that count. `time_step` is the time of one step.

    Raises `ValueError` for arguments out of their bounds or shapes that do not fit, and `UnstableTrajectoryError` when
    the trajectory is no longer finite.
    """
    x = np.array(state, dtype=np.float64)
    problems = integer_problems("steps", steps, 1) + integer_problems("transient", transient, 0)
    problems += number_problems("time_step", time_step, 0.0, minimum_exclusive=True)
    if x.ndim != 1 or x.size == 0:
        problems.append(f"state must be a vector of at least one component, got shape {x.shape}")
    elif not np.isfinite(x).all():
        problems.append("the state must be finite everywhere")
    elif count is not None:
        problems += integer_problems("count", count, 1, x.size)
    refuse(problems)
    vectors = np.eye(x.size, x.size if count is None else count)
    logarithms = np.empty((steps, vectors.shape[1]))
    for done in range(-transient, steps):
        with np.errstate(over="ignore", invalid="ignore"):  # found in the next lines
            stretched = _jacobian_at(step, jacobian, x) @ vectors
            x = _stepped(step, x)
        if not (np.isfinite(x).all() and np.isfinite(stretched).all()):
            raise UnstableTrajectoryError(step=done + transient + 1)
        vectors, triangle = np.linalg.qr(stretched)
        if done >= 0:
            with np.errstate(divide="ignore"):  # a direction that is wiped out has the logarithm −∞
                logarithms[done] = np.log(np.abs(np.diagonal(triangle)))
    return _spectrum(logarithms / time_step)


def kaplan_yorke_dimension(exponents: Sequence[float]) -> float:
    """The Lyapunov dimension j + (λ₁ + … + λⱼ)/|λⱼ₊₁|, with j the most exponents whose sum is not negative.

    It is conjectured to be the information dimension of a typical attractor (J. Kaplan, J. Yorke, Lecture Notes in
    Mathematics 730 (1979) 204–227). 0 where the largest is negative, the number of exponents where the sum of all is
    not. Raises `ValueError` for no exponents or NaN among them.

    >>> round(kaplan_yorke_dimension([0.4192, -1.6232]), 3)  # Hénon's map
    1.258
    """
    ordered = sorted((float(each) for each in exponents), reverse=True)
    if not ordered or any(math.isnan(each) for each in ordered):
        raise ValueError(f"exponents must be at least one number and no NaN, got {list(exponents)!r}")
    total = 0.0
    for index, exponent in enumerate(ordered):
        if total + exponent < 0.0:
            return index + total / -exponent
        total += exponent
    return float(len(ordered))


def _stepped(step: StepFunction, x: FloatArray) -> FloatArray:
    following = np.asarray(step(x), dtype=np.float64)
    if following.shape != x.shape:
        raise ValueError(f"a step must keep the shape of the state, {x.shape}, got {following.shape}")
    return following


def _jacobian_at(step: StepFunction, jacobian: Jacobian | None, x: FloatArray) -> FloatArray:
    n = x.size
    if jacobian is not None:
        matrix = np.asarray(jacobian(x), dtype=np.float64)
        if matrix.shape != (n, n):
            raise ValueError(f"the jacobian must have shape {(n, n)}, got {matrix.shape}")
        return matrix
    matrix = np.empty((n, n))
    for column in range(n):
        reach = _RELATIVE_STEP * max(1.0, abs(float(x[column])))
        above, below = x.copy(), x.copy()
        above[column] += reach
        below[column] -= reach
        width = float(above[column] - below[column])  # what rounding made of 2 · reach
        matrix[:, column] = (_stepped(step, above) - _stepped(step, below)) / width
    return matrix


def _spectrum(rates: FloatArray) -> LyapunovSpectrum:
    means = [math.fsum(column) / len(rates) for column in rates.T.tolist()]
    errors = [
        float(np.std(column, ddof=1)) / math.sqrt(len(rates)) if len(rates) > 1 and math.isfinite(mean) else math.inf
        for column, mean in zip(rates.T, means, strict=True)
    ]
    order = sorted(range(len(means)), key=lambda index: -means[index])
    return LyapunovSpectrum(
        exponents=tuple(means[index] for index in order),
        standard_errors=tuple(errors[index] for index in order),
        steps=len(rates),
    )
