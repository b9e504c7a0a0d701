"""`simulate` and `stream`: the numbers, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfn
from mfn_model import SpecError, mycelium_rd_spec, reference_mycelium, reference_mycelium_rd

TABLE = json.loads((Path(__file__).parent / "data" / "mycelium.json").read_text())
SMALL = {"seed": 7, "grid_size": 16, "steps": 23}


def names(row: dict[str, Any]) -> str:
    return "-".join(str(value) for value in row["arguments"].values())


@pytest.mark.parametrize("row", TABLE, ids=names)
def test_the_field_is_the_tabulated_one_along_its_diagonal(row: dict[str, Any]) -> None:
    expected = row["expected"]
    result = mfn.simulate(**row["arguments"])
    n = row["arguments"]["grid_size"]
    along = [result.field[k * n // 8, k * n // 8] for k in range(8)]
    assert along == pytest.approx(expected["diagonal_V"], rel=1e-12, abs=0)
    assert result.field[0, 0] == pytest.approx(expected["corner_V"], rel=1e-12, abs=0)
    assert result.growth_events == expected["growth_events"]
    assert result.step == row["arguments"]["steps"]


def test_the_state_is_that_of_the_plain_evaluation() -> None:
    result = mfn.simulate(**SMALL)
    plain = reference_mycelium(result.spec, SMALL["steps"])
    np.testing.assert_array_equal(result.field, plain.field)
    assert result.state.species.keys() == plain.species.keys() == {"activator", "inhibitor"}
    for name, values in plain.species.items():
        np.testing.assert_array_equal(result.state.species[name], values)


def test_parameters_may_come_by_name_or_as_arguments() -> None:
    expected = mfn.simulate(**SMALL, alpha=0.1, jitter=True)
    for arguments in ({"parameters": {"alpha": 0.1, "jitter": True}}, {"parameters": {"alpha": 0.1}, "jitter": True}):
        assert mfn.simulate(**SMALL, **arguments).field.tobytes() == expected.field.tobytes()
        *_, last = mfn.stream(**SMALL, **arguments)
        assert last.field.tobytes() == expected.field.tobytes()
    with pytest.raises(SpecError, match="model 'mycelium' has no parameter 'steps'"):
        mfn.simulate(parameters={"steps": 3})
    with pytest.raises(ValueError, match="alpha stands in parameters and beside them; leave one out"):
        mfn.simulate(parameters={"alpha": 0.1}, alpha=0.2)


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_a_run_has_the_boundary_that_is_asked_for(boundary: str) -> None:
    arguments = {"seed": 7, "grid_size": 16, "steps": 20, "model": "mycelium_rd", "boundary": boundary}
    result = mfn.simulate(**arguments)
    plain = reference_mycelium_rd(mycelium_rd_spec(seed=7, grid_size=16, boundary=boundary), 20)
    np.testing.assert_array_equal(result.field, plain.field)
    assert result.spec.boundary == result.to_dict()["boundary"] == boundary
    *_, last = mfn.stream(**arguments)
    assert last.field.tobytes() == result.field.tobytes()
    assert mfn.simulate(**SMALL).spec.boundary == "periodic"


def test_a_boundary_that_the_model_does_not_know_is_refused_with_those_that_it_knows() -> None:
    for call in (mfn.simulate, mfn.stream):
        with pytest.raises(SpecError, match=r"boundary 'neuman' is not one of model .*; did you mean 'neumann'"):
            call(model="mycelium_rd", boundary="neuman")


@pytest.mark.parametrize("every", [1, 5, 23, 1000])
def test_the_last_frame_of_a_stream_is_what_simulate_gives_bit_for_bit(every: int) -> None:
    frames = list(mfn.stream(**SMALL, every=every))
    whole = mfn.simulate(**SMALL)
    assert [frame.step for frame in frames] == [*range(every, 23, every), 23]
    assert frames[-1].field.tobytes() == whole.field.tobytes()
    assert frames[-1].growth_events == whole.growth_events
    assert [frame.growth_events for frame in frames] == sorted(frame.growth_events for frame in frames)


def test_every_frame_is_what_simulate_gives_for_that_many_steps() -> None:
    for frame in mfn.stream(**SMALL, every=10):
        alone = mfn.simulate(**{**SMALL, "steps": frame.step})
        assert frame.to_dict() == alone.to_dict()
        assert frame.field.tobytes() == alone.field.tobytes()


def test_frames_do_not_change_when_the_stream_goes_on() -> None:
    frames = mfn.stream(**SMALL, every=10)
    first = next(frames)
    before = first.field.copy()
    list(frames)
    np.testing.assert_array_equal(first.field, before)


def test_no_step_gives_the_initial_field() -> None:
    (frame,) = mfn.stream(seed=3, grid_size=8, steps=0)
    result = mfn.simulate(seed=3, grid_size=8, steps=0)
    assert (result.step, result.growth_events) == (0, 0)
    np.testing.assert_array_equal(frame.field, result.field)
    np.testing.assert_array_equal(result.field, np.random.default_rng(3).normal(-0.07, 0.005, (8, 8)))


def test_progress_rises_to_the_end_and_changes_no_number() -> None:
    seen: list[tuple[int, int]] = []
    watched = mfn.simulate(seed=7, grid_size=16, steps=250, progress=lambda done, total: seen.append((done, total)))
    assert watched.field.tobytes() == mfn.simulate(seed=7, grid_size=16, steps=250).field.tobytes()
    steps = [done for done, _ in seen]
    assert steps == sorted(set(steps))
    assert steps[-1] == 250
    assert 80 <= len(steps) <= 125
    assert {total for _, total in seen} == {250}


def test_a_progress_that_raises_ends_the_run_with_its_error() -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough(f"{done} of {total}")

    with pytest.raises(Enough, match="1 of 50"):
        mfn.simulate(grid_size=8, steps=50, progress=stop)


def test_numbers_of_numpy_are_taken_for_numbers() -> None:
    given = mfn.simulate(seed=np.int64(7), grid_size=np.int32(16), steps=np.int64(23), alpha=np.float64(0.1))
    assert given.to_dict() == mfn.simulate(seed=7, grid_size=16, steps=23, alpha=0.1).to_dict()
    assert json.loads(json.dumps(given.to_dict()))["steps"] == 23


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"grid_size": 0}, "grid_size is out of range, got 0"),
        ({"grid_size": 8.0}, "grid_size must be an integer, got 8.0"),
        ({"seed": -1}, "seed is out of range, got -1"),
        ({"seed": 2**63}, "seed is out of range"),
        ({"steps": -1}, "steps must be a whole number of at least 0, got -1"),
        ({"steps": 1.5}, "steps must be a whole number of at least 0, got 1.5"),
        ({"steps": True}, "steps must be a whole number of at least 0, got True"),
        ({"alpha": 0.26}, "the bound is 0 < alpha <= 0.25"),
        ({"alpha": float("nan")}, "alpha must be finite, got nan"),
        ({"spike_probability": 1.1}, "spike_probability is out of range, got 1.1"),
        ({"turing_enabled": 1}, "turing_enabled must be true or false, got 1"),
        ({"alhpa": 0.1}, "did you mean 'alpha'?"),
        ({"model": "mycelum"}, "mycelum"),
        ({"engine": "abacus"}, "no engine 'abacus' is installed; there is:"),
    ],
)
@pytest.mark.parametrize("call", [mfn.simulate, mfn.stream])
def test_a_bad_value_is_refused_at_the_call_with_its_bound(call: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said.replace("?", r"\?")):
        call(**arguments)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        mfn.simulate(seed=-1, grid_size=0, steps=-2, alpha=1.0)
    assert {violation.field for violation in caught.value.violations} == {"seed", "grid_size", "steps", "alpha"}


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_frames_lie_at_least_one_step_apart(every: Any) -> None:
    with pytest.raises(ValueError, match="every must be a whole number of at least 1"):
        mfn.stream(every=every)
