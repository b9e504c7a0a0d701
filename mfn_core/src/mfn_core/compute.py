"""The compute contract: what a backend gives, and what it may rely on.

Everything here is synchronous. The kernel calls it from executor threads, never from the event loop; a session is
used by one thread at a time, which may be a different one at each call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol, TypeVar, runtime_checkable

from attrs import frozen

from mfn_model import BoundViolation, Checkpoint, FieldSpec, FieldState, SpecError

__all__ = [
    "Backend",
    "CancelToken",
    "NeverCancelled",
    "RemoteExecutor",
    "Run",
    "Session",
    "SupportsBatch",
    "SupportsCheckpoint",
    "SupportsRestore",
    "SupportsSpeed",
    "SupportsSteering",
    "require_supported",
]

T = TypeVar("T")


@runtime_checkable
class CancelToken(Protocol):
    """Says that the work is no longer wanted."""

    def is_set(self) -> bool:
        """Whether the caller gave up or its deadline passed. Cheap, safe from any thread, never goes back."""
        ...


class NeverCancelled:
    """A token for work that nobody will cancel."""

    def is_set(self) -> bool:
        """Always false."""
        return False


class Session(Protocol):
    """One trajectory of one field, advanced in place."""

    def step(self, n: int, cancel: CancelToken) -> int:
        """Advance by at most `n` whole steps, `n` ≥ 0.

        Looks at `cancel` before each slice of work, and a slice takes a few milliseconds at most (one step, where
        a single step takes longer). Returns the number of steps done, fewer than `n` only when `cancel` is set;
        the session then stands at a whole step and may be advanced again. n calls of one step give the same
        numbers as one call of n.

        Raises:
            ValueError: `n` is negative; nothing is changed.
            mfn_model.NumericalInstabilityError: a step left a number that is not finite.
        """
        ...

    def state(self) -> FieldState:
        """A snapshot of every species and every counter of the model, which later steps do not change.

        The counters are those of `mfn_model.dynamics.Dynamics.counters`, 0 at step 0, whatever is switched off.
        """
        ...

    def close(self) -> None:
        """Give back what the session holds. Safe to call twice; no other method may be called after it."""
        ...


class Backend(Protocol):
    """An engine that advances fields. One instance serves many sessions from many threads."""

    def supports(self, spec: FieldSpec) -> bool:
        """Whether `open` would accept the spec. Cheap, no side effects, raises nothing."""
        ...

    def open(self, spec: FieldSpec) -> Session:
        """A session at step 0, its initial field drawn from `spec.seed`; `spec` stays as it is.

        Raises:
            mfn_model.SpecError: the spec breaks its model's bounds, or this backend does not support it.
        """
        ...


@runtime_checkable
class SupportsSpeed(Protocol):
    """A backend that can say how fast it is, so that `engine = "auto"` can choose."""

    def speed(self, spec: FieldSpec) -> float:
        """Estimated cell-steps a second on one core for this spec; any backend that is silent counts as 1.

        The same for every seed: the kernel asks once for each kind of spec.
        """
        ...


@frozen(kw_only=True)
class Run:
    """A whole run: from step 0 to its last step, of which only the final state is wanted."""

    spec: FieldSpec
    steps: int
    """At least 0."""
    cancel: CancelToken
    """Of this run alone; the others of a batch go on when it is set."""

    @property
    def cell_steps(self) -> int:
        """What the run costs: cells times steps, the initial field counting as one step where there is no other."""
        return self.spec.grid_size * self.spec.grid_size * max(self.steps, 1)


@runtime_checkable
class SupportsBatch(Protocol):
    """A backend that advances several whole runs in one call, for less than they cost one by one."""

    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState | Exception]:
        """The final states of the runs, in their order.

        Called from compute threads, by several at once; `runs` holds at least one. The runs may differ in model, grid,
        parameters and steps. Each state is, bit for bit, what a session of its spec has after `steps` steps.

        A run that fails does not touch the others: in its place stands what `open` or `step` would have raised. Looks
        at the token of each run before each slice of work, as a session does; a run whose token is set is left out
        from then on, and in its place stands a state after fewer steps, or any exception. Nobody looks at that.

        Raises nothing. The kernel takes what is raised all the same for a defect: it logs it, and runs each alone.
        """
        ...


@runtime_checkable
class SupportsSteering(Protocol):
    """A session whose parameters may change between steps."""

    def set_parameter(self, name: str, value: float) -> None:
        """Change one parameter of the model from the next step on; `value` is true or false for a switch.

        Raises:
            mfn_model.SpecError: no such parameter, the value is out of its bounds, or it is a switch that decides which
                species there are; nothing is changed.
        """
        ...

    def inject(self, row: int, column: int, amplitude: float) -> None:
        """Add `amplitude` volts at a cell now, clamped as a step clamps, and count one growth event.

        Draws nothing from the generator: a trajectory stays reproducible from its spec and its commands.

        Raises:
            mfn_model.SpecError: the cell lies outside the grid, or the amplitude is not finite; nothing is changed.
        """
        ...


@runtime_checkable
class SupportsCheckpoint(Protocol):
    """A session that can be written down."""

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on bit for bit: spec, state and generator. Picklable."""
        ...


