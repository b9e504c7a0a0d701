"""FitzHugh and Nagumo's excitation u and recovery w: an oscillating medium with spirals.

    u ← u + D_u L(u) + r (u − u³ / 3 − w)
    w ← w + D_w L(w) + r ε (u + β − γ w)

The defaults are those of a medium that oscillates: the steady state lies on the rising branch of the cubic, where
u*² < 1 − ε γ, and is unstable without diffusion; from noise, spirals form within 1,000 steps. With β = 0.7 and γ = 0.8
it lies beyond the knee, is stable, and the medium is excitable. With ε γ > 1 it is stable alone, and Turing-unstable
where D_w (1 − u*²) − D_u ε γ > 2 √(D_u D_w ε (1 − γ (1 − u*²))).

Source: R. FitzHugh, Biophys. J. 1 (1961) 445–466; J. Nagumo, S. Arimoto and S. Yoshizawa, Proc. IRE 50 (1962)
2061–2070.
"""

from __future__ import annotations

from typing import Final

from mfn_model._catalogue import register_own_model
from mfn_model.models._parameters import diffusion, number, rate
from mfn_model.spec import FieldModel, Species, Uniform

__all__ = ["FITZHUGH_NAGUMO"]

FITZHUGH_NAGUMO: Final = register_own_model(
    FieldModel(
        name="fitzhugh_nagumo",
        summary="excitation and recovery of a nerve; spirals in an oscillating medium",
        species=(
            Species(
                name="excitation",
                unit="1",
                description="fast variable, the membrane potential of a nerve in units of its own",
                symbol="u",
                diffusion="d_u",
                reaction="rate * (u - u**3 / 3 - w)",
                minimum=-2.5,
                maximum=2.5,
                counts_clamping=True,
                initial=Uniform(low="-1", high="1"),
            ),
            Species(
                name="recovery",
                unit="1",
                description="slow variable that ends an excitation",
                symbol="w",
                diffusion="d_w",
                reaction="rate * epsilon * (u + beta - gamma * w)",
                minimum=-5.0,
                maximum=5.0,
                counts_clamping=True,
                initial=Uniform(low="-1", high="1"),
            ),
        ),
        parameters=(
            diffusion("d_u", 0.1, "excitation", maximum=0.1),
            diffusion("d_w", 0.0, "recovery"),
            rate(0.2, maximum=0.2),
            number("epsilon", 0.1, "ε, rate of the recovery beside that of the excitation", minimum=0.0, maximum=2.0),
            number("beta", 0.0, "β, where the recovery is at rest", minimum=-1.5, maximum=1.5),
            number("gamma", 0.5, "γ, decay of the recovery", minimum=0.0, maximum=0.95),
        ),
        instability="oscillation if u*^2 < 1 - epsilon gamma; Turing if epsilon gamma > 1 - u*^2 and "
        "d_w (1 - u*^2) - d_u epsilon gamma > 2 sqrt(d_u d_w epsilon (1 - gamma (1 - u*^2)))",
        boundary="periodic",
        further_boundaries=("neumann",),
        source="R. FitzHugh, Biophys. J. 1 (1961) 445-466; "
        "J. Nagumo, S. Arimoto and S. Yoshizawa, Proc. IRE 50 (1962) 2061-2070",
    )
)
