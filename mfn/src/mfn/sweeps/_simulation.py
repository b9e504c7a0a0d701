"""One simulation of a sweep, from its settings to its features; run in this process, in another or on a cluster."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mfn.sweeps._design import Settings
from mfn_core import CancelToken

__all__ = ["Job", "StoppedError", "run_job"]


class StoppedError(Exception):
    """The simulation is no longer wanted; it has no outcome."""


@frozen(kw_only=True)
class Job:
    """One simulation. Plain values alone, so that any process may run it."""

    number: int
    model: str
    boundary: str
    engine: str
    settings: Settings
    thresholds: tuple[float, float, float] | None


def run_job(job: Job, cancel: CancelToken) -> dict[str, Any]:
    """Simulate and measure; the features are those of the states after every step, of which one is held at a time.

    Args:
        job: what to simulate.
        cancel: looked at before every step.

    Returns:
        The outcome, as the journal holds it: `sim_id`, and `features` (by name), `growth_events` and `counters`; or
        `sim_id` and `error`, which has the `type` and the `message` of what went wrong.

    Raises:
        StoppedError: `cancel` was set.
    """
    try:
        return {"sim_id": job.number, **_measured(job, cancel)}
    except StoppedError:
        raise
    except Exception as failed:  # noqa: BLE001 - whatever goes wrong in one simulation is that one's outcome
        message = " ".join(str(failed).split()) or "no further text"
        return {"sim_id": job.number, "error": {"type": type(failed).__name__, "message": message}}


def _measured(job: Job, cancel: CancelToken) -> dict[str, Any]:
    from mfn.engines import engine_for
    from mfn.models import find_model
    from mfn.sweeps._measuring import feature_config
    from mfn_model import FieldSpec
    from mfn_model.features import FeatureAccumulator

    settings = job.settings
    find_model(job.model)  # of a plugin, in a process that has not looked for it yet
    spec = FieldSpec(
        model=job.model,
        grid_size=settings.grid_size,
        seed=settings.seed,
        parameters=settings.parameters,
        boundary=job.boundary,
    )
    _, backend = engine_for(spec, job.engine)
    features = FeatureAccumulator(feature_config(job.model, job.thresholds))
    session = backend.open(spec)
    try:
        for _ in range(settings.steps):
            if session.step(1, cancel) == 0:
                raise StoppedError
            state = session.state()
            features.add(state.field)
    finally:
        session.close()
    return {
        "features": {name: float(value) for name, value in features.features().as_dict().items()},
        "growth_events": int(state.growth_events),
        "counters": {name: int(count) for name, count in sorted(state.counters.items())},
    }
