"""The engines of a server, measured for `mfn check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfn_core.compute import Backend
    from mfn_core.execution import Engine
    from mfn_core.server import Server

__all__ = ["describe_engines"]


def describe_engines(server: Server) -> list[dict[str, Any]]:
    """For each engine: its speed, where that is from, and what `server.max_cell_steps` means with it.

    An engine that cannot be measured here is described by what is in the way.
    """
    from mfn_core.components import ComponentKind

    plan = server.plan
    share = plan.server.calibration_seconds / max(len(plan.of(ComponentKind.BACKEND)), 1)
    return [
        _describe(each.name, server.component(ComponentKind.BACKEND, each.name), share, plan.server.max_cell_steps)
        for each in plan.of(ComponentKind.BACKEND)
    ]


def _describe(name: str, backend: Backend, seconds: float, max_cell_steps: int) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "speed": None, "from": "unknown", "max_call_seconds": None}
    try:
        engine, speed = _measured(name, backend, seconds)
    except Exception as failed:  # noqa: BLE001 - whatever an engine lacks, the rest of the plan is still shown
        found["from"] = f"failed: {type(failed).__name__}: {' '.join(str(failed).split())}"
        return found
    if speed is None:
        return found
    return {
        "name": name,
        "speed": speed,
        "from": "estimated by the engine" if engine.measured is None else "measured",
        "max_call_seconds": max_cell_steps / speed,
    }


def _measured(name: str, backend: Backend, seconds: float) -> tuple[Engine, float | None]:
    """An engine and its speed on one thread, with the model and the grid that a measurement takes."""
    from mfn_core.execution import Engine
    from mfn_core.execution.calibration import measured, measured_spec

    engine = Engine.of(name, backend)
    if seconds:
        engine = measured(engine, seconds)
    spec = measured_spec(engine.backend)
    return engine, None if spec is None else engine.speed(spec)
