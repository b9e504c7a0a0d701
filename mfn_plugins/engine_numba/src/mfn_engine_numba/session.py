"""A trajectory of any declared model, advanced in place by compiled code."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable
from numbers import Integral, Real
from typing import Final

import numpy as np

from mfn_core.compute import CancelToken
from mfn_engine_numba import _memory as at
from mfn_engine_numba._grid import Grid, Snapshot
from mfn_engine_numba._kernels import Prepared
from mfn_engine_numba._pcg64 import generator_state, generator_words
from mfn_model import BoundViolation, Checkpoint, FieldSpec, FieldState, NumericalInstabilityError, SpecError

__all__ = ["SLICE_SECONDS", "NumbaSession", "failure_of", "state_of"]

SLICE_SECONDS: Final = 0.004
"""Between two looks at the cancel token, where a step does not take longer."""

_SLOWEST: Final = 1e7
"""Cell-steps a second that are taken for granted: one slice that was held up must not make all others short."""

_MEASURABLE: Final = 2e-5
"""Seconds; what took less says more of the clock than of the engine."""


class NumbaSession:
    """One trajectory; also supports steering and checkpoints. `NumbaBackend` makes them.

    Advancing runs without the interpreter's lock and allocates nothing. After
    `mfn_model.NumericalInstabilityError` a session is of no further use, and says so.
    """

    def __init__(self, spec: FieldSpec, prepare: Callable[[FieldSpec], tuple[Prepared, Grid]]) -> None:
        """A session at step 0; `prepare` gives what a specification needs, and memory for it."""
        self._begin(spec, prepare)
        self._usable().draw(self._prepared, spec.seed)

    @classmethod
    def restored(cls, checkpoint: Checkpoint, prepare: Callable[[FieldSpec], tuple[Prepared, Grid]]) -> NumbaSession:
        """A session that goes on from a checkpoint; raises `ValueError` when the checkpoint contradicts itself."""
        checkpoint.require_restorable()
        spec, state = checkpoint.spec, checkpoint.state
        names = [species.name for species in spec.declaration.present(spec.parameters)]
        arrays = {names[0]: state.field, **state.species}
        words = generator_words(checkpoint.generator)
        session = cls.__new__(cls)
        session._begin(spec, prepare)
        grid = session._usable()
        grid.load([arrays[name] for name in names], words)
        grid.book[at.STEP] = state.step
        grid.book[at.GROWTH_EVENTS] = state.growth_events
        grid.set_counters([state.counters.get(name, 0) for name in session._prepared.dynamics.counters])
        return session

    def _begin(self, spec: FieldSpec, prepare: Callable[[FieldSpec], tuple[Prepared, Grid]]) -> None:
        self._spec = spec
        self._prepare = prepare
        self._failure: NumericalInstabilityError | None = None
        self._grid: Grid | None
        self._prepared, self._grid = prepare(spec)
        self._speed = self._prepared.speed
        self._cells = spec.grid_size * spec.grid_size

    def _usable(self) -> Grid:
        if self._grid is None:
            raise RuntimeError("the session is closed; open another one")
        if self._failure is not None:
            raise RuntimeError(f"the session ended, open another one: {self._failure}")
        return self._grid

    def step(self, n: int, cancel: CancelToken) -> int:
        """Advances by at most `n` steps; see `mfn_core.compute.Session`."""
        grid = self._usable()
        n = operator.index(n)
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        done = 0
        while done < n and not cancel.is_set():
            count = min(n - done, max(1, int(self._speed * SLICE_SECONDS / self._cells)))
            timed = count < n  # of more than one slice
            # Not the time of day: a slice that waited for a core was not slow.
            begun = time.thread_time() if timed else 0.0
            grid.advance(count)
            done += count
            if grid.book[at.FAILED_STEP]:
                self._failure = failure_of(grid, self._prepared)
                raise self._failure
            if timed:
                self._learn(count, time.thread_time() - begun)
        return done

    def _learn(self, count: int, seconds: float) -> None:
        """Corrects the speed that the length of slices is made from."""
        if seconds > _MEASURABLE:
            self._speed = max(_SLOWEST, (self._speed + self._cells * count / seconds) / 2)

    def state(self) -> FieldState:
        """A snapshot of every species; see `mfn_core.compute.Session`."""
        return state_of(self._usable(), self._prepared)

    def close(self) -> None:
        """Gives the memory back; safe to call twice."""
        self._grid = None

    def set_parameter(self, name: str, value: float) -> None:
        """Changes one parameter from the next step on; see `mfn_core.compute.SupportsSteering`.

        A switch takes true or false, or 1 or 0. One that decides which species there are cannot change.
        """
        grid = self._usable()
        kinds = {parameter.name: parameter.kind for parameter in self._spec.declaration.parameters}
        wanted = bool(value) if kinds.get(name) == "bool" and value in (0, 1) else value
        changed = self._spec.with_parameters(**{name: wanted})
        species = tuple(each.name for each in changed.declaration.present(changed.parameters))
        if species != self._prepared.names:
            message = (
                f"{name} cannot change in a running session, got {value!r}; "
                "open a session with a specification that says so"
            )
            bound = f"{name} is {self._spec[name]}"
            raise SpecError([BoundViolation(field=name, value=value, bound=bound, message=message)])
        dynamics = changed.declaration.dynamics.switched(changed.parameters)
        if dynamics == self._prepared.dynamics:
            grid.adopt(np.array(dynamics.values(changed.parameters), dtype=np.float64))
        else:
            self._move(grid, changed)
        self._spec = changed

    def _move(self, old: Grid, spec: FieldSpec) -> None:
        """Goes on in other memory: spikes or noise were switched, which the memory has places for."""
        prepared, grid = self._prepare(spec)
        grid.load([old.values(number) for number in range(len(prepared.names))], old.words())
        grid.book[[at.STEP, at.GROWTH_EVENTS]] = old.book[[at.STEP, at.GROWTH_EVENTS]]
        grid.set_counters(old.counters())
        self._prepared, self._grid = prepared, grid

    def inject(self, row: int, column: int, amplitude: float) -> None:
        """Adds `amplitude` to the field at a cell now, clamped; see `mfn_core.compute.SupportsSteering`."""
        grid = self._usable()
        violations = []
        for name, index in (("row", row), ("column", column)):
            bound = f"0 <= {name} < {self._spec.grid_size}"
            if isinstance(index, bool) or not isinstance(index, Integral) or not 0 <= int(index) < self._spec.grid_size:
                message = f"{name} must be an index of the grid, got {index!r}; the bound is {bound}"
                violations.append(BoundViolation(field=name, value=index, bound=bound, message=message))
        if isinstance(amplitude, bool) or not isinstance(amplitude, Real) or not math.isfinite(amplitude):
            unit = {"V": " of volts"}.get(self._spec.declaration.species[0].unit, "")
            message = f"amplitude must be a finite number{unit}, got {amplitude!r}"
            violations.append(
                BoundViolation(field="amplitude", value=amplitude, bound="amplitude is finite", message=message)
            )
        if violations:
            raise SpecError(violations)
        terms, counters = self._prepared.dynamics.species[0], self._prepared.dynamics.counters
        value = grid.cell(int(row), int(column)) + float(amplitude)
        confined = min(max(value, terms.minimum), terms.maximum)
        grid.set_cell(int(row), int(column), confined)
        grid.book[at.GROWTH_EVENTS] += 1
        if terms.counts_clamping and confined != value:
            counts = dict(zip(counters, grid.counters(), strict=True))
            counts["clamping_events"] += 1
            grid.set_counters(list(counts.values()))

    def checkpoint(self) -> Checkpoint:
        """All that `NumbaBackend.restore` needs to go on bit for bit; see `mfn_core.compute.SupportsCheckpoint`."""
        grid = self._usable()
        return Checkpoint(spec=self._spec, state=self.state(), generator=generator_state(grid.words()))


def state_of(grid: Snapshot, prepared: Prepared) -> FieldState:
    """A snapshot of a grid."""
    _, *further = prepared.names
    return FieldState(
        step=int(grid.book[at.STEP]),
        field=grid.values(0),
        species={name: grid.values(number) for number, name in enumerate(further, 1)},
        growth_events=int(grid.book[at.GROWTH_EVENTS]),
        counters=dict(zip(prepared.dynamics.counters, grid.counters(), strict=True)),
    )


def failure_of(grid: Snapshot, prepared: Prepared) -> NumericalInstabilityError:
    """What ended a grid whose `FAILED_STEP` is set."""
    tally = grid.tally().tolist()
    number = next(number for number, counts in enumerate(tally) if any(counts))
    nan_count, inf_count = tally[number]
    return NumericalInstabilityError(
        step=int(grid.book[at.FAILED_STEP]), species=prepared.names[number], nan_count=nan_count, inf_count=inf_count
    )
