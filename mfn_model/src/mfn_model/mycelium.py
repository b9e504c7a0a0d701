"""The mycelium model: a diffusing membrane potential with random spikes, beside an activator and an inhibitor.

Space is counted in cells (periodic in both directions), time in steps; L is the five-point Laplacian. At every step,
in this order:

1. with probability p one cell, drawn uniformly, receives a spike of N(0.020, 0.005) V;
2. the potential diffuses: V ← V + α L(V);
3. with the switch `turing_enabled` on, activator a and inhibitor h react and diffuse,
   a ← a + (D_a L(a) + r_a (a (1 − a) − h)), then h ← h + (D_h L(h) + r_h (a − h)) with the new a (Gauss–Seidel);
   where the new a exceeds θ, V gains 5 mV; then a and h are clipped to [0, 1];
4. with the switch `jitter` on, every cell receives N(0, σ²) V;
5. V is clipped to [−95, 40] mV.

All randomness comes from one PCG64 generator, and the order of its draws is part of the model: initial potential,
then (with `turing_enabled`) activator and inhibitor, then for every step one uniform number, for a spike its row,
column and amplitude, and for jitter one normal number a cell. The initial state is not clipped.

The model is kept for its numbers, which many results rest on. With these constants the inhibitor diffuses more slowly
than the activator, so no Turing pattern can form (that takes D_h > D_a: A. M. Turing, Phil. Trans. R. Soc. B 237
(1952) 37–72), and a decays from its initial [0, 0.1) long before it could reach the default θ. The potential has no
leak: each spike raises its mean for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model._catalogue import register_own_model
from mfn_model._declaration import FieldModel
from mfn_model._parameter import Parameter
from mfn_model._species import Kick, Noise, Normal, Species, Spike, Uniform
from mfn_model._state import FieldState
from mfn_model.spec import FieldSpec
from mfn_model.stencil import periodic_laplacian

__all__ = [
    "ACTIVATOR_DIFFUSION",
    "ACTIVATOR_RATE",
    "ACTIVE_THRESHOLD",
    "CONCENTRATION_RANGE",
    "INHIBITOR_DIFFUSION",
    "INHIBITOR_RATE",
    "INITIAL_CONCENTRATION_RANGE",
    "MAXIMUM_ALPHA",
    "MYCELIUM",
    "POTENTIAL_RANGE",
    "RESTING_POTENTIAL_MEAN",
    "RESTING_POTENTIAL_STD",
    "SPIKE_MEAN",
    "SPIKE_STD",
    "TURING_KICK",
    "draw_initial_fields",
    "mycelium_spec",
    "periodic_laplacian",
    "reference_mycelium",
]

FloatArray = npt.NDArray[np.float64]

_CELLS_DRAWN_AT_ONCE: Final = 16_384  # small enough to stay in the cache until it is copied

RESTING_POTENTIAL_MEAN: Final = -0.070
"""V; mean of the initial potential, a neuron's resting potential."""
RESTING_POTENTIAL_STD: Final = 0.005
"""V; standard deviation of the initial potential."""
SPIKE_MEAN: Final = 0.020
"""V; mean amplitude of a spike."""
SPIKE_STD: Final = 0.005
"""V; standard deviation of the amplitude of a spike."""
POTENTIAL_RANGE: Final = (-0.095, 0.040)
"""V; each step confines the potential to this closed interval, between a cell's E_K and the peak of a spike."""
ACTIVE_THRESHOLD: Final = -0.060
"""V; a cell counts as active when its potential lies strictly above."""
INITIAL_CONCENTRATION_RANGE: Final = (0.0, 0.1)
"""Dimensionless; the half-open interval of the initial activator and inhibitor."""
CONCENTRATION_RANGE: Final = (0.0, 1.0)
"""Dimensionless; each step confines activator and inhibitor to this closed interval."""
ACTIVATOR_DIFFUSION: Final = 0.1
"""D_a, cells² a step."""
INHIBITOR_DIFFUSION: Final = 0.05
"""D_h, cells² a step."""
ACTIVATOR_RATE: Final = 0.01
"""r_a, 1/step."""
INHIBITOR_RATE: Final = 0.02
"""r_h, 1/step."""
TURING_KICK: Final = 0.005
"""V; what a cell gains at a step in which its activator exceeds θ."""
MAXIMUM_ALPHA: Final = 0.25
"""Stability limit of the explicit five-point scheme (R. Courant et al., Math. Ann. 100 (1928) 32–74)."""

