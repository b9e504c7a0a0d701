"""Lyapunov exponents of systems that are known, and the legacy measures of a history."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_model import mycelium_rd_spec, reference_mycelium_rd
from mfn_model.lyapunov import (
    UnstableTrajectoryError,
    history_growth_rate,
    history_stability,
    is_stable,
    kaplan_yorke_dimension,
    largest_lyapunov_exponent,
    largest_lyapunov_exponent_of_twins,
    lyapunov_spectrum,
)
from mfn_model.stencil import laplacian

RECORDED = json.loads((Path(__file__).parent / "data" / "history_growth.json").read_text())["runs"]

Array = npt.NDArray[np.float64]


def logistic(x: Array) -> Array:
    return 4.0 * x * (1.0 - x)


def henon(x: Array) -> Array:
    return np.array([1.0 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]])


def henon_jacobian(x: Array) -> Array:
    return np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]])


# ---- histories --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", RECORDED, ids=lambda row: f"{row['spec']['boundary']}, {row['spec']['grid_size']} cells"
)
def test_recorded_histories_are_reproduced(row: dict[str, Any]) -> None:
    spec = mycelium_rd_spec(**row["spec"])
    history = np.array([reference_mycelium_rd(spec, step).field for step in range(1, row["steps"] + 1)])
    measured = history_stability(history)
    assert measured.growth_rate == pytest.approx(row["growth_rate"], rel=1e-12)
    assert measured.mean_change_rate * 1000.0 == pytest.approx(row["mean_change_mv"], rel=1e-12)
    assert measured.max_change_rate * 1000.0 == pytest.approx(row["max_change_mv"], rel=1e-12)
    assert measured.final_std * 1000.0 == pytest.approx(row["final_std_mv"], rel=1e-12)
    assert measured.is_stable
    assert history_growth_rate(history) == measured.growth_rate


def test_the_rate_of_a_history_is_the_mean_logarithm_of_its_changes() -> None:
    history = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 16.0]])  # changes of norm 5, 0 and 12
    expected = (math.log(5.0) + math.log(12.0)) / 2.0
    assert history_growth_rate(history) == pytest.approx(expected)
    assert history_growth_rate(history, time_step=0.5) == pytest.approx(expected * 2.0)
    measured = history_stability(history, time_step=0.5)
    assert measured.mean_change_rate == pytest.approx((3.0 + 4.0 + 12.0) / 6.0 * 2.0)
    assert measured.max_change_rate == pytest.approx(24.0)
    assert measured.final_std == pytest.approx(6.5)
    assert not measured.is_stable


def test_the_rate_of_a_history_depends_on_its_unit_and_so_is_no_exponent() -> None:
    history = np.random.default_rng(1).normal(size=(10, 8, 8))
    difference = history_growth_rate(history * 1000.0) - history_growth_rate(history)
    assert difference == pytest.approx(math.log(1000.0))


@pytest.mark.parametrize("history", [np.zeros((0, 4, 4)), np.zeros((1, 4, 4)), np.ones((5, 4, 4))])
def test_a_history_without_changes_has_the_rate_zero(history: Array) -> None:
    assert history_growth_rate(history) == 0.0


def test_changes_too_small_to_count_are_left_out_of_the_rate() -> None:
    assert history_growth_rate([[0.0], [1e-10], [2e-10]]) == 0.0
    assert history_growth_rate([[0.0], [1e-10], [1.0]]) == pytest.approx(0.0, abs=1e-9)
    assert history_growth_rate([[0.0], [2e-10]]) == pytest.approx(math.log(2e-10))


def test_a_single_frame_has_a_deviation_and_no_rates() -> None:
    measured = history_stability([[1.0, 3.0]])
    assert (measured.growth_rate, measured.mean_change_rate, measured.max_change_rate) == (0.0, 0.0, 0.0)
    assert measured.final_std == 1.0
    assert not measured.is_stable


@pytest.mark.parametrize(
    ("history", "time_step", "named"),
    [
        (1.0, 1.0, "frames along its first axis"),
        ([[0.0], [math.nan]], 1.0, "a history must be finite, frame 1 is not"),
        ([[math.inf], [0.0]], 1.0, "a history must be finite, frame 0 is not"),
        ([[0.0], [1.0]], 0.0, r"time_step must be above 0 and finite, got 0\.0"),
        ([[0.0], [1.0]], math.nan, "time_step must be above 0 and finite, got nan"),
    ],
)
def test_histories_that_cannot_be_measured_are_refused(history: Any, time_step: float, named: str) -> None:
    for measure in (history_growth_rate, history_stability):
        with pytest.raises(ValueError, match=named):
            measure(history, time_step)


def test_a_history_without_cells_has_no_stability() -> None:
    with pytest.raises(ValueError, match="at least one frame with one cell"):
        history_stability(np.zeros((0, 4)))


def test_stable_is_strictly_below_the_threshold() -> None:
    assert [is_stable(value) for value in (-0.1, 0.0, 0.1, math.nan)] == [True, False, False, False]
    assert is_stable(0.5, threshold=1.0)


# ---- twin trajectories ------------------------------------------------------------------------------------------


def test_the_logistic_map_has_the_exponent_ln_2() -> None:
    estimate = largest_lyapunov_exponent(logistic, [0.2], steps=20_000, transient=100, separation=1e-9)
    assert estimate.value == pytest.approx(math.log(2.0), abs=0.005)
    assert len(estimate.local_rates) == 20_000


def test_the_map_of_henon_has_its_published_exponent() -> None:
    estimate = largest_lyapunov_exponent(henon, [0.1, 0.1], steps=40_000, transient=500, interval=5)
    assert estimate.value == pytest.approx(0.4192, abs=0.01)
    assert len(estimate.local_rates) == 8_000
    assert estimate.value == pytest.approx(float(np.mean(estimate.local_rates)), rel=1e-12)
    assert 0.0 < estimate.standard_error < 0.01


@given(
    eigenvalues=st.lists(st.floats(0.1, 3.0), min_size=1, max_size=4),
    time_step=st.floats(0.01, 10.0),
    interval=st.integers(1, 3),
)
@settings(deadline=None, max_examples=30)
def test_a_linear_map_along_an_eigenvector_has_the_logarithm_of_its_eigenvalue(
    eigenvalues: list[float], time_step: float, interval: int
) -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(len(eigenvalues),) * 2))[0]
    matrix = rotation @ np.diag(eigenvalues) @ rotation.T
    for index, eigenvalue in enumerate(eigenvalues):
        estimate = largest_lyapunov_exponent(
            lambda x: matrix @ x,
            np.zeros(len(eigenvalues)),
            steps=4,
            interval=interval,
            direction=rotation[:, index],
            time_step=time_step,
        )
        assert estimate.value * time_step == pytest.approx(math.log(eigenvalue), abs=1e-9)


def test_a_random_direction_turns_to_the_largest_exponent_during_the_transient() -> None:
    matrix = np.array([[0.9, 0.5, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 0.3]])
    estimate = largest_lyapunov_exponent(lambda x: matrix @ x, np.zeros(3), steps=20, transient=73, interval=2, seed=9)
    assert estimate.value == pytest.approx(math.log(0.9), abs=1e-9)


def test_a_diffusing_field_between_fixed_edges_forgets_at_the_rate_of_its_slowest_mode() -> None:
    n, alpha = 8, 0.18
    field = np.random.default_rng(4).normal(-0.07, 0.005, size=(n, n))
    estimate = largest_lyapunov_exponent(
        lambda v: v + alpha * laplacian(v, "dirichlet", -0.07), field, steps=200, transient=300, interval=10
    )
    # The slowest mode sin(π i/(n + 1)) sin(π j/(n + 1)) has this eigenvalue of the five-point Laplacian.
    slowest = -8.0 * math.sin(math.pi / (2.0 * (n + 1))) ** 2
    assert estimate.value == pytest.approx(math.log(1.0 + alpha * slowest), rel=1e-6)
    assert estimate.value < 0.0


def test_a_diffusing_field_without_edges_keeps_a_difference_of_its_mean() -> None:
    field = np.random.default_rng(4).normal(-0.07, 0.005, size=(8, 8))
    estimate = largest_lyapunov_exponent(
        lambda v: v + 0.18 * laplacian(v), field, steps=100, transient=400, interval=10
    )
    assert estimate.value == pytest.approx(0.0, abs=1e-7)


def test_a_difference_without_mean_decays_at_the_rate_of_the_slowest_wave() -> None:
    n, alpha = 8, 0.18
    wave = np.cos(2.0 * np.pi * np.arange(n) / n) * np.ones((n, 1))
    estimate = largest_lyapunov_exponent(lambda v: v + alpha * laplacian(v), np.zeros((n, n)), steps=40, direction=wave)
    assert estimate.value == pytest.approx(math.log(1.0 - 4.0 * alpha * math.sin(math.pi / n) ** 2), rel=1e-9)


class NoisyField:
    """A field with a leak and random spikes: everything but the difference is decided by its own generator."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.field = self.generator.normal(size=(6, 6))
        self.writes = 0

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.field = 0.9 * (self.field + 0.2 * laplacian(self.field))
            self.field[tuple(self.generator.integers(0, 6, size=2))] += self.generator.normal()

    def read(self) -> Array:
        return self.field

    def write(self, state: Array) -> None:
        self.field = state.copy()
        self.writes += 1


