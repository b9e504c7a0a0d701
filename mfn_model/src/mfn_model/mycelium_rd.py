"""The reaction–diffusion variant of the mycelium model: its constants are parameters, its grid has three boundaries.

Space is counted in cells, time in steps; L is the five-point Laplacian under the specification's boundary. At every
step, in this order:

1. with probability p one cell, drawn uniformly, receives a spike of N(0.020, 0.005) V;
2. the potential diffuses: V ← V + α L(V);
3. with the switch `turing_enabled` on, activator a and inhibitor h react and diffuse, both from old values (Jacobi):
   a ← a + (D_a L(a) + r_a (a (1 − a) − h)) and h ← h + (D_h L(h) + r_h (a − h));
   where the new a exceeds θ, V gains 5 mV; then a and h are clipped to [0, 1];
4. with the switch `jitter` on, every cell receives N(0, σ²) V;
5. V is clipped to [−95, 40] mV.

It differs from the model `mycelium` in step 3, where that one gives h the new a (Gauss–Seidel), and in its draws: those
of activator and inhibitor are always made, so that the potential of a run does not depend on `turing_enabled` as long
as a stays below θ. Everything is drawn from one PCG64 generator: initial potential, activator, inhibitor, then for
every step one uniform number, for a spike its row, column and amplitude, and for jitter one normal number a cell.

Boundaries: `periodic`; `neumann`, where nothing flows through the edge; `dirichlet`, where activator and inhibitor are
0 beyond the edge and the potential is `boundary_potential`. Its default of 0 V lies 70 mV above rest, so that a wave
runs in from the edge; −0.070 V is a grid in a resting surrounding.

The diffusion coefficients are below 1/4, the stability limit of the explicit scheme (R. Courant et al., Math. Ann. 100
(1928) 32–74), and above it a specification cannot be made. What was said of `mycelium` holds here at the defaults: a
Turing pattern needs D_h > D_a, and the activator decays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from mfn_model._catalogue import register_own_model
from mfn_model._declaration import FieldModel
from mfn_model._parameter import Parameter
from mfn_model._state import FieldState
from mfn_model.mycelium import (
    ACTIVATOR_DIFFUSION,
    ACTIVATOR_RATE,
    CONCENTRATION_RANGE,
    INHIBITOR_DIFFUSION,
    INHIBITOR_RATE,
    MAXIMUM_ALPHA,
    MYCELIUM,
    POTENTIAL_RANGE,
    SPIKE_MEAN,
    SPIKE_STD,
    TURING_KICK,
    draw_initial_fields,
)
from mfn_model.spec import FieldSpec
from mfn_model.stability import require_finite
from mfn_model.stencil import laplacian

__all__ = ["MYCELIUM_RD", "mycelium_rd_spec", "reference_mycelium_rd"]


def _diffusion(name: str, default: float, minimum: float, of: str) -> Parameter:
    return Parameter(
        name=name,
        default=default,
        unit="cells²/step",
        description=f"diffusion coefficient of the {of}",
        minimum=minimum,
        maximum=MAXIMUM_ALPHA,
        maximum_exclusive=True,
    )


def _rate(name: str, default: float, of: str) -> Parameter:
    return Parameter(
        name=name, default=default, unit="1/step", description=f"reaction rate of the {of}", minimum=0.001, maximum=0.1
    )


_POTENTIAL, _ACTIVATOR, _INHIBITOR = MYCELIUM.species

MYCELIUM_RD: Final = register_own_model(
    FieldModel(
        name="mycelium_rd",
        summary="diffusing potential with random spikes, activator and inhibitor updated together, constants chosen",
        species=(
            replace(_POTENTIAL, outside="boundary_potential"),
            replace(_ACTIVATOR, diffusion="d_activator", reaction="r_activator * (a * (1 - a) - h)"),
            replace(_INHIBITOR, diffusion="d_inhibitor", reaction="r_inhibitor * (a - h)"),
        ),
        parameters=(
            _diffusion("alpha", 0.18, 0.05, "potential"),
            MYCELIUM.parameter("spike_probability"),
            MYCELIUM.parameter("turing_enabled"),
            Parameter(
                name="turing_threshold",
                default=0.75,
                unit="1",
                description="θ, the activator concentration beyond which the potential is kicked",
                minimum=0.5,
                maximum=0.95,
            ),
            MYCELIUM.parameter("jitter"),
            MYCELIUM.parameter("jitter_variance"),
            _diffusion("d_activator", ACTIVATOR_DIFFUSION, 0.01, "activator"),
            _diffusion("d_inhibitor", INHIBITOR_DIFFUSION, 0.01, "inhibitor"),
            _rate("r_activator", ACTIVATOR_RATE, "activator"),
            _rate("r_inhibitor", INHIBITOR_RATE, "inhibitor"),
            Parameter(
                name="boundary_potential",
                default=0.0,
                unit="V",
                description="the potential beyond the edge, where the boundary is dirichlet",
                minimum=POTENTIAL_RANGE[0],
                maximum=POTENTIAL_RANGE[1],
            ),
        ),
        spikes=MYCELIUM.spikes,
        kicks=MYCELIUM.kicks,
        noises=MYCELIUM.noises,
        draws_absent_species=True,
        boundary="periodic",
        further_boundaries=("neumann", "dirichlet"),
        source="documentation of mfn_model.mycelium_rd",
    )
)


def mycelium_rd_spec(
    seed: int = 42,
    grid_size: int = 64,
    alpha: float = 0.18,
    spike_probability: float = 0.25,
    turing_enabled: bool = True,
    turing_threshold: float = 0.75,
    jitter: bool = False,
    jitter_variance: float = 0.0005,
    d_activator: float = ACTIVATOR_DIFFUSION,
    d_inhibitor: float = INHIBITOR_DIFFUSION,
    r_activator: float = ACTIVATOR_RATE,
    r_inhibitor: float = INHIBITOR_RATE,
    boundary: str = "periodic",
    boundary_potential: float = 0.0,
) -> FieldSpec:
    """A specification of this model; raises `SpecError` for values out of its bounds."""
    return FieldSpec(
        model=MYCELIUM_RD.name,
        grid_size=grid_size,
        seed=seed,
        parameters={
            "alpha": alpha,
            "spike_probability": spike_probability,
            "turing_enabled": turing_enabled,
            "turing_threshold": turing_threshold,
            "jitter": jitter,
            "jitter_variance": jitter_variance,
            "d_activator": d_activator,
            "d_inhibitor": d_inhibitor,
            "r_activator": r_activator,
            "r_inhibitor": r_inhibitor,
            "boundary_potential": boundary_potential,
        },
        boundary=boundary,
    )


def reference_mycelium_rd(spec: FieldSpec, steps: int) -> FieldState:
    """The state after `steps` steps, written out by hand: what `mfn_model.reference` is measured against.

    Its `counters` are `turing_activations` (cells kicked) and `clamping_events` (cells whose potential step 5 changed).
    Raises `ValueError` when `spec` is of another model or `steps` is negative, and
    `mfn_model.stability.NumericalInstabilityError` after a step that leaves a number which is not finite.
    """
    if spec.model != MYCELIUM_RD.name:
        raise ValueError(f"reference_mycelium_rd computes the model {MYCELIUM_RD.name!r}, got a spec of {spec.model!r}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    n, boundary = spec.grid_size, spec.boundary
    alpha, outside = spec.number("alpha"), spec.number("boundary_potential")
    d_activator, r_activator = spec.number("d_activator"), spec.number("r_activator")
    d_inhibitor, r_inhibitor = spec.number("d_inhibitor"), spec.number("r_inhibitor")
    deviation = np.sqrt(spec.number("jitter_variance"))
    reacting, jitter = spec.switch("turing_enabled"), spec.switch("jitter")

    generator = np.random.default_rng(spec.seed)
    species = [np.empty((n, n)) for _ in range(3)]
    draw_initial_fields(generator, species)
    v, a, h = species
    growth_events = turing_activations = clamping_events = 0
    for step in range(1, steps + 1):
        if generator.random() < spec.number("spike_probability"):
            row, column = int(generator.integers(0, n)), int(generator.integers(0, n))
            v[row, column] += generator.normal(SPIKE_MEAN, SPIKE_STD)
            growth_events += 1
        v = v + alpha * laplacian(v, boundary, outside)
        if reacting:
            change_a = d_activator * laplacian(a, boundary) + r_activator * (a * (1.0 - a) - h)
            change_h = d_inhibitor * laplacian(h, boundary) + r_inhibitor * (a - h)
            a, h = a + change_a, h + change_h
            kicked = a > spec.number("turing_threshold")
            v[kicked] += TURING_KICK
            turing_activations += int(np.count_nonzero(kicked))
            a, h = np.clip(a, *CONCENTRATION_RANGE), np.clip(h, *CONCENTRATION_RANGE)
        if jitter:
            v = v + generator.normal(0.0, deviation, size=(n, n))
        confined = np.clip(v, *POTENTIAL_RANGE)
        clamping_events += int(np.count_nonzero(confined != v))
        v = confined
        require_finite(step, {"potential": v, "activator": a, "inhibitor": h})
    return FieldState(
        step=steps,
        field=v,
        species={"activator": a, "inhibitor": h} if reacting else {},
        growth_events=growth_events,
        counters={"turing_activations": turing_activations, "clamping_events": clamping_events},
    )
