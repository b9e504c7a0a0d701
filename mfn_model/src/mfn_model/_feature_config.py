"""How features are measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

__all__ = ["POTENTIAL_RANGE_MV", "FeatureConfig"]

POTENTIAL_RANGE_MV = (-100.0, 50.0)
"""Within which potentials and their thresholds lie, in mV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Settings of `extract_features`; raises `ValueError` that lists everything that is out of its bounds.

    The defaults measure a potential in volts and tell it in millivolts. Anything else is measured in its own unit:
    `FeatureConfig(unit="level", factor=1.0, threshold_low=90.0, threshold_medium=128.0, threshold_high=166.0)`.
    """

    min_box: int = 2
    """Smallest box of D_box in cells, at least 1."""
    max_box: int | None = None
    """Largest box of D_box in cells, at least `min_box`; `None`: as `legacy_box_sizes`."""
    num_scales: int = 5
    """Box sizes of D_box, 2 … 20."""
    threshold_low: float = -60.0
    """In `unit`: cells above it are active, and make up the mask of dimension and clusters."""
    threshold_medium: float = -50.0
    """In `unit`, above the low one: for N_clusters_med."""
    threshold_high: float = -40.0
    """In `unit`, above the medium one: for N_clusters_high."""
    stability_threshold: float = 0.001
    """In `unit`, at least 0: a step is quiet when the standard deviation of |ΔV| over the cells is below it."""
    stability_window: int = 10
    """Quiet steps in a row after which a history is stable, at least 1."""
    connectivity: int = 4
    """4: cells of a cluster share an edge; 8: or a corner."""
    periodic: bool = False
    """Whether clusters, perimeter and correlation dimension go on at the opposite edge."""
    unit: str = "mV"
    """Of thresholds and of the features of values."""
    factor: float = 1000.0
    """How many `unit` one of a given value is: 1000 mV in a volt. Positive."""
    cell_length: float = 1.0
    """The side of a cell in `length_unit`, positive."""
    length_unit: str = "cells"
    """Of lengths; areas are in its square, or in cells."""
    entropy_bins: int = 256
    """Bins of the histogram of H_entropy, at least 2."""

    def __post_init__(self) -> None:
        problems = [*self._integer_problems(), *self._number_problems()]
        if self.connectivity not in (4, 8):
            problems.append(f"connectivity is 4 or 8, got {self.connectivity!r}")
        if problems:
            raise ValueError("; ".join(problems))

    def _integer_problems(self) -> list[str]:
        bounds: list[tuple[str, int, int | None]] = [
            ("min_box", 1, None),
            ("num_scales", 2, 20),
            ("stability_window", 1, None),
            ("entropy_bins", 2, None),
        ]
        problems = []
        if self.max_box is not None:
            bounds.append(("max_box", _least_max_box(self.min_box), None))
        for name, least, most in bounds:
            value = getattr(self, name)
            bound = f"at least {least}" if most is None else f"{least} to {most}"
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
                problems.append(f"{name} must be a whole number of {bound}, got {value!r}")
            elif int(value) < least or (most is not None and int(value) > most):
                problems.append(f"{name} must be {bound}, got {value}")
        return problems

    def _number_problems(self) -> list[str]:
        thresholds = ("threshold_low", "threshold_medium", "threshold_high")
        problems = []
        for name in (*thresholds, "stability_threshold", "factor", "cell_length"):
            value = getattr(self, name)
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real) or not math.isfinite(value):
                problems.append(f"{name} must be a finite number, got {value!r}")
        if problems:
            return problems
        if self.stability_threshold < 0:
            problems.append(f"stability_threshold must be at least 0, got {self.stability_threshold}")
        for name in ("factor", "cell_length"):
            if getattr(self, name) <= 0:
                problems.append(f"{name} must be positive, got {getattr(self, name)}")
        low, medium, high = (getattr(self, name) for name in thresholds)
        if not low < medium < high:
            problems.append(f"thresholds must rise from low over medium to high, got {low}, {medium}, {high}")
        if self.unit == "mV":
            least, most = POTENTIAL_RANGE_MV
            problems += [
                f"{name} must lie between {least:g} and {most:g} mV, got {getattr(self, name)}; set unit if it is none"
                for name in thresholds
                if not least <= getattr(self, name) <= most
            ]
        return problems


def _least_max_box(min_box: object) -> int:
    """What `max_box` must at least be, also where `min_box` is itself refused."""
    return int(min_box) if isinstance(min_box, Integral) and int(min_box) >= 1 else 1
