"""How fast an engine is on this machine, measured in a moment."""

from __future__ import annotations

import logging
import time

from attrs import evolve

from mfn_core.compute import Backend
from mfn_core.execution.engines import Engine
from mfn_model import MODELS, FieldSpec

__all__ = ["GRID", "calibrated", "measured", "measured_spec"]

_log = logging.getLogger(__name__)

GRID = 64
"""Cells along each side of the field that is measured: its arrays lie in the cache, as those of most calls do."""

ENDLESS = 10**9
"""More steps than any engine does in the time of a measurement."""


class _Until:
    """A cancel token that is set at a time."""

    def __init__(self, end: float) -> None:
        self._end = end

    def is_set(self) -> bool:
        return time.perf_counter() >= self._end


def measured_spec(backend: Backend) -> FieldSpec | None:
    """What a measurement steps: GRID² cells of the first model of the catalogue that the backend supports, if any."""
    specs = (FieldSpec(model=model, grid_size=GRID, seed=0) for model in MODELS)
    return next((spec for spec in specs if backend.supports(spec)), None)


def measured(engine: Engine, seconds: float) -> Engine:
    """The engine with its speed on one thread, found by stepping for about so many seconds.

    What the engine does once, such as compiling, comes before the clock starts and is not bounded. An engine that
    supports no model with the model's own parameters is given back as it is. Raises what the backend raises.
    """
    spec = measured_spec(engine.backend)
    if spec is None:
        return engine
    session = engine.backend.open(spec)
    try:
        session.step(1, _Until(float("inf")))
        begun = time.perf_counter()
        steps = session.step(ENDLESS, _Until(begun + seconds))
        elapsed = time.perf_counter() - begun
    finally:
        session.close()
    speed = spec.grid_size**2 * max(steps, 1) / elapsed
    estimate = None if engine.estimate is None else engine.estimate(spec)
    return evolve(engine, measured=speed, factor=speed / estimate if estimate else 1.0)


def calibrated(engine: Engine, seconds: float) -> Engine:
    """The engine as `measured` finds it; as it was where that fails. The log says which."""
    try:
        found = measured(engine, seconds)
    except Exception:  # noqa: BLE001 - an engine that fails here may still serve other models, and calls tell why not
        _log.exception("engine %s: its speed could not be measured; its own estimate holds", engine.name)
        return engine
    if found.measured is not None:
        _log.info("engine %s: %.3g cell-steps/s measured at %d² cells", engine.name, found.measured, GRID)
    return found
