"""Linear stability of a homogeneous steady state, for the discrete step itself.

Around a homogeneous steady state s* a small perturbation is a sum of plane waves, and a step multiplies each by a
matrix. With J the Jacobian of the reactions, D the diagonal matrix of the diffusion coefficients and

    Λ(k) = −4 sin²(k_x / 2) − 4 sin²(k_y / 2)    (1/cells², from 0 down to −8)

the symbol of the five-point Laplacian, that matrix is M = I + Λ D + J where all species react at the same time. Where
they do one after the other (Gauss–Seidel), with J = S + T and S the part strictly below the diagonal, it is
M = (I − S)⁻¹ (I + Λ D + T). The largest |eigenvalue| of M is the growth factor of the wave a step. A state is stable
without diffusion when that is below 1 at Λ = 0, and Turing-unstable when it is so and exceeds 1 at some other Λ
(A. M. Turing, Phil. Trans. R. Soc. B 237 (1952) 37–72; J. D. Murray, Mathematical Biology II, 3rd ed., ch. 2). Time is
not taken to be continuous, so the growth is that of the simulation.

Spikes, kicks, noise and ranges do not belong to it; species that are switched off are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mfn_model._species import Constant, Normal, Uniform
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import evaluate, evaluate_number, parse
from mfn_model.spec import FieldSpec

__all__ = [
    "Dispersion",
    "NoSteadyStateError",
    "dispersion",
    "fastest_growing_wavelength",
    "jacobian",
    "steady_state",
    "turing_unstable",
]

FloatArray = npt.NDArray[np.float64]

_STEP: Final = 1e-30
"""Of the complex step: its square is below rounding, so that the derivative has no truncation error
(W. Squire and G. Trapp, SIAM Rev. 40 (1998) 110–112)."""
_LONGEST_WAVE: Final = 2000.0
_NEWTON_STEPS: Final = 100
_WAVES: Final = 4001


class NoSteadyStateError(ArithmeticError):
    """No homogeneous steady state was found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dispersion:
    """The growth of plane waves."""

    wavelengths: FloatArray
    """[K] in cells, from long to short, of waves along the diagonal of the grid, where every Λ occurs; along an axis
    the wave with the same Λ is shorter, by up to 3 % where it is longer than 6 cells."""
    symbols: FloatArray
    """[K] Λ of each, 1/cells²."""
    growth: FloatArray
    """[K] natural logarithm of the growth factor a step; −∞ for a wave that a step extinguishes."""
    oscillating: npt.NDArray[np.bool_]
    """[K] whether the eigenvalue of largest modulus is complex."""
    alternating: npt.NDArray[np.bool_]
    """[K] whether it is real and negative, so that the wave changes its sign at every step: where such a wave grows,
    that is an instability of the explicit scheme and not of what it approximates."""


def steady_state(spec: FieldSpec, guess: Sequence[float] | None = None) -> dict[str, float]:
    """The homogeneous steady state of the species that exist, by name, each in its own unit.

    The model's closed form, if it declares one; else, or from a `guess` in the order of the species, by Newton's
    method. Without a guess that begins at the expectation of the initial fields. A species without a reaction keeps
    where it begins, since nothing moves it. Raises `NoSteadyStateError` when Newton's method does not converge or the
    closed form is not finite, and `ValueError` when the guess has another length.
    """
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    names = [terms.name for terms in dynamics.species]
    if guess is None and spec.declaration.steady_expressions:
        closed = dict(
            zip((each.name for each in spec.declaration.species), spec.declaration.steady_expressions, strict=True)
        )
        state = np.array([evaluate_number(closed[name], spec.parameters) for name in names])
        if not np.isfinite(state).all():
            raise NoSteadyStateError(
                f"model {spec.model!r} has no steady state with these parameters: {state.tolist()}"
            )
    else:
        start = _expected(spec) if guess is None else np.asarray(guess, dtype=np.float64)
        if start.shape != (len(names),):
            raise ValueError(f"a guess has one number for each of {', '.join(names)}, got {start.tolist()}")
        state = _newton(spec, dynamics, start)
    return dict(zip(names, state.tolist(), strict=True))


