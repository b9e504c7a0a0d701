"""`mfn sweep`: from the command line to the table, whatever happens on the way."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import mfn
from mfn.commands.sweep import sweep

pq = pytest.importorskip("pyarrow.parquet", reason="sweeps write Parquet, an extra")

SMALL = ("--grid", "8", "--steps", "2", "--workers", "1", "--engine", "numpy")
FRAGILE = SMALL[:-2]
MFN = (sys.executable, "-m", "mfn_core", "sweep")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(sweep, [str(argument) for argument in arguments])


def told(outcome: Result) -> dict[str, Any]:
    assert outcome.exit_code in (0, 1), outcome.stderr
    found = json.loads(outcome.stdout)
    assert isinstance(found, dict)
    return found


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def until_journalled(directory: Path, count: int) -> None:
    """Wait until the journal holds so many outcomes."""
    journal = directory / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < count + 1:
        assert time.monotonic() < deadline, "nothing is journalled"
        time.sleep(0.01)


@contextmanager
def started(arguments: Sequence[object]) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which is gone afterwards."""
    words = [*MFN, *map(str, arguments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_grid_becomes_a_table(tmp_path: Path) -> None:
    outcome = run("--set", "alpha=0.1:0.2:3", "--set", "turing_enabled=true,false", "--seeds", "0:4", *SMALL,
                  "--output", tmp_path / "out")  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr == ""
    first, second = outcome.stdout.splitlines()
    assert first.startswith("24 simulations on engine numpy, ")
    assert second == f"wrote {tmp_path / 'out' / 'dataset.parquet'}: 24 rows"
    table = pq.read_table(tmp_path / "out" / "dataset.parquet")
    parameters = {"alpha": "0.1:0.2:3", "turing_enabled": "true,false"}
    assert table.equals(mfn.sweep(parameters, seeds="0:4", grid_size=8, steps=2, engine="numpy"))
    assert listing(tmp_path / "out") == ["dataset.parquet"]


def test_the_default_output_is_named_by_scenario_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (Path(told(run("--preset", "benchmark", *SMALL[4:], "--json"))["table"]) for _ in range(2))
    assert first != second
    for path in (first, second):
        data, scenario, stamp, name = path.parts
        assert (data, scenario, name) == ("data", "benchmark_small", "dataset.parquet")
        assert stamp[:2] == "20"
        assert stamp[8] == "T"


def test_options_may_stand_in_a_file_and_those_on_the_command_line_win(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        '[sweep]\nname = "mine"\ngrid = [8, 10]\nsteps = 3\nseeds = "0:2"\n\n[sweep.set]\nalpha = "0.1,0.2"\n'
        "spike_probability = 0.5\n"
    )
    outcome = run(file, "--steps", 2, "--set", "alpha=0.15", *SMALL[4:], "--output", tmp_path / "out", "--json")
    table = pq.read_table(told(outcome)["table"])
    assert table.num_rows == 4
    assert set(table["steps"].to_pylist()) == {2}
    assert set(table["alpha"].to_pylist()) == {0.15}
    assert set(table["spike_probability"].to_pylist()) == {0.5}
    assert set(table["grid_size"].to_pylist()) == {8, 10}
    assert set(table["scenario_name"].to_pylist()) == {"mine"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("steps = 3", "unknown table [steps]"),
        ("[swept]\nsteps = 3", "it has no table [sweep]"),
        ("[sweep]\nstep = 3", "sweep.step: unknown; did you mean 'steps'?"),
        ("[sweep]\nmodel = 3", "sweep.model: must be text, got 3"),
        ("[sweep]\nsamples = true", "sweep.samples: must be a whole number, got True"),
        ("[sweep]\nset = 3", "sweep.set: must be a table"),
        ("[sweep", "not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(content)
    outcome = run(file)
    assert outcome.exit_code == 2
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(f"Error: {file}: ")
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "alpha"], "--set 'alpha' is not NAME=VALUES, such as alpha=0.1:0.2:5"),
        (["--set", "alpha=0.1", "--set", "alpha=0.2"], "--set alpha is given twice"),
        (["--set", "alpha=0.3"], "alpha is out of range, got 0.3; the bound is 0.05 <= alpha < 0.25"),
        (["--set", "alpha=1e99999999"], "alpha cannot be read: '1e99999999'; write 0.1, 0.1,0.2 or 0.1:0.2:5"),
        (["--steps", "1e99"], "steps takes whole numbers of at most 9223372036854775807, got 1e+99"),
        (["--grid", "8", "--engine", "abacus"], "no engine 'abacus' is installed; there is: "),
        (["--resume", "there", "--steps", "3"], "--resume takes the whole sweep from its directory"),
        (["--resume", "there"], "there: no sweep was begun there"),
        (["--scheduler", "tcp://x:1"], "--scheduler and --config belong to an executor plugin; add --executor dask"),
        (["--executor", "abacus"], "no executor 'abacus' is installed; there is: processes"),
        (["--preset", "small", "--sample", "default"], "sample cannot be given with preset"),
        (["--name", "a/b"], "a sweep's name is 1 to 64 letters"),
    ],
)
def test_what_is_refused_is_one_line_and_status_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(f"Error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_holds_another_sweep_is_not_touched(tmp_path: Path) -> None:
    assert run("--seeds", "0:2", *SMALL, "--output", tmp_path).exit_code == 0
    before = (tmp_path / "dataset.parquet").read_bytes()
    outcome = run("--seeds", "0:3", *SMALL, "--output", tmp_path)
    assert outcome.exit_code == 2
    assert f"{tmp_path} holds another sweep (seeds: 0:2 there, 0:3 here); give the options" in outcome.stderr
    assert (tmp_path / "dataset.parquet").read_bytes() == before
    (tmp_path / "dataset.parquet").write_bytes(b"something else")
    outcome = run("--seeds", "0:3", *SMALL, "--output", tmp_path)
    assert outcome.exit_code == 2
    assert "dataset.parquet is not the table of a sweep; choose another --output" in outcome.stderr
    assert (tmp_path / "dataset.parquet").read_bytes() == b"something else"


def test_a_changed_plan_and_other_versions_refuse_to_go_on(tmp_path: Path, fragile_engine: str) -> None:
    arguments = ("--seeds", "0:8", *FRAGILE, "--engine", fragile_engine, "--output", tmp_path)
    assert run(*arguments).exit_code == 1  # seed 7 fails, and the journal stays
    outcome = run(*arguments, "--steps", 3)
    assert outcome.exit_code == 2
    assert "holds another sweep (steps: [2] there, [3] here)" in outcome.stderr
    journal = tmp_path / "journal.jsonl"
    import zlib

    header, *rest = journal.read_bytes().splitlines(keepends=True)
    older = header[9:-1].replace(b"fragile 1.0", b"fragile 0.9")
    journal.write_bytes(b"%08x %s\n" % (zlib.crc32(older), older) + b"".join(rest))
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert "was begun with other versions (engine fragile 0.9 there, fragile 1.0 here)" in outcome.stderr


def test_a_failing_simulation_is_an_error_in_its_own_file_and_status_1(tmp_path: Path, fragile_engine: str) -> None:
    outcome = run("--seeds", "5:10", *FRAGILE, "--engine", fragile_engine, "--output", tmp_path)
    assert outcome.exit_code == 1
    assert outcome.stderr == f"1 failed, and stand with their errors in {tmp_path / 'errors.jsonl'}\n"
    assert pq.read_table(tmp_path / "dataset.parquet")["random_seed"].to_pylist() == [5, 6, 8, 9]
    (line,) = (tmp_path / "errors.jsonl").read_text().splitlines()
    error = json.loads(line)
    assert (error["sim_id"], error["random_seed"], error["type"]) == (2, 7, "NumericalInstabilityError")
    assert error["alpha"] == 0.18
    assert "after step 1 the potential holds 2 NaN" in error["message"]
    again = run("--resume", tmp_path, "--workers", 1, "--json")
    assert again.exit_code == 1
    assert told(again)["found"] == 5  # nothing is run twice


def test_what_failed_is_run_again_where_that_is_asked_for(
    tmp_path: Path, fragile_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--seeds", "5:10", *FRAGILE, "--engine", fragile_engine, "--output", tmp_path).exit_code == 1
    import fragile_engine as engine  # type: ignore[import-not-found]  # a module of the fixture

    monkeypatch.setattr(engine, "FAILS", -1)
    outcome = run("--resume", tmp_path, "--retry-failed", "--workers", 1, "--json")
    assert outcome.exit_code == 0
    assert told(outcome)["found"] == 4
    assert listing(tmp_path) == ["dataset.parquet", "site"]
    assert pq.read_table(tmp_path / "dataset.parquet")["random_seed"].to_pylist() == [5, 6, 7, 8, 9]


@pytest.mark.slow
def test_a_simulation_that_brings_its_process_down_fails_alone(tmp_path: Path, fragile_engine: str) -> None:
    arguments = ("--seeds", "10:17", "--grid", 8, "--steps", 2, "--workers", 2, "--engine", fragile_engine)
    outcome = run(*arguments, "--output", tmp_path, "--json")
    assert outcome.exit_code == 1, outcome.stderr
    assert told(outcome)["failed"] == 1
    assert pq.read_table(tmp_path / "dataset.parquet")["random_seed"].to_pylist() == [10, 11, 12, 14, 15, 16]
    error = json.loads((tmp_path / "errors.jsonl").read_text())
    assert (error["random_seed"], error["type"]) == (13, "WorkerDied")


@pytest.mark.slow
def test_processes_that_all_die_end_the_sweep_instead_of_failing_it_simulation_by_simulation(
    tmp_path: Path, fragile_engine: str
) -> None:
    arguments = ("--set", "alpha=0.1:0.2:5", "--seeds", 13, "--grid", 8, "--steps", 2, "--engine", fragile_engine)
    outcome = run(*arguments, "--workers", 2, "--output", tmp_path / "out")
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("Error: 3 worker processes died at their first simulation; run with one worker")
    assert listing(tmp_path / "out") == ["journal.jsonl"]


def slow(engine: str) -> tuple[object, ...]:
    """Fifty simulations that take a hundredth of a second or more, so that there is time to kill them."""
    return ("--set", "alpha=0.1:0.2:5", "--seeds", "100:110", "--grid", 12, "--steps", 12, "--engine", engine)


@pytest.mark.slow
def test_a_sweep_killed_with_sigkill_ends_with_the_same_bytes(tmp_path: Path, fragile_engine: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = slow(fragile_engine)
    assert run(*arguments, "--workers", 1, "--output", whole).exit_code == 0
    with started([*arguments, "--workers", 1, "--output", killed]) as process:
        until_journalled(killed, 20)
        process.kill()
        process.wait()
    assert listing(killed) == ["journal.jsonl"]
    with (killed / "journal.jsonl").open("r+b") as journal:
        journal.truncate(journal.seek(0, 2) - 7)  # as if the machine had died in the middle of the line
    outcome = run("--resume", killed, "--workers", 1, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert 19 <= told(outcome)["found"] < 50
    assert (killed / "dataset.parquet").read_bytes() == (whole / "dataset.parquet").read_bytes()
    assert listing(killed) == ["dataset.parquet"]


@pytest.mark.slow
def test_processes_give_the_same_bytes_and_end_with_a_killed_parent(tmp_path: Path, fragile_engine: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = slow(fragile_engine)
    assert run(*arguments, "--workers", 1, "--output", whole).exit_code == 0
    with started([*arguments, "--workers", 2, "--output", killed]) as process:
        until_journalled(killed, 10)
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
    children = [int(pid) for pid in found]
    assert len(children) >= 2
    deadline = time.monotonic() + 30
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline, "a worker outlived the process that it worked for"
        time.sleep(0.01)
    outcome = run(*arguments, "--workers", 2, "--output", killed)
    assert outcome.exit_code == 0, outcome.stderr
    assert (killed / "dataset.parquet").read_bytes() == (whole / "dataset.parquet").read_bytes()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_stops_it_within_a_step_and_says_how_to_go_on(
    number: signal.Signals, status: int, workers: int, tmp_path: Path, fragile_engine: str
) -> None:
    # The last seed never ends by itself.
    arguments = ("--seeds", "95:100", "--grid", 8, "--steps", 2, "--engine", fragile_engine)
    out = tmp_path / "out"
    with started([*arguments, "--workers", workers, "--output", out]) as process:
        until_journalled(out, 4)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == status
    assert stderr == f"stopped after 4 of 5 simulations; go on with: mfn sweep --resume {out}\n"
    assert listing(out) == ["journal.jsonl"]


def test_two_sweeps_cannot_share_a_directory(tmp_path: Path, fragile_engine: str) -> None:
    arguments = ("--seeds", "98:100", *FRAGILE, "--engine", fragile_engine, "--output", tmp_path / "out")
    with started(arguments):
        until_journalled(tmp_path / "out", 1)
        outcome = run(*arguments)
    assert outcome.exit_code == 1
    assert "another sweep is writing it; wait for it, or choose another output" in outcome.stderr


def test_a_full_disk_is_one_line_and_the_sweep_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfn.sweeps._journal import Journal

    add = Journal.add

    def full(journal: Journal, outcome: dict[str, Any]) -> None:
        if outcome["sim_id"] == 2:
            raise OSError(28, "No space left on device", str(journal.path))
        add(journal, outcome)

    monkeypatch.setattr(Journal, "add", full)
    outcome = run("--seeds", "0:4", *SMALL, "--output", tmp_path)
    assert outcome.exit_code == 1
    assert outcome.stderr == f"Error: {tmp_path / 'journal.jsonl'}: no space left on device\n"
    monkeypatch.undo()
    found = told(run("--resume", tmp_path, "--workers", 1, "--json"))
    assert (found["rows"], found["failed"], found["found"]) == (4, 0, 2)


def test_progress_is_shown_on_a_terminal_and_removed_at_the_end(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    arguments = ("--seeds", "0:40", "--grid", "32", "--steps", "30", "--engine", "numpy")
    words = [*MFN, *arguments, "--workers", "1", "--output", str(tmp_path)]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=environment
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
    text = seen.decode()
    assert "/40" in text
    assert "\x1b[2K" in text
    assert "40 simulations on engine" in text


def test_help_is_there_without_anything_heavy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom mfn.commands.sweep import sweep\n"
        "assert CliRunner().invoke(sweep, ['--help']).exit_code == 0\n"
        "heavy = {'numpy', 'pyarrow', 'matplotlib', 'rich', 'distributed', 'mfn_core.execution'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