_INITIAL_CONCENTRATION: Final = Uniform(
    low=f"{INITIAL_CONCENTRATION_RANGE[0]}", high=f"{INITIAL_CONCENTRATION_RANGE[1]}"
)

MYCELIUM: Final = register_own_model(
    FieldModel(
        name="mycelium",
        summary="diffusing potential with random spikes, activator and inhibitor updated one after the other",
        species=(
            Species(
                name="potential",
                unit="V",
                description="membrane potential",
                symbol="v",
                diffusion="alpha",
                minimum=POTENTIAL_RANGE[0],
                maximum=POTENTIAL_RANGE[1],
                counts_clamping=True,
                initial=Normal(mean=f"{RESTING_POTENTIAL_MEAN}", deviation=f"{RESTING_POTENTIAL_STD}"),
            ),
            Species(
                name="activator",
                unit="1",
                description="activator concentration",
                when="turing_enabled",
                symbol="a",
                diffusion=f"{ACTIVATOR_DIFFUSION}",
                reaction=f"{ACTIVATOR_RATE} * (a * (1 - a) - h)",
                minimum=CONCENTRATION_RANGE[0],
                maximum=CONCENTRATION_RANGE[1],
                initial=_INITIAL_CONCENTRATION,
            ),
            Species(
                name="inhibitor",
                unit="1",
                description="inhibitor concentration",
                when="turing_enabled",
                symbol="h",
                diffusion=f"{INHIBITOR_DIFFUSION}",
                reaction=f"{INHIBITOR_RATE} * (a - h)",
                minimum=CONCENTRATION_RANGE[0],
                maximum=CONCENTRATION_RANGE[1],
                initial=_INITIAL_CONCENTRATION,
            ),
        ),
        parameters=(
            Parameter(
                name="alpha",
                default=0.18,
                unit="cells²/step",
                description="diffusion coefficient of the potential",
                minimum=0.0,
                minimum_exclusive=True,
                maximum=MAXIMUM_ALPHA,
            ),
            Parameter(
                name="spike_probability",
                default=0.25,
                unit="1",
                description="probability of one spike in a step",
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="turing_enabled",
                default=True,
                unit="1",
                description="whether activator and inhibitor exist",
                kind="bool",
            ),
            Parameter(
                name="turing_threshold",
                default=0.75,
                unit="1",
                description="θ, the activator concentration beyond which the potential is kicked",
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="jitter",
                default=False,
                unit="1",
                description="whether every cell receives noise at every step",
                kind="bool",
            ),
            Parameter(
                name="jitter_variance",
                default=0.0005,
                unit="V²",
                description="σ² of that noise; the default is a standard deviation of 22 mV",
                minimum=0.0,
                maximum=0.01,
            ),
        ),
        update="sequential",
        spikes=(
            Spike(
                species="potential",
                probability="spike_probability",
                mean=f"{SPIKE_MEAN}",
                deviation=f"{SPIKE_STD}",
            ),
        ),
        kicks=(
            Kick(
                species="activator",
                above="turing_threshold",
                target="potential",
                amount=f"{TURING_KICK}",
                counter="turing_activations",
            ),
        ),
        noises=(Noise(species="potential", variance="jitter_variance", when="jitter"),),
        boundary="periodic",
        source="documentation of mfn_model.mycelium",
    )
)


