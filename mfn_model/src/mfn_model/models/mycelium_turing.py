"""The mycelium model corrected: a potential that leaks to rest, and an activator whose inhibitor diffuses faster.

    v ← v + α L(v) − g (v − v₀)                                  membrane potential, V; v₀ = −70 mV
    a ← a + D_a L(a) + r_a (p a² / ((1 + κ a²) h) − a + σ)       activator, 0 … 1
    h ← h + D_h L(h) + r_h (a² − h)                              inhibitor, 0 … 1

with p = 0.44, κ = 0.5, σ = 0.02, and spikes, kicks and noise as in the model `mycelium`. The potential is that of a
passive cable in two dimensions, so that spikes fade with the time constant 1/g and no longer raise the mean for good.
Activator and inhibitor are those of Gierer and Meinhardt with saturation, in units that keep both within [0, 1]. Their
steady state, h* = a*² and p / s = a* − σ with s = 1 + κ a*², is stable without diffusion where r_h > f r_a with
f = 2 p / (s² a*) − 1, and Turing-unstable where moreover D_h r_a f − D_a r_h > 2 √(D_a D_h r_a r_h (2 p / (s a*) − f)).
At the default rates that means D_h > 16.1 D_a. At the defaults a network of stripes 9 cells apart grows within 2,000
steps; where its activator exceeds θ the potential is raised, and so shows the same network.

Sources: A. Gierer and H. Meinhardt, Kybernetik 12 (1972) 30–39; A. J. Koch and H. Meinhardt, Rev. Mod. Phys. 66 (1994)
1481–1507; for the cable, A. L. Hodgkin and W. A. H. Rushton, Proc. R. Soc. B 133 (1946) 444–479.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mfn_model._catalogue import register_own_model
from mfn_model.models._parameters import diffusion, number
from mfn_model.mycelium import MYCELIUM, RESTING_POTENTIAL_MEAN
from mfn_model.spec import FieldModel, Uniform

__all__ = ["MYCELIUM_TURING"]

_POTENTIAL, _ACTIVATOR, _INHIBITOR = MYCELIUM.species
_REST: Final = f"{RESTING_POTENTIAL_MEAN}"

MYCELIUM_TURING: Final = register_own_model(
    FieldModel(
        name="mycelium_turing",
        summary="leaking potential with random spikes, raised along a Turing pattern of activator and inhibitor",
        species=(
            replace(_POTENTIAL, reaction=f"leak * ({_REST} - v)", outside=_REST),
            replace(
                _ACTIVATOR,
                diffusion="d_activator",
                reaction="r_activator * (0.44 * a**2 / ((1 + 0.5 * a**2) * h) - a + 0.02)",
                initial=Uniform(low="0.3", high="0.5"),
            ),
            replace(
                _INHIBITOR,
                diffusion="d_inhibitor",
                reaction="r_inhibitor * (a**2 - h)",
                minimum=0.01,
                initial=Uniform(low="0.1", high="0.2"),
            ),
        ),
        parameters=(
            diffusion("alpha", 0.18, "potential", maximum=0.23),
            number("leak", 0.05, "g, leak of the potential to rest", minimum=0.0, maximum=0.1, unit="1/step"),
            MYCELIUM.parameter("spike_probability"),
            MYCELIUM.parameter("turing_enabled"),
            replace(MYCELIUM.parameter("turing_threshold"), default=0.6),
            MYCELIUM.parameter("jitter"),
            replace(
                MYCELIUM.parameter("jitter_variance"),
                default=1e-7,
                maximum=1e-5,
                description="σ² of that noise; the default is a standard deviation of 0.3 mV a step",
            ),
            diffusion("d_activator", 0.007, "activator"),
            diffusion("d_inhibitor", 0.2, "inhibitor"),
            number("r_activator", 0.012, "rate of the activator", minimum=0.001, maximum=0.05, unit="1/step"),
            number("r_inhibitor", 0.018, "rate of the inhibitor", minimum=0.001, maximum=0.05, unit="1/step"),
        ),
        spikes=MYCELIUM.spikes,
        kicks=MYCELIUM.kicks,
        noises=MYCELIUM.noises,
        draws_absent_species=True,
        instability="stable alone if r_inhibitor > 0.75 r_activator; Turing, at the default rates, if "
        "d_inhibitor > 16.1 d_activator",
        boundary="periodic",
        further_boundaries=("neumann", "dirichlet"),
        source="documentation of mfn_model.models.mycelium_turing",
    )
)
