"""Interval arithmetic bounds what a reaction can do; what it cannot bound, it leaves open."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_engine_numpy._finiteness import interval_of, stays_finite
from mfn_model import MODELS, FieldSpec, mycelium_spec
from mfn_model.expressions import evaluate, parse

ends = st.floats(-3.0, 3.0)
intervals = st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair)))

FORMULAS = (
    "u * v - u**3 + 2",
    "u / (5 + v) - abs(u - v)",
    "exp(u) * tanh(v) - minimum(u, v) + maximum(u, -v)",
    "sqrt(4 + u) * (1 - v)**2",
    "-u * (u - 0.5) * (1 - u) - v",
)


@given(u=intervals, v=intervals, place=st.tuples(st.floats(0, 1), st.floats(0, 1)), text=st.sampled_from(FORMULAS))
def test_every_value_lies_in_the_interval_of_its_formula(
    u: tuple[float, float], v: tuple[float, float], place: tuple[float, float], text: str
) -> None:
    formula = parse(text)
    low, high = interval_of(formula, {"u": u, "v": v}, ())
    at = {"u": u[0] + place[0] * (u[1] - u[0]), "v": v[0] + place[1] * (v[1] - v[0])}
    value = float(evaluate(formula, {name: np.float64(number) for name, number in at.items()}))
    slack = 1e-9 * (1.0 + abs(value))
    assert low - slack <= value <= high + slack


@pytest.mark.parametrize("text", ["1 / u", "1 / (u * u)", "sqrt(u)", "exp(1000 * u)", "(1 / u) * 0 + 1"])
def test_what_may_have_no_value_is_left_open(text: str) -> None:
    assert interval_of(parse(text), {"u": (-1.0, 1.0)}, ()) == (-math.inf, math.inf)


def test_models_with_ranges_and_without_a_vanishing_divisor_are_proved_finite() -> None:
    proved = set()
    for name, model in MODELS.items():
        if not name.startswith("numpy_") and model.source != "this test":
            spec = FieldSpec(model=name, grid_size=8, seed=0)
            dynamics = model.dynamics.switched(spec.parameters)
            if stays_finite(dynamics, dynamics.values(spec.parameters)):
                proved.add(name)
    assert {"mycelium", "mycelium_rd", "schnakenberg", "gray_scott", "brusselator", "fitzhugh_nagumo"} <= proved


def test_a_species_without_a_range_is_left_open() -> None:
    spec = mycelium_spec()
    dynamics = spec.declaration.dynamics.switched(spec.parameters)
    from dataclasses import replace

    loose = replace(dynamics, species=(replace(dynamics.species[0], maximum=math.inf), *dynamics.species[1:]))
    assert stays_finite(dynamics, dynamics.values(spec.parameters))
    assert not stays_finite(loose, dynamics.values(spec.parameters))
