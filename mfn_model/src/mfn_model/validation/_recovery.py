"""How well a parameter of the model can be told from a field, on fields that were not learned from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, refuse
from mfn_model.mycelium import RESTING_POTENTIAL_MEAN, RESTING_POTENTIAL_STD
from mfn_model.statistics import mean_and_std
from mfn_model.validation._cancellation import cancellation_check
from mfn_model.validation._fields import DEFAULT_ALPHA, DEFAULT_SPIKE_PROBABILITY, draw_field
from mfn_model.validation._regression import fit_ridge

__all__ = [
    "RECOVERABLE",
    "RECOVERY_FEATURES",
    "Recoverable",
    "RecoveryReport",
    "cross_validate_recovery",
    "recovery_features",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
Recoverable: TypeAlias = Literal["alpha", "spike_probability"]

RECOVERABLE: Final[dict[Recoverable, tuple[float, float]]] = {"alpha": (0.02, 0.25), "spike_probability": (0.0, 1.0)}
"""Parameters, and the interval from which each is drawn uniformly."""

RECOVERY_FEATURES: Final = ("rise", "spread", "skewness", "kurtosis", "correlation_1", "correlation_2")
"""What a field is described by, all without a unit; see `recovery_features`."""

_PENALTY: Final = 1e-3
_SMALLEST_GRID: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """Errors of the prediction, each a root of a mean square in the unit of the parameter."""

    parameter: Recoverable
    samples: int
    folds: int
    train_error: float
    """On the fields that each fold learned from."""
    test_error: float
    """On the fields that each fold held out; every field is held out once."""
    baseline_error: float
    """On the same held-out fields, of always predicting the mean of the parameter over the fields learned from."""
    fold_errors: tuple[float, ...]
    """The test error of each fold: how far the figure depends on the split."""

    @property
    def explained(self) -> float:
        """1 − (test error / baseline error)²: 1 is perfect, 0 no better than the baseline, below 0 worse."""
        return 1.0 - (self.test_error / self.baseline_error) ** 2


def cross_validate_recovery(
    parameter: Recoverable = "alpha",
    *,
    seed: int = 42,
    samples: int = 100,
    grid_size: int = 32,
    steps: int = 32,
    folds: int = 5,
    cancelled: Callable[[], bool] | None = None,
) -> RecoveryReport:
    """Whether fields of the mycelium model carry the parameter that they were made with: k-fold cross-validation.

    `samples` fields are drawn, each from a generator of its own with `parameter` drawn from `RECOVERABLE` and the other
    one at its default, without activator and inhibitor. A ridge regression predicts the parameter, which is not a
    linear function of anything it sees, from `recovery_features`. The fields are shuffled and split into `folds` parts
    (M. Stone, J. R. Stat. Soc. B 36 (1974) 111–147); each part is held out once, and nothing of it enters the fit, the
    scaling of features included.

    Args:
        parameter: a key of `RECOVERABLE`.
        seed: at least 0; the result depends on the arguments only.
        samples: fields, at least 3 for each fold.
        grid_size: cells along a side, at least 4.
        steps: of each field, at least 1.
        folds: at least 2.
        cancelled: asked before each field and within it.

    Raises `ValueError` that lists everything out of its bound; `ValidationCancelledError` once `cancelled` is true.

    >>> report = cross_validate_recovery("alpha", samples=60, grid_size=16, steps=8)
    >>> report.train_error < report.test_error < 0.5 * report.baseline_error
    True
    """
    if parameter not in RECOVERABLE:
        raise ValueError(f"parameter must be one of {', '.join(RECOVERABLE)}, got {parameter!r}")
    problems = integer_problems("seed", seed, 0) + integer_problems("folds", folds, 2)
    problems += integer_problems("grid_size", grid_size, _SMALLEST_GRID) + integer_problems("steps", steps, 1)
    refuse(problems + integer_problems("samples", samples, 3 if problems else 3 * folds))
    features, target = _drawn(parameter, seed, samples, grid_size, steps, cancelled)
    order = np.random.default_rng([seed, samples]).permutation(samples)
    train_squares: list[FloatArray] = []
    test_squares: list[FloatArray] = []
    baseline_squares: list[FloatArray] = []
    for held_out in np.array_split(order, folds):
        learned = np.setdiff1d(order, held_out)
        model = fit_ridge(features[learned], target[learned], _PENALTY)
        train_squares.append((model.predict(features[learned]) - target[learned]) ** 2)
        test_squares.append((model.predict(features[held_out]) - target[held_out]) ** 2)
        baseline_squares.append((target[learned].mean() - target[held_out]) ** 2)
    return RecoveryReport(
        parameter=parameter,
        samples=samples,
        folds=folds,
        train_error=_root_mean(train_squares),
        test_error=_root_mean(test_squares),
        baseline_error=_root_mean(baseline_squares),
        fold_errors=tuple(_root_mean([squares]) for squares in test_squares),
    )


def recovery_features(field: FloatArray) -> FloatArray:
    """`RECOVERY_FEATURES` of a field [N, N] in V, N at least 4: a vector of 6 float64, all without a unit.

    Mean above rest and standard deviation, both in standard deviations of the initial potential; skewness and excess
    kurtosis; correlation with the neighbour one and two cells away, periodic, the mean over both directions. In a field
    that is constant to rounding the last four are 0.
    """
    mean, deviation = mean_and_std(field)
    rise, spread = (mean - RESTING_POTENTIAL_MEAN) / RESTING_POTENTIAL_STD, deviation / RESTING_POTENTIAL_STD
    if deviation <= 1e-12 * abs(mean):
        return np.array([rise, spread, 0.0, 0.0, 0.0, 0.0])
    standard = (field - mean) / deviation
    correlations = [
        float(np.mean([np.mean(standard * np.roll(standard, distance, axis=axis)) for axis in (0, 1)]))
        for distance in (1, 2)
    ]
    return np.array([rise, spread, np.mean(standard**3), np.mean(standard**4) - 3.0, *correlations])


def _drawn(
    parameter: Recoverable,
    seed: int,
    samples: int,
    grid_size: int,
    steps: int,
    cancelled: Callable[[], bool] | None,
) -> tuple[FloatArray, FloatArray]:
    """Features [samples, 6] and the parameter [samples] of fresh fields."""
    features, target = np.empty((samples, len(RECOVERY_FEATURES))), np.empty(samples)
    for number, entropy in enumerate(np.random.SeedSequence(seed).spawn(samples)):
        check = cancellation_check(cancelled, f"field {number + 1} of {samples}")
        check()
        generator = np.random.default_rng(entropy)
        target[number] = generator.uniform(*RECOVERABLE[parameter])
        value = float(target[number])
        field, _ = draw_field(
            generator,
            grid_size,
            steps,
            alpha=value if parameter == "alpha" else DEFAULT_ALPHA,
            spike_probability=value if parameter == "spike_probability" else DEFAULT_SPIKE_PROBABILITY,
            turing_enabled=False,
            check=check,
        )
        features[number] = recovery_features(field)
    return features, target


def _root_mean(squares: list[FloatArray]) -> float:
    return math.sqrt(float(np.mean(np.concatenate(squares))))
