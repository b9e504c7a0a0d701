"""The Brusselator: an autocatalytic reaction that oscillates or makes patterns, x and y.

    x ← x + D_x L(x) + r (A − (B + 1) x + x² y)
    y ← y + D_y L(y) + r (B x − x² y)

Steady state: x* = A, y* = B / A. It oscillates (Hopf) where B > 1 + A², and is Turing-unstable where
B > (1 + A √(D_x / D_y))², with the wave number k² = A r / √(D_x D_y) at that threshold. The defaults lie between the
thresholds 2.9 and 5; spots and stripes 12 cells apart form within 2,500 steps.

Source: I. Prigogine and R. Lefever, J. Chem. Phys. 48 (1968) 1695–1700.
"""

from __future__ import annotations

from typing import Final

from mfn_model._catalogue import register_own_model
from mfn_model.models._parameters import diffusion, number, rate
from mfn_model.spec import FieldModel, Normal, Species

__all__ = ["BRUSSELATOR"]

BRUSSELATOR: Final = register_own_model(
    FieldModel(
        name="brusselator",
        summary="autocatalytic reaction that makes spots, and oscillates beyond its Hopf threshold",
        species=(
            Species(
                name="x",
                unit="1",
                description="concentration of the autocatalytic species",
                diffusion="d_x",
                reaction="rate * (a - (b + 1) * x + x**2 * y)",
                minimum=0.0,
                maximum=10.0,
                counts_clamping=True,
                initial=Normal(mean="a", deviation="0.01 * a"),
            ),
            Species(
                name="y",
                unit="1",
                description="concentration of the other species",
                diffusion="d_y",
                reaction="rate * (b * x - x**2 * y)",
                minimum=0.0,
                maximum=20.0,
                counts_clamping=True,
                initial=Normal(mean="b / a", deviation="0.01 * (b / a)"),
            ),
        ),
        parameters=(
            diffusion("d_x", 0.025, "autocatalytic species"),
            diffusion("d_y", 0.2, "other species"),
            rate(0.01, maximum=0.02),
            number("a", 2.0, "feed A", minimum=0.1, maximum=2.5),
            number("b", 3.3, "feed B", minimum=0.1, maximum=8.0),
        ),
        steady_state=("a", "b / a"),
        instability="Turing if b > (1 + a sqrt(d_x / d_y))^2; oscillation (Hopf) if b > 1 + a^2",
        boundary="periodic",
        further_boundaries=("neumann",),
        source="I. Prigogine and R. Lefever, J. Chem. Phys. 48 (1968) 1695-1700",
    )
)
