"""Ridge regression that is fitted on some rows and judged on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ridge", "fit_ridge"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ridge:
    """A linear prediction; everything in it comes from the rows that it was fitted on, the scaling too."""

    means: FloatArray
    scales: FloatArray
    weights: FloatArray
    """[features], for standardised features."""
    intercept: float

    def predict(self, features: FloatArray) -> FloatArray:
        """[rows] for features [rows, features]."""
        return np.asarray((features - self.means) / self.scales @ self.weights + self.intercept)


def fit_ridge(features: FloatArray, target: FloatArray, penalty: float) -> Ridge:
    """Minimises the mean squared residual plus `penalty` times the squared weights of standardised features.

    A. E. Hoerl, R. W. Kennard, Technometrics 12 (1970) 55–67. Takes features [rows, features] and a target [rows];
    a feature that is constant over the rows gets no weight. `penalty` is above 0, so that there is one solution.
    """
    means, deviations = features.mean(axis=0), features.std(axis=0)
    scales = np.where(deviations > 0.0, deviations, 1.0)
    standard = (features - means) / scales
    intercept = float(target.mean())
    moments = standard.T @ standard / len(target) + penalty * np.eye(features.shape[1])
    weights = np.linalg.solve(moments, standard.T @ (target - intercept) / len(target))
    return Ridge(means=means, scales=scales, weights=weights, intercept=intercept)
