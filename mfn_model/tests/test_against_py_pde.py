"""Our trajectories beside those of py-pde, an independent solver of partial differential equations.

The equations are written here as in the papers, and handed to py-pde as text; it has its own parser, Laplacian, edges
and time steps. Both begin with our initial state. The first test gives py-pde our step: both then solve the same
difference equations, and what is compared is every cell after hundreds of nonlinear steps. The second compares with the
solution of the differential equations in time: py-pde steps adaptively by Runge–Kutta–Fehlberg, far below 1e-6, and
ours is extrapolated from steps of 1, 1/2, 1/4 and 1/8.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model import MODELS, FieldSpec, FieldState, Normal, reference, register_model

pde = pytest.importorskip("pde", reason="py-pde is needed to compare with it")

Array = npt.NDArray[np.float64]

GRAY_SCOTT = {
    "v": "d_v * laplace(v) + u * v**2 - (feed + kill) * v",
    "u": "d_u * laplace(u) - u * v**2 + feed * (1 - u)",
}
SCHNAKENBERG = {
    "u": "d_u * laplace(u) + rate * (a - u + u**2 * v)",
    "v": "d_v * laplace(v) + rate * (b - u**2 * v)",
}
BRUSSELATOR = {
    "X": "d_x * laplace(X) + rate * (a - (b + 1) * X + X**2 * Y)",
    "Y": "d_y * laplace(Y) + rate * (b * X - X**2 * Y)",
}
"""In capitals, since x and y are py-pde's coordinates."""
CELLS, STEPS = 32, 400

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def far_from_rest(name: str, means: Mapping[str, str]) -> FieldSpec:
    """A model with its defaults, beginning with noise of a tenth around these values, so that it is not near linear."""
    declared = MODELS[name]
    species = tuple(
        replace(each, initial=Normal(mean=means[each.name], deviation=f"0.1 * {means[each.name]}"))
        for each in declared.species
    )
    variant = f"{name}_beside_py_pde"
    register_model(replace(declared, name=variant, species=species, steady_state=()))
    return FieldSpec(model=variant, grid_size=CELLS, seed=8)


def fields(state: FieldState) -> Array:
    """Every species, [S, N, N]."""
    assert not any(state.counters.values())  # no range was touched: py-pde knows of none
    return np.stack([state.field, *state.species.values()])


def by_py_pde(spec: FieldSpec, equations: Mapping[str, str], time: float, **solver: Any) -> Array:
    """What py-pde makes of our initial state, [S, N, N]."""
    grid = pde.CartesianGrid([[0, CELLS], [0, CELLS]], CELLS, periodic=spec.boundary == "periodic")
    constants = {name: value for name, value in spec.parameters.items() if name not in ("seeds", "seed_side")}
    begin = pde.FieldCollection([pde.ScalarField(grid, each) for each in fields(reference(spec, 0))])
    equation = pde.PDE(dict(equations), bc="auto_periodic_neumann", consts=constants)
    end = equation.solve(begin, t_range=time, tracker=None, backend="numpy", **solver)
    return np.asarray(end.data)


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
@pytest.mark.parametrize("name", ["gray_scott", "brusselator"])
def test_by_the_same_step_every_cell_is_that_of_py_pde(name: str, boundary: str) -> None:
    if name == "gray_scott":
        spec, equations = FieldSpec(model=name, grid_size=CELLS, seed=3, parameters={"seeds": 4.0}), GRAY_SCOTT
    else:
        spec, equations = far_from_rest(name, {"x": "2", "y": "1.65"}), BRUSSELATOR
    spec = replace(spec, boundary=boundary)
    ours = fields(reference(spec, STEPS))
    theirs = by_py_pde(spec, equations, STEPS, solver="euler", dt=1.0)
    assert np.abs(ours - theirs).max() < 1e-9  # 1e-15 by step, not amplified much
    assert np.abs(ours - fields(reference(spec, 0))).max() > 0.1


def test_extrapolated_to_a_step_of_zero_schnakenberg_is_what_py_pde_solves_to_1e_6() -> None:
    spec, time = far_from_rest("schnakenberg", {"activator": "1", "substrate": "0.9"}), 160
    column = []
    for refinement in (1, 2, 4, 8):
        scaled = {name: float(spec.parameters[name]) / refinement for name in ("rate", "d_u", "d_v")}
        column.append(fields(reference(spec.with_parameters(**scaled), time * refinement)))
    for power in (1, 2, 3):  # Euler's error is a power series in the step
        column = [(2**power * fine - coarse) / (2**power - 1) for coarse, fine in itertools.pairwise(column)]
    (extrapolated,) = column
    theirs = by_py_pde(spec, SCHNAKENBERG, time, solver="runge-kutta", adaptive=True, tolerance=1e-9, dt=0.1)
    assert np.abs(extrapolated - theirs).max() < 1e-6
    assert np.abs(extrapolated - fields(reference(spec, 0))).max() > 0.1
