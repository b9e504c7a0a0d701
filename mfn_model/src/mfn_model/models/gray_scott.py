"""Gray and Scott's cubic autocatalysis: a substrate u that is fed, and an autocatalyst v that decays.

    u ← u + D_u L(u) − u v² + F (1 − u)
    v ← v + D_v L(v) + u v² − (F + k) v

The state u* = 1, v* = 0 is stable with any diffusion: patterns grow from seeds of finite size, here squares with
u = 1/2, v = 1/4, and spots divide at the defaults. Where F > 4 (F + k)² there are two more states, v* the roots of
(F + k) v² − F v + F (F + k) = 0 and u* = (F + k) / v*, and the one with the larger v* may be Turing-unstable.

Source: P. Gray and S. K. Scott, Chem. Eng. Sci. 39 (1984) 1087–1097; J. E. Pearson, Science 261 (1993) 189–192.
"""

from __future__ import annotations

from typing import Final

from mfn_model._catalogue import register_own_model
from mfn_model.models._parameters import diffusion, number
from mfn_model.spec import Constant, FieldModel, Normal, Patches, Species

__all__ = ["GRAY_SCOTT"]

GRAY_SCOTT: Final = register_own_model(
    FieldModel(
        name="gray_scott",
        summary="fed substrate and decaying autocatalyst; spots that divide, stripes, waves, by feed and kill",
        species=(
            Species(
                name="autocatalyst",
                unit="1",
                description="concentration of the autocatalyst",
                symbol="v",
                diffusion="d_v",
                reaction="u * v**2 - (feed + kill) * v",
                minimum=0.0,
                maximum=1.5,
                counts_clamping=True,
                initial=Constant(value="0"),
            ),
            Species(
                name="substrate",
                unit="1",
                description="concentration of the substrate",
                symbol="u",
                diffusion="d_u",
                reaction="feed * (1 - u) - u * v**2",
                outside="1",
                minimum=0.0,
                maximum=1.5,
                counts_clamping=True,
                initial=Normal(mean="1", deviation="0.01"),
            ),
        ),
        parameters=(
            diffusion("d_u", 0.16, "substrate", maximum=0.18),
            diffusion("d_v", 0.08, "autocatalyst", maximum=0.18),
            number("feed", 0.035, "feed F", minimum=0.0, maximum=0.08, unit="1/step"),
            number("kill", 0.065, "decay k beyond the feed", minimum=0.03, maximum=0.08, unit="1/step"),
            number("seeds", 12.0, "squares in which a pattern begins", minimum=0.0, maximum=1000.0),
            number("seed_side", 8.0, "their side", minimum=1.0, maximum=1000.0, unit="cells"),
        ),
        patches=Patches(count="seeds", side="seed_side", values=(("substrate", "0.5"), ("autocatalyst", "0.25"))),
        steady_state=("0", "1"),
        instability="the state without autocatalyst is stable; patterns grow from the squares of the initial state",
        boundary="periodic",
        further_boundaries=("neumann", "dirichlet"),
        source="P. Gray and S. K. Scott, Chem. Eng. Sci. 39 (1984) 1087-1097; "
        "J. E. Pearson, Science 261 (1993) 189-192",
    )
)
