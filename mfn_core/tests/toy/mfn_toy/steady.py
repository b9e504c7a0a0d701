"""An engine that advances a field by doing nothing to it, one run or several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from mfn_core import CancelToken, ComponentSpec, Run, hookimpl, setting
from mfn_model import FieldSpec, FieldState


@frozen(kw_only=True)
class SteadySettings:
    """The `[engines.steady]` table."""

    present: bool = setting(default=True, help="whether its device is there")


class Steady:
    def __init__(self, settings: SteadySettings, context: Any) -> None:
        if not settings.present:
            raise OSError("no such device")
        self.sessions = 0
        self.batches = 0

    def supports(self, spec: FieldSpec) -> bool:
        return spec.model == "mycelium"

    def open(self, spec: FieldSpec) -> SteadySession:
        self.sessions += 1
        return SteadySession(spec)

    def speed(self, spec: FieldSpec) -> float:
        return 5e8

    def run_batch(self, runs: Sequence[Run]) -> Sequence[FieldState]:
        self.batches += 1
        return [SteadySession(run.spec, run.steps).state() for run in runs]


class SteadySession:
    def __init__(self, spec: FieldSpec, done: int = 0) -> None:
        self.spec = spec
        self.done = done

    def step(self, n: int, cancel: CancelToken) -> int:
        begun = self.done
        while self.done < begun + n and not cancel.is_set():
            self.done += 1
        return self.done - begun

    def state(self) -> FieldState:
        return FieldState(step=self.done, field=np.zeros((self.spec.grid_size, self.spec.grid_size)))

    def close(self) -> None:
        return


@hookimpl
def mfn_backends() -> list[ComponentSpec]:
    return [ComponentSpec(name="steady", config=SteadySettings, factory=Steady, summary="does nothing")]
