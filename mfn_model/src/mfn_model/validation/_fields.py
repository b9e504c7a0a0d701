"""Fields of the mycelium model drawn one after the other from a generator that goes on.

The same numbers as `mfn_model.reference_mycelium`, to the bit, several times as fast: without temporary arrays, and
without the reaction where it provably has no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model.mycelium import (
    ACTIVATOR_DIFFUSION,
    ACTIVATOR_RATE,
    CONCENTRATION_RANGE,
    INHIBITOR_DIFFUSION,
    INHIBITOR_RATE,
    INITIAL_CONCENTRATION_RANGE,
    POTENTIAL_RANGE,
    SPIKE_MEAN,
    SPIKE_STD,
    TURING_KICK,
    draw_initial_fields,
)
from mfn_model.validation._cancellation import completed

__all__ = ["DEFAULT_ALPHA", "DEFAULT_SPIKE_PROBABILITY", "draw_field", "drawn_in_pieces", "unreachable_threshold"]

FloatArray = npt.NDArray[np.float64]

DEFAULT_ALPHA: Final = 0.18
DEFAULT_SPIKE_PROBABILITY: Final = 0.25

_TURING_THRESHOLD: Final = 0.75
_JITTER_VARIANCE: Final = 0.0005
_CELL_STEPS_OF_A_PIECE: Final = 2**16


class _Torus:
    """A square of cells with a border that repeats the opposite edges, so that neighbours are slices."""

    def __init__(self, side: int) -> None:
        self._padded = np.empty((side + 2, side + 2))
        self._products = np.empty((side, side))
        self.cells = self._padded[1:-1, 1:-1]

    def laplacian(self, out: FloatArray) -> FloatArray:
        """The five-point Laplacian, its terms added in the model's order."""
        padded = self._padded
        padded[0], padded[-1] = padded[-2], padded[1]
        padded[:, 0], padded[:, -1] = padded[:, -2], padded[:, 1]
        np.add(padded[:-2, 1:-1], padded[2:, 1:-1], out=out)
        out += padded[1:-1, :-2]
        out += padded[1:-1, 2:]
        out -= np.multiply(self.cells, 4.0, out=self._products)
        return out


def draw_field(
    generator: np.random.Generator,
    grid_size: int,
    steps: int,
    *,
    alpha: float = DEFAULT_ALPHA,
    spike_probability: float = DEFAULT_SPIKE_PROBABILITY,
    turing_enabled: bool = True,
    jitter: bool = False,
    check: Callable[[], None] | None = None,
) -> tuple[FloatArray, int]:
    """The potential after `steps` steps, [N, N] float64 in V, and its growth events; draws what the model draws.

    `check` is called every 65,536 cell-steps or so, and may raise.
    """
    pieces = drawn_in_pieces(
        generator,
        grid_size,
        steps,
        alpha=alpha,
        spike_probability=spike_probability,
        turing_enabled=turing_enabled,
        jitter=jitter,
    )
    return completed(pieces, lambda _: None if check is None else check())


def drawn_in_pieces(
    generator: np.random.Generator,
    grid_size: int,
    steps: int,
    *,
    alpha: float = DEFAULT_ALPHA,
    spike_probability: float = DEFAULT_SPIKE_PROBABILITY,
    turing_enabled: bool = True,
    jitter: bool = False,
) -> Generator[None, None, tuple[FloatArray, int]]:
    """The same as a computation that yields before every 65,536 cell-steps or so."""
    potential, activator, inhibitor = _Torus(grid_size), _Torus(grid_size), _Torus(grid_size)
    species = (potential, activator, inhibitor) if turing_enabled else (potential,)
    draw_initial_fields(generator, [each.cells for each in species])
    reacting = turing_enabled and not unreachable_threshold(steps)
    change, other = np.empty((grid_size, grid_size)), np.empty((grid_size, grid_size))
    piece = max(1, _CELL_STEPS_OF_A_PIECE // grid_size**2)
    v, growth_events = potential.cells, 0
    for step in range(steps):
        if step % piece == 0:
            yield
        if generator.random() < spike_probability:
            row, column = int(generator.integers(0, grid_size)), int(generator.integers(0, grid_size))
            v[row, column] += generator.normal(SPIKE_MEAN, SPIKE_STD)
            growth_events += 1
        np.multiply(potential.laplacian(change), alpha, out=change)
        v += change
        if reacting:
            v[_react(activator, inhibitor, change, other)] += TURING_KICK
        if jitter:
            v += generator.normal(0.0, math.sqrt(_JITTER_VARIANCE), size=(grid_size, grid_size))
        np.clip(v, *POTENTIAL_RANGE, out=v)
    return v.copy(), growth_events


def unreachable_threshold(steps: int) -> bool:
    """Whether no activator can exceed the threshold within `steps`, so that activator and inhibitor have no effect.

    Diffusion with 4 D <= 1 averages, and h >= 0, so that a step raises the largest activator at most by the factor
    1 + r_a; it begins below 0.1.
    """
    largest = INITIAL_CONCENTRATION_RANGE[1]
    # In logarithms, since the power overflows; the margin is far more than rounding.
    growth = steps * math.log1p(ACTIVATOR_RATE)
    return 4.0 * ACTIVATOR_DIFFUSION <= 1.0 and growth < math.log(_TURING_THRESHOLD / largest) - 1e-6


def _react(activator: _Torus, inhibitor: _Torus, change: FloatArray, other: FloatArray) -> npt.NDArray[np.bool_]:
    """One step of activator and then inhibitor; where the new activator exceeds the threshold. Works in both arrays."""
    a, h = activator.cells, inhibitor.cells
    diffusion_h = np.multiply(inhibitor.laplacian(other), INHIBITOR_DIFFUSION, out=other)
    diffusion_a = np.multiply(activator.laplacian(change), ACTIVATOR_DIFFUSION, out=change)
    reaction = 1.0 - a
    reaction *= a
    reaction -= h
    reaction *= ACTIVATOR_RATE
    diffusion_a += reaction
    a += diffusion_a
    np.subtract(a, h, out=reaction)
    reaction *= INHIBITOR_RATE
    diffusion_h += reaction
    h += diffusion_h
    kicked = a > _TURING_THRESHOLD
    np.clip(a, *CONCENTRATION_RANGE, out=a)
    np.clip(h, *CONCENTRATION_RANGE, out=h)
    return kicked