@runtime_checkable
class SupportsRestore(Protocol):
    """A backend that can go on from a checkpoint."""

    def restore(self, checkpoint: Checkpoint) -> Session:
        """A session at the checkpoint's step.

        Raises:
            mfn_model.SpecError: this backend does not support the checkpoint's spec.
            ValueError: what no session has written, as `mfn_model.Checkpoint.require_restorable` says.
        """
        ...


@runtime_checkable
class RemoteExecutor(Protocol):
    """An executor whose workers share no memory with the server: whole runs go there, by value.

    What a factory of the hook `mfn_executors` makes is taken for one by its `remote`; any other executor must be a
    `concurrent.futures.Executor` of threads. Its component may have `async start()`, which connects to the workers, or
    raises `ConfigError` or `OSError` with a text for the operator, and `async stop()`.
    """

    @property
    def remote(self) -> Literal[True]:
        """What tells it from an executor of threads."""
        ...

    @property
    def slots(self) -> int:
        """Jobs that its workers do at once, as far as is known now; 0 while there is no worker. Cheap."""
        ...

    def submit(self, job: Callable[[CancelToken], T], /) -> Future[T]:
        """Call `job(cancel)` on a worker.

        Called from the event loop, and does not block. `job` and what it returns can be pickled. Where a worker dies,
        its jobs are done again on another one. `cancel` on the future is heard at any time: a job that still waits is
        withdrawn, and one at work finds its token set within a slice of a few hundred milliseconds.

        The future ends with what the job returned or raised, or with `MfnError`: UNAVAILABLE with a time to retry
        after when the workers cannot be reached, INTERNAL when the job brought its workers down. `submit` itself raises
        nothing but UNAVAILABLE.
        """
        ...


def require_supported(backend: Backend, spec: FieldSpec) -> None:
    """What a backend's `open` may do first: refuse what it does not support, and a spec that breaks its bounds.

    A `FieldSpec` checks itself when it is made; one that came by pickle, or was tampered with, is checked again here.

    Raises:
        mfn_model.SpecError: with every bound that is broken.
    """
    broken = FieldSpec.violations(
        model=spec.model,
        grid_size=spec.grid_size,
        seed=spec.seed,
        parameters=spec.parameters,
        boundary=spec.boundary,
    )
    if broken:
        raise SpecError(broken)
    if not backend.supports(spec):
        name = type(backend).__name__
        raise SpecError(
            [
                BoundViolation(
                    field="model",
                    value=spec.model,
                    bound=f"what {name} supports",
                    message=f"{name} does not support {spec.model!r} with these parameters; choose another engine",
                )
            ]
        )
