"""The largest Lyapunov exponent from the distance between a trajectory and a twin that starts close to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, number_problems, refuse

__all__ = [
    "LyapunovEstimate",
    "StepFunction",
    "SteppedTrajectory",
    "UnstableTrajectoryError",
    "largest_lyapunov_exponent",
    "largest_lyapunov_exponent_of_twins",
]

FloatArray = npt.NDArray[np.float64]
StepFunction = Callable[[FloatArray], npt.ArrayLike]
"""One step of a deterministic system: state to state, of the same shape, the argument left as it is."""


class SteppedTrajectory(Protocol):
    """A trajectory that is advanced in place: a session of an engine, a state with its random generator."""

    def advance(self, steps: int) -> None:
        """Does this many steps, at least 1."""

    def read(self) -> FloatArray:
        """The state, float64; the caller does not change it."""

    def write(self, state: FloatArray) -> None:
        """Goes on from this state, of the shape that `read` gives; everything else, such as a generator, stays."""


class UnstableTrajectoryError(ArithmeticError):
    """A trajectory that is no longer finite, so that it has no exponent."""

    def __init__(self, *, step: int) -> None:
        self.step = step
        """The step, counted from 1, after which it was found."""
        super().__init__(
            f"the trajectory is not finite after step {step}; start from another state or change the parameters"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.step,)


def _rebuilt(step: int) -> UnstableTrajectoryError:
    return UnstableTrajectoryError(step=step)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LyapunovEstimate:
    """An exponent with the growth rates of which it is the mean."""

    value: float
    """Nats per unit of time; −∞ where the twin fell onto the trajectory, faster than double precision can follow."""
    standard_error: float
    """Of the mean, as if the rates of the intervals were independent; infinite for one interval or the value −∞."""
    local_rates: FloatArray
    """[intervals] in nats per unit of time, read-only: ln(distance after / distance before) of each."""
    interval: int
    """Steps between two renormalisations."""


def largest_lyapunov_exponent(
    step: StepFunction,
    state: npt.ArrayLike,
    *,
    steps: int,
    interval: int = 1,
    transient: int = 0,
    separation: float = 1e-8,
    direction: npt.ArrayLike | None = None,
    time_step: float = 1.0,
    seed: int = 0,
) -> LyapunovEstimate:
    """The largest Lyapunov exponent of a deterministic step by twin trajectories with periodic renormalisation.

    A twin starts at the Euclidean distance `separation` from `state`. After each `interval` of steps the growth of the
    distance is recorded and the twin is drawn back to `separation` along the line between them; the exponent is the
    mean growth (G. Benettin, L. Galgani, J.-M. Strelcyn, Phys. Rev. A 14 (1976) 2338–2345). `steps` are those that
    count, rounded down to whole intervals; `transient` steps before them let the trajectory reach its attractor and the
    twin the direction that grows fastest. Choose `interval` so that the distance stays far from the size of the
    attractor above and from the rounding of the state below.

    `state` is an array of any shape, finite; `direction`, of that shape, is where the twin starts, by default at random
    by `seed`. A conserved quantity, such as the mean of a field without flux through its edge, has the exponent 0, and
    a twin that differs in it finds that. `time_step` is the time of one step.

    Raises `ValueError` for arguments out of their bounds, a `separation` that vanishes in the rounding of the state, or
    a step that changes the shape, and `UnstableTrajectoryError` when a trajectory is no longer finite.

    >>> doubling = largest_lyapunov_exponent(lambda x: 2.0 * x % 1.0, [0.1234], steps=40, separation=1e-12)
    >>> round(doubling.value, 2)  # ln 2
    0.69
    """
    initial = np.array(state, dtype=np.float64)
    return largest_lyapunov_exponent_of_twins(
        _Stepped(step, initial),
        _Stepped(step, initial),
        steps=steps,
        interval=interval,
        transient=transient,
        separation=separation,
        direction=direction,
        time_step=time_step,
        seed=seed,
    )


def largest_lyapunov_exponent_of_twins(
    trajectory: SteppedTrajectory,
    twin: SteppedTrajectory,
    *,
    steps: int,
    interval: int = 1,
    transient: int = 0,
    separation: float = 1e-8,
    direction: npt.ArrayLike | None = None,
    time_step: float = 1.0,
    seed: int = 0,
) -> LyapunovEstimate:
    """The same for two copies of whatever can be advanced, read and written, both in the same state at first.

    Only `twin` is written to. Copies that draw random numbers must draw the same ones: the result is then the exponent
    under common noise, which is negative where the noise alone decides where the system is in the end.
    """
    problems = integer_problems("interval", interval, 1)
    problems += integer_problems("transient", transient, 0)
    problems += integer_problems("steps", steps, 1)
    problems += number_problems("separation", separation, 0.0, minimum_exclusive=True)
    problems += number_problems("time_step", time_step, 0.0, minimum_exclusive=True)
    problems += integer_problems("seed", seed, 0)
    if not problems and steps < interval:
        problems.append(f"steps must be at least one interval, {interval}, got {steps}")
    refuse(problems)
    current = trajectory.read()
    if not np.isfinite(current).all():
        raise ValueError("the state must be finite everywhere")
    if twin.read().shape != current.shape:
        raise ValueError(f"the twin must have the shape of the trajectory, {current.shape}, got {twin.read().shape}")
    distance = _displaced(twin, current, _direction(direction, current.shape, seed), separation)

    done = 0
    rates: list[float] = []
    lengths = _intervals(transient, interval)
    for length in [*lengths, *[interval] * (steps // interval)]:
        trajectory.advance(length)
        twin.advance(length)
        done += length
        current = trajectory.read()
        with np.errstate(over="ignore", invalid="ignore"):  # found in the next lines
            difference = twin.read() - current
            reached = float(np.linalg.norm(difference))
        if not math.isfinite(reached) or not np.isfinite(current).all():
            raise UnstableTrajectoryError(step=done)
        if reached == 0.0:
            return _merged(rates[len(lengths) :], interval)
        rates.append(math.log(reached / distance) / (length * time_step))
        distance = _displaced(twin, current, difference, separation)
    return _estimated(np.array(rates[len(lengths) :]), interval)


class _Stepped:
    """A step function with the state that it has reached."""

    def __init__(self, step: StepFunction, state: FloatArray) -> None:
        self._step = step
        self._state = state

    def advance(self, steps: int) -> None:
        state = self._state
        for _ in range(steps):
            with np.errstate(over="ignore", invalid="ignore"):  # a state that is not finite is found after the interval
                state = np.asarray(self._step(state), dtype=np.float64)
            if state.shape != self._state.shape:
                raise ValueError(f"a step must keep the shape of the state, {self._state.shape}, got {state.shape}")
        self._state = state

    def read(self) -> FloatArray:
        return self._state

    def write(self, state: FloatArray) -> None:
        self._state = state


def _intervals(steps: int, interval: int) -> list[int]:
    """Whole intervals, and what is left of `steps`."""
    return [interval] * (steps // interval) + ([steps % interval] if steps % interval else [])


def _direction(direction: npt.ArrayLike | None, shape: tuple[int, ...], seed: int) -> FloatArray:
    if direction is None:
        return np.random.default_rng(seed).normal(size=shape)
    chosen = np.asarray(direction, dtype=np.float64)
    if chosen.shape != shape:
        raise ValueError(f"direction must have the shape of the state, {shape}, got {chosen.shape}")
    if not np.isfinite(chosen).all() or not chosen.any():
        raise ValueError("direction must be finite and not zero")
    return chosen


def _displaced(twin: SteppedTrajectory, state: FloatArray, direction: FloatArray, separation: float) -> float:
    """Writes the state moved along `direction` into the twin; the distance that is left of it after rounding."""
    largest = float(np.abs(direction).max())
    unit = direction / largest  # its norm neither overflows nor vanishes
    moved = state + unit * (separation / float(np.linalg.norm(unit)))
    distance = float(np.linalg.norm(moved - state))
    if distance == 0.0:
        raise ValueError(f"separation {separation:g} vanishes in the rounding of the state; raise it")
    twin.write(moved)
    return distance


def _estimated(rates: FloatArray, interval: int) -> LyapunovEstimate:
    rates.flags.writeable = False
    count = len(rates)
    error = float(np.std(rates, ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return LyapunovEstimate(
        value=math.fsum(rates.tolist()) / count, standard_error=error, local_rates=rates, interval=interval
    )


def _merged(rates: list[float], interval: int) -> LyapunovEstimate:
    local = np.array([*rates, -math.inf])
    local.flags.writeable = False
    return LyapunovEstimate(value=-math.inf, standard_error=math.inf, local_rates=local, interval=interval)
