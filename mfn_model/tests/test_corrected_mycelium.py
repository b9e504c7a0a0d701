"""What the corrected mycelium does otherwise than the models of earlier results: noise, held edges, bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfn_model import FieldSpec, SpecError, mycelium_rd_spec, mycelium_spec, reference

REST = -0.070
STILL = {"spike_probability": 0.0, "turing_enabled": False}
"""Neither spikes nor a pattern: the potential alone."""


def potential(boundary: str = "periodic", **further: float | bool) -> FieldSpec:
    parameters = {**STILL, **further}
    return FieldSpec(model="mycelium_turing", grid_size=32, seed=5, boundary=boundary, parameters=parameters)


def test_noise_settles_at_the_variance_of_a_noisy_leaking_cable() -> None:
    # Wave by wave a step multiplies the amplitude by m and adds noise: its variance settles at σ² / (1 − m²).
    spec = potential(jitter=True)
    alpha, leak, variance = (float(spec.parameters[name]) for name in ("alpha", "leak", "jitter_variance"))
    wave = 2.0 * np.cos(2.0 * math.pi * np.fft.fftfreq(32)) - 2.0
    multiplier = 1.0 - leak + alpha * (wave[:, np.newaxis] + wave[np.newaxis, :])
    expected = np.mean(variance / (1.0 - multiplier**2))
    states = [reference(spec, steps) for steps in range(300, 1200, 60)]
    found = np.mean([np.mean((state.field - REST) ** 2) for state in states])
    assert found == pytest.approx(expected, rel=0.05)
    assert all(state.counters["clamping_events"] == 0 for state in states)


def test_the_noise_of_the_earlier_models_fills_their_range_within_a_few_steps() -> None:
    field = reference(mycelium_spec(grid_size=32, jitter=True), 32).field
    assert (field.min(), field.max()) == (-0.095, 0.040)
    corrected = reference(potential(jitter=True), 32).field
    assert corrected.std() < 0.001


def test_an_edge_held_at_rest_leaves_the_field_at_rest_where_one_at_zero_drives_it() -> None:
    held = reference(potential("dirichlet"), 200).field
    assert np.abs(held - REST).max() < 1e-5
    earlier = mycelium_rd_spec(grid_size=32, boundary="dirichlet", **STILL)
    driven = reference(earlier, 200).field
    assert driven[0].mean() > REST + 0.05
    assert driven[16, 16] > REST + 0.01
    at_rest = reference(earlier.with_parameters(boundary_potential=REST), 200).field
    assert np.abs(at_rest - REST).max() < 0.001


@pytest.mark.parametrize("model", ["mycelium", "mycelium_rd", "mycelium_turing"])
@pytest.mark.parametrize("alpha", [0.2501, 0.6, math.inf, math.nan])
def test_a_diffusion_that_would_make_a_checkerboard_is_refused(model: str, alpha: float) -> None:
    with pytest.raises(SpecError, match="alpha"):
        FieldSpec(model=model, grid_size=8, seed=1, parameters={"alpha": alpha})