def mycelium_spec(
    seed: int = 42,
    grid_size: int = 64,
    alpha: float = 0.18,
    spike_probability: float = 0.25,
    turing_enabled: bool = True,
    turing_threshold: float = 0.75,
    jitter: bool = False,
    jitter_variance: float = 0.0005,
) -> FieldSpec:
    """A specification of the mycelium model; raises `SpecError` for values out of its bounds."""
    return FieldSpec(
        model=MYCELIUM.name,
        grid_size=grid_size,
        seed=seed,
        parameters={
            "alpha": alpha,
            "spike_probability": spike_probability,
            "turing_enabled": turing_enabled,
            "turing_threshold": turing_threshold,
            "jitter": jitter,
            "jitter_variance": jitter_variance,
        },
    )


def draw_initial_fields(generator: np.random.Generator, fields: Sequence[FloatArray]) -> None:
    """Draws the state at step 0 into `fields`: the potential, and with the switch on activator and inhibitor.

    Each is [N, N] float64 with any strides and is filled in place, a few rows at a time. `generator` moves on by
    exactly the model's draws.
    """
    for number, values in enumerate(fields):
        rows, columns = values.shape
        chunk = max(1, _CELLS_DRAWN_AT_ONCE // columns)
        for first in range(0, rows, chunk):
            target = values[first : first + chunk]
            if number == 0:
                target[...] = generator.normal(RESTING_POTENTIAL_MEAN, RESTING_POTENTIAL_STD, size=target.shape)
            else:
                target[...] = generator.uniform(*INITIAL_CONCENTRATION_RANGE, size=target.shape)


def reference_mycelium(spec: FieldSpec, steps: int) -> FieldState:
    """The state after `steps` steps, written out by hand: what `mfn_model.reference` is measured against.

    Unlike that one it reads no declaration, so that both are wrong together only by chance. Its `counters` are
    `turing_activations` (cells kicked) and `clamping_events` (cells whose potential step 5 changed). Raises
    `ValueError` when `spec` is of another model or `steps` is negative.
    """
    if spec.model != MYCELIUM.name:
        raise ValueError(f"reference_mycelium computes the model {MYCELIUM.name!r}, got a spec of {spec.model!r}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    n = spec.grid_size
    alpha, probability = spec.number("alpha"), spec.number("spike_probability")
    threshold, deviation = spec.number("turing_threshold"), np.sqrt(spec.number("jitter_variance"))
    jitter = spec.switch("jitter")

    generator = np.random.default_rng(spec.seed)
    species = [np.empty((n, n)) for _ in range(3 if spec.switch("turing_enabled") else 1)]
    draw_initial_fields(generator, species)
    v, (a, h) = species[0], species[1:] or (None, None)
    growth_events = turing_activations = clamping_events = 0
    for _ in range(steps):
        if generator.random() < probability:
            row, column = int(generator.integers(0, n)), int(generator.integers(0, n))
            v[row, column] += generator.normal(SPIKE_MEAN, SPIKE_STD)
            growth_events += 1
        v = v + alpha * periodic_laplacian(v)
        if a is not None and h is not None:
            diffusion_a = ACTIVATOR_DIFFUSION * periodic_laplacian(a)
            diffusion_h = INHIBITOR_DIFFUSION * periodic_laplacian(h)
            a = a + (diffusion_a + ACTIVATOR_RATE * (a * (1.0 - a) - h))
            h = h + (diffusion_h + INHIBITOR_RATE * (a - h))
            kicked = a > threshold
            v[kicked] += TURING_KICK
            turing_activations += int(np.count_nonzero(kicked))
            a, h = np.clip(a, *CONCENTRATION_RANGE), np.clip(h, *CONCENTRATION_RANGE)
        if jitter:
            v = v + generator.normal(0.0, deviation, size=(n, n))
        confined = np.clip(v, *POTENTIAL_RANGE)
        clamping_events += int(np.count_nonzero(confined != v))
        v = confined
    return FieldState(
        step=steps,
        field=v,
        species={} if a is None or h is None else {"activator": a, "inhibitor": h},
        growth_events=growth_events,
        counters={"turing_activations": turing_activations, "clamping_events": clamping_events},
    )
