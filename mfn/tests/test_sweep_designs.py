"""Sweeps by name: scenarios with fixed numbers, and random samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

import mfn
from mfn.sweeps import SAMPLES, SCENARIOS, Request, SweepPlan, carry_out
from mfn.sweeps._design import design_of

pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")

FEATURES = [
    *("D_box", "D_r2", "V_min", "V_max", "V_mean", "V_std", "V_skew", "V_kurt", "dV_mean", "dV_max", "T_stable"),
    *("E_trend", "f_active", "N_clusters_low", "N_clusters_med", "N_clusters_high", "max_cluster_size"),
    "cluster_size_std",
]
COLUMNS = [
    *("sim_id", "scenario_name", "grid_size", "steps", "alpha", "turing_enabled", "random_seed"),
    *FEATURES,
    *("growth_events", "turing_activations", "clamping_events"),
]


@pytest.mark.parametrize(
    ("preset", "grid", "steps", "samples", "alphas", "repeats"),
    [
        ("small", 32, 50, 10, [0.15], 2),
        ("medium", 64, 100, 100, [0.10, 0.15, 0.20], 3),
        ("large", 128, 200, 500, [0.08, 0.12, 0.16, 0.20], 5),
        ("benchmark", 32, 32, 5, [0.15], 1),
    ],
)
def test_a_scenario_has_its_numbers(
    preset: str, grid: int, steps: int, samples: int, alphas: list[float], repeats: int
) -> None:
    plan = Request(preset=preset).plan()
    assert plan.model == "mycelium_rd"
    settings = [plan.design.settings(number) for number in range(len(plan))]
    assert len(settings) == samples
    assert {(each.grid_size, each.steps) for each in settings} == {(grid, steps)}
    assert [each.seed for each in settings] == [42 + number for number in range(samples)]
    cycle = [alpha for alpha in alphas for _ in range(repeats)]
    assert [each.parameters["alpha"] for each in settings] == [cycle[i % len(cycle)] for i in range(samples)]
    assert all(each.parameters["turing_enabled"] is True for each in settings)


def test_the_small_scenario_is_ten_rows_of_28_columns_in_their_order() -> None:
    table = mfn.sweep(preset="small")
    assert table.num_rows == 10
    assert table.column_names == COLUMNS
    assert len(COLUMNS) == 28
    assert set(table["scenario_name"].to_pylist()) == {"scientific_small"}
    rows = table.to_pylist()
    expected = mfn.simulate(45, 32, 50, model="mycelium_rd", alpha=0.15)
    assert rows[3]["random_seed"] == 45
    assert rows[3]["V_std"] == pytest.approx(expected.statistics.std_mv, rel=1e-12)
    assert rows[3]["growth_events"] == expected.growth_events


def test_a_scenario_may_begin_at_another_seed_and_have_another_name() -> None:
    table = mfn.sweep(preset="benchmark", seed=7)
    assert table["random_seed"].to_pylist() == [7, 8, 9, 10, 11]
    assert Request(preset="small", name="mine").plan().scenario == "mine"
    assert SCENARIOS["benchmark"][1].base_seed == 42


def test_a_sample_is_drawn_in_its_order_from_one_generator() -> None:
    plan = Request(sample="default", samples=50, seed=9).plan()
    generator = np.random.default_rng(9)
    for number in range(50):
        expected = (
            generator.choice([32, 64]),
            generator.integers(50, 201),
            generator.uniform(0.10, 0.20),
            generator.choice([True, False]),
            generator.uniform(0.15, 0.35),
            generator.uniform(0.65, 0.85),
        )
        found = plan.design.settings(number)
        names = ("alpha", "turing_enabled", "spike_probability", "turing_threshold")
        assert (found.grid_size, found.steps, *(found.parameters[name] for name in names)) == expected
        assert found.seed == 9 + number
        assert isinstance(found.parameters["turing_enabled"], bool)


def test_the_default_sample_is_200_simulations_and_the_others_stand_beside_it() -> None:
    assert {name: len(design) for name, design in SAMPLES.items()} == {
        "minimal": 10,
        "default": 200,
        "extended": 1000,
    }
    for name in SAMPLES:
        Request(sample=name).plan().check()


def test_a_sample_s_table_says_what_was_drawn_and_when_and_with_which_version(tmp_path: Path) -> None:
    plan = evolve(Request(sample="minimal", samples=2).plan(), scenario="drawn")
    table = mfn.sweep(sample="minimal", samples=2, output=tmp_path)
    more = ["spike_probability", "turing_threshold"]
    at = COLUMNS.index("random_seed")
    assert table.column_names == [*COLUMNS[:at], *more, *COLUMNS[at:], "mfn_version", "timestamp"]
    for number, row in enumerate(table.to_pylist()):
        drawn = plan.design.settings(number)
        assert {name: row[name] for name in drawn.parameters} == drawn.parameters
        assert row["mfn_version"].count(".") == 2
        assert row["timestamp"].endswith("+00:00")
    # One time for the whole sweep, which an interruption does not change.
    assert len(set(table["timestamp"].to_pylist())) == 1


@pytest.mark.parametrize(
    "request_",
    [
        Request(preset="large"),
        Request(sample="extended", seed=3),
        Request(set={"alpha": "0.1:0.2:3", "turing_enabled": "true,false"}, seeds="0:9", grid="8,16"),
        Request(seeds="5,1", thresholds="-65,-60,-55", boundary="neumann"),
    ],
    ids=["scenario", "sample", "grid", "listed seeds"],
)
def test_a_design_is_the_same_when_it_is_made_from_its_description(request_: Request) -> None:
    import json

    plan = request_.plan()
    told = json.loads(json.dumps(plan.described()))
    again = design_of(told)
    assert len(again) == len(plan)
    for number in (0, len(plan) // 2, len(plan) - 1):
        assert again.settings(number) == plan.design.settings(number)
    assert plan.differences(told) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "x" * 65, "a b"])
def test_a_name_that_is_no_directory_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a sweep's name is 1 to 64 letters"):
        SweepPlan(scenario=name, model="mycelium_rd", design=SCENARIOS["small"][1])


def test_a_plan_is_carried_out_by_whoever_has_a_pool(tmp_path: Path) -> None:
    import threading

    from mfn.sweeps import LocalPool

    plan = Request(seeds="0:2", grid=8, steps=1).plan()
    stop = threading.Event()
    summary = carry_out(plan, tmp_path / "a" / "b", lambda: LocalPool(stop), stop=stop)
    assert (summary.rows, summary.failed, summary.found, summary.complete) == (2, 0, 0, True)
    assert summary.table == tmp_path / "a" / "b" / "dataset.parquet"
    assert summary.engine in mfn.available_engines()