def test_twins_under_the_same_noise_have_the_exponent_of_what_the_noise_leaves() -> None:
    trajectory, twin = NoisyField(5), NoisyField(5)
    estimate = largest_lyapunov_exponent_of_twins(trajectory, twin, steps=60, transient=60, interval=4)
    assert estimate.value == pytest.approx(math.log(0.9), abs=1e-6)
    assert trajectory.writes == 0
    assert twin.writes == 1 + 15 + 15


def test_twins_under_different_noise_are_not_twins() -> None:
    estimate = largest_lyapunov_exponent_of_twins(NoisyField(5), NoisyField(6), steps=20, transient=0)
    assert estimate.value > 1.0  # the noise, not the dynamics


def test_a_twin_that_falls_onto_the_trajectory_has_the_exponent_minus_infinity() -> None:
    estimate = largest_lyapunov_exponent(lambda x: np.zeros_like(x), [0.3, 0.2], steps=10)
    assert estimate.value == -math.inf
    assert estimate.standard_error == math.inf
    assert estimate.local_rates.tolist() == [-math.inf]


def test_one_interval_has_no_standard_error() -> None:
    estimate = largest_lyapunov_exponent(lambda x: 0.5 * x, [0.0], steps=3, interval=3)
    assert estimate.standard_error == math.inf
    assert estimate.value == pytest.approx(math.log(0.5))