def _expected(spec: FieldSpec) -> FloatArray:
    """The expectation of the initial fields of the species that exist."""

    def number(text: str) -> float:
        return evaluate_number(parse(text), spec.parameters)

    values = []
    for species in spec.declaration.present(spec.parameters):
        match species.initial:
            case Normal(mean=mean):
                values.append(number(mean))
            case Uniform(low=low, high=high):
                values.append((number(low) + number(high)) / 2)
            case Constant(value=value):
                values.append(number(value))
    return np.array(values)


def _newton(spec: FieldSpec, dynamics: Dynamics, start: FloatArray) -> FloatArray:
    state = start.copy()
    coefficients = dynamics.values(spec.parameters)
    moving = np.array([terms.reaction is not None for terms in dynamics.species])
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            rates, slopes = _linearised(dynamics, coefficients, state)
            if not (np.isfinite(rates).all() and np.isfinite(slopes).all()):
                break
            change = np.zeros_like(state)
            # Where the Jacobian is singular, the least change that solves the equations.
            change[moving] = np.linalg.lstsq(slopes[np.ix_(moving, moving)], -rates[moving], rcond=None)[0]
            state = state + change
            if np.all(np.abs(change) <= 1e-13 * np.maximum(np.abs(state), 1e-6)):
                rates, slopes = _linearised(dynamics, coefficients, state)
                scale = np.abs(slopes) @ np.abs(state) + 1e-12
                if np.all(np.abs(rates) <= 1e-9 * scale):
                    return state
                break
    raise NoSteadyStateError(
        f"no steady state of model {spec.model!r} was found from {start.tolist()}; give a guess that is closer to it"
    )


def _linearised(dynamics: Dynamics, coefficients: Sequence[float], state: FloatArray) -> tuple[FloatArray, FloatArray]:
    """[S] the reactions at `state`, per step, and [S, S] their derivatives by the complex step."""
    symbols = [terms.symbol for terms in dynamics.species]
    rates = np.zeros(len(symbols))
    slopes = np.zeros((len(symbols), len(symbols)))
    real = dict(zip(symbols, state, strict=True))
    for row, terms in enumerate(dynamics.species):
        if terms.reaction is None:
            continue
        rates[row] = float(evaluate(terms.reaction, real, coefficients=coefficients))
        for column, symbol in enumerate(symbols):
            shifted = {name: np.complex128(value) for name, value in real.items()}
            shifted[symbol] += _STEP * 1j
            value = complex(evaluate(terms.reaction, shifted, _FUNCTIONS, coefficients))
            slopes[row, column] = value.imag / _STEP
    return rates, slopes


def _smaller(one: np.complex128, other: np.complex128) -> np.complex128:
    return np.complex128(one if np.real(one) <= np.real(other) else other)


def _larger(one: np.complex128, other: np.complex128) -> np.complex128:
    return np.complex128(one if np.real(one) >= np.real(other) else other)


def _magnitude(value: np.complex128) -> np.complex128:
    return np.complex128(-value if np.real(value) < 0.0 else value)


_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": _magnitude,
    "exp": np.exp,
    "maximum": _larger,
    "minimum": _smaller,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
"""The functions of the language, continued to the complex numbers where they are differentiable."""


def jacobian(spec: FieldSpec, state: Mapping[str, float]) -> FloatArray:
    """[S, S] derivatives of the reactions of the species that exist: row R, column species, per step; at `state`.

    `state` has one value for each of these species, for instance `steady_state(spec)`; a missing one is a `KeyError`.
    """
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    at = np.array([float(state[terms.name]) for terms in dynamics.species])
    with np.errstate(all="ignore"):
        return _linearised(dynamics, dynamics.values(spec.parameters), at)[1]


