"""`mfn simulate`."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import mfn
from mfn.commands.simulate import simulate

TABLE = json.loads((Path(__file__).parent / "data" / "mycelium.json").read_text())


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(simulate, [str(argument) for argument in arguments])


def names(row: dict[str, Any]) -> str:
    return "-".join(str(value) for value in row["arguments"].values())


def options(arguments: dict[str, Any]) -> list[str]:
    plain = {
        "--seed": arguments["seed"],
        "--grid": arguments["grid_size"],
        "--steps": arguments["steps"],
        "--alpha": arguments["alpha"],
        "--spike-probability": arguments["spike_probability"],
    }
    given = [text for name, value in plain.items() for text in (name, str(value))]
    if not arguments["turing_enabled"]:
        given.append("--no-turing")
    if arguments["jitter"]:
        given.append("--jitter")
    return given


@pytest.mark.parametrize("row", TABLE, ids=names)
def test_it_prints_the_tabulated_numbers(row: dict[str, Any]) -> None:
    outcome = run("--json", *options(row["arguments"]))
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert outcome.stdout.count("\n") == 1
    told = json.loads(outcome.stdout)
    for name, expected in row["expected"].items():
        if name in ("corner_V", "diagonal_V"):
            continue
        assert abs(told[name] - expected) <= 1e-12 * max(1.0, abs(told[name]), abs(expected)), name
    for name in ("seed", "grid_size", "steps"):
        assert told[name] == row["arguments"][name]
    assert told["model"] == "mycelium"
    assert told["engine"] in mfn.available_engines()
    assert told["parameters"]["turing_enabled"] == row["arguments"]["turing_enabled"]
    assert told["parameters"]["jitter"] == row["arguments"]["jitter"]
    assert (told["dimension"]["value"] is None) == bool(told["dimension"]["reason"])


def test_a_boundary_is_an_option_of_its_own() -> None:
    arguments = ["--model", "gray_scott", "--steps", "5", "--boundary", "neumann"]
    told = json.loads(run("--json", *arguments).stdout)
    expected = mfn.simulate(model="gray_scott", steps=5, boundary="neumann")
    assert (told["boundary"], told["field"]["mean"]) == ("neumann", expected.statistics.mean)
    assert "64 × 64 cells, neumann, seed 42" in run(*arguments).stdout
    refused = run("--set", "boundary=neumann")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "Error: the boundary is no parameter; say --boundary neumann\n",
    )


def test_without_options_it_is_what_simulate_gives() -> None:
    assert json.loads(run("--json").stdout) == mfn.simulate().to_dict()


def test_a_person_gets_one_line_for_each_thing() -> None:
    outcome = run("--grid", 16, "--steps", 5)
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    lines = outcome.stdout.splitlines()
    assert len(lines) == 8
    assert lines[1] == "grid          16 × 16 cells, seed 42"
    assert lines[-1] == "dimension     undefined: the mask is empty"
    assert all(line == line.rstrip() for line in lines)


def test_files_are_written_and_named(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    field, picture = tmp_path / "field.npy", tmp_path / "field.png"
    outcome = run("--grid", 16, "--steps", 5, "--save", field, "--plot", picture)
    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-2:] == [f"wrote {field}", f"wrote {picture}"]
    assert np.load(field).tobytes() == mfn.simulate(grid_size=16, steps=5).field.tobytes()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert listing(tmp_path) == ["field.npy", "field.png"]


def test_json_stays_one_object_when_files_are_written_too(tmp_path: Path) -> None:
    outcome = run("--json", "--grid", 8, "--steps", 1, "--save", tmp_path / "field.npy")
    assert json.loads(outcome.stdout)["steps"] == 1
    assert (tmp_path / "field.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "0"], "grid_size is out of range, got 0; the bound is 1 <= grid_size"),
        (["--seed", "-1"], "seed is out of range, got -1; the bound is 0 <= seed <= 9223372036854775807"),
        (["--steps", "-1"], "steps must be a whole number of at least 0, got -1"),
        (["--alpha", "0"], "alpha is out of range, got 0.0; the bound is 0 < alpha <= 0.25"),
        (["--alpha", "0.3"], "alpha is out of range, got 0.3; the bound is 0 < alpha <= 0.25"),
        (["--alpha", "nan"], "alpha must be finite, got nan; the bound is 0 < alpha <= 0.25"),
        (["--spike-probability", "-0.1"], "spike_probability is out of range, got -0.1; the bound is 0 <= spike_pro"),
        (["--spike-probability", "inf"], "spike_probability must be finite, got inf; the bound is 0 <= spike_prob"),
        (["--model", "moss"], "no model 'moss' is known"),
        (["--engine", "abacus"], "no engine 'abacus' is installed; there is: "),
        (["--set", "steps=5"], "model 'mycelium' has no parameter 'steps'"),
        (["--set", "seed=5"], "model 'mycelium' has no parameter 'seed'"),
        (["--set", "progress=5"], "model 'mycelium' has no parameter 'progress'"),
        (["--set", "alpha=x"], "--set 'alpha=x' has no number and no on or off after its ="),
        (["--set", "alpha"], "--set 'alpha' is not NAME=VALUE, such as alpha=0.1 or jitter=on"),
        (["--alpha", "0.1", "--set", "alpha=0.2"], "alpha is given twice, by --alpha and --set alpha=0.2; leave one"),
        (["--set", "alpha=0.1", "--set", "alpha=0.2"], "alpha is given twice, by --set alpha=0.1 and --set alpha=0.2"),
        (["--no-turing", "--set", "turing_enabled=on"], "turing_enabled is given twice, by --no-turing and --set"),
        (["--jitter", "--set", "jitter=off"], "jitter is given twice, by --jitter and --set jitter=off"),
        (["--save", "field.txt"], "field.txt does not end in .npy, which is the format that is written; rename it"),
    ],
)
def test_a_value_that_is_refused_is_one_clear_line_and_status_2(arguments: list[str], said: str) -> None:
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(f"Error: {said}")


def test_everything_that_is_refused_stands_in_that_line() -> None:
    (line,) = run("--grid", 0, "--alpha", 1, "--steps", -1).stderr.splitlines()
    assert "grid_size is" in line
    assert "alpha is" in line
    assert "steps must" in line


@pytest.mark.parametrize("arguments", [["--grid", "x"], ["--alpha", "x"], ["--grids", "1"], ["extra"]])
def test_a_command_line_that_cannot_be_read_is_status_2_and_says_why_in_its_last_line(arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines()[-1].startswith("Error: ")


def test_an_unknown_picture_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    outcome = run("--plot", tmp_path / "field.xyz")
    assert outcome.exit_code == 2
    (line,) = outcome.stderr.splitlines()
    assert "does not end in a known picture format; use one of: " in line


def test_a_file_that_cannot_be_written_is_known_before_anything_is_computed_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("it was computed")

    monkeypatch.setattr("mfn.simulation.simulate", computed)
    (tmp_path / "field.png").mkdir()
    cases = [
        (["--save", tmp_path / "none" / "field.npy"], "no such file or directory"),
        (["--save", tmp_path / "field.npy", "--plot", tmp_path / "field.png"], "is a directory"),
    ]
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    for arguments, reason in cases:
        outcome = run(*arguments)
        assert outcome.exit_code == 1
        (line,) = outcome.stderr.splitlines()
        assert line == f"Error: {arguments[-1]}: cannot be written: {reason}"
    assert listing(tmp_path) == ["field.png"]


def test_a_disk_that_fills_up_is_one_line_and_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object, field: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "field.npy"))

    monkeypatch.setattr(np, "save", full)
    outcome = run("--grid", 8, "--save", tmp_path / "field.npy")
    assert outcome.exit_code == 1
    assert outcome.stderr == f"Error: {tmp_path / 'field.npy'}: cannot be written: no space left on device\n"
    assert listing(tmp_path) == []


def test_without_matplotlib_a_picture_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = run("--plot", tmp_path / "field.png")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        'Error: drawing needs matplotlib; install it with: pip install "mycelium-fractal-net[plot]"\n'
    )


def test_a_grid_that_does_not_fit_into_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mfn.simulation.simulate", too_large)
    outcome = run("--grid", 1000000)
    assert outcome.exit_code == 1
    assert outcome.stderr == "Error: a grid of 1000000 × 1000000 cells does not fit into memory\n"


def test_the_installed_program_does_it() -> None:
    arguments = ["simulate", "--json", "--grid", "32", "--steps", "32"]
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", *arguments], capture_output=True, check=True, encoding="utf-8"
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == mfn.simulate(grid_size=32, steps=32).to_dict()


def on_a_terminal(arguments: list[str]) -> str:
    """What the program writes to standard output and error when both are a terminal of 100 columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "mfn_core", "simulate", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env=environment,
    ) as process:
        os.close(follower)
        seen = b""
        try:
            while chunk := os.read(leader, 65536):
                seen += chunk
        except OSError:  # Linux says that the other end is closed in this way
            pass
        finally:
            os.close(leader)
        assert process.wait() == 0
    return seen.decode()


def test_progress_is_shown_on_a_terminal_and_removed_at_the_end() -> None:
    seen = on_a_terminal(["--grid", "64", "--steps", "3000"])
    assert re.search(r"/3000", seen)
    assert "\x1b[2K" in seen  # a line was erased
    assert "3000, with" in seen


def test_json_on_a_terminal_has_no_progress() -> None:
    seen = on_a_terminal(["--grid", "64", "--steps", "3000", "--json"])
    assert "\x1b" not in seen
    assert json.loads(seen)["steps"] == 3000
