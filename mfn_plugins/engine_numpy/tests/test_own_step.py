"""A step that somebody wrote by hand for this engine: it is what runs, and all that surrounds it is the engine's."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_core.compute import NeverCancelled
from mfn_core.testing.backend import assert_same_state
from mfn_engine_numpy import NumpyBackend
from mfn_model import (
    FieldModel,
    FieldSpec,
    Kick,
    Noise,
    NumericalInstabilityError,
    OwnStep,
    Parameter,
    Species,
    Spike,
    Uniform,
    reference,
    register_model,
    register_step,
)

Field = npt.NDArray[np.float64]

PREY = FieldModel(
    name="numpy_own_step",
    summary="what grows and spreads, and what lives on it",
    species=(
        Species(
            name="prey",
            symbol="u",
            unit="1",
            description="prey",
            diffusion="spread",
            reaction="growth * u * (1 - u)",
            minimum=0.0,
            maximum=0.8,
            counts_clamping=True,
            initial=Uniform(low="0", high="0.8"),
        ),
        Species(
            name="hunter",
            symbol="v",
            unit="1",
            description="hunter",
            reaction="0.1 * u * v - 0.02 * v",
            when="hunted",
            initial=Uniform(low="0", high="1"),
        ),
    ),
    parameters=(
        Parameter(name="spread", default=0.2, unit="cells²/step", description="spread", minimum=0.0, maximum=0.25),
        Parameter(name="growth", default=0.1, unit="1/step", description="growth", minimum=0.0, maximum=0.2),
        Parameter(name="hunted", default=True, kind="bool", unit="1", description="whether there are hunters"),
        Parameter(name="noisy", default=False, kind="bool", unit="1", description="whether it is noisy"),
    ),
    spikes=(Spike(species="prey", probability="0.3", mean="0.4", deviation="0.1"),),
    kicks=(Kick(species="hunter", above="0.9", target="prey", amount="-0.01", counter="feasts"),),
    noises=(Noise(species="prey", variance="0.0001", when="noisy"),),
    boundary="periodic",
    further_boundaries=("neumann", "dirichlet"),
    source="the test that declares it",
)

calls: list[tuple[int, bool]] = []


def update(spec: FieldSpec, old: Sequence[Field], new: Sequence[Field]) -> None:
    prey, *hunters = old
    inner = prey[1:-1, 1:-1]
    around = prey[:-2, 1:-1] + prey[2:, 1:-1] + prey[1:-1, :-2] + prey[1:-1, 2:]
    new[0][...] = inner + (spec.number("spread") * (around - 4.0 * inner) + spec.number("growth") * inner * (1 - inner))
    for hunter in (each[1:-1, 1:-1] for each in hunters):
        new[1][...] = hunter + (0.1 * inner * hunter - 0.02 * hunter)
    calls.append((threading.get_ident(), prey.flags.writeable))


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_model(PREY)
    register_step(OwnStep(model=PREY.name, engine="numpy", update=update))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


def spec(**changes: Any) -> FieldSpec:
    return replace(FieldSpec(model=PREY.name, grid_size=12, seed=3), **changes)


@pytest.mark.parametrize("boundary", PREY.boundaries)
@pytest.mark.parametrize("parameters", [{}, {"hunted": False}, {"noisy": True}], ids=str)
def test_it_runs_once_a_step_and_gives_the_numbers_of_the_declaration(
    boundary: str, parameters: dict[str, float]
) -> None:
    wanted = spec(boundary=boundary, parameters=parameters)
    session = NumpyBackend().open(wanted)
    assert session.step(20, NeverCancelled()) == 20
    assert len(calls) == 20
    assert not any(writeable for _, writeable in calls)
    state = session.state()
    assert_same_state(state, reference(wanted, 20), 1e-13)
    assert state.growth_events > 0
    assert boundary == "dirichlet" or state.counters["clamping_events"] > 0


def test_a_changed_parameter_reaches_it_and_a_checkpoint_goes_on_with_it() -> None:
    backend = NumpyBackend()
    session = backend.open(spec())
    session.step(5, NeverCancelled())
    session.set_parameter("spread", 0.05)
    kept = session.checkpoint()
    session.step(5, NeverCancelled())
    other = backend.restore(kept)
    other.step(5, NeverCancelled())
    assert_same_state(other.state(), session.state())
    unchanged = backend.open(spec())
    unchanged.step(10, NeverCancelled())
    assert not np.array_equal(unchanged.state().field, session.state().field)
    session.set_parameter("noisy", 1)
    session.step(3, NeverCancelled())
    assert len(calls) == 5 + 5 + 5 + 10 + 3
    session.close()
    with pytest.raises(RuntimeError, match="the session is closed"):
        session.step(1, NeverCancelled())


def by_hand(name: str, written: Any) -> FieldSpec:
    """A specification of the same model under another name, with another step."""
    model = register_model(replace(PREY, name=name))
    register_step(OwnStep(model=model.name, engine="numpy", update=written))
    return spec(model=model.name)


def test_numbers_that_are_not_finite_end_the_run_as_any_other() -> None:
    def wild(spec: FieldSpec, old: Sequence[Field], new: Sequence[Field]) -> None:
        update(spec, old, new)
        new[0][3, 4] = np.nan

    session = NumpyBackend().open(by_hand("numpy_wild_step", wild))
    with pytest.raises(NumericalInstabilityError, match="after step 1 the prey holds 1 NaN"):
        session.step(50, NeverCancelled())


def test_what_it_leaves_beyond_the_range_of_a_species_is_confined_and_counted() -> None:
    def high(spec: FieldSpec, old: Sequence[Field], new: Sequence[Field]) -> None:
        update(spec, old, new)
        new[0][2, :3] = 7.0

    session = NumpyBackend().open(replace(by_hand("numpy_high_step", high), parameters={"growth": 0.0}))
    for step in range(1, 4):
        session.step(1, NeverCancelled())
        assert session.state().field.max() <= 0.8
        assert session.state().counters["clamping_events"] >= 3 * step


def test_an_update_that_raises_ends_the_session_and_not_the_engine() -> None:
    def broken(spec: FieldSpec, old: Sequence[Field], new: Sequence[Field]) -> None:
        raise ZeroDivisionError("by hand")

    session = NumpyBackend().open(by_hand("numpy_broken_step", broken))
    with pytest.raises(ZeroDivisionError):
        session.step(1, NeverCancelled())
    with pytest.raises(RuntimeError, match="interrupted in the middle of a step"):
        session.step(1, NeverCancelled())