def test_the_length_of_a_direction_does_not_matter() -> None:
    for length in (1e-200, 1.0, 1e200):
        estimate = largest_lyapunov_exponent(lambda x: 0.5 * x, np.zeros(2), steps=3, direction=[length, length])
        assert estimate.value == pytest.approx(math.log(0.5))


def test_a_trajectory_that_runs_away_is_an_error_with_its_step() -> None:
    with pytest.raises(UnstableTrajectoryError, match="not finite after step 20") as caught:
        largest_lyapunov_exponent(lambda x: x * 1e30, [1.0], steps=100, interval=20)
    assert caught.value.step == 20
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 4, "interval": 5}, "steps must be at least one interval, 5, got 4"),
        ({"interval": 0}, "interval must be at least 1, got 0"),
        ({"transient": -1}, "transient must be at least 0, got -1"),
        ({"separation": 0.0}, r"separation must be above 0 and finite, got 0\.0"),
        ({"time_step": math.inf}, "time_step must be above 0 and finite, got inf"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"direction": [0.0, 0.0]}, "direction must be finite and not zero"),
        ({"direction": [math.nan, 0.0]}, "direction must be finite and not zero"),
        ({"direction": [1.0]}, r"direction must have the shape of the state, \(2,\), got \(1,\)"),
        ({"state": [math.nan, 0.0]}, "the state must be finite everywhere"),
        ({"state": [1e12, 1e12]}, "separation 1e-08 vanishes in the rounding of the state; raise it"),
        ({"step": lambda x: x[:1]}, r"a step must keep the shape of the state, \(2,\), got \(1,\)"),
    ],
)
def test_what_has_no_exponent_is_refused(arguments: dict[str, Any], named: str) -> None:
    complete: dict[str, Any] = {"step": lambda x: 0.5 * x, "state": [1.0, 2.0], "steps": 10, **arguments}
    with pytest.raises(ValueError, match=named):
        largest_lyapunov_exponent(complete.pop("step"), complete.pop("state"), **complete)


def test_twins_of_different_shapes_are_refused() -> None:
    twin = NoisyField(5)
    twin.field = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"the twin must have the shape of the trajectory, \(6, 6\), got \(3, 3\)"):
        largest_lyapunov_exponent_of_twins(NoisyField(5), twin, steps=1)


# ---- spectra ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jacobian", [henon_jacobian, None], ids=["exact jacobian", "central differences"])
def test_the_map_of_henon_has_its_published_spectrum(jacobian: Any) -> None:
    spectrum = lyapunov_spectrum(henon, [0.1, 0.1], steps=10_000, transient=200, jacobian=jacobian)
    assert spectrum.exponents == pytest.approx((0.4192, -1.6232), abs=0.01)
    assert sum(spectrum.exponents) == pytest.approx(math.log(0.3), abs=1e-8)  # areas shrink by 0.3 everywhere
    assert kaplan_yorke_dimension(spectrum.exponents) == pytest.approx(1.258, abs=0.01)
    assert all(0.0 < error < 0.02 for error in spectrum.standard_errors)


def test_the_spectrum_and_the_twins_agree_on_the_logistic_map() -> None:
    spectrum = lyapunov_spectrum(logistic, [0.2], steps=20_000, transient=100, jacobian=lambda x: [[4.0 - 8.0 * x[0]]])
    assert spectrum.exponents == pytest.approx((math.log(2.0),), abs=0.005)


