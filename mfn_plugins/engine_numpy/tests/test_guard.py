"""The bounds that let a step go without clipping: they hold for the fields that come nearest to breaking them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mfn_engine_numpy._equations import Kinetics
from mfn_engine_numpy._guard import LONGEST_QUIET, Extremes, potential_is_inside, steps_above_zero, steps_below
from mfn_model.stencil import laplacian

Field = npt.NDArray[np.float64]

USUAL = Kinetics()

kinetics_of_any_kind = st.builds(
    Kinetics,
    activator_diffusion=st.floats(0.01, 0.2499),
    inhibitor_diffusion=st.floats(0.01, 0.2499),
    activator_rate=st.floats(0.001, 0.1),
    inhibitor_rate=st.floats(0.001, 0.1),
)
boundaries = st.sampled_from(["periodic", "neumann", "dirichlet"])


def concentrations(low: float, high: float) -> st.SearchStrategy[Field]:
    return arrays.arrays(np.float64, (4, 4), elements=st.floats(low, high))


def extremes_of(activator: Field, inhibitor: Field, boundary: str) -> Extremes:
    # Concentrations are 0 beyond a constant boundary.
    beyond = [0.0] if boundary == "dirichlet" else []
    return Extremes(
        activator_minimum=min(activator.min(), *beyond, 1.0),
        activator_maximum=activator.max(),
        inhibitor_minimum=min(inhibitor.min(), *beyond, 1.0),
        inhibitor_maximum=inhibitor.max(),
    )


def reacted(
    activator: Field, inhibitor: Field, kinetics: Kinetics, boundary: str, sequential: bool
) -> tuple[Field, Field]:
    """One step without kicks or clipping."""
    reaction = kinetics.activator_rate * (activator * (1.0 - activator) - inhibitor)
    new = activator + kinetics.activator_diffusion * laplacian(activator, boundary) + reaction
    seen = new if sequential else activator
    change = kinetics.inhibitor_diffusion * laplacian(inhibitor, boundary)
    return new, inhibitor + (change + kinetics.inhibitor_rate * (seen - inhibitor))


@given(
    activator=concentrations(0.02, 1.0),
    inhibitor=concentrations(0.0, 1.0),
    kinetics=st.one_of(st.just(USUAL), kinetics_of_any_kind),
    boundary=boundaries,
    sequential=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_no_concentration_becomes_negative_within_the_steps_promised(
    activator: Field, inhibitor: Field, kinetics: Kinetics, boundary: str, sequential: bool
) -> None:
    steps = steps_above_zero(extremes_of(activator, inhibitor, boundary), kinetics)
    assume(steps > 0)
    for _ in range(steps):
        activator, inhibitor = reacted(activator, inhibitor, kinetics, boundary, sequential)
        assert activator.min() >= 0.0
        assert inhibitor.min() >= 0.0


@given(
    activator=concentrations(0.0, 0.5),
    inhibitor=concentrations(0.0, 0.99),
    threshold=st.floats(0.51, 1.0),
    kinetics=st.one_of(st.just(USUAL), kinetics_of_any_kind),
    boundary=boundaries,
    sequential=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_no_activator_exceeds_the_threshold_within_the_steps_promised(
    activator: Field, inhibitor: Field, threshold: float, kinetics: Kinetics, boundary: str, sequential: bool
) -> None:
    steps = steps_below(threshold, extremes_of(activator, inhibitor, boundary), kinetics)
    assume(steps > 0)
    for _ in range(steps):
        activator, inhibitor = reacted(activator, inhibitor, kinetics, boundary, sequential)
        assert activator.max() <= threshold
        assert inhibitor.max() <= 1.0
        activator, inhibitor = np.maximum(activator, 0.0), np.maximum(inhibitor, 0.0)


def test_nothing_is_promised_where_diffusion_is_no_weighted_mean() -> None:
    coarse = Kinetics(inhibitor_diffusion=0.249, inhibitor_rate=0.1)
    usual = Extremes(activator_minimum=0.03, activator_maximum=0.07, inhibitor_minimum=0.03, inhibitor_maximum=0.07)
    assert not coarse.obey_maximum_principle
    assert steps_above_zero(usual, coarse) == 0
    assert steps_below(0.75, usual, coarse) == 0


def test_the_promise_is_worth_having_for_the_usual_field() -> None:
    usual = Extremes(activator_minimum=0.03, activator_maximum=0.07, inhibitor_minimum=0.03, inhibitor_maximum=0.07)
    assert steps_above_zero(usual, USUAL) > 20
    assert steps_below(0.75, usual, USUAL) == LONGEST_QUIET


@pytest.mark.parametrize(
    "extremes",
    [(0.0, 0.1, 0.0, 0.1), (0.1, 0.1, -1e-12, 0.1), (-0.1, 0.1, 0.0, 0.1)],
)
def test_nothing_is_promised_at_zero(extremes: tuple[float, float, float, float]) -> None:
    names = ("activator_minimum", "activator_maximum", "inhibitor_minimum", "inhibitor_maximum")
    assert steps_above_zero(Extremes(**dict(zip(names, extremes, strict=True))), USUAL) == 0


def test_nothing_is_promised_at_the_threshold_or_at_one() -> None:
    def at(activator: float, inhibitor: float) -> Extremes:
        return Extremes(
            activator_minimum=0.0, activator_maximum=activator, inhibitor_minimum=0.0, inhibitor_maximum=inhibitor
        )

    assert steps_below(0.5, at(0.5, 0.1), USUAL) == 0
    assert steps_below(0.0, at(0.0, 0.1), USUAL) == 0
    assert steps_below(1.0, at(1.0, 0.1), USUAL) == 0
    assert steps_below(0.5, at(0.1, 1.0), USUAL) == 0
    for nearly_nothing in (0.0, 5e-324):
        assert steps_below(0.5, at(nearly_nothing, 0.1), USUAL) == LONGEST_QUIET


@pytest.mark.parametrize(
    ("minimum", "maximum", "inside"),
    [
        (-0.094, 0.039, True),
        (-0.095, 0.0, False),
        (-0.07, 0.040, False),
        (-0.2, 0.0, False),
        (float("nan"), 0.0, False),
    ],
)
def test_a_potential_is_inside_only_with_a_margin(minimum: float, maximum: float, inside: bool) -> None:
    assert potential_is_inside(minimum, maximum) is inside
