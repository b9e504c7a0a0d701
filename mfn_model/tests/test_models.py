"""The models of the literature: what they declare, and what their simulations do."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

import mfn_model
from mfn_model import (
    MODELS,
    Constant,
    FieldModel,
    FieldSpec,
    Normal,
    Parameter,
    SpecError,
    Species,
    dominant_wavelength,
    fastest_growing_wavelength,
    reference,
    register_model,
    steady_state,
    turing_unstable,
)
from mfn_model.linear_stability import NoSteadyStateError, dispersion
from mfn_model.models import __all__ as CONSTANTS

FROM_LITERATURE = [getattr(mfn_model.models, name) for name in CONSTANTS]

TURING = {
    "schnakenberg": {},
    "brusselator": {},
    "gierer_meinhardt": {},
    "mycelium_turing": {"spike_probability": 0.0},
    "fitzhugh_nagumo": {"d_u": 0.01, "d_w": 0.2, "epsilon": 1.5, "gamma": 0.8, "rate": 0.03},
    "gray_scott": {"feed": 0.05, "kill": 0.06, "d_u": 0.18, "d_v": 0.05, "seeds": 0.0},
}
"""Parameters at which each model has a Turing instability."""
GUESSES = {"gray_scott": (0.4, 0.2)}


def ids(model: FieldModel) -> str:
    return model.name


@pytest.mark.parametrize("model", FROM_LITERATURE, ids=ids)
def test_a_model_says_what_it_is(model: FieldModel) -> None:
    assert MODELS[model.name] is model
    module = importlib.import_module(f"mfn_model.models.{model.name}")
    assert "Source" in (module.__doc__ or "")
    assert "←" in (module.__doc__ or "")
    assert model.summary
    assert model.source
    assert model.instability
    assert all(each.unit and each.description for each in (*model.species, *model.parameters))
    assert all(math.isfinite(each.minimum) and math.isfinite(each.maximum) for each in model.species)
    assert all(
        math.isfinite(each.minimum) and math.isfinite(each.maximum) for each in model.parameters if each.kind == "float"
    )


@pytest.mark.parametrize("model", FROM_LITERATURE, ids=ids)
def test_a_model_runs_under_each_of_its_boundaries(model: FieldModel) -> None:
    fields = []
    for boundary in model.boundaries:
        state = reference(FieldSpec(model=model.name, grid_size=40, seed=3, boundary=boundary), 40)
        fields.append(state.field)
        assert set(state.species) == {each.name for each in model.species[1:]}
        assert state.counters["clamping_events"] == 0
    for one, other in itertools.combinations(fields, 2):
        assert not np.array_equal(one, other)


def corners(model: FieldModel) -> list[dict[str, float]]:
    """The least and the largest value of every number, in all combinations; the least above an excluded bound."""
    ends = [
        (each.name, (each.minimum or (1e-3 if each.minimum_exclusive else 0.0), each.maximum))
        for each in model.parameters
        if each.kind == "float" and not each.name.startswith(("seed", "spike", "turing", "jitter"))
    ]
    return [
        dict(zip([name for name, _ in ends], values, strict=True))
        for values in itertools.product(*(values for _, values in ends))
    ]


@pytest.mark.parametrize("model", FROM_LITERATURE, ids=ids)
def test_at_the_corners_of_its_bounds_a_model_stays_finite(model: FieldModel) -> None:
    every = corners(model)
    for number in range(0, len(every), max(1, len(every) // 32)):
        parameters = every[number]
        state = reference(FieldSpec(model=model.name, grid_size=5, seed=number, parameters=parameters), 40)
        for values, species in zip((state.field, *state.species.values()), model.species, strict=True):
            assert species.minimum <= values.min() <= values.max() <= species.maximum


@pytest.mark.parametrize("model", FROM_LITERATURE, ids=ids)
def test_within_its_bounds_the_explicit_scheme_makes_no_checkerboard_of_its_own(model: FieldModel) -> None:
    examined = 0
    for parameters in corners(model):
        spec = FieldSpec(model=model.name, grid_size=4, seed=0, parameters=parameters)
        try:
            state = steady_state(spec)
        except NoSteadyStateError:
            continue
        inside = all(each.minimum <= state[each.name] <= each.maximum for each in model.species)
        if inside:
            found = dispersion(spec, state)
            assert not np.any(found.alternating & (found.growth > 0.0)), parameters
            examined += 1
    assert examined >= 16


def test_a_diffusion_beyond_the_bounds_is_refused() -> None:
    with pytest.raises(SpecError, match="d_v is out of range"):
        FieldSpec(model="schnakenberg", grid_size=4, seed=0, parameters={"d_v": 0.25})


def near_its_steady_state(name: str, deviation: float) -> FieldSpec:
    """The model at its Turing instability, with noise of this relative size on its steady state alone."""
    declared, parameters = MODELS[name], TURING[name]
    spec = FieldSpec(model=name, grid_size=64, seed=11, parameters=parameters)
    steady = steady_state(spec, GUESSES.get(name))
    assert turing_unstable(spec, steady)
    species = tuple(
        replace(
            each,
            initial=Constant(value=repr(steady[each.name]))
            if each.reaction.startswith("leak")
            else Normal(mean=repr(steady[each.name]), deviation=repr(deviation * max(abs(steady[each.name]), 0.1))),
        )
        for each in declared.species
    )
    name = f"{name}_at_{str(deviation).replace('.', '_').replace('-', 'm')}"
    register_model(replace(declared, name=name, species=species, patches=None, steady_state=()))
    return replace(spec, model=name)


def steady_of(spec: FieldSpec, name: str) -> dict[str, float]:
    return steady_state(replace(spec, model=name), GUESSES.get(name))


def pattern(name: str, state: mfn_model.FieldState) -> np.ndarray:
    """What the instability moves."""
    return state.species["activator"] if name == "mycelium_turing" else state.field


@pytest.mark.parametrize("name", TURING)
def test_every_wave_grows_as_the_linear_analysis_says(name: str) -> None:
    spec = near_its_steady_state(name, 1e-7)
    found = dispersion(spec, steady_of(spec, name))
    fastest = 1.0 / found.growth.max()
    first = round(min(640, 6 * fastest))  # what decays has done so, and nothing is large
    second = first + round(min(400, fastest))
    one, other = (np.abs(np.fft.fft2(pattern(name, reference(spec, steps)))) for steps in (first, second))
    wave = 2 * np.pi * np.fft.fftfreq(64)
    symbols = (2 * np.cos(wave) - 2)[:, np.newaxis] + (2 * np.cos(wave) - 2)[np.newaxis, :]
    computed = np.interp(-symbols, -found.symbols, found.growth)
    growing = computed > 0.5 * found.growth.max()
    assert growing.sum() > 20
    measured = np.log(other[growing] / one[growing]) / (second - first)
    assert np.abs(measured - computed[growing]).max() < 0.02 * found.growth.max()


@pytest.mark.parametrize("name", TURING)
def test_the_first_pattern_has_the_wavelength_that_grows_fastest(name: str) -> None:
    spec = near_its_steady_state(name, 0.001)
    steady = steady_of(spec, name)
    expected = fastest_growing_wavelength(spec, steady)
    assert expected is not None
    steps = round(4.0 / dispersion(spec, steady).growth.max())
    found = [dominant_wavelength(pattern(name, reference(replace(spec, seed=seed), steps))) for seed in (1, 2)]
    tolerance = 0.10 if name == "schnakenberg" else 0.12
    assert np.mean([each or 0.0 for each in found]) == pytest.approx(expected, rel=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "contrast"),
    [
        ("schnakenberg", 5000, 0.5),
        ("brusselator", 5000, 0.5),
        ("gierer_meinhardt", 5000, 0.3),
        ("gray_scott", 5000, 0.08),
        ("fitzhugh_nagumo", 2000, 1.0),
    ],
)
@pytest.mark.timeout(600)
def test_the_defaults_make_a_pattern_without_touching_the_ranges(name: str, steps: int, contrast: float) -> None:
    spec = FieldSpec(model=name, grid_size=128, seed=42)
    state = reference(spec, steps)
    assert state.field.std() > contrast
    assert state.counters["clamping_events"] == 0
    wavelength = dominant_wavelength(state.field)
    assert wavelength is not None
    assert 6.0 < wavelength < 40.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_mycelium_makes_a_turing_pattern_that_its_potential_shows() -> None:
    spec = FieldSpec(model="mycelium_turing", grid_size=64, seed=42)
    expected = fastest_growing_wavelength(spec)
    assert turing_unstable(spec)
    assert expected == pytest.approx(9.37, abs=0.01)
    state = reference(spec, 4000)
    assert state.counters["turing_activations"] > 0
    assert state.counters["clamping_events"] == 0
    assert dominant_wavelength(state.species["activator"]) == pytest.approx(expected, rel=0.15)
    assert dominant_wavelength(state.field) == pytest.approx(expected, rel=0.15)
    assert np.corrcoef(state.field.ravel(), state.species["activator"].ravel())[0, 1] > 0.7


def test_without_its_leak_a_spike_would_stay_and_with_it_the_mean_comes_to_rest() -> None:
    n, leak = 8, 0.05
    parameters = {"spike_probability": 1.0, "turing_enabled": False, "leak": leak}
    spec = FieldSpec(model="mycelium_turing", grid_size=n, seed=1, parameters=parameters)
    means = [reference(spec, steps).field.mean() for steps in range(200, 400, 10)]
    # Each step brings 20 mV into one of n² cells, and then a share `leak` of what is there goes.
    assert np.mean(means) == pytest.approx(-0.070 + 0.020 / (n * n) * (1 - leak) / leak, abs=1e-4)
    growing = spec.with_parameters(leak=0.0)
    assert reference(growing, 200).field.mean() > reference(spec, 200).field.mean() + 0.02


def heat(name: str, diffusion: float) -> FieldSpec:
    parameter = Parameter(name="d", default=diffusion, unit="cells²/step", description="for a test", minimum=0.0)
    species = (Species(name="u", unit="1", description="for a test", diffusion="d", initial=Normal()),)
    register_model(
        FieldModel(
            name=name,
            summary="for a test",
            species=species,
            parameters=(parameter,),
            boundary="periodic",
            source="this test",
        )
    )
    return FieldSpec(model=name, grid_size=64, seed=4)


def decay(spec: FieldSpec, steps: int) -> float:
    """The rate, per step, at which the longest wave along an axis decays."""
    before, after = (np.fft.fft2(reference(spec, count).field)[0, 1] for count in (0, steps))
    return float(-np.log(np.abs(after / before)) / steps)


def test_a_sine_decays_at_the_rate_of_the_heat_equation() -> None:
    spec = heat("heat_for_decay", 0.2)
    assert decay(spec, 300) == pytest.approx(0.2 * (2 * math.pi / 64) ** 2, rel=1e-3)


def test_the_scheme_is_of_second_order_in_space() -> None:
    # On a unit square with the time of a step growing as the square of the cell: n² steps are the same time.
    errors = []
    for n in (8, 16, 32):
        spec = replace(heat("heat_for_order", 0.1), grid_size=n)
        exact = 0.1 * (2 * math.pi) ** 2
        errors.append(abs(decay(spec, n * n // 4) * n * n - exact) / exact)
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders == pytest.approx([2.0, 2.0], abs=0.1)