def _growth(spec: FieldSpec, state: Mapping[str, float], symbols: FloatArray) -> npt.NDArray[np.complex128]:
    """[K] the eigenvalue of largest modulus of the step's matrix for each Λ."""
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    coefficients = dynamics.values(spec.parameters)
    diffusion = np.diag([0.0 if each.diffusion is None else coefficients[each.diffusion] for each in dynamics.species])
    slopes = jacobian(spec, state)
    before = np.tril(slopes, -1) if dynamics.sequential else np.zeros_like(slopes)
    identity = np.eye(len(slopes))
    matrices = identity + slopes - before + symbols[:, np.newaxis, np.newaxis] * diffusion
    eigenvalues = np.linalg.eigvals(np.linalg.solve(identity - before, matrices))
    largest = np.argmax(np.abs(eigenvalues), axis=1)
    return np.asarray(eigenvalues[np.arange(len(symbols)), largest], dtype=np.complex128)


def dispersion(spec: FieldSpec, state: Mapping[str, float] | None = None) -> Dispersion:
    """The growth of plane waves of all lengths around `state`, by default `steady_state(spec)`.

    Raises `NoSteadyStateError` when there is none.
    """
    longest = 8.0 * math.sin(math.pi / (math.sqrt(2.0) * _LONGEST_WAVE)) ** 2
    symbols = -np.geomspace(longest, 8.0, _WAVES)
    eigenvalues = _growth(spec, steady_state(spec) if state is None else state, symbols)
    with np.errstate(divide="ignore"):
        growth = np.log(np.abs(eigenvalues))
    oscillating = np.abs(eigenvalues.imag) > 1e-9 * np.abs(eigenvalues)
    return Dispersion(
        wavelengths=np.pi / (np.sqrt(2.0) * np.arcsin(np.sqrt(-symbols / 8.0))),
        symbols=symbols,
        growth=growth,
        oscillating=oscillating,
        alternating=~oscillating & (eigenvalues.real < 0.0),
    )


def fastest_growing_wavelength(spec: FieldSpec, state: Mapping[str, float] | None = None) -> float | None:
    """The wavelength, in cells, whose amplitude grows fastest around `state`, or `None` when none grows.

    Without an argument `state` is `steady_state(spec)`, and what `NoSteadyStateError` means is said there. Waves longer
    than 2000 cells are not looked at: where the longest ones grow fastest, as in an oscillation of the whole field,
    there is no length to speak of, and the answer is `None` as well.
    """
    found = dispersion(spec, state)
    best = int(np.argmax(found.growth))
    if found.growth[best] <= 1e-12 or best == 0:
        return None
    if best == len(found.growth) - 1:
        return float(found.wavelengths[best])
    # A parabola through the three highest points, in the logarithm of the wavelength.
    low, middle, high = found.growth[best - 1 : best + 2]
    curvature = low - 2.0 * middle + high
    shift = 0.0 if curvature == 0.0 else 0.5 * (low - high) / curvature
    steps = np.diff(np.log(found.wavelengths[best - 1 : best + 2]))
    return float(found.wavelengths[best] * math.exp(shift * steps.mean()))


def turing_unstable(spec: FieldSpec, state: Mapping[str, float] | None = None) -> bool:
    """Whether the steady state is stable without diffusion and unstable with it.

    Species without a reaction, which nothing brings back, are neutral and do not count; nor do waves that grow because
    the steps are too large (`Dispersion.alternating`). Raises `NoSteadyStateError` when there is no steady state.
    """
    at = steady_state(spec) if state is None else state
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    if all(terms.reaction is None for terms in dynamics.species):
        return False
    moving = np.array([terms.reaction is not None for terms in dynamics.species])
    slopes = jacobian(spec, at)
    before = np.tril(slopes, -1) if dynamics.sequential else np.zeros_like(slopes)
    identity = np.eye(len(slopes))
    step = np.linalg.solve(identity - before, identity + slopes - before)[np.ix_(moving, moving)]
    stable = float(np.abs(np.linalg.eigvals(step)).max()) < 1.0
    found = dispersion(spec, at)
    return stable and bool(np.any((found.growth > 1e-12) & ~found.alternating))
