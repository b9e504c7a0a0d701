"""A whole run as work for a compute thread: advanced to its last step, and measured there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import frozen

from mfn_core.compute import Backend, Run, SupportsBatch
from mfn_model import FieldState

__all__ = ["RunWork"]

T = TypeVar("T")


@frozen(kw_only=True, eq=False)
class RunWork(Generic[T]):
    """One run on one engine, and what its caller wants to know of the last state."""

    backend: Backend
    engine: SupportsBatch | None
    """The backend again, where it may do the run together with others."""
    run: Run
    measure: Callable[[FieldState], T]

    def alone(self) -> T:
        """Do the run by a session of its own. Raises what the backend and `measure` raise."""
        session = self.backend.open(self.run.spec)
        try:
            session.step(self.run.steps, self.run.cancel)
            state = session.state()
        finally:
            session.close()
        return self.measured(state)

    def measured(self, state: FieldState) -> T:
        """What the caller wants to know. Raises what `measure` raises."""
        if state.step < self.run.steps:
            # Where the call was aborted, nobody sees this.
            raise RuntimeError(f"the engine stopped at step {state.step} of {self.run.steps} of a run that is wanted")
        return self.measure(state)
