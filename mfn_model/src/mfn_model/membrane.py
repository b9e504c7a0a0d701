"""The potential of a membrane in time: dV/dt = f(V), integrated by Euler's method or the classical Runge–Kutta one.

Potentials are in V, times in s. Both methods step with a fixed time step h (E. Hairer, S. Nørsett, G. Wanner, Solving
Ordinary Differential Equations I, 2nd ed., §II.1): the error at a given time falls with h for Euler and with h⁴ for
Runge–Kutta, as long as h is well below the fastest time constant.

>>> config = MembraneConfig(time_step=1e-3, scheme="rk4")
>>> result = integrate_potential(-0.070, lambda v: (-0.060 - v) / 0.010, 10, config=config)
>>> round(float(result.potential), 9)
-0.063678798
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, number_problems, refuse
from mfn_model.mycelium import POTENTIAL_RANGE
from mfn_model.nernst import BODY_TEMPERATURE, MINIMUM_CONCENTRATION, NernstPotentials, nernst_potentials

__all__ = [
    "DEFAULT_POTENTIAL_RANGE",
    "IntegratedPotential",
    "MembraneConfig",
    "PotentialInstabilityError",
    "integrate_potential",
    "membrane_equilibrium",
    "validate_potential_range",
]

FloatArray = npt.NDArray[np.float64]
Derivative = Callable[[FloatArray], npt.ArrayLike]

DEFAULT_POTENTIAL_RANGE: Final = (-0.150, 0.150)
"""V; no biological membrane leaves it."""


class PotentialInstabilityError(ArithmeticError):
    """A potential that became NaN or infinite; going on from there is useless."""

    def __init__(self, *, step: int, nan_count: int, inf_count: int) -> None:
        self.step = step
        """The step, counted from 1, after which it was found."""
        self.nan_count = nan_count
        self.inf_count = inf_count
        super().__init__(
            f"the integration is unstable: after step {step} the potential holds {nan_count} NaN and {inf_count} "
            "infinite values; lower time_step, or check the derivative"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.step, self.nan_count, self.inf_count)


def _rebuilt(step: int, nan_count: int, inf_count: int) -> PotentialInstabilityError:
    return PotentialInstabilityError(step=step, nan_count=nan_count, inf_count=inf_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembraneConfig:
    """How to integrate; raises `ValueError` that lists everything out of its bound."""

    temperature: float = BODY_TEMPERATURE
    """273 … 320 K."""
    minimum_concentration: float = MINIMUM_CONCENTRATION
    """mol/L, above 0: the floor of `membrane_equilibrium`."""
    potential_minimum: float = DEFAULT_POTENTIAL_RANGE[0]
    """V, within `DEFAULT_POTENTIAL_RANGE`, below the maximum: where the potential is clipped."""
    potential_maximum: float = DEFAULT_POTENTIAL_RANGE[1]
    """V, within `DEFAULT_POTENTIAL_RANGE`."""
    scheme: Literal["euler", "rk4"] = "euler"
    """Euler's method, or the classical Runge–Kutta method of order 4."""
    time_step: float = 1e-4
    """h, 1e-7 … 1e-2 s."""
    check_stability: bool = True
    """Whether a potential that is no longer finite is an error; off, it is carried along."""

    def __post_init__(self) -> None:
        low, high = DEFAULT_POTENTIAL_RANGE
        problems = number_problems("temperature", self.temperature, 273.0, 320.0, unit="K")
        problems += number_problems(
            "minimum_concentration", self.minimum_concentration, 0.0, unit="mol/L", minimum_exclusive=True
        )
        minimum = number_problems("potential_minimum", self.potential_minimum, low, high, unit="V")
        maximum = number_problems("potential_maximum", self.potential_maximum, low, high, unit="V")
        problems += minimum + maximum
        if not minimum and not maximum and self.potential_minimum >= self.potential_maximum:
            problems.append(
                f"potential_minimum must be below potential_maximum, got {self.potential_minimum!r} and "
                f"{self.potential_maximum!r} V"
            )
        if self.scheme not in ("euler", "rk4"):
            problems.append(f"scheme must be 'euler' or 'rk4', got {self.scheme!r}")
        problems += number_problems("time_step", self.time_step, 1e-7, 1e-2, unit="s")
        refuse(problems)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegratedPotential:
    """Where an integration arrived."""

    potential: FloatArray
    """float64 in V, read-only, of the shape of the initial potential; `float()` of it where that was a number."""
    steps: int
    time: float
    """s, steps times time step."""
    clamping_events: int
    """Values that were clipped, over all steps."""
    history: FloatArray | None
    """[steps + 1, …] in V, read-only, the initial potential first; `None` unless it was asked for."""


