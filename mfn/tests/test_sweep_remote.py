"""Sweeps on an executor plugin."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mfn.commands.sweep import sweep

pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")

EXECUTOR = """
from concurrent.futures import Future, ThreadPoolExecutor
import pickle

from attrs import frozen
from mfn_core import Code, ComponentSpec, MfnError, hookimpl, setting

log = []


class Never:
    def is_set(self):
        return False


@frozen(kw_only=True)
class Settings:
    scheduler: str = setting(default="", help="where")
    flaky: bool = setting(default=False, help="refuse every second job once")
    deadly: int = setting(default=-1, help="number of the simulation that brings its worker down")


class Toy:
    remote = True
    slots = 3

    def __init__(self, config):
        self.config, self.refused, self.count = config, set(), 0
        self.threads = ThreadPoolExecutor(3)

    async def start(self):
        log.append(("start", self.config.scheduler))
        if self.config.scheduler == "tcp://nowhere:1":
            raise OSError(111, "connection refused")

    async def stop(self):
        log.append(("stop",))
        self.threads.shutdown()

    def submit(self, job, /):
        self.count += 1
        number = job.args[0].number
        if self.config.flaky and number % 2 and number not in self.refused:
            self.refused.add(number)
            raise MfnError(Code.UNAVAILABLE, "away", retry_after=0.1)
        if number == self.config.deadly:
            failed = Future()
            failed.set_exception(MfnError(Code.INTERNAL, "died", reason="a worker died of it"))
            return failed
        return self.threads.submit(lambda: pickle.loads(pickle.dumps(job))(Never()))


@hookimpl
def mfn_executors():
    return [ComponentSpec(name="toy", config=Settings, factory=lambda config, context: Toy(config), summary="toy")]
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of an executor plugin `toy`, whose workers are threads that get copies."""
    site = tmp_path / "site"
    info = site / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "toy_executor.py").write_text(EXECUTOR)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mfn.plugins.v1]\nexecutor_toy = toy_executor\n")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield importlib.import_module("toy_executor")
    __import__("sys").modules.pop("toy_executor")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(sweep, [str(argument) for argument in arguments])


SMALL = ("--seeds", "0:12", "--grid", "8", "--steps", "2", "--engine", "numpy")


def test_the_table_is_that_of_a_sweep_here(toy: Any, tmp_path: Path) -> None:
    assert run(*SMALL, "--workers", 1, "--output", tmp_path / "here").exit_code == 0
    outcome = run(*SMALL, "--executor", "toy", "--scheduler", "tcp://there:1", "--output", tmp_path / "there")
    assert outcome.exit_code == 0, outcome.stderr
    here, there = ((tmp_path / name / "dataset.parquet").read_bytes() for name in ("here", "there"))
    assert here == there
    assert toy.log == [("start", "tcp://there:1"), ("stop",)]


@pytest.mark.slow
def test_settings_come_from_a_configuration_and_the_command_line_wins(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "mfn.toml").write_text('[executors.toy]\nscheduler = "tcp://file:1"\nflaky = true\n')
    arguments = (*SMALL, "--executor", "toy", "--config", tmp_path / "mfn.toml")
    assert run(*arguments, "--output", tmp_path / "a").exit_code == 0
    assert run(*arguments, "--scheduler", "tcp://flag:1", "--output", tmp_path / "b").exit_code == 0
    assert [each[1] for each in toy.log if each[0] == "start"] == ["tcp://file:1", "tcp://flag:1"]


def test_an_executor_that_is_away_for_a_while_is_waited_for(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfn.sweeps._run.RETRY_SECONDS", 0.01)
    (tmp_path / "mfn.toml").write_text("[executors.toy]\nflaky = true\n")
    outcome = run(
        *SMALL, "--executor", "toy", "--config", tmp_path / "mfn.toml", "--output", tmp_path / "out", "--json"
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["rows"] == 12


def test_one_that_stays_away_ends_the_sweep_which_can_go_on(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfn.sweeps._run.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("mfn.sweeps._run.PATIENCE_SECONDS", 0.0)
    (tmp_path / "mfn.toml").write_text("[executors.toy]\nflaky = true\n")
    outcome = run(*SMALL, "--executor", "toy", "--config", tmp_path / "mfn.toml", "--output", tmp_path / "out")
    assert outcome.exit_code == 1
    assert outcome.stderr == "Error: away; given up after 0 s\n"
    assert (tmp_path / "out" / "journal.jsonl").exists()
    assert toy.log[-1] == ("stop",)
    assert run("--resume", tmp_path / "out", "--workers", 1).exit_code == 0


def test_a_simulation_that_brings_its_worker_down_is_a_failure(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "mfn.toml").write_text("[executors.toy]\ndeadly = 5\n")
    outcome = run(*SMALL, "--executor", "toy", "--config", tmp_path / "mfn.toml", "--output", tmp_path / "out")
    assert outcome.exit_code == 1
    error = json.loads((tmp_path / "out" / "errors.jsonl").read_text())
    assert (error["sim_id"], error["type"], error["message"]) == (5, "WorkerDied", "a worker died of it")


def test_one_that_cannot_be_reached_is_one_line(toy: Any, tmp_path: Path) -> None:
    outcome = run(*SMALL, "--executor", "toy", "--scheduler", "tcp://nowhere:1", "--output", tmp_path / "out")
    assert outcome.exit_code == 1
    assert outcome.stderr == "Error: [Errno 111] connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--executor", "toys"], "no executor 'toys' is installed; there is: processes"),
        (
            ["--executor", "toy", "--scheduler", "tcp://x:1", "--workers", "2"],
            "--workers is of a cluster of this machine",
        ),
        (["--executor", "toy", "--workers", "2"], "executors.toy.local: unknown"),
    ],
)
def test_options_that_do_not_fit_are_refused(toy: Any, arguments: list[str], said: str, tmp_path: Path) -> None:
    outcome = run(*SMALL, *arguments, "--output", tmp_path / "out")
    assert outcome.exit_code == 2
    assert said in outcome.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_cluster_of_processes_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("mfn_executor_dask", reason="the cluster is a plugin, an extra")
    arguments = ("--set", "alpha=0.1:0.2:3", "--seeds", "0:10", "--grid", 16, "--steps", 20)
    assert run(*arguments, "--workers", 1, "--output", tmp_path / "here").exit_code == 0
    outcome = run(*arguments, "--executor", "dask", "--workers", 2, "--output", tmp_path / "there")
    assert outcome.exit_code == 0, outcome.stderr
    here, there = ((tmp_path / name / "dataset.parquet").read_bytes() for name in ("here", "there"))
    assert here == there
