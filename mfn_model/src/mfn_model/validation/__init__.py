"""Whether the fields hold what is said of them: the validation of earlier results, and one that holds data out.

>>> result = run_validation(seed=42, grid_size=16, steps=8)
>>> round(result.loss_start, 5), round(result.loss_final, 5)
(2.44446, 1.82129)
>>> report = cross_validate_recovery("spike_probability", samples=60, grid_size=16, steps=16)
>>> report.explained > 0.5
True
"""

from mfn_model.validation._cancellation import ValidationCancelledError
from mfn_model.validation._recovery import (
    RECOVERABLE,
    RECOVERY_FEATURES,
    Recoverable,
    RecoveryReport,
    cross_validate_recovery,
    recovery_features,
)
from mfn_model.validation._run import (
    SAMPLES,
    Simulate,
    SimulateInPieces,
    ValidationResult,
    run_validation,
    validation_in_pieces,
)

__all__ = [
    "RECOVERABLE",
    "RECOVERY_FEATURES",
    "SAMPLES",
    "Recoverable",
    "RecoveryReport",
    "Simulate",
    "SimulateInPieces",
    "ValidationCancelledError",
    "ValidationResult",
    "cross_validate_recovery",
    "recovery_features",
    "run_validation",
    "validation_in_pieces",
]
