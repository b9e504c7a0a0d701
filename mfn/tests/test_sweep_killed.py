"""A sweep of a thousand simulations that is killed with SIGKILL, whole process group at once, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")
pq = pytest.importorskip("pyarrow.parquet", reason="sweeps write Parquet, an extra")

MFN = (sys.executable, "-m", "mfn_core", "sweep")
SIMULATIONS = 1000

GRID = (
    *("--set", "alpha=0.1:0.2:5", "--set", "spike_probability=0.1,0.25", "--seeds", "0:100"),
    *("--grid", "8", "--steps", "4", "--engine", "numpy"),
)
SAMPLE = ("--sample", "minimal", "--samples", str(SIMULATIONS), "--engine", "numpy")

TIMES = frozenset({"timestamp"})
"""Columns that say when a sweep began, and so differ between two of them."""

SCENARIO_COLUMNS = (
    *("sim_id", "scenario_name", "grid_size", "steps", "alpha", "turing_enabled", "random_seed"),
    *("D_box", "D_r2", "V_min", "V_max", "V_mean", "V_std", "V_skew", "V_kurt", "dV_mean", "dV_max"),
    *("T_stable", "E_trend", "f_active", "N_clusters_low", "N_clusters_med", "N_clusters_high"),
    *("max_cluster_size", "cluster_size_std", "growth_events", "turing_activations", "clamping_events"),
)
"""The 28 that every design of a mycelium model has."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def finished(*arguments: object) -> dict[str, Any]:
    """Run the command to its end, in a process of its own, and give what it says."""
    done = subprocess.run([*MFN, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


def journalled(directory: Path) -> int:
    """How many outcomes the journal holds: its whole lines, less the first."""
    journal = directory / "journal.jsonl"
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def killed(directory: Path, at: int, *arguments: object) -> int:
    """Start the command as leader of a process group, kill the group once the journal holds `at` outcomes.

    Gives how many it holds then.
    """
    process = subprocess.Popen(
        [*MFN, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 240
        while journalled(directory) < at:
            assert process.poll() is None, "the sweep ended before it was killed"
            assert time.monotonic() < deadline, f"only {journalled(directory)} simulations are journalled"
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (directory / "dataset.parquet").exists()
    return journalled(directory)


def bits(table: Any) -> dict[str, bytes | list[str]]:
    """Every column but times, numbers as the bits that they are made of."""
    assert all(column.null_count == 0 for column in table.columns)
    found: dict[str, bytes | list[str]] = {}
    for name in table.column_names:
        if name not in TIMES:
            column = table[name]
            found[name] = column.to_pylist() if pa.types.is_string(column.type) else column.to_numpy().tobytes()
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """The tables of sweeps that nobody killed."""
    tables: dict[tuple[str, ...], Path] = {}
    for design in (GRID, SAMPLE):
        directory = tmp_path_factory.mktemp("whole") / "out"
        told = finished(*design, "--workers", 1, "--output", directory)
        assert (told["rows"], told["failed"], told["found"]) == (SIMULATIONS, 0, 0)
        tables[design] = directory / "dataset.parquet"
    return tables


@pytest.mark.parametrize(
    ("design", "workers", "halts"),
    [(GRID, 1, (500,)), (GRID, 2, (500,)), (GRID, 2, (350, 650)), (SAMPLE, 1, (350, 650))],
    ids=["grid, one process", "grid, two processes", "grid, two processes, killed twice", "sample, killed twice"],
)
def test_a_thousand_simulations_killed_halfway_end_with_the_rows_of_an_uninterrupted_sweep(
    tmp_path: Path,
    uninterrupted: dict[tuple[str, ...], Path],
    design: tuple[str, ...],
    workers: int,
    halts: tuple[int, ...],
) -> None:
    out = tmp_path / "out"
    first = (*design, "--output", out)
    again = ("--resume", out)
    before = 0
    for number, at in enumerate(halts):
        arguments = (*(again if number else first), "--workers", workers)
        before = killed(out, at, *arguments)
        assert at <= before < SIMULATIONS
    told = finished(*again, "--workers", workers)
    assert (told["rows"], told["failed"], told["found"]) == (SIMULATIONS, 0, before)  # nothing is lost, or done twice

    table, whole = pq.read_table(out / "dataset.parquet"), pq.read_table(uninterrupted[design])
    assert table.num_rows == SIMULATIONS
    assert set(SCENARIO_COLUMNS) <= set(table.column_names)
    assert table.column_names == whole.column_names
    assert bits(table) == bits(whole)
    if not TIMES & set(table.column_names):
        assert (out / "dataset.parquet").read_bytes() == uninterrupted[design].read_bytes()
    assert [path.name for path in out.iterdir()] == ["dataset.parquet"]


def test_killing_loses_no_row_whichever_way_it_is_started_again(
    tmp_path: Path, uninterrupted: dict[tuple[str, ...], Path]
) -> None:
    # With one worker at first, with two afterwards, and by the options of the sweep instead of --resume.
    out = tmp_path / "out"
    killed(out, 300, *GRID, "--output", out, "--workers", 1)
    killed(out, 700, *GRID, "--output", out, "--workers", 2)
    finished(*GRID, "--output", out, "--workers", 2)
    assert (out / "dataset.parquet").read_bytes() == uninterrupted[GRID].read_bytes()
