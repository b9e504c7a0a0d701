"""The engines of a plan, made and measured for `mfn check`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfn_core.assembly import Plan, PlannedComponent
    from mfn_core.execution import Engine

__all__ = ["describe_engines"]


def describe_engines(plan: Plan) -> list[dict[str, Any]]:
    """For each engine: its speed, where that is from, and what `server.max_cell_steps` means with it.

    An engine that cannot be made or measured here is described by what is in the way.
    """
    from mfn_core.components import ComponentKind

    share = plan.server.calibration_seconds / max(len(plan.of(ComponentKind.BACKEND)), 1)
    return [_describe(plan, component, share) for component in plan.of(ComponentKind.BACKEND)]


def _describe(plan: Plan, component: PlannedComponent, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"name": component.name, "speed": None, "from": "unknown", "max_call_seconds": None}
    try:
        engine, speed = _made(plan, component, seconds)
    except Exception as failed:  # noqa: BLE001 - whatever an engine lacks, the rest of the plan is still shown
        found["from"] = f"failed: {type(failed).__name__}: {' '.join(str(failed).split())}"
        return found
    if speed is None:
        return found
    return {
        "name": component.name,
        "speed": speed,
        "from": "estimated by the engine" if engine.measured is None else "measured",
        "max_call_seconds": plan.server.max_cell_steps / speed,
    }


def _made(plan: Plan, component: PlannedComponent, seconds: float) -> tuple[Engine, float | None]:
    """An engine and its speed on one thread, with the model and the grid that a measurement takes."""
    from mfn_core.components import ComponentContext
    from mfn_core.execution import ComputePool, Engine
    from mfn_core.execution.calibration import measured, measured_spec
    from mfn_core.operation import Catalogue

    context = ComponentContext(
        name=component.name,
        server=plan.server,
        worker=0,
        compute=ComputePool({}),
        catalogue=Catalogue(),
        log=logging.getLogger(f"mfn.engines.{component.name}"),
    )
    engine = Engine.of(component.name, component.spec.factory(component.config, context))
    if seconds:
        engine = measured(engine, seconds)
    spec = measured_spec(engine.backend)
    return engine, None if spec is None else engine.speed(spec)
