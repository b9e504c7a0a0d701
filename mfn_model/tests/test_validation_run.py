"""The validation of earlier results: its numbers, its independence of everything around it, and how it is stopped."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model.validation import (
    SAMPLES,
    ValidationCancelledError,
    ValidationResult,
    run_validation,
    validation_in_pieces,
)

RECORDED = json.loads((Path(__file__).parent / "data" / "validation.json").read_text())["runs"]

QUICK: dict[str, Any] = {"grid_size": 8, "steps": 4}

LOSSES = {"loss_start", "loss_final", "loss_drop"}


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: str(row["arguments"]))
def test_recorded_runs_are_reproduced(row: dict[str, Any]) -> None:
    result = run_validation(**row["arguments"])
    for name, expected in row["result"].items():
        assert getattr(result, name) == pytest.approx(expected, abs=2e-6 if name in LOSSES else 1e-12), name
    assert set(row["result"]) <= set(asdict(result)) | {"loss_drop"}


def plain_field(generator: np.random.Generator) -> tuple[npt.NDArray[np.float64], int]:
    """Eight by eight cells, four steps, with activator and inhibitor drawn and without effect."""
    field = generator.normal(-0.07, 0.005, (8, 8))
    generator.uniform(0.0, 0.1, (8, 8))
    generator.uniform(0.0, 0.1, (8, 8))
    events = 0
    for _ in range(4):
        if generator.random() < 0.25:
            row, column = generator.integers(0, 8), generator.integers(0, 8)
            field[row, column] += generator.normal(0.02, 0.005)
            events += 1
        around = np.roll(field, 1, 0) + np.roll(field, -1, 0) + np.roll(field, 1, 1) + np.roll(field, -1, 1)
        field = np.clip(field + 0.18 * (around - 4.0 * field), -0.095, 0.040)
    return field, events


def test_a_simulation_of_the_callers_takes_the_place_of_the_built_in_one() -> None:
    assert run_validation(simulate=plain_field, **QUICK) == run_validation(**QUICK)


def test_a_simulation_is_asked_for_sixteen_fields_and_an_example() -> None:
    seen: list[np.random.Generator] = []

    def simulate(generator: np.random.Generator) -> tuple[npt.NDArray[np.float64], int]:
        seen.append(generator)
        return np.full((8, 8), -0.07 + len(seen) * 1e-3), 100 + len(seen)

    result = run_validation(simulate=simulate, **QUICK)
    assert len(seen) == SAMPLES + 1
    assert len({id(generator) for generator in seen[:SAMPLES]}) == 1
    assert seen[SAMPLES] is not seen[0]
    assert (result.pot_min_mv, result.pot_max_mv) == pytest.approx((-69.0, -54.0))
    assert result.growth_events == 117


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (np.zeros((7, 8)), r"simulate must give a field of shape \(8, 8\), got \(7, 8\)"),
        (np.full((8, 8), math.nan), "simulate gave a field with values that are not finite"),
    ],
)
def test_fields_that_cannot_be_measured_are_refused(field: npt.NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_validation(simulate=lambda generator: (field, 0), **QUICK)


def test_runs_at_the_same_time_do_not_disturb_each_other() -> None:
    seeds = [0, 1, 2, 3] * 4
    alone = [run_validation(seed=seed, **QUICK) for seed in seeds]
    with ThreadPoolExecutor(max_workers=8) as pool:
        together = list(pool.map(lambda seed: run_validation(seed=seed, **QUICK), seeds))
    assert together == alone
    assert len({result.loss_start for result in alone}) == 4


def test_global_generators_are_neither_read_nor_moved() -> None:
    np.random.seed(1)
    before = np.random.get_state(legacy=False)
    first = run_validation(**QUICK)
    after = np.random.get_state(legacy=False)
    np.random.seed(2)
    assert run_validation(**QUICK) == first
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert before["state"]["pos"] == after["state"]["pos"]
    assert (before["state"]["key"] == after["state"]["key"]).all()


def test_results_are_the_same_in_every_process() -> None:
    code = f"from mfn_model.validation import run_validation; print(run_validation(epochs=3, **{QUICK!r}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": number, "OPENBLAS_NUM_THREADS": number},
        ).stdout
        for number in ("1", "2")
    }
    assert outputs == {f"{run_validation(epochs=3, **QUICK)}\n"}


@pytest.mark.parametrize("arguments", [{"turing_enabled": False}, {"jitter": True}, {"seed": 0}, {"seed": 2**33 + 5}])
def test_every_switch_changes_the_result(arguments: dict[str, Any]) -> None:
    assert run_validation(**QUICK, **arguments).loss_start != run_validation(**QUICK).loss_start


def test_batches_may_be_as_small_as_one_field_and_as_large_as_all() -> None:
    whole = run_validation(batch_size=16, **QUICK)
    assert whole.loss_start == whole.loss_final  # one batch is both first and last
    assert run_validation(batch_size=1000, **QUICK) == whole
    assert run_validation(batch_size=1, **QUICK).loss_final < run_validation(batch_size=1, **QUICK).loss_start


def test_longer_training_lowers_the_loss() -> None:
    assert run_validation(epochs=40, **QUICK).loss_final < 0.01 * run_validation(**QUICK).loss_start


def test_tiny_grids_and_no_steps_are_allowed() -> None:
    result = run_validation(grid_size=1, steps=0)
    assert math.isfinite(result.loss_final)
    assert result.growth_events == 0
    assert result.example_dimension == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"grid_size": 0}, "grid_size must be at least 1, got 0"),
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"epochs": 1.5}, "epochs must be an integer, got 1.5"),
        ({"epochs": math.nan}, "epochs must be an integer, got nan"),
        ({"epochs": 0, "batch_size": 0}, "epochs must be .*; batch_size must be"),
    ],
)
def test_sizes_out_of_range_are_refused_all_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_validation(**arguments)


def cancelled_at(asked: int, **arguments: Any) -> str:
    """The stage in which a run stops whose caller wants it stopped from the given question on."""
    questions = iter(range(10**9))
    with pytest.raises(ValidationCancelledError) as caught:
        run_validation(cancelled=lambda: next(questions) >= asked, **arguments)
    return caught.value.stage


def test_a_run_stops_between_fields_within_a_field_and_between_batches() -> None:
    assert cancelled_at(0, **QUICK) == "field 1 of 16"
    before_third = 2 * 2  # a small field asks before it begins and before its first step
    assert cancelled_at(before_third, **QUICK) == "field 3 of 16"
    assert cancelled_at(SAMPLES * 2, **QUICK) == "batch 1"
    assert cancelled_at(SAMPLES * 2 + 3, **QUICK) == "batch 4"
    assert cancelled_at(SAMPLES * 2 + 4, **QUICK) == "the example field"
    assert cancelled_at(50, grid_size=256, steps=60) == "field 1 of 16"


def test_a_run_that_is_not_stopped_ends_as_without_the_question() -> None:
    assert run_validation(cancelled=lambda: False, **QUICK) == run_validation(**QUICK)


def test_the_error_of_a_stopped_run_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ValidationCancelledError("batch 2")))
    assert (error.stage, str(error)) == ("batch 2", "the validation was cancelled at batch 2")


def test_results_are_plain_values() -> None:
    result = run_validation(**QUICK)
    assert all(type(value) in (int, float) for value in asdict(result).values())
    assert ValidationResult(**asdict(result)) == result


def stages_and_result(**arguments: Any) -> tuple[list[str], ValidationResult]:
    pieces, stages = validation_in_pieces(**arguments), []
    while True:
        try:
            stages.append(next(pieces))
        except StopIteration as done:
            return stages, done.value


def test_in_pieces_it_gives_the_same_numbers_and_says_before_each_what_comes() -> None:
    stages, result = stages_and_result(epochs=2, batch_size=6, **QUICK)
    assert result == run_validation(epochs=2, batch_size=6, **QUICK)
    fields = [f"field {number} of 16" for number in range(1, 17)]
    assert list(dict.fromkeys(stages)) == [*fields, *(f"batch {number}" for number in range(1, 7)), "the example field"]


def test_a_piece_of_a_field_is_bounded_in_cell_steps() -> None:
    stages, _ = stages_and_result(grid_size=64, steps=64)
    pieces = Counter(stages)
    assert pieces["field 1 of 16"] == pieces["the example field"] == 1 + 64 * 64 * 64 // 65_536
    assert pieces["batch 4"] == 1


def test_pieces_of_several_validations_may_be_computed_in_turn() -> None:
    turns = [validation_in_pieces(seed=seed, **QUICK) for seed in (1, 2, 3)]
    results: dict[int, ValidationResult] = {}
    while len(results) < len(turns):
        for number, pieces in enumerate(turns):
            try:
                next(pieces)
            except StopIteration as done:
                results.setdefault(number, done.value)
    assert [results[number] for number in range(3)] == [run_validation(seed=seed, **QUICK) for seed in (1, 2, 3)]


def test_a_validation_that_is_given_up_closes_the_simulation_under_way() -> None:
    closed: list[bool] = []

    def simulate(generator: np.random.Generator) -> Generator[None, None, tuple[npt.NDArray[np.float64], int]]:
        try:
            yield
        finally:
            closed.append(True)
        return np.zeros((8, 8)), 0

    pieces = validation_in_pieces(simulate=simulate, **QUICK)
    assert [next(pieces), next(pieces)] == ["field 1 of 16"] * 2
    pieces.close()
    assert closed == [True]


def test_arguments_out_of_bounds_are_refused_before_the_first_piece() -> None:
    with pytest.raises(ValueError, match=r"epochs .*grid_size"):
        validation_in_pieces(epochs=0, grid_size=0)
