"""Several runs in few calls of compiled code."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from mfn_core.compute import Run
from mfn_engine_numba import _memory as at
from mfn_engine_numba._grid import FloatArray, IntArray, counters_of, tally_of
from mfn_engine_numba._kernels import Prepared
from mfn_engine_numba._whole import WholeGrid
from mfn_engine_numba.session import SLICE_SECONDS, failure_of, state_of
from mfn_model import FieldSpec, FieldState

__all__ = ["SpareGrids", "run_together"]

_SPARE_BYTES: Final = 1_048_576
"""The memory of a larger grid is given back: the system would miss it, and beside its runs the time is nothing."""
_SPARES: Final = 16


class SpareGrids:
    """Memory of runs that are over, for the next runs like them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._grids: deque[WholeGrid] = deque(maxlen=_SPARES)

    def take(self, prepared: Prepared) -> WholeGrid:
        """A grid for whoever draws the state in it first."""
        try:
            grid = self._grids.pop()
        except IndexError:
            return WholeGrid(prepared)
        return grid if grid.prepared is prepared else WholeGrid(prepared)

    def keep(self, grid: WholeGrid) -> None:
        """Takes back a grid that nobody uses any more."""
        if grid.prepared.blueprint.bytes <= _SPARE_BYTES:
            self._grids.append(grid)


class _Copied:
    """What a call of compiled code leaves of a run that ended in it: the last state, and the accounts."""

    def __init__(self, prepared: Prepared, side: int) -> None:
        species, words = len(prepared.names), prepared.blueprint.book.size
        cells = species * side * side
        memory = np.empty(cells + words)
        self.address = memory.ctypes.data
        self.book: IntArray = memory[cells:].view(np.int64)
        memory.flags.writeable = False  # by Python
        self._states = memory[:cells].reshape(species, side, side)
        self._counters = len(prepared.dynamics.counters)

    def values(self, species: int) -> FloatArray:
        """[N, N] of one species, read-only."""
        values: FloatArray = self._states[species]
        return values

    def counters(self) -> list[int]:
        """Those of the model, in its order."""
        return counters_of(self.book, self._counters)

    def tally(self) -> IntArray:
        """[species, 2] NaN and infinities at `FAILED_STEP`."""
        return tally_of(self.book, len(self._states))


class _Member:
    """A run of a batch."""

    def __init__(self, place: int, run: Run, prepared: Prepared) -> None:
        self.place = place
        self.run = run
        self.prepared = prepared
        self.cells = run.spec.grid_size * run.spec.grid_size
        self.left = run.steps
        self.grid: WholeGrid | None = None
        """Its own, once it is known to take more than one call."""
        self.taken = 0
        """Steps of the present call."""
        self.ended: _Copied | None = None
        """What is left of it, where the present call is its last one."""

    def plan(self, seconds: float, borrowed: dict[int, WholeGrid], spares: SpareGrids) -> IntArray:
        """The job of the present call, which should not take much longer than `seconds`.

        A run that is drawn and ends in one call needs no memory of its own: all like it use the same, one after the
        other, which is in the cache then.
        """
        cancelled = self.run.cancel.is_set()
        steps = max(1, int(seconds * self.prepared.speed / self.cells))
        self.taken = 0 if cancelled else min(steps, self.left)
        fresh = self.grid is None
        if self.taken == self.left or cancelled:
            self.ended = _Copied(self.prepared, self.run.spec.grid_size)
        if self.grid is not None:
            grid = self.grid
        elif self.ended is None:
            grid = self.grid = spares.take(self.prepared)
        else:
            kind = id(self.prepared)
            grid = borrowed[kind] if kind in borrowed else borrowed.setdefault(kind, spares.take(self.prepared))
        job: IntArray = grid.jobs[0].copy()
        job[at.JOB_STEPS] = self.taken
        if fresh:
            job[at.JOB_SEED] = self.run.spec.seed
        if self.ended is not None:
            job[at.JOB_STATE] = self.ended.address
        return job

    def outcome(self) -> FieldState | Exception | None:
        """What came of it; None while it is not over."""
        found = self.grid if self.ended is None else self.ended
        if found is None:
            return None
        if found.book[at.FAILED_STEP]:
            return failure_of(found, self.prepared)
        return None if self.ended is None else state_of(found, self.prepared)


def run_together(
    runs: Sequence[Run], prepare: Callable[[FieldSpec], Prepared], spares: SpareGrids
) -> list[FieldState | Exception]:
    """The last states of the runs; `prepare` may refuse a specification.

    Runs of one kernel share calls, which draw their states and copy the last ones too: each call gives up the
    interpreter's lock, and may have to wait for it. In a call they are taken one after the other, so that each is in
    the cache as a whole.
    """
    results: list[FieldState | Exception] = [RuntimeError("the run was not begun") for _ in runs]
    waiting = deque(enumerate(runs))
    begun: deque[_Member] = deque()
    while begun or waiting:
        slice_left, kernel = SLICE_SECONDS, None
        members: list[_Member] = []
        jobs: list[IntArray] = []
        borrowed: dict[int, WholeGrid] = {}
        while slice_left > 0.0:
            if begun:
                member = begun[0]
            elif waiting:
                place, run = waiting.popleft()
                try:
                    member = _Member(place, run, prepare(run.spec))
                except Exception as refused:  # noqa: BLE001 - whatever it is, it belongs to this run alone
                    results[place] = refused
                    continue
                begun.append(member)
            else:
                break
            outcome = member.outcome()
            if outcome is not None:
                results[member.place] = outcome
                begun.popleft()
                if member.grid is not None:
                    spares.keep(member.grid)
                continue
            prepared = member.prepared
            if kernel not in (None, prepared.kernel):
                break
            kernel = prepared.kernel
            jobs.append(member.plan(slice_left, borrowed, spares))
            slice_left -= max(member.taken * member.cells / prepared.speed, 1e-6)
            members.append(member)
            begun.popleft()
        if kernel is None:
            continue
        kernel.run(np.array(jobs))
        for member in members:
            member.left -= member.taken
        begun.extendleft(reversed(members))
        for grid in borrowed.values():
            spares.keep(grid)
    return results
