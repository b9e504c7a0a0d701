"""The backend that opens sessions on NumPy."""

from __future__ import annotations

from mfn_core.compute import require_supported
from mfn_engine_numpy._program import passes
from mfn_engine_numpy.session import NumpySession
from mfn_model import MODELS, Checkpoint, FieldSpec

__all__ = ["NumpyBackend"]

_PASSES_A_SECOND = 4e9


class NumpyBackend:
    """Steps every declared model with NumPy alone, bit-identical to `mfn_model.reference`.

    It holds no state, and sessions are independent of each other. NumPy releases the interpreter lock inside each array
    operation, so that sessions on large grids run beside each other on several cores.
    """

    def supports(self, spec: FieldSpec) -> bool:
        """Whether the model of `spec` is known to this process."""
        return spec.model in MODELS

    def open(self, spec: FieldSpec) -> NumpySession:
        """A session at step 0; raises `SpecError` for values out of the model's bounds."""
        require_supported(self, spec)
        return NumpySession(spec)

    def restore(self, checkpoint: Checkpoint) -> NumpySession:
        """A session at the checkpoint's step.

        Raises `SpecError` for values out of the model's bounds, and `ValueError` when state, specification and
        generator do not belong together.
        """
        require_supported(self, checkpoint.spec)
        return NumpySession.restored(checkpoint)

    def speed(self, spec: FieldSpec) -> float:
        """Estimated cell-steps a second on one core: array operations of a step, at four cells a nanosecond each."""
        return _PASSES_A_SECOND / passes(spec.declaration.dynamics.switched(spec.parameters))
