"""Linear stability, against closed forms and against what simulations do."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest

from mfn_model import (
    Constant,
    FieldModel,
    FieldSpec,
    Normal,
    Parameter,
    Species,
    fastest_growing_wavelength,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
    register_model,
    steady_state,
    turing_unstable,
)
from mfn_model.linear_stability import NoSteadyStateError, dispersion, jacobian


def spec(model: str, **parameters: float | bool) -> FieldSpec:
    return FieldSpec(model=model, grid_size=8, seed=1, parameters=parameters)


def declared(name: str, *reactions: str, **changes: Any) -> FieldSpec:
    """A model with one species for each reaction, u0, u1, …"""
    species = tuple(
        Species(name=f"u{i}", unit="1", description="for a test", diffusion=f"{0.01 + 0.1 * i}", reaction=text)
        for i, text in enumerate(reactions)
    )
    arguments: dict[str, Any] = {"species": species, "parameters": (), "boundary": "periodic"}
    register_model(FieldModel(name=name, summary="for a test", source="this test", **{**arguments, **changes}))
    return spec(name)


def test_the_closed_form_is_a_root_and_newton_finds_it_too() -> None:
    for a, b in ((0.1, 0.9), (0.2, 1.3), (0.05, 0.6)):
        closed = steady_state(spec("schnakenberg", a=a, b=b))
        assert closed == pytest.approx({"activator": a + b, "substrate": b / (a + b) ** 2}, rel=1e-15)
        assert steady_state(spec("schnakenberg", a=a, b=b), guess=(1.0, 1.0)) == pytest.approx(closed, rel=1e-10)
    assert steady_state(spec("brusselator", a=2.0, b=3.0)) == {"x": 2.0, "y": 1.5}


@pytest.mark.parametrize(("saturation", "basal"), [(0.0, 0.05), (0.1, 0.05), (0.5, 0.0), (1.0, 0.3)])
def test_newton_solves_what_has_no_closed_form(saturation: float, basal: float) -> None:
    state = steady_state(spec("gierer_meinhardt", saturation=saturation, basal=basal))
    a = state["activator"]
    assert state["inhibitor"] == pytest.approx(a * a, rel=1e-12)
    assert 1.0 / (1.0 + saturation * a * a) - a + basal == pytest.approx(0.0, abs=1e-12)


def test_a_guess_leads_to_another_steady_state() -> None:
    feed, kill = 0.05, 0.06
    parameters = {"feed": feed, "kill": kill}
    assert steady_state(spec("gray_scott", **parameters)) == {"autocatalyst": 0.0, "substrate": 1.0}
    found = steady_state(spec("gray_scott", **parameters), guess=(0.3, 0.4))
    decay = feed + kill
    v = (feed + math.sqrt(feed**2 - 4 * decay**2 * feed)) / (2 * decay)
    assert found == pytest.approx({"autocatalyst": v, "substrate": decay / v}, rel=1e-10)


def test_a_species_without_a_reaction_keeps_where_it_begins() -> None:
    state = steady_state(mycelium_rd_spec())
    assert state["potential"] == -0.070
    assert state["activator"] == pytest.approx(0.0, abs=1e-12)
    assert steady_state(mycelium_spec(turing_enabled=False)) == {"potential": -0.070}


def test_where_there_is_no_steady_state_it_says_so() -> None:
    with pytest.raises(NoSteadyStateError, match="'never_steady' was found from"):
        steady_state(declared("never_steady", "u0**2 + 1"))
    with pytest.raises(NoSteadyStateError, match="was found"):
        steady_state(declared("divides_at_once", "1 / u0"))
    parameter = Parameter(name="k", default=1.0, unit="1", description="for a test")
    nowhere = declared("no_closed_form", "k - u0", parameters=(parameter,), steady_state=("1 / (k - 1)",))
    with pytest.raises(NoSteadyStateError, match="no steady state with these parameters"):
        steady_state(nowhere)
    with pytest.raises(ValueError, match="one number for each of activator, substrate"):
        steady_state(spec("schnakenberg"), guess=(1.0,))


def test_the_jacobian_is_that_of_the_reactions() -> None:
    a, b, rate = 0.15, 1.1, 0.02
    at = spec("schnakenberg", a=a, b=b, rate=rate)
    u, v = steady_state(at).values()
    expected = rate * np.array([[-1 + 2 * u * v, u * u], [-2 * u * v, -u * u]])
    assert jacobian(at, steady_state(at)) == pytest.approx(expected, rel=1e-14)
    functions = declared("of_functions", "exp(u0) - tanh(u0) * u0**3 + abs(u0 - 2) / sqrt(u0) + minimum(u0, 5 * u0)")
    x = 0.7
    tanh = math.tanh(x)
    slope = math.exp(x) - (1 - tanh**2) * x**3 - tanh * 3 * x**2 - 1 / math.sqrt(x) - (2 - x) / 2 * x**-1.5 + 1
    assert jacobian(functions, {"u0": x}) == pytest.approx(np.array([[slope]]), rel=1e-14)
    with pytest.raises(KeyError):
        jacobian(functions, {})


def test_the_dispersion_relation_is_that_of_two_species() -> None:
    at = spec("schnakenberg")
    found = dispersion(at)
    j = jacobian(at, steady_state(at))
    for symbol, growth in list(zip(found.symbols, found.growth, strict=True))[::97]:
        f, g = j[0, 0] + 0.01 * symbol, j[1, 1] + 0.2 * symbol
        root = cmath.sqrt((f - g) ** 2 + 4 * j[0, 1] * j[1, 0])
        largest = max(abs(1 + (f + g + sign * root) / 2) for sign in (1, -1))
        assert growth == pytest.approx(math.log(largest), rel=1e-9, abs=1e-12)
    assert found.wavelengths[0] == pytest.approx(2000.0)
    assert found.wavelengths[-1] == pytest.approx(math.sqrt(2.0))
    assert np.all(np.diff(found.wavelengths) < 0.0)
    component = 2 * np.pi / found.wavelengths / math.sqrt(2.0)  # of a wave vector along the diagonal
    assert 4 * np.cos(component) - 4 == pytest.approx(found.symbols)


def mode(state: Any, rows: int, columns: int) -> np.ndarray:
    return np.array([np.fft.fft2(values)[rows, columns] for values in (state.field, *state.species.values())])


@pytest.mark.parametrize("update", ["simultaneous", "sequential"])
def test_in_a_linear_model_every_wave_grows_as_computed(update: str) -> None:
    reactions = ("0.05 * u0 - 0.3 * u1", "0.2 * u0 - 0.25 * u1 + 0.1 * u2", "0.3 * u0 + 0.2 * u1 - 0.2 * u2")
    species = tuple(
        Species(
            name=f"u{i}",
            unit="1",
            description="for a test",
            diffusion=f"{0.01 + 0.1 * i}",
            reaction=text,
            initial=Normal(),
        )
        for i, text in enumerate(reactions)
    )
    at = declared(f"linear_{update}", update=update, species=species)
    found = dispersion(at, {"u0": 0.0, "u1": 0.0, "u2": 0.0})
    states = [reference(at, steps) for steps in range(8)]
    for rows, columns in ((0, 0), (1, 0), (2, 3), (4, 4)):
        symbol = sum(2 * math.cos(2 * math.pi * k / 8) - 2 for k in (rows, columns))
        amplitudes = np.array([mode(state, rows, columns) for state in states])
        # The matrix of the step, from what three steps did to this wave.
        step = np.linalg.lstsq(amplitudes[:-1], amplitudes[1:], rcond=None)[0]
        measured = math.log(np.abs(np.linalg.eigvals(step)).max())
        computed = np.interp(-symbol, -found.symbols, found.growth)
        assert measured == pytest.approx(computed, abs=2e-6)


def test_the_order_of_the_update_changes_the_growth() -> None:
    reactions = ("0.05 * u0 - 0.3 * u1", "0.2 * u0 - 0.25 * u1")
    zero = {"u0": 0.0, "u1": 0.0}
    one = dispersion(declared("at_the_same_time", *reactions), zero).growth
    other = dispersion(declared("one_by_one", *reactions, update="sequential"), zero).growth
    assert np.abs(one - other).max() > 1e-3


def test_the_brusselator_becomes_turing_unstable_at_its_threshold() -> None:
    a, d_x, d_y, rate = 1.7, 0.02, 0.16, 0.005
    threshold = (1 + a * math.sqrt(d_x / d_y)) ** 2
    for factor, unstable in ((0.999, False), (1.001, True)):
        at = spec("brusselator", a=a, b=factor * threshold, d_x=d_x, d_y=d_y, rate=rate)
        assert turing_unstable(at) is unstable
        assert (fastest_growing_wavelength(at) is not None) is unstable
    found = dispersion(at)
    critical = a * rate / math.sqrt(d_x * d_y)
    assert -found.symbols[np.argmax(found.growth)] == pytest.approx(critical, rel=0.02)


def test_the_brusselator_begins_to_oscillate_at_its_threshold() -> None:
    a = 0.9
    threshold = 1 + a * a
    for factor, unstable in ((0.99, False), (1.01, True)):
        # Small steps: the explicit scheme itself lowers the threshold, by rate a².
        at = spec("brusselator", a=a, b=factor * threshold, d_x=0.1, d_y=0.1, rate=0.001)
        longest = dispersion(at)
        assert bool(longest.growth[0] > 0.0) is unstable
        assert longest.oscillating[0]
        assert not turing_unstable(at)
        assert fastest_growing_wavelength(at) is None


def test_schnakenberg_becomes_turing_unstable_where_the_diffusions_are_apart_enough() -> None:
    a, b = 0.1, 0.9
    f, g = (b - a) / (a + b), -((a + b) ** 2)
    ratio = ((1.0 + math.sqrt(1.0 - f * g / 1.0)) / f) ** 2  # d f + g = 2 √d where a + b = 1
    assert ratio * f + g == pytest.approx(2 * math.sqrt(ratio))
    for factor, unstable in ((0.99, False), (1.01, True)):
        assert turing_unstable(spec("schnakenberg", a=a, b=b, d_v=0.15, d_u=0.15 / (factor * ratio))) is unstable


def test_the_thresholds_that_the_models_state_hold() -> None:
    for factor, unstable in ((0.99, False), (1.01, True)):
        assert turing_unstable(spec("mycelium_turing", d_inhibitor=0.2, d_activator=0.2 / (16.13 * factor))) is unstable
        oscillating = spec("mycelium_turing", r_inhibitor=0.7487 * 0.002 / factor, r_activator=0.002)
        assert bool(dispersion(oscillating).growth[0] > 0.0) is unstable
    at = spec("gierer_meinhardt")
    a = steady_state(at)["activator"]
    s = 1 + 0.1 * a * a
    f, decay = 2 / (s * s * a) - 1, 1.5
    root = math.sqrt(decay * (2 / (s * a) - f))
    ratio = ((root + math.sqrt(root**2 + f * decay)) / f) ** 2  # x² f − 2 x root − decay = 0
    assert decay > f
    for factor, unstable in ((0.99, False), (1.01, True)):
        assert turing_unstable(spec("gierer_meinhardt", d_h=0.2, d_a=0.2 / (factor * ratio))) is unstable
    f, epsilon, gamma = 1.0, 1.5, 0.8  # at u* = 0
    root = math.sqrt(epsilon * (1 - gamma))
    ratio = ((root + math.sqrt(root**2 + epsilon * gamma)) / 1.0) ** 2
    for factor, unstable in ((0.99, False), (1.01, True)):
        changes = {"epsilon": epsilon, "gamma": gamma, "rate": 0.02, "d_w": 0.2, "d_u": 0.2 / (factor * ratio)}
        assert turing_unstable(spec("fitzhugh_nagumo", **changes)) is unstable


def test_models_that_make_no_turing_pattern_are_told_apart() -> None:
    assert not turing_unstable(mycelium_spec())
    assert not turing_unstable(mycelium_rd_spec())
    assert not turing_unstable(mycelium_spec(turing_enabled=False))
    assert not turing_unstable(spec("gray_scott"))
    assert not turing_unstable(spec("mycelium_turing", turing_enabled=False))
    assert fastest_growing_wavelength(spec("gray_scott")) is None
    assert not turing_unstable(spec("fitzhugh_nagumo"))  # it oscillates as a whole
    assert dispersion(spec("fitzhugh_nagumo")).growth[0] > 0.0


def test_an_instability_of_the_explicit_scheme_is_seen() -> None:
    species = (Species(name="u", unit="1", description="decays", diffusion="0.25", reaction="-0.1 * u"),)
    at = declared("checkerboard", species=species)
    found = dispersion(at)
    assert found.growth[-1] == pytest.approx(math.log(1.1))
    assert found.alternating[-1]
    assert not found.oscillating.any()
    assert not turing_unstable(at)
    assert fastest_growing_wavelength(at) == pytest.approx(math.sqrt(2.0))


def test_a_wave_that_a_step_extinguishes_has_no_finite_growth() -> None:
    species = (Species(name="u", unit="1", description="vanishes", reaction="-u", initial=Constant()),)
    assert np.isneginf(dispersion(declared("vanishes", species=species)).growth).all()
