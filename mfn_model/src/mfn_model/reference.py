"""The plain evaluation of every model, straight from its declaration: what backends are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mfn_model._state import FieldState
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import evaluate
from mfn_model.initial import draw_initial_state
from mfn_model.spec import FieldSpec
from mfn_model.stability import require_finite
from mfn_model.stencil import laplacian

__all__ = ["reference"]

FloatArray = npt.NDArray[np.float64]


def reference(spec: FieldSpec, steps: int) -> FieldState:
    """The state after `steps` steps, by the plainest possible code, for any model.

    It follows the contract in `mfn_model.dynamics` line by line, takes milliseconds where a backend takes fractions of
    one, and forgets its generator; use a backend to go on from a state. Raises `ValueError` when `steps` is negative,
    and `mfn_model.NumericalInstabilityError` after a step that leaves a number which is not finite.
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    n = spec.grid_size
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    coefficients = dynamics.values(spec.parameters)
    generator = np.random.default_rng(spec.seed)
    fields = {terms.name: np.empty((n, n)) for terms in dynamics.species}
    draw_initial_state(spec, generator, list(fields.values()))
    growth_events, counters = 0, dict.fromkeys(dynamics.counters, 0)

    for step in range(1, steps + 1):
        for spike in dynamics.spikes:
            if generator.random() < coefficients[spike.probability]:
                cell = int(generator.integers(0, n)), int(generator.integers(0, n))
                fields[spike.species][cell] += generator.normal(coefficients[spike.mean], coefficients[spike.deviation])
                growth_events += 1
        fields = _updated(fields, dynamics, coefficients, spec.boundary)
        for kick in dynamics.kicks:
            kicked = fields[kick.species] > coefficients[kick.above]
            fields[kick.target][kicked] += coefficients[kick.amount]
            counters[kick.counter] += int(np.count_nonzero(kicked))
        for noise in dynamics.noises:
            fields[noise.species] += generator.normal(0.0, coefficients[noise.deviation], size=(n, n))
        for terms in dynamics.species:
            confined = np.clip(fields[terms.name], terms.minimum, terms.maximum)
            if terms.counts_clamping:
                counters["clamping_events"] += int(np.count_nonzero(confined != fields[terms.name]))
            fields[terms.name] = confined
        require_finite(step, fields)

    field, *further = fields
    return FieldState(
        step=steps,
        field=fields[field],
        species={name: fields[name] for name in further},
        growth_events=growth_events,
        counters=counters,
    )


def _updated(
    fields: Mapping[str, FloatArray], dynamics: Dynamics, coefficients: Sequence[float], boundary: str
) -> dict[str, FloatArray]:
    """The fields after the update of a step; those given stay as they are."""
    symbols = {terms.symbol: fields[terms.name] for terms in dynamics.species}
    updated = {}
    with np.errstate(all="ignore"):  # what is not finite is found at the end of the step
        for terms in dynamics.species:
            old = fields[terms.name]
            diffusion = reaction = None
            if terms.diffusion is not None:
                outside = coefficients[terms.outside]
                diffusion = coefficients[terms.diffusion] * laplacian(old, boundary, outside)
            if terms.reaction is not None:
                reaction = evaluate(terms.reaction, symbols, coefficients=coefficients)
            if diffusion is not None and reaction is not None:
                new = old + (diffusion + reaction)
            elif diffusion is not None:
                new = old + diffusion
            else:
                new = old.copy() if reaction is None else old + reaction
            updated[terms.name] = new
            if dynamics.sequential:
                symbols[terms.symbol] = new
    return updated
