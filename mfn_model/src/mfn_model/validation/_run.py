"""The validation of earlier results: a network trained on the statistics of sixteen fields."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, refuse
from mfn_model.dimension import box_counting_dimension_legacy
from mfn_model.growth import generate_ifs
from mfn_model.nernst import nernst_potential, nernst_potential_alternative, rt_over_f_mv
from mfn_model.statistics import active_mask, mean_and_std
from mfn_model.validation._cancellation import cancellation_check, completed
from mfn_model.validation._fields import drawn_in_pieces
from mfn_model.validation._training import trained_in_pieces

__all__ = ["SAMPLES", "Simulate", "SimulateInPieces", "ValidationResult", "run_validation", "validation_in_pieces"]

Float32Array: TypeAlias = npt.NDArray[np.float32]

Simulate: TypeAlias = Callable[[np.random.Generator], tuple[npt.NDArray[np.float64], int]]
"""Draws a field, [N, N] float64 in V, and its growth events from a generator, which it leaves where its draws end."""

SimulateInPieces: TypeAlias = Callable[
    [np.random.Generator], Generator[None, None, tuple[npt.NDArray[np.float64], int]]
]
"""The same as a computation that yields now and then."""

SAMPLES: Final = 16
"""Fields that the network is trained on."""

_IFS_POINTS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """What earlier results call a validation."""

    loss_start: float
    """Mean squared error of the first batch, before any training."""
    loss_final: float
    """That of the last batch, before the last step; it is another batch than the first."""
    pot_min_mv: float
    """Smallest potential in the training fields, mV."""
    pot_max_mv: float
    """Largest potential in the training fields, mV."""
    example_dimension: float
    """Legacy box-counting dimension of the example field's active cells, 0.0 where undefined."""
    lyapunov_exponent: float
    """Legacy rate of the iterated function system drawn after the example field, nats per iteration."""
    lyapunov_mean: float
    """Mean of that rate over the systems drawn after the training fields."""
    growth_events: int
    """Spikes of the example field."""
    nernst_symbolic_mv: float
    """Potassium at 5 and 140 mmol/L, 310 K, mV, by `nernst_potential_alternative`."""
    nernst_numeric_mv: float
    """The same by `nernst_potential`."""
    nernst_rtfz_mv: float
    """R T / F at 310 K, mV."""

    @property
    def loss_drop(self) -> float:
        """`loss_start` less `loss_final`."""
        return self.loss_start - self.loss_final


