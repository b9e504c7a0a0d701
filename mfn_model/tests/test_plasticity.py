"""Spike-timing-dependent plasticity."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.plasticity import (
    SpikeTraces,
    StdpParameters,
    advance_traces,
    apply_weight_change,
    stdp_all_pairs,
    stdp_weight_change,
    stdp_window,
)

RECORDED = json.loads((Path(__file__).parent / "data" / "plasticity.json").read_text())["runs"]

parameters = st.builds(
    StdpParameters,
    tau_plus=st.floats(0.005, 0.1),
    tau_minus=st.floats(0.005, 0.1),
    a_plus=st.floats(0.001, 0.1),
    a_minus=st.floats(0.001, 0.1),
)
# Times in milliseconds, so that simultaneous spikes are common, within 200 ms: at most 40 time constants.
trains = st.lists(st.lists(st.integers(0, 200), max_size=6, unique=True), min_size=1, max_size=3)


def online(
    pre: list[list[int]], post: list[list[int]], p: StdpParameters
) -> tuple[SpikeTraces, np.ndarray[Any, np.dtype[np.float64]]]:
    traces = SpikeTraces.at_rest(len(pre), len(post))
    total = np.zeros((len(pre), len(post)))
    now = 0
    for moment in sorted({time for train in [*pre, *post] for time in train}):
        firing_pre = np.array([moment in train for train in pre])
        firing_post = np.array([moment in train for train in post])
        traces, change = advance_traces(traces, firing_pre, firing_post, (moment - now) / 1000.0, p)
        total += change
        now = moment
    return traces, total


@pytest.mark.parametrize("row", RECORDED)
def test_recorded_changes_are_reproduced(row: dict[str, Any]) -> None:
    assert stdp_weight_change([row["pre"]], [row["post"]]).astype(np.float32).tolist() == row["change"]
    assert stdp_weight_change(row["pre"], row["post"]).astype(np.float32).tolist() == row["change"]


@given(parameters, st.floats(1e-4, 0.2))
def test_the_window_decays_by_e_for_each_time_constant_on_both_sides(p: StdpParameters, delta: float) -> None:
    values = stdp_window([delta, delta + p.tau_plus, -delta, -delta - p.tau_minus], p)
    assert values[0] / values[1] == pytest.approx(math.e, rel=1e-9)
    assert values[2] / values[3] == pytest.approx(math.e, rel=1e-9)
    assert 0.0 < values[0] < p.a_plus
    assert -p.a_minus < values[2] < 0.0


def test_the_window_begins_at_its_amplitudes_and_is_zero_between_them() -> None:
    values = stdp_window([[1e-15, 0.0], [-0.0, -1e-15]])
    assert values == pytest.approx(np.array([[0.01, 0.0], [0.0, -0.012]]), rel=1e-9)


def test_spikes_far_apart_count_as_fifty_time_constants() -> None:
    assert stdp_window([1.0, 5.0, math.inf]).tolist() == [0.01 * math.exp(-50.0)] * 3
    assert stdp_window(-7.0) == -0.012 * math.exp(-50.0)
    assert math.isnan(stdp_window(math.nan))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_batch_is_averaged_over_its_pairs(batch: int, n_pre: int, n_post: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    pre, post = generator.uniform(0, 0.1, (batch, n_pre)), generator.uniform(0, 0.1, (batch, n_post))
    change = stdp_weight_change(pre, post)
    for i in range(n_pre):
        for j in range(n_post):
            lags = [post[b, j] - pre[b, i] for b in range(batch)]
            plain = [0.01 * math.exp(-lag / 0.02) if lag > 0 else -0.012 * math.exp(lag / 0.02) for lag in lags]
            assert change[i, j] == pytest.approx(sum(plain) / batch, rel=1e-12, abs=1e-17)


@pytest.mark.parametrize(
    ("pre", "post", "named"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), "batches of one length, at least 1, got 2 and 3"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "batches of one length, at least 1, got 0 and 0"),
        (np.zeros((1, 1, 1)), np.zeros((1, 1)), r"pre must have shape \[batch, neurons\], got \(1, 1, 1\)"),
        ([[0.1]], [[math.nan]], "post must be finite spike times in s"),
    ],
)
def test_batches_that_do_not_fit_are_refused(pre: Any, post: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        stdp_weight_change(pre, post)


@given(trains, trains, parameters)
@settings(deadline=None)
def test_traces_add_up_to_the_sum_over_all_pairs(
    pre: list[list[int]], post: list[list[int]], p: StdpParameters
) -> None:
    direct = stdp_all_pairs([np.array(each) / 1000.0 for each in pre], [np.array(each) / 1000.0 for each in post], p)
    assert online(pre, post, p)[1] == pytest.approx(direct, rel=1e-9, abs=1e-15)


@given(trains, trains, parameters)
@settings(deadline=None, max_examples=30)
def test_traces_remember_every_spike_with_its_decay(
    pre: list[list[int]], post: list[list[int]], p: StdpParameters
) -> None:
    traces, _ = online(pre, post, p)
    last = max((time for train in [*pre, *post] for time in train), default=0)
    for trace, train in zip(traces.pre, pre, strict=True):
        expected = sum(math.exp(-(last - time) / 1000.0 / p.tau_plus) for time in train)
        assert trace == pytest.approx(expected, rel=1e-9)
    for trace, train in zip(traces.post, post, strict=True):
        expected = sum(math.exp(-(last - time) / 1000.0 / p.tau_minus) for time in train)
        assert trace == pytest.approx(expected, rel=1e-9)


def test_all_pairs_of_single_spikes_are_a_batch_of_one() -> None:
    assert np.array_equal(stdp_all_pairs([[0.01], [0.02]], [[0.015]]), stdp_weight_change([0.01, 0.02], [0.015]))


def test_neurons_without_spikes_change_nothing() -> None:
    assert stdp_all_pairs([[], [0.1]], [[], [0.1]]).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert stdp_all_pairs([], [[0.1]]).shape == (0, 1)


@pytest.mark.parametrize("train", [[math.inf], [[0.1]], 0.1])
def test_trains_that_are_no_times_are_refused(train: Any) -> None:
    with pytest.raises(ValueError, match=r"pre\[1\] must be a vector of finite spike times in s"):
        stdp_all_pairs([[0.1], train], [[0.1]])


@pytest.mark.parametrize(
    ("pre", "post", "elapsed", "named"),
    [
        ([True], [False], -0.001, r"elapsed must be at least 0 s and finite, got -0\.001"),
        ([True], [False], math.nan, "elapsed must be at least 0 s and finite, got nan"),
        ([True, False], [False], 0.0, r"pre_spikes must be 1 truth values, got bool of shape \(2,\)"),
        ([True], [1], 0.0, "post_spikes must be 1 truth values, got int64"),
    ],
)
def test_moments_that_do_not_fit_the_traces_are_refused(pre: Any, post: Any, elapsed: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        advance_traces(SpikeTraces.at_rest(1, 1), pre, post, elapsed)


def test_traces_are_values() -> None:
    rest = SpikeTraces.at_rest(2, 1)
    after, _ = advance_traces(rest, np.array([True, False]), np.array([False]), 0.0)
    assert rest.pre.tolist() == [0.0, 0.0]
    assert after.pre.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        after.pre[0] = 0.0
    with pytest.raises(ValueError, match="must be at least 0, got -1 and 1"):
        SpikeTraces.at_rest(-1, 1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"tau_plus": 0.004}, ["tau_plus must be at least 0.005 and at most 0.1 s, got 0.004"]),
        ({"tau_minus": 0.101}, ["tau_minus must be at least 0.005 and at most 0.1 s, got 0.101"]),
        (
            {"a_plus": 0.0, "a_minus": math.nan},
            [
                "a_plus must be at least 0.001 and at most 0.1, got 0.0",
                "a_minus must be at least 0.001 and at most 0.1, got nan",
            ],
        ),
    ],
)
def test_a_window_out_of_its_bounds_is_refused_with_everything_that_is_wrong(
    arguments: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        StdpParameters(**arguments)
    assert str(caught.value).split("; ") == named


def test_a_window_at_its_bounds_is_allowed() -> None:
    StdpParameters(tau_plus=0.005, tau_minus=0.1, a_plus=0.001, a_minus=0.1)


# ---- weights ----------------------------------------------------------------------------------------------------

weights = st.floats(-1.0, 3.0)


def test_hard_bounds_clip_the_sum() -> None:
    changed = apply_weight_change([0.2, 0.9, 0.1], [0.1, 0.3, -0.4])
    assert changed == pytest.approx([0.3, 1.0, 0.0])


def test_soft_bounds_scale_a_change_by_the_room_that_is_left() -> None:
    changed = apply_weight_change([2.0, 2.0, 1.0, 5.0], [0.4, -0.4, -0.4, 0.4], minimum=1.0, maximum=5.0, bounds="soft")
    assert changed == pytest.approx([2.0 + 0.4 * 0.75, 2.0 - 0.4 * 0.25, 1.0, 5.0])


@given(weights, st.floats(-10.0, 10.0), st.sampled_from(["hard", "soft"]), st.floats(0.0, 1.0))
def test_weights_never_leave_their_bounds_and_never_move_the_wrong_way(
    weight: float, change: float, bounds: Literal["hard", "soft"], exponent: float
) -> None:
    changed = float(apply_weight_change(weight, change, minimum=-1.0, maximum=3.0, bounds=bounds, exponent=exponent))
    assert -1.0 <= changed <= 3.0
    assert (changed - weight) * change >= 0.0


@given(weights, st.floats(-10.0, 10.0))
def test_the_exponent_zero_makes_soft_bounds_hard(weight: float, change: float) -> None:
    hard = apply_weight_change(weight, change, minimum=-1.0, maximum=3.0)
    soft = apply_weight_change(weight, change, minimum=-1.0, maximum=3.0, bounds="soft", exponent=0.0)
    assert float(soft) == float(hard)


def test_multiplicative_growth_and_decay_settle_where_they_balance() -> None:
    weight = np.array(0.99)
    for _ in range(4000):
        weight = apply_weight_change(weight, 0.01, bounds="soft")
        weight = apply_weight_change(weight, -0.02, bounds="soft")
    assert float(weight) == pytest.approx(1.0 / 3.0, abs=0.01)  # 0.01 (1 − w) = 0.02 w


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"minimum": 1.0}, r"minimum must be below maximum, got 1\.0 and 1\.0"),
        ({"maximum": math.inf}, "maximum must be finite, got inf"),
        ({"bounds": "firm"}, "bounds must be 'hard' or 'soft', got 'firm'"),
        ({"exponent": 1.5}, r"exponent must be at least 0 and at most 1, got 1\.5"),
        ({"weights": [0.5, 1.1]}, r"weights must be from 0 to 1, got 1\.1"),
        ({"weights": [0.5, math.nan]}, "weights must be from 0 to 1, got nan"),
        ({"change": [0.0, math.inf]}, "change must be finite everywhere"),
        ({"change": [0.0]}, r"change must have the shape of the weights, \(2,\), got \(1,\)"),
    ],
)
def test_changes_that_make_no_sense_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        apply_weight_change(**{"weights": [0.5, 0.5], "change": [0.1, 0.1], **arguments})
