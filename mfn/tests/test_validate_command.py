"""`mfn validate`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from mfn.commands.validate import validate


def run(*arguments: object) -> Result:
    return CliRunner().invoke(validate, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            (),
            {
                "loss_start": 2.4327855110168457,
                "loss_final": 1.795846939086914,
                "loss_drop": 0.6369385719299316,
                "pot_min_mV": -71.08395153742538,
                "pot_max_mV": -62.9757761271483,
                "example_fractal_dim": 0.0,
                "lyapunov_exponent": -2.1212794021212833,
                "lyapunov_mean": -2.2162144000352093,
                "growth_events": 20,
                "nernst_symbolic_mV": -89.01066911987905,
                "nernst_numeric_mV": -89.01066911987907,
            },
        ),
        (("--epochs", 5), {"loss_final": 0.2497178127945}),
        (
            ("--grid-size", 16, "--steps", 8),
            {"loss_start": 2.4444620609283447, "loss_final": 1.8212947845458984},
        ),
    ],
    ids=["defaults", "five epochs", "small"],
)
def test_it_prints_the_tabulated_numbers(arguments: tuple[object, ...], expected: dict[str, float]) -> None:
    outcome = run("--json", *arguments)
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    found = json.loads(outcome.stdout)
    for name, value in expected.items():
        tolerance = 2e-6 if name.startswith("loss") else 1e-12 * abs(value)
        assert abs(found[name] - value) <= tolerance, name


def test_a_person_gets_a_name_and_a_value_a_line() -> None:
    lines = run("--grid", 16, "--steps", 8).stdout.splitlines()
    assert len(lines) == 12
    assert lines[0] == "loss_start          : 2.444462"
    assert [line.partition(" : ")[0].strip() for line in lines][-1] == "nernst_rtfz_mV"
    assert "growth_events" in lines[8]


def test_flags_of_the_field_change_it() -> None:
    def told(*flags: str) -> str:
        outcome = run("--grid-size", 16, "--steps", 8, "--json", *flags)
        assert outcome.exit_code == 0, outcome.stderr
        return outcome.stdout

    assert (
        len({told(), told("--no-turing"), told("--quantum-jitter"), told("--seed", "7"), told("--batch-size", "8")})
        == 5
    )
    assert told("--turing-enabled") == told()


def test_what_a_field_tells_of_a_parameter_is_measured_on_fields_that_were_held_out() -> None:
    outcome = run("--recover", "alpha", "--samples", 60, "--grid", 16, "--steps", 8, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert (found["parameter"], found["samples"]) == ("alpha", 60)
    assert found["train_error"] < found["test_error"] < found["baseline_error"]
    assert len(found["fold_errors"]) == found["folds"]
    shown = run("--recover", "alpha", "--samples", 60, "--grid", 16, "--steps", 8).stdout
    assert shown.startswith("parameter      : alpha\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "0"], "epochs"),
        (["--batch-size", "0"], "batch_size"),
        (["--grid-size", "0"], "grid_size"),
        (["--steps", "-1"], "steps"),
        (["--seed", "-1"], "seed"),
        (["--recover", "alpha", "--samples", "3"], "samples"),
    ],
)
def test_a_value_that_is_refused_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
