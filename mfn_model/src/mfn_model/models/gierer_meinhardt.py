"""Gierer and Meinhardt's activator a and inhibitor h, with saturation.

    a ← a + D_a L(a) + r (a² / ((1 + κ a²) h) − a + σ)
    h ← h + D_h L(h) + r μ (a² − h)

in units in which the activator decays at rate 1. Steady state: h* = a*², and a* solves 1 / (1 + κ a²) = a − σ. With
f = 2 / ((1 + κ a*²)² a*) − 1 it is stable without diffusion where μ > f, and Turing-unstable where moreover
D_h f − D_a μ > 2 √(D_a D_h μ (2 / ((1 + κ a*²) a*) − f)). At the defaults stripes and spots 10 cells apart form within
4,000 steps, and spots alone without saturation.

Source: A. Gierer and H. Meinhardt, Kybernetik 12 (1972) 30–39; A. J. Koch and H. Meinhardt, Rev. Mod. Phys. 66 (1994)
1481–1507.
"""

from __future__ import annotations

from typing import Final

from mfn_model._catalogue import register_own_model
from mfn_model.models._parameters import diffusion, number, rate
from mfn_model.spec import FieldModel, Normal, Species

__all__ = ["GIERER_MEINHARDT"]

GIERER_MEINHARDT: Final = register_own_model(
    FieldModel(
        name="gierer_meinhardt",
        summary="activator that saturates and its fast inhibitor; spots or stripes by a Turing instability",
        species=(
            Species(
                name="activator",
                unit="1",
                description="concentration of the activator",
                symbol="a",
                diffusion="d_a",
                reaction="rate * (a**2 / ((1 + saturation * a**2) * h) - a + basal)",
                minimum=0.0,
                maximum=20.0,
                counts_clamping=True,
                initial=Normal(mean="1", deviation="0.01"),
            ),
            Species(
                name="inhibitor",
                unit="1",
                description="concentration of the inhibitor",
                symbol="h",
                diffusion="d_h",
                reaction="rate * decay * (a**2 - h)",
                minimum=0.001,
                maximum=400.0,
                counts_clamping=True,
                initial=Normal(mean="1", deviation="0.01"),
            ),
        ),
        parameters=(
            diffusion("d_a", 0.007, "activator"),
            diffusion("d_h", 0.2, "inhibitor"),
            rate(0.01, maximum=0.04),
            number("decay", 1.5, "decay of the inhibitor, that of the activator being 1", minimum=0.1, maximum=5.0),
            number("saturation", 0.1, "κ, saturation of the autocatalysis", minimum=0.0, maximum=1.0),
            number("basal", 0.05, "σ, production without autocatalysis", minimum=0.0, maximum=1.0),
        ),
        instability="stable alone if decay > f; Turing if d_h f - d_a decay > 2 sqrt(d_a d_h decay (2 / (s a) - f)); "
        "a the steady activator, s = 1 + saturation a^2 and f = 2 / (s^2 a) - 1",
        boundary="periodic",
        further_boundaries=("neumann",),
        source="A. Gierer and H. Meinhardt, Kybernetik 12 (1972) 30-39; "
        "A. J. Koch and H. Meinhardt, Rev. Mod. Phys. 66 (1994) 1481-1507",
    )
)
