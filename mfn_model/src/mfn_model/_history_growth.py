"""What a recorded history of a field says about its changes: the numbers of earlier results.

None of them is a Lyapunov exponent, though one is published by that name: nothing is perturbed, and the value depends
on the unit of the field and on the number of its cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import number_problems, refuse

__all__ = ["HistoryStability", "history_growth_rate", "history_stability", "is_stable"]

SMALLEST_CHANGE: Final = 1e-10
"""Changes of no larger norm count as none, in the unit of the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStability:
    """Changes from frame to frame."""

    growth_rate: float
    """`history_growth_rate`: what earlier results call `lyapunov_exponent`."""
    is_stable: bool
    """Whether `growth_rate` is below 0."""
    mean_change_rate: float
    """Mean of |ΔH| over cells and frames, per unit of time."""
    max_change_rate: float
    """Largest |ΔH|, per unit of time."""
    final_std: float
    """Population standard deviation of the last frame."""


def history_growth_rate(history: npt.ArrayLike, time_step: float = 1.0) -> float:
    """Mean of ln ‖H_t − H_{t−1}‖₂ over the frames, per unit of time: the legacy measure of a history.

    `history` is [T, …], finite frames of any shape in any unit; `time_step`, above 0, is the time between frames.
    Changes whose norm is at most 1e-10 are left out; the result is 0 where none is left, and for fewer than two frames.
    The history is read two frames at a time. Raises `ValueError` for a history without a frame axis or with a number
    that is not finite, and for a bad `time_step`.

    For the largest Lyapunov exponent see `mfn_model.lyapunov.largest_lyapunov_exponent`.
    """
    frames = _frames(history, time_step)
    return _growth_rate((_norm(change) for change in _changes(frames)), time_step)


def history_stability(history: npt.ArrayLike, time_step: float = 1.0) -> HistoryStability:
    """The legacy measures of a history, [T, …] with at least one frame of at least one cell, in its unit.

    A single frame has no changes: its rates are 0. Raises `ValueError` as `history_growth_rate` does, and for a history
    without a cell.
    """
    frames = _frames(history, time_step)
    if frames.size == 0:
        raise ValueError(f"a history needs at least one frame with one cell, got shape {frames.shape}")
    norms, means, largest = [], [0.0], 0.0
    for change in _changes(frames):
        norms.append(_norm(change))
        means.append(float(change.mean()))
        largest = max(largest, float(change.max()))
    rate = _growth_rate(norms, time_step)
    return HistoryStability(
        growth_rate=rate,
        is_stable=is_stable(rate),
        mean_change_rate=math.fsum(means) / max(1, len(norms)) / time_step,
        max_change_rate=largest / time_step,
        final_std=float(np.std(frames[-1])),
    )


def is_stable(rate: float, threshold: float = 0.0) -> bool:
    """Whether a rate or an exponent lies strictly below `threshold`; NaN does not."""
    return rate < threshold


def _frames(history: npt.ArrayLike, time_step: float) -> npt.NDArray[np.float64]:
    refuse(number_problems("time_step", time_step, 0.0, minimum_exclusive=True))
    frames = np.asarray(history, dtype=np.float64)
    if frames.ndim == 0:
        raise ValueError("a history must have frames along its first axis, got a number")
    for index, frame in enumerate(frames):
        if not np.isfinite(frame).all():
            raise ValueError(f"a history must be finite, frame {index} is not")
    return frames


def _changes(frames: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.float64]]:
    """The absolute values of the change of each frame but the first."""
    for before, after in pairwise(frames):
        yield np.abs(after - before)


def _norm(change: npt.NDArray[np.float64]) -> float:
    return math.sqrt(float(np.square(change).sum()))


def _growth_rate(norms: Iterable[float], time_step: float) -> float:
    logarithms = [math.log(norm) for norm in norms if norm > SMALLEST_CHANGE]
    return math.fsum(logarithms) / (len(logarithms) * time_step) if logarithms else 0.0
