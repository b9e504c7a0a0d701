"""Errors of the explicit step against the solution of the differential equations between the cells.

The peer is SciPy's DOP853 at a tolerance far below what is measured, on right-hand sides written from the papers with a
Laplacian of its own. A model's step is Euler's method of step 1; the step is refined by scaling every coefficient that
is a rate or a diffusion.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import solve_ivp
from scipy.ndimage import convolve

from mfn_model import MODELS, FieldSpec, Normal, reference, register_model

Array = npt.NDArray[np.float64]
Kinetics = Callable[[Array, Array, Mapping[str, float]], tuple[Array, Array]]

CELLS, TIME = 16, 160
HALVINGS = (0, 1, 2, 3, 4)
CROSS = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def schnakenberg(u: Array, v: Array, p: Mapping[str, float]) -> tuple[Array, Array]:
    return p["a"] - u + u * u * v, p["b"] - u * u * v


def brusselator(x: Array, y: Array, p: Mapping[str, float]) -> tuple[Array, Array]:
    return p["a"] - (p["b"] + 1) * x + x * x * y, p["b"] * x - x * x * y


def gierer_meinhardt(a: Array, h: Array, p: Mapping[str, float]) -> tuple[Array, Array]:
    growth = a * a / ((1 + p["saturation"] * a * a) * h)
    return growth - a + p["basal"], p["decay"] * (a * a - h)


CASES: dict[str, tuple[Kinetics, tuple[str, str], tuple[str, str]]] = {
    "schnakenberg": (schnakenberg, ("d_u", "d_v"), ("1", "0.9")),
    "brusselator": (brusselator, ("d_x", "d_y"), ("2", "1.65")),
    "gierer_meinhardt": (gierer_meinhardt, ("d_a", "d_h"), ("1.2", "1")),
}
"""Kinetics in their own time, the diffusion coefficients, and around which values the fields begin."""


@cache
def far_from_rest(name: str) -> FieldSpec:
    """The model with its defaults, beginning with noise of a tenth, so that the kinetics are far from linear."""
    declared = MODELS[name]
    species = tuple(
        replace(each, initial=Normal(mean=mean, deviation=f"0.1 * {mean}"))
        for each, mean in zip(declared.species, CASES[name][2], strict=True)
    )
    variant = f"{name}_far_from_rest"
    register_model(replace(declared, name=variant, species=species, steady_state=()))
    return FieldSpec(model=variant, grid_size=CELLS, seed=8)


def stepped(spec: FieldSpec, halvings: int) -> Array:
    """Both fields at time `TIME`, by steps of 2^-halvings: [2, N, N]."""
    scale = 2.0**-halvings
    names = ("rate", *CASES[spec.model.removesuffix("_far_from_rest")][1])
    finer = spec.with_parameters(**{name: float(spec.parameters[name]) * scale for name in names})
    state = reference(finer, TIME * 2**halvings)
    assert state.counters["clamping_events"] == 0
    return np.stack([state.field, *state.species.values()])


@cache
def solved(name: str, boundary: str) -> Array:
    """Both fields at time `TIME` by SciPy, to some 1e-11."""
    spec = replace(far_from_rest(name), boundary=boundary)
    kinetics, diffusions, _ = CASES[name]
    parameters = {key: float(value) for key, value in spec.parameters.items()}
    coefficients = np.array([parameters[each] for each in diffusions])[:, np.newaxis, np.newaxis]
    mode = {"periodic": "wrap", "neumann": "nearest"}[boundary]
    begin = reference(spec, 0)
    fields = np.stack([begin.field, *begin.species.values()])

    def derivative(_: float, flat: Array) -> Array:
        now = flat.reshape(fields.shape)
        spread = np.stack([convolve(each, CROSS, mode=mode) for each in now])
        reaction = parameters["rate"] * np.stack(kinetics(now[0], now[1], parameters))
        return np.asarray((coefficients * spread + reaction).ravel())

    run = solve_ivp(derivative, (0.0, float(TIME)), fields.ravel(), method="DOP853", rtol=1e-11, atol=1e-12)
    assert run.success
    return np.asarray(run.y[:, -1].reshape(fields.shape))


@cache
def refined(name: str, boundary: str) -> tuple[Array, ...]:
    """Both fields by steps of 1 to 1/16."""
    spec = replace(far_from_rest(name), boundary=boundary)
    return tuple(stepped(spec, halvings) for halvings in HALVINGS)


each_case = pytest.mark.parametrize("name", list(CASES))
each_boundary = pytest.mark.parametrize("boundary", ["periodic", "neumann"])


@each_case
@each_boundary
def test_the_error_of_a_step_falls_at_first_order_in_time(name: str, boundary: str) -> None:
    exact = solved(name, boundary)
    errors = [np.abs(fields - exact).max() for fields in refined(name, boundary)]
    assert errors[0] > 1e-4  # there is something to fall
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(1.0, abs=0.05)
    assert orders == pytest.approx([1.0] * len(orders), abs=0.25)


@each_case
@each_boundary
def test_what_is_extrapolated_to_a_step_of_zero_is_the_solution_to_1e_6(name: str, boundary: str) -> None:
    # Euler's error is a power series in the step: Richardson's scheme removes its first four terms.
    column = list(refined(name, boundary))
    for power in range(1, len(HALVINGS)):
        column = [(2**power * fine - coarse) / (2**power - 1) for coarse, fine in itertools.pairwise(column)]
    (extrapolated,) = column
    assert np.abs(extrapolated - solved(name, boundary)).max() < 1e-6
    begin = reference(far_from_rest(name), 0)
    assert np.abs(extrapolated[0] - begin.field).max() > 0.1  # far more has happened than 1e-6