@given(st.lists(st.floats(0.05, 4.0), min_size=1, max_size=5), st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=40)
def test_a_triangular_linear_map_has_the_logarithms_of_its_diagonal(diagonal: list[float], time_step: float) -> None:
    ordered = sorted(diagonal, reverse=True)
    matrix = np.diag(ordered) + np.triu(np.full((len(ordered),) * 2, 0.3), 1)
    spectrum = lyapunov_spectrum(
        lambda x: matrix @ x, np.zeros(len(ordered)), steps=5, jacobian=lambda x: matrix, time_step=time_step
    )
    expected = [math.log(each) / time_step for each in ordered]
    assert spectrum.exponents == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_a_rotation_with_scaling_has_one_exponent_for_both_directions() -> None:
    angle = 0.7
    matrix = 0.8 * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    spectrum = lyapunov_spectrum(lambda x: matrix @ x, [1.0, 0.0], steps=50)
    assert spectrum.exponents == pytest.approx((math.log(0.8),) * 2, abs=1e-9)


def test_the_leading_exponents_of_a_diffusing_line_are_those_of_its_slowest_modes() -> None:
    n, alpha = 12, 0.2
    matrix = np.eye(n) * (1.0 - 2.0 * alpha) + alpha * (np.eye(n, k=1) + np.eye(n, k=-1))
    spectrum = lyapunov_spectrum(lambda x: matrix @ x, np.ones(n), steps=50, transient=600, count=3)
    modes = [math.log(1.0 - 4.0 * alpha * math.sin(math.pi * k / (2.0 * (n + 1))) ** 2) for k in (1, 2, 3)]
    assert spectrum.exponents == pytest.approx(modes, rel=1e-6)
    assert spectrum.steps == 50


def test_a_direction_that_is_wiped_out_has_the_exponent_minus_infinity() -> None:
    projection = np.diag([0.5, 0.0])
    spectrum = lyapunov_spectrum(lambda x: projection @ x, [1.0, 1.0], steps=5, jacobian=lambda x: projection)
    assert spectrum.exponents == (pytest.approx(math.log(0.5)), -math.inf)
    assert spectrum.standard_errors[1] == math.inf


def test_a_spectrum_of_a_trajectory_that_runs_away_is_an_error() -> None:
    with pytest.raises(UnstableTrajectoryError, match="not finite after step 4"):
        lyapunov_spectrum(lambda x: x * 1e100, [1.0], steps=10, transient=3, jacobian=lambda x: [[1e100]])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"transient": -2}, "transient must be at least 0, got -2"),
        ({"count": 3}, "count must be from 1 to 2, got 3"),
        ({"count": 0}, "count must be from 1 to 2, got 0"),
        ({"time_step": -1.0}, r"time_step must be above 0 and finite, got -1\.0"),
        ({"state": [[1.0]]}, r"state must be a vector of at least one component, got shape \(1, 1\)"),
        ({"state": []}, "state must be a vector of at least one component"),
        ({"state": [1.0, math.inf]}, "the state must be finite everywhere"),
        ({"jacobian": lambda x: np.eye(3)}, r"the jacobian must have shape \(2, 2\), got \(3, 3\)"),
        ({"step": lambda x: x[:1]}, r"a step must keep the shape of the state, \(2,\), got \(1,\)"),
    ],
)
def test_what_has_no_spectrum_is_refused(arguments: dict[str, Any], named: str) -> None:
    complete: dict[str, Any] = {"step": lambda x: 0.5 * x, "state": [1.0, 2.0], "steps": 10, **arguments}
    with pytest.raises(ValueError, match=named):
        lyapunov_spectrum(complete.pop("step"), complete.pop("state"), **complete)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([-0.5, -1.0], 0.0),
        ([0.0, -1.0], 1.0),
        ([-14.57, 0.9056, 0.0], 2.0 + 0.9056 / 14.57),  # Lorenz's system, in any order
        ([0.5, 0.1], 2.0),
        ([0.5, -math.inf], 1.0),
    ],
)
def test_the_dimension_of_kaplan_and_yorke_is_where_the_sum_crosses_zero(
    exponents: list[float], dimension: float
) -> None:
    assert kaplan_yorke_dimension(exponents) == pytest.approx(dimension)


@pytest.mark.parametrize("exponents", [[], [0.1, math.nan]])
def test_no_exponents_have_no_dimension(exponents: list[float]) -> None:
    with pytest.raises(ValueError, match="exponents must be at least one number and no NaN"):
        kaplan_yorke_dimension(exponents)