def integrate_potential(
    potential: npt.ArrayLike,
    derivative: Derivative,
    steps: int,
    *,
    config: MembraneConfig | None = None,
    clamp: bool = True,
    record: bool = False,
) -> IntegratedPotential:
    """Does `steps` ≥ 0 steps of dV/dt = f(V) from an initial `potential` in V, a number or an array, finite.

    `derivative` is f, in V/s: it gets a float64 array of the potential's shape, must not change it, and returns what
    has that shape or broadcasts to it. It is called once a step by Euler's method and four times by Runge–Kutta's.
    After each step the potential is clipped to the range of `config` if `clamp` is on, infinities too, and then
    checked.

    Raises `ValueError` for an initial potential that is not finite, negative `steps` or a derivative of another shape,
    and `PotentialInstabilityError`, with the step, for a potential that is no longer finite.
    """
    config = config or MembraneConfig()
    v = np.array(potential, dtype=np.float64)
    problems = integer_problems("steps", steps, 0)
    if not np.isfinite(v).all():
        problems.append("the initial potential must be finite everywhere, in V")
    refuse(problems)
    step_once = _euler_step if config.scheme == "euler" else _runge_kutta_step
    low, high = config.potential_minimum, config.potential_maximum
    history = np.empty((steps + 1, *v.shape)) if record else None
    if history is not None:
        history[0] = v
    clamping_events = 0
    for step in range(1, steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):  # found below
            v = step_once(v, derivative, config.time_step)
        if clamp:
            clamping_events += int(np.count_nonzero((v < low) | (v > high)))
            v = np.asarray(np.clip(v, low, high))
        if config.check_stability and not np.isfinite(v).all():
            raise PotentialInstabilityError(
                step=step, nan_count=int(np.count_nonzero(np.isnan(v))), inf_count=int(np.count_nonzero(np.isinf(v)))
            )
        if history is not None:
            history[step] = v
    v.flags.writeable = False
    if history is not None:
        history.flags.writeable = False
    return IntegratedPotential(
        potential=v, steps=steps, time=steps * config.time_step, clamping_events=clamping_events, history=history
    )


def membrane_equilibrium(
    config: MembraneConfig, valence: int, concentration_out: npt.ArrayLike, concentration_in: npt.ArrayLike
) -> NernstPotentials:
    """`mfn_model.nernst.nernst_potentials` at the temperature and with the floor of `config`."""
    return nernst_potentials(
        valence,
        concentration_out,
        concentration_in,
        config.temperature,
        minimum_concentration=config.minimum_concentration,
    )


def validate_potential_range(
    potential: npt.ArrayLike, *, strict: bool = False, config: MembraneConfig | None = None
) -> bool:
    """Whether every potential, in V, lies in a closed range; NaN does not.

    The range is that of `config`, or, if `strict`, what the field models allow: −95 … 40 mV.
    """
    config = config or MembraneConfig()
    low, high = POTENTIAL_RANGE if strict else (config.potential_minimum, config.potential_maximum)
    values = np.asarray(potential, dtype=np.float64)
    return bool(((values >= low) & (values <= high)).all())


def _euler_step(v: FloatArray, derivative: Derivative, h: float) -> FloatArray:
    return np.asarray(v + h * _slope(derivative, v))


def _runge_kutta_step(v: FloatArray, derivative: Derivative, h: float) -> FloatArray:
    k1 = _slope(derivative, v)
    k2 = _slope(derivative, np.asarray(v + h / 2.0 * k1))
    k3 = _slope(derivative, np.asarray(v + h / 2.0 * k2))
    k4 = _slope(derivative, np.asarray(v + h * k3))
    return np.asarray(v + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))


def _slope(derivative: Derivative, v: FloatArray) -> FloatArray:
    slope = np.asarray(derivative(v), dtype=np.float64)
    try:
        return np.broadcast_to(slope, v.shape)
    except ValueError as error:
        raise ValueError(f"the derivative must have the potential's shape {v.shape}, got {slope.shape}") from error
