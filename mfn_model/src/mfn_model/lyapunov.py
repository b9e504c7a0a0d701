"""How fast a system forgets or multiplies a small difference: Lyapunov exponents, and the legacy measure of a history.

`largest_lyapunov_exponent` follows a trajectory and a perturbed twin of any size, a whole field if need be;
`lyapunov_spectrum` finds all exponents of a small system. Positive means chaos, negative means that differences die
out; the unit is nats per unit of time.

`history_growth_rate` and `history_stability` reproduce numbers of earlier results, which carry the name of an exponent
and are none.

>>> estimate = largest_lyapunov_exponent(lambda x: 4.0 * x * (1.0 - x), [0.2], steps=5000, transient=100)
>>> abs(estimate.value - 0.6931) < 0.02  # the logistic map: ln 2
True
"""

from mfn_model._history_growth import HistoryStability, history_growth_rate, history_stability, is_stable
from mfn_model._tangent_spectrum import LyapunovSpectrum, kaplan_yorke_dimension, lyapunov_spectrum
from mfn_model._twin_trajectories import (
    LyapunovEstimate,
    SteppedTrajectory,
    UnstableTrajectoryError,
    largest_lyapunov_exponent,
    largest_lyapunov_exponent_of_twins,
)

__all__ = [
    "HistoryStability",
    "LyapunovEstimate",
    "LyapunovSpectrum",
    "SteppedTrajectory",
    "UnstableTrajectoryError",
    "history_growth_rate",
    "history_stability",
    "is_stable",
    "kaplan_yorke_dimension",
    "largest_lyapunov_exponent",
    "largest_lyapunov_exponent_of_twins",
    "lyapunov_spectrum",
]
