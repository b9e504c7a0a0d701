"""Several runs in few calls of compiled code."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from mfn_core.compute import Run
from mfn_engine_numba import _memory as at
from mfn_engine_numba._grid import FloatArray
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
        """A grid for a run, which is its own from now on."""
        try:
            grid = self._grids.pop()
        except IndexError:
            return WholeGrid(prepared)
        if grid.prepared is not prepared:
            return WholeGrid(prepared)
        grid.begin_again()
        return grid

    def keep(self, grid: WholeGrid) -> None:
        """Takes back the grid of a run, which nobody uses any more."""
        if grid.prepared.blueprint.bytes <= _SPARE_BYTES:
            self._grids.append(grid)


class _Member:
    """A run that has begun."""

    def __init__(self, place: int, run: Run, grid: WholeGrid) -> None:
        self.place = place
        self.run = run
        self.grid = grid
        self.left = run.steps
        self.fresh = True
        """Whether its state is still to be drawn."""
        self.taken = 0
        """Steps of the present call."""
        self.cells = run.spec.grid_size * run.spec.grid_size
        self.last: FloatArray | None = None
        """Room for the state, where the present call is its last one."""

    def job(self, jobs: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """Writes down what the present call does with it."""
        jobs[:] = self.grid.jobs[0]
        jobs[at.JOB_STEPS] = self.taken
        if self.fresh:
            jobs[at.JOB_SEED] = self.run.spec.seed
        if self.left == self.taken:
            side = self.run.spec.grid_size
            self.last = np.empty((len(self.grid.prepared.names), side, side))
            jobs[at.JOB_STATE] = self.last.ctypes.data

    def outcome(self) -> FieldState | Exception | None:
        """What came of it; None while it is not over."""
        if self.fresh:
            return None
        if self.grid.book[at.FAILED_STEP]:
            return failure_of(self.grid, self.grid.prepared)
        if self.last is not None or self.run.cancel.is_set():
            return state_of(self.grid, self.grid.prepared, self.last)
        return None


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
        while slice_left > 0.0:
            if begun:
                member = begun[0]
            elif waiting:
                place, run = waiting.popleft()
                try:
                    member = _Member(place, run, spares.take(prepare(run.spec)))
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
                spares.keep(member.grid)
                continue
            prepared = member.grid.prepared
            if kernel not in (None, prepared.kernel):
                break
            kernel = prepared.kernel
            steps = max(1, int(slice_left * prepared.speed / member.cells))
            member.taken = 0 if member.run.cancel.is_set() else min(steps, member.left)
            slice_left -= max(member.taken * member.cells / prepared.speed, 1e-6)
            members.append(member)
            begun.popleft()
        if kernel is None:
            continue
        jobs = np.empty((len(members), at.JOB_WORDS), dtype=np.int64)
        for member, job in zip(members, jobs, strict=True):
            member.job(job)
        kernel.run(jobs)
        for member in members:
            member.left -= member.taken
            member.fresh = False
        begun.extendleft(reversed(members))
    return results
