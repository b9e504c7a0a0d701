"""`mfn.sweep`: the numbers of a row, the order of the rows, and what a notebook is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfn
from mfn_model import FieldSpec, get_model
from mfn_model.features import FEATURE_NAMES, extract_features

pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")

TABLE = json.loads((Path(__file__).parent / "data" / "sweep_features.json").read_text())


def close(found: float, expected: float, tolerance: float = 1e-9) -> bool:
    return abs(found - expected) <= tolerance * max(1.0, abs(expected))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['boundary']}-{row['seed']}")
def test_a_row_has_the_tabulated_features(row: dict[str, Any]) -> None:
    table = mfn.sweep(
        row["parameters"],
        seeds=row["seed"],
        grid_size=row["grid_size"],
        steps=row["steps"],
        boundary=row["boundary"],
    )
    (found,) = table.to_pylist()
    for name in FEATURE_NAMES:
        assert close(found[name], row["features"][name]), name
    for name in ("growth_events", "turing_activations", "clamping_events"):
        assert found[name] == row[name]
    assert found["boundary"] == row["boundary"]
    assert found["random_seed"] == row["seed"]


def test_features_are_those_of_the_history_without_the_initial_field() -> None:
    history = np.stack([frame.field for frame in mfn.stream(3, 24, 15, every=1, model="mycelium_rd", alpha=0.1)])
    (row,) = mfn.sweep({"alpha": 0.1}, seeds=3, grid_size=24, steps=15).to_pylist()
    for name, value in extract_features(history).as_dict().items():
        assert close(row[name], value, 1e-12), name


def test_a_grid_has_every_combination_once_with_seeds_fastest_and_grids_slowest() -> None:
    table = mfn.sweep({"alpha": "0.1,0.2", "turing_enabled": "false,true"}, seeds="1:3", grid_size=[8, 10], steps="2,3")
    rows = table.select(["grid_size", "steps", "alpha", "turing_enabled", "random_seed"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (grid, steps, alpha, turing, seed)
        for grid in (8, 10)
        for steps in (2, 3)
        for alpha in (0.1, 0.2)
        for turing in (False, True)
        for seed in (1, 2)
    ]
    assert table["sim_id"].to_pylist() == list(range(32))


def test_a_row_of_a_grid_says_every_parameter_that_was_in_force() -> None:
    table = mfn.sweep({"d_activator": 0.2}, seeds=5, grid_size=8, steps=1, model="mycelium_rd")
    (row,) = table.to_pylist()
    spec = FieldSpec(model="mycelium_rd", grid_size=8, seed=5, parameters={"d_activator": 0.2})
    for parameter in get_model("mycelium_rd").parameters:
        assert row[parameter.name] == spec[parameter.name]
    assert (row["model"], row["boundary"], row["scenario_name"]) == ("mycelium_rd", "periodic", "sweep")


def test_columns_know_their_units() -> None:
    schema = mfn.sweep(seeds=1, grid_size=8, steps=2).schema
    units = {field.name: field.metadata[b"unit"].decode() for field in schema}
    assert units["V_mean"] == "mV"
    assert units["alpha"] == get_model("mycelium_rd").parameter("alpha").unit
    assert units["D_box"] == "1"


def test_another_model_is_swept_as_well() -> None:
    table = mfn.sweep({"alpha": "0.1,0.2"}, seeds=2, grid_size=16, steps=4, model="mycelium")
    for row, alpha in zip(table.to_pylist(), (0.1, 0.2), strict=True):
        state = mfn.simulate(2, 16, 4, alpha=alpha)
        assert row["V_mean"] == pytest.approx(state.statistics.mean_mv, rel=1e-12)
        assert row["growth_events"] == state.growth_events


def test_thresholds_decide_what_is_active() -> None:
    (low,) = mfn.sweep(seeds=1, grid_size=16, steps=3, thresholds=(-90, -80, -70)).to_pylist()
    assert low["f_active"] == 1.0
    assert low["N_clusters_low"] == 1.0
    assert low["max_cluster_size"] == 256.0
    (usual,) = mfn.sweep(seeds=1, grid_size=16, steps=3).to_pylist()
    assert usual["f_active"] < 0.2


def test_progress_is_told_after_every_simulation() -> None:
    told: list[tuple[int, int]] = []
    mfn.sweep(seeds="0:3", grid_size=8, steps=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_nothing_is_left_behind_without_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    mfn.sweep(seeds=1, grid_size=8, steps=1)
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_kept_and_read_at_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mfn.sweep(seeds="0:3", grid_size=8, steps=2, output=tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["dataset.parquet"]

    def run(*_: object) -> None:
        raise AssertionError("it was simulated again")

    monkeypatch.setattr("mfn.sweeps._pools.run_job", run)
    assert mfn.sweep(seeds="0:3", grid_size=8, steps=2, output=tmp_path / "kept").equals(first)


def test_failures_are_left_out_with_a_warning_that_names_the_first(fragile_engine: str) -> None:
    with pytest.warns(UserWarning, match=r"1 of 3 simulations failed .* sim_id 1: NumericalInstabilityError: .* NaN"):
        table = mfn.sweep(seeds="6:9", grid_size=8, steps=2, engine=fragile_engine)
    assert table["sim_id"].to_pylist() == [0, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"parameters": {"alpha": "0.1:0.3:3"}}, "alpha is out of range, got 0.3"),
        ({"parameters": {"alhpa": 0.1}}, "did you mean 'alpha'"),
        ({"model": "moss"}, "no model 'moss' is known"),
        ({"grid_size": 0}, "grid_size is out of range, got 0"),
        ({"seeds": -1}, "seed is out of range, got -1"),
        ({"engine": "abacus"}, "no engine 'abacus' is installed"),
        ({"boundary": "moebius"}, "moebius"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"preset": "small", "steps": 5}, "steps cannot be given with preset"),
        ({"preset": "huge"}, "there is no preset 'huge'"),
        ({"sample": "default", "parameters": {"alpha": 0.1}}, "set cannot be given with sample"),
        ({"samples": 5}, "samples cannot be given with a grid of parameters; it belongs to sample"),
        ({"seed": 5}, "seed cannot be given with a grid of parameters; write seeds"),
        ({"sample": "default", "samples": 0}, "samples must be 1 to 10000000, got 0"),
        ({"preset": "small", "seed": -1}, "seed must be at least 0, got -1"),
        ({"thresholds": (-120, -60, -50)}, "between -100 and 50 mV"),
    ],
)
def test_what_is_wrong_is_known_before_anything_is_simulated(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        mfn.sweep(**arguments)


def test_without_pyarrow_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install \"mycelium-fractal-net\[sweep\]\""):
        mfn.sweep(seeds=1, grid_size=8, steps=1)