def run_validation(
    *,
    seed: int = 42,
    epochs: int = 1,
    batch_size: int = 4,
    grid_size: int = 64,
    steps: int = 64,
    turing_enabled: bool = True,
    jitter: bool = False,
    simulate: Simulate | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ValidationResult:
    """Trains a small network on sixteen fields and tells how its loss fell; the numbers of earlier results.

    One generator, PCG64 of `seed`, draws field after field of the mycelium model (alpha 0.18, spike probability 0.25,
    threshold 0.75), each followed by an iterated function system of 1000 points. A field gives four inputs: legacy
    dimension of its active cells, and mean, standard deviation and maximum in units of 10 mV. The target is 0.5, 0.2
    and −0.1 times the first three. The network, its initial weights and the order of the batches come from a
    Mersenne twister of `seed`; training is Adam at a rate of 1e-3 in float32. An example field, and a system after it,
    come from a generator of `seed` + 1.

    It validates nothing: the target is a linear function of the inputs, nothing is held out, and the two losses are of
    different batches. `cross_validate_recovery` is a validation. Losses agree with earlier results to 2e-6, all else
    to 1e-12.

    Args:
        seed: at least 0; the twister takes its lower 32 bits.
        epochs: passes over the sixteen fields, at least 1.
        batch_size: fields in a step of training, at least 1; above 16 it is 16.
        grid_size: cells along a side, at least 1.
        steps: of each field, at least 0.
        turing_enabled: whether activator and inhibitor are drawn.
        jitter: whether every cell receives noise at every step.
        simulate: draws a field in place of the evaluation here, which the three arguments before it are for.
        cancelled: asked between fields, within a field, and between batches.

    Nothing is shared with other runs, so that any number may run at once. Raises `ValueError` that lists everything
    out of its bound, and for a field of another shape or with NaN; `ValidationCancelledError` once `cancelled` is true.
    """
    pieces = validation_in_pieces(
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        grid_size=grid_size,
        steps=steps,
        turing_enabled=turing_enabled,
        jitter=jitter,
        simulate=None if simulate is None else lambda generator: _in_one_piece(simulate, generator),
    )
    return completed(pieces, lambda stage: cancellation_check(cancelled, stage)())


def validation_in_pieces(
    *,
    seed: int = 42,
    epochs: int = 1,
    batch_size: int = 4,
    grid_size: int = 64,
    steps: int = 64,
    turing_enabled: bool = True,
    jitter: bool = False,
    simulate: SimulateInPieces | None = None,
) -> Generator[str, None, ValidationResult]:
    """`run_validation` as a computation in pieces, for callers that do other things in between, or stop.

    It yields what is about to begin, or goes on, before every 65,536 cell-steps or so of a field, where `simulate`
    does, and before every batch, and returns the result at last. Pieces may be computed in different threads, one at a
    time. Raises `ValueError` at once, or in a piece, as `run_validation` does.
    """
    problems = integer_problems("seed", seed, 0) + integer_problems("epochs", epochs, 1)
    problems += integer_problems("batch_size", batch_size, 1) + integer_problems("grid_size", grid_size, 1)
    refuse(problems + integer_problems("steps", steps, 0))

    def built_in(generator: np.random.Generator) -> Generator[None, None, tuple[npt.NDArray[np.float64], int]]:
        return drawn_in_pieces(generator, grid_size, steps, turing_enabled=turing_enabled, jitter=jitter)

    field = built_in if simulate is None else simulate
    return _pieces(field, seed=seed, epochs=epochs, batch_size=batch_size, side=grid_size)


def _pieces(
    simulate: SimulateInPieces, *, seed: int, epochs: int, batch_size: int, side: int
) -> Generator[str, None, ValidationResult]:
    def field(generator: np.random.Generator, stage: str) -> Generator[str, None, tuple[npt.NDArray[np.float64], int]]:
        yield stage
        pieces = simulate(generator)
        try:
            while True:
                try:
                    next(pieces)
                except StopIteration as drawn:
                    values, events = drawn.value
                    return _square(values, side), events
                yield stage
        finally:
            pieces.close()

    generator = np.random.default_rng(seed)
    rows: list[tuple[float, float, float, float]] = []
    lowest: list[float] = []
    rates: list[float] = []
    for number in range(SAMPLES):
        values, _ = yield from field(generator, f"field {number + 1} of {SAMPLES}")
        mean, deviation = mean_and_std(values)
        rows.append((box_counting_dimension_legacy(active_mask(values)), mean, deviation, float(values.max())))
        lowest.append(float(values.min()))
        rates.append(generate_ifs(generator, points=_IFS_POINTS).lyapunov_legacy)
    inputs, targets = _learned(rows)
    training = trained_in_pieces(inputs, targets, seed=seed, epochs=epochs, batch_size=batch_size)
    while True:
        try:
            batches = next(training)
        except StopIteration as trained:
            losses = trained.value
            break
        yield f"batch {batches + 1}"
    example = np.random.default_rng(seed + 1)
    values, growth_events = yield from field(example, "the example field")
    return ValidationResult(
        loss_start=losses.first,
        loss_final=losses.last,
        pot_min_mv=min(lowest) * 1000.0,
        pot_max_mv=max(row[3] for row in rows) * 1000.0,
        example_dimension=box_counting_dimension_legacy(active_mask(values)),
        lyapunov_exponent=generate_ifs(example, points=_IFS_POINTS).lyapunov_legacy,
        lyapunov_mean=float(np.mean(rates)),
        growth_events=growth_events,
        nernst_symbolic_mv=nernst_potential_alternative(1, 0.005, 0.140) * 1000.0,
        nernst_numeric_mv=nernst_potential(1, 0.005, 0.140) * 1000.0,
        nernst_rtfz_mv=rt_over_f_mv(),
    )


def _in_one_piece(
    simulate: Simulate, generator: np.random.Generator
) -> Generator[None, None, tuple[npt.NDArray[np.float64], int]]:
    """A simulation that never yields, where one that does is asked for."""
    yield from ()
    return simulate(generator)


def _learned(rows: list[tuple[float, float, float, float]]) -> tuple[Float32Array, Float32Array]:
    """Inputs [16, 4] and targets [16, 1], in float32."""
    inputs: Float32Array = np.array(rows, dtype=np.float32)
    inputs[:, 1:] *= np.float32(100.0)
    dimension, mean, deviation, _ = inputs.T
    target = np.float32(0.5) * dimension + np.float32(0.2) * mean - np.float32(0.1) * deviation
    return inputs, np.asarray(target, dtype=np.float32)[:, np.newaxis]


def _square(values: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """What a caller's simulation gave, where it can be measured."""
    field = np.asarray(values, dtype=np.float64)
    if field.shape != (side, side):
        raise ValueError(f"simulate must give a field of shape ({side}, {side}), got {field.shape}")
    if not np.isfinite(field).all():
        raise ValueError("simulate gave a field with values that are not finite")
    return field
