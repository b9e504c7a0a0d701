"""The backend that opens sessions on NumPy."""

from __future__ import annotations

from mfn_engine_numpy._equations import EQUATIONS
from mfn_engine_numpy.session import MyceliumSession
from mfn_model import BoundViolation, Checkpoint, FieldSpec, SpecError

__all__ = ["NumpyBackend"]


class NumpyBackend:
    """Steps the models `mycelium` and `mycelium_rd` with NumPy alone, bit-identical to their plain evaluations.

    It holds no state, and sessions are independent of each other. NumPy releases the interpreter lock inside each array
    operation, so that sessions on large grids run beside each other on several cores.
    """

    def supports(self, spec: FieldSpec) -> bool:
        """Whether `spec` is of one of the models, under any of their boundaries."""
        return spec.model in EQUATIONS

    def open(self, spec: FieldSpec) -> MyceliumSession:
        """A session at step 0; raises `SpecError` for another model or values out of the model's bounds."""
        self._require(spec)
        return MyceliumSession(spec)

    def restore(self, checkpoint: Checkpoint) -> MyceliumSession:
        """A session at the checkpoint's step.

        Raises `SpecError` for another model, and `ValueError` when state, specification and generator do not belong
        together.
        """
        self._require(checkpoint.spec)
        return MyceliumSession.restored(checkpoint)

    def speed(self, spec: FieldSpec) -> float:
        """Estimated cell-steps a second on one core, from measurements at 64² … 1024²."""
        if spec.switch("jitter"):
            return 4e7
        return 1.2e8 if spec.switch("turing_enabled") else 4e8

    def _require(self, spec: FieldSpec) -> None:
        # A specification checks itself when it is made, but one that was tampered with must not reach the arrays.
        violations = FieldSpec.violations(
            model=spec.model,
            grid_size=spec.grid_size,
            seed=spec.seed,
            parameters=spec.parameters,
            boundary=spec.boundary,
        )
        if violations:
            raise SpecError(violations)
        if not self.supports(spec):
            known = " and ".join(repr(name) for name in EQUATIONS)
            bound = f"model is one of {known}"
            message = f"the numpy engine does not compute the model {spec.model!r}, only {known}"
            raise SpecError([BoundViolation(field="model", value=spec.model, bound=bound, message=message)])
