"""A validation training on the compute threads, in slices.

A training takes from a tenth of a second to many, and most of its time it holds the interpreter's lock: so it is done
in slices of a few milliseconds, which go to the end of the queue one after the other, and after each of which the lock
is free for a moment. Sixteen trainings at once then hold up a short call by a few slices, and not by a training.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from mfn_core import Backend, Call, CancelToken, Code, MfnError, SupportsCheckpoint, SupportsRestore
from mfn_core.execution import ComputePool
from mfn_model import Checkpoint, FieldSpec, FieldState
from mfn_model.initial import draw_initial_state
from mfn_model.validation import ValidationResult
from mfn_service._specs import require_engine

__all__ = ["SLICE_SECONDS", "fields_on_engine", "in_slices", "restoring"]

SLICE_SECONDS = 0.002
"""A slice ends with the first piece that is done after this time."""
REST_SECONDS = 0.0001
"""For so long, at the end of a slice, its thread leaves the interpreter's lock to whoever waits for it."""
ENGINE_CELL_STEPS = 65_536
"""What an engine is asked for in one piece."""

Field = tuple[npt.NDArray[np.float64], int]


async def in_slices(
    compute: ComputePool, call: Call, pieces: Generator[Any, None, ValidationResult]
) -> ValidationResult:
    """Do a computation in pieces, some of them in each compute job.

    Raises:
        MfnError: what `ComputePool.run` raises. A full queue refuses the first slice alone.
    """

    def slice_of_it(cancel: CancelToken) -> ValidationResult | None:
        until = time.monotonic() + SLICE_SECONDS
        while not cancel.is_set():
            try:
                next(pieces)
            except StopIteration as done:
                result: ValidationResult = done.value
                return result
            if time.monotonic() >= until:
                time.sleep(REST_SECONDS)
                return None
        return None  # aborted: `ComputePool.run` raises

    begun = False
    try:
        while True:
            try:
                found = await compute.run(call, slice_of_it, seconds=SLICE_SECONDS)
            except MfnError as refused:
                # What was let in is not thrown away because others came after it: it stands back for a while.
                if not begun or refused.code is not Code.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(refused.retry_after or SLICE_SECONDS)
                continue
            begun = True
            if found is not None:
                return found
    finally:
        pieces.close()


def restoring(compute: ComputePool, spec: FieldSpec) -> Backend:
    """The engine that runs the specification, and can go on with a generator that others have drawn from.

    Raises:
        MfnError: UNIMPLEMENTED, when the server has no such engine.
    """
    require_engine(compute, spec)
    name, backend = compute.backend_for(spec)
    if not isinstance(backend, SupportsRestore):
        raise MfnError(
            Code.UNIMPLEMENTED,
            f"the engine {name!r} of this server cannot draw one field of the model {spec.model!r} after the other; "
            "leave model and parameters unset",
            details={"model": spec.model},
        )
    return backend


def fields_on_engine(
    backend: Backend, spec: FieldSpec, steps: int, cancel: CancelToken
) -> Callable[[np.random.Generator], Generator[None, None, Field]]:
    """Draws fields of the specification by an engine, each from where the generator was left by the one before.

    Once `cancel` is set a piece may end before its last step; nobody may go on then.
    """
    assert isinstance(backend, SupportsRestore)  # `restoring` gave it
    portion = max(1, ENGINE_CELL_STEPS // spec.grid_size**2)
    present = [each.name for each in spec.declaration.present(spec.parameters)]
    counters = dict.fromkeys(spec.declaration.dynamics.counters, 0)

    def draw(generator: np.random.Generator) -> Generator[None, None, Field]:
        fields = [np.empty((spec.grid_size, spec.grid_size)) for _ in present]
        draw_initial_state(spec, generator, fields)
        state = FieldState(
            step=0, field=fields[0], species=dict(zip(present[1:], fields[1:], strict=True)), counters=counters
        )
        session = backend.restore(Checkpoint(spec=spec, state=state, generator=generator.bit_generator.state))
        try:
            if not isinstance(session, SupportsCheckpoint):
                raise MfnError(
                    Code.UNIMPLEMENTED, f"the engine of this server does not give back the generator of {spec.model!r}"
                )
            for first in range(0, steps, portion):
                yield
                session.step(min(portion, steps - first), cancel)
            after = session.checkpoint()
        finally:
            session.close()
        generator.bit_generator.state = dict(after.generator)
        return after.state.field, after.state.growth_events

    return draw
