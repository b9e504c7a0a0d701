"""Cross-validation: that it measures what it says, and that nothing leaks from the fields held out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model.validation import (
    RECOVERABLE,
    RECOVERY_FEATURES,
    ValidationCancelledError,
    cross_validate_recovery,
    recovery_features,
)
from mfn_model.validation import _recovery as recovery
from mfn_model.validation._regression import fit_ridge

QUICK: dict[str, Any] = {"samples": 60, "grid_size": 16, "steps": 16}


@pytest.mark.parametrize("parameter", RECOVERABLE)
def test_fields_carry_the_parameter_they_were_made_with(parameter: Any) -> None:
    report = cross_validate_recovery(parameter, **QUICK)
    assert report.train_error <= report.test_error < 0.75 * report.baseline_error
    assert report.explained == pytest.approx(1.0 - (report.test_error / report.baseline_error) ** 2)
    low, high = RECOVERABLE[parameter]
    assert report.baseline_error == pytest.approx((high - low) / math.sqrt(12.0), rel=0.25)  # of a uniform number
    assert (report.parameter, report.samples, report.folds, len(report.fold_errors)) == (parameter, 60, 5, 5)
    assert math.sqrt(np.mean(np.square(report.fold_errors))) == pytest.approx(report.test_error)  # folds of equal size


def test_nothing_is_explained_where_features_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0)
    monkeypatch.setattr(recovery, "recovery_features", lambda field: noise.normal(0.0, 1.0, 6))
    report = cross_validate_recovery("alpha", **QUICK)
    assert report.explained < 0.1
    assert report.train_error < report.baseline_error < report.test_error * 1.1


def test_a_target_that_is_seen_is_recovered_but_for_the_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*arguments: Any) -> tuple[Any, Any]:
        features = np.random.default_rng(0).normal(0.0, 1.0, (60, 6))
        return features, features @ np.arange(6.0) + 3.0

    monkeypatch.setattr(recovery, "_drawn", told)
    assert cross_validate_recovery("alpha", **QUICK).explained > 0.99999


def test_every_field_is_held_out_once_and_never_learned_from_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(*arguments: Any) -> tuple[Any, Any]:
        return np.zeros((60, 6)), np.arange(60.0)

    learned: list[set[float]] = []

    def fit(features: Any, target: Any, penalty: float) -> Any:
        learned.append(set(target.tolist()))
        return fit_ridge(features, target, penalty)

    monkeypatch.setattr(recovery, "_drawn", numbered)
    monkeypatch.setattr(recovery, "fit_ridge", fit)
    report = cross_validate_recovery("alpha", **QUICK)
    held_out = [set(np.arange(60.0)) - each for each in learned]
    assert sorted(place for part in held_out for place in part) == list(range(60))
    assert {len(part) for part in held_out} == {12}
    assert report.explained == pytest.approx(0.0)  # constant features: the prediction is the baseline


def test_results_depend_on_the_arguments_only() -> None:
    assert cross_validate_recovery("alpha", **QUICK) == cross_validate_recovery("alpha", **QUICK)
    assert cross_validate_recovery("alpha", **QUICK) != cross_validate_recovery("alpha", seed=1, **QUICK)


@given(seed=st.integers(0, 2**32), factor=st.sampled_from([0.5, 2.0]), side=st.integers(4, 12))
@settings(max_examples=40, deadline=None)
def test_features_have_no_unit_and_do_not_move_with_the_field(seed: int, factor: float, side: int) -> None:
    field = -0.07 + np.random.default_rng(seed).normal(0.0, 0.005, (side, side))
    features = dict(zip(RECOVERY_FEATURES, recovery_features(field), strict=True))
    moved = recovery_features(np.roll(np.roll(field, 3, axis=0), 1, axis=1).T)
    assert moved == pytest.approx(list(features.values()), abs=1e-9)
    scaled = recovery_features(-0.07 + (field + 0.07) * factor)
    assert scaled[:2] == pytest.approx([features["rise"] * factor, features["spread"] * factor], abs=1e-9)
    assert scaled[2:] == pytest.approx(list(features.values())[2:], abs=1e-7)


def test_features_of_a_wave_are_those_of_a_cosine() -> None:
    side, amplitude = 16, 0.01
    wave = -0.07 + amplitude * np.cos(2.0 * np.pi * np.arange(side) / side) * np.ones((side, 1))
    rise, spread, skewness, kurtosis, one, two = recovery_features(wave)
    assert rise == pytest.approx(0.0, abs=1e-9)
    assert spread == pytest.approx(amplitude / math.sqrt(2.0) / 0.005)
    assert (skewness, kurtosis) == pytest.approx((0.0, -1.5), abs=1e-9)
    # Along the wave cos(2 π d / side), across it 1.
    assert one == pytest.approx((1.0 + math.cos(2.0 * math.pi / side)) / 2.0)
    assert two == pytest.approx((1.0 + math.cos(4.0 * math.pi / side)) / 2.0)


def test_a_constant_field_has_features() -> None:
    assert recovery_features(np.full((5, 5), -0.06)).tolist() == pytest.approx([2.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def test_ridge_is_the_minimum_of_what_it_minimises() -> None:
    generator = np.random.default_rng(0)
    features, target = generator.normal(2.0, 3.0, (40, 3)), generator.normal(1.0, 1.0, 40)
    model = fit_ridge(features, target, 0.1)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)

    def objective(weights: Any) -> float:
        return float(np.mean((standard @ weights + target.mean() - target) ** 2) + 0.1 * weights @ weights)

    best = objective(model.weights)
    for _ in range(50):
        assert objective(model.weights + generator.normal(0.0, 1e-3, 3)) > best
    assert model.predict(features) == pytest.approx(standard @ model.weights + target.mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameter": "gamma"}, "parameter must be one of alpha, spike_probability, got 'gamma'"),
        ({"samples": 14}, "samples must be at least 15, got 14"),
        ({"folds": 1}, "folds must be at least 2, got 1"),
        ({"grid_size": 3}, "grid_size must be at least 4, got 3"),
        ({"steps": 0, "seed": -1}, "seed must be at least 0, got -1; steps must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_validate_recovery(**arguments)


def test_it_stops_when_it_is_told_to() -> None:
    questions = iter(range(10**9))
    with pytest.raises(ValidationCancelledError) as caught:
        cross_validate_recovery(cancelled=lambda: next(questions) >= 6, **QUICK)
    assert caught.value.stage == "field 4 of 60"
