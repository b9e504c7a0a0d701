"""Several runs in few calls of compiled code."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from mfn_core.compute import Run
from mfn_engine_numba import _memory as at
from mfn_engine_numba._kernels import Prepared
from mfn_engine_numba._whole import WholeGrid
from mfn_engine_numba.session import SLICE_SECONDS, failure_of, state_of
from mfn_model import FieldSpec, FieldState

__all__ = ["run_together"]


class _Member:
    """A run that has begun."""

    def __init__(self, place: int, run: Run, prepared: Prepared) -> None:
        self.place = place
        self.run = run
        self.prepared = prepared
        self.left = run.steps
        self.taken = 0
        """Steps of the present call."""
        self.cells = run.spec.grid_size * run.spec.grid_size
        self.grid = WholeGrid(prepared)
        self.grid.draw(prepared, run.spec.seed)

    def outcome(self) -> FieldState | Exception | None:
        """What came of it; None while it is not over."""
        if self.grid.book[at.FAILED_STEP]:
            return failure_of(self.grid, self.prepared)
        over = not self.left or self.run.cancel.is_set()
        return state_of(self.grid, self.prepared) if over else None


def run_together(runs: Sequence[Run], prepare: Callable[[FieldSpec], Prepared]) -> list[FieldState | Exception]:
    """The last states of the runs; `prepare` may refuse a specification.

    Runs of one kernel share calls. They are taken one after the other, so that each is in the cache as a whole.
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
                continue
            if kernel not in (None, member.prepared.kernel):
                break
            kernel = member.prepared.kernel
            steps = max(1, int(slice_left * member.prepared.speed / member.cells))
            member.taken = min(steps, member.left)
            slice_left -= max(member.taken * member.cells / member.prepared.speed, 1e-6)
            members.append(member)
            begun.popleft()
        if kernel is None:
            continue
        jobs = np.concatenate([member.grid.jobs for member in members])
        jobs[:, at.JOB_STEPS] = [member.taken for member in members]
        kernel.run(jobs)
        for member in members:
            member.left -= member.taken
        begun.extendleft(reversed(members))
    return results
