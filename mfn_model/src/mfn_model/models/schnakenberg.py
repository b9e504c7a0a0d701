"""Schnakenberg's trimolecular kinetics: an activator that consumes its substrate, u and v.

    u ← u + D_u L(u) + r (a − u + u² v)
    v ← v + D_v L(v) + r (b − u² v)

Steady state: u* = a + b, v* = b / (a + b)². With d = D_v / D_u, f_u = (b − a) / (a + b) and g_v = −(a + b)² it is
stable without diffusion where f_u + g_v < 0, and Turing-unstable where moreover d f_u + g_v > 2 √d (a + b). At the
defaults that means d > 8.6, and d is 20; spots 12 cells apart form within 3,000 steps.

Source: J. Schnakenberg, J. Theor. Biol. 81 (1979) 389–400; J. D. Murray, Mathematical Biology II, 3rd ed., ch. 2.
"""

from __future__ import annotations

from typing import Final

from mfn_model._catalogue import register_own_model
from mfn_model.models._parameters import diffusion, number, rate
from mfn_model.spec import FieldModel, Normal, Species

__all__ = ["SCHNAKENBERG"]

SCHNAKENBERG: Final = register_own_model(
    FieldModel(
        name="schnakenberg",
        summary="activator and substrate of a trimolecular reaction; spots by a Turing instability",
        species=(
            Species(
                name="activator",
                unit="1",
                description="concentration of the activator",
                symbol="u",
                diffusion="d_u",
                reaction="rate * (a - u + u**2 * v)",
                minimum=0.0,
                maximum=10.0,
                counts_clamping=True,
                initial=Normal(mean="a + b", deviation="0.01 * (a + b)"),
            ),
            Species(
                name="substrate",
                unit="1",
                description="concentration of the substrate",
                symbol="v",
                diffusion="d_v",
                reaction="rate * (b - u**2 * v)",
                minimum=0.0,
                maximum=20.0,
                counts_clamping=True,
                initial=Normal(mean="b / (a + b)**2", deviation="0.01 * (b / (a + b)**2)"),
            ),
        ),
        parameters=(
            diffusion("d_u", 0.01, "activator"),
            diffusion("d_v", 0.2, "substrate"),
            rate(0.01, maximum=0.03),
            number("a", 0.1, "feed of the activator", minimum=0.01, maximum=1.0),
            number("b", 0.9, "feed of the substrate", minimum=0.1, maximum=2.0),
        ),
        steady_state=("a + b", "b / (a + b)**2"),
        instability="stable alone if b - a < (a + b)^3; Turing if d (b - a) / (a + b) - (a + b)^2 > 2 sqrt(d) (a + b), "
        "with d = d_v / d_u",
        boundary="periodic",
        further_boundaries=("neumann",),
        source="J. Schnakenberg, J. Theor. Biol. 81 (1979) 389-400",
    )
)
