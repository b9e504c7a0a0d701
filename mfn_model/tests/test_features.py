"""The 18 features, their settings, their ranges, and the further ones."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mfn_model import mycelium_rd_spec, reference_mycelium_rd
from mfn_model.features import (
    EXTENDED_FEATURE_NAMES,
    FEATURE_NAMES,
    FeatureAccumulator,
    FeatureConfig,
    FeatureVector,
    extended_features,
    extract_features,
    feature_warnings,
)

RECORDED = json.loads((Path(__file__).parent / "data" / "features.json").read_text())["histories"]

Field = npt.NDArray[np.float64]


def history_of(row: dict[str, Any]) -> Field:
    spec = mycelium_rd_spec(**row["spec"])
    return np.stack([reference_mycelium_rd(spec, step).field for step in range(1, row["steps"] + 1)])


def random_history(frames: int = 7, seed: int = 0, shape: tuple[int, int] = (12, 17)) -> Field:
    return np.random.default_rng(seed).normal(-0.065, 0.01, (frames, *shape))


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['spec']['boundary']}, seed {row['spec']['seed']}")
def test_recorded_features_are_reproduced(row: dict[str, Any]) -> None:
    found = extract_features(history_of(row)).as_dict()
    assert list(found) == list(row["features"])
    for name, value in row["features"].items():
        assert abs(found[name] - value) <= 1e-12 * max(1.0, abs(value)), name


def test_there_are_eighteen_in_a_fixed_order_with_units() -> None:
    features = extract_features(random_history())
    assert FEATURE_NAMES == FeatureVector.names == tuple(features.as_dict())
    assert len(FEATURE_NAMES) == 18
    assert features.as_array().dtype == np.float64
    assert features.as_array().tolist() == [features[name] for name in FEATURE_NAMES]
    assert features["D_box"] == features.D_box
    assert dict(zip(FEATURE_NAMES, features.units, strict=True)) == {
        "D_box": "1",
        "D_r2": "1",
        "V_min": "mV",
        "V_max": "mV",
        "V_mean": "mV",
        "V_std": "mV",
        "V_skew": "1",
        "V_kurt": "1",
        "dV_mean": "mV/step",
        "dV_max": "mV/step",
        "T_stable": "steps",
        "E_trend": "mV²/step",
        "f_active": "1",
        "N_clusters_low": "1",
        "N_clusters_med": "1",
        "N_clusters_high": "1",
        "max_cluster_size": "cells",
        "cluster_size_std": "cells",
    }
    with pytest.raises(KeyError, match="units"):
        features["units"]


def test_static_features_are_those_of_other_implementations() -> None:
    from scipy import ndimage, stats

    field = random_history(1, 3)[0]
    features, millivolts = extract_features(field), field * 1000
    assert features.V_min == pytest.approx(millivolts.min(), rel=1e-14)
    assert features.V_max == pytest.approx(millivolts.max(), rel=1e-14)
    assert features.V_mean == pytest.approx(millivolts.mean(), rel=1e-13)
    assert features.V_std == pytest.approx(millivolts.std(), rel=1e-13)
    assert features.V_skew == pytest.approx(stats.skew(millivolts, axis=None), abs=1e-12)
    assert features.V_kurt == pytest.approx(stats.kurtosis(millivolts, axis=None), abs=1e-12)
    assert features.f_active == np.mean(millivolts > -60)
    for name, threshold in (("N_clusters_low", -60), ("N_clusters_med", -50), ("N_clusters_high", -40)):
        assert features[name] == ndimage.label(millivolts > threshold)[1]
    labels, count = ndimage.label(millivolts > -60)
    sizes = np.bincount(labels.ravel())[1 : count + 1]
    assert features.max_cluster_size == sizes.max()
    assert features.cluster_size_std == pytest.approx(sizes.std())


def test_features_of_change_are_those_of_plain_differences() -> None:
    history = random_history(9, 5)
    features, change = extract_features(history), np.abs(np.diff(history * 1000, axis=0))
    energy = np.sum((history * 1000) ** 2, axis=(1, 2))
    assert features.dV_mean == pytest.approx(change.mean(), rel=1e-13)
    assert features.dV_max == pytest.approx(change.max(), rel=1e-13)
    assert features.E_trend == pytest.approx(np.polyfit(np.arange(9), energy, 1)[0], rel=1e-9)
    assert features.T_stable == 9


def test_a_line_of_energies_has_its_slope() -> None:
    # V² of one cell is 1000² · (1 + t): the slope is exact but for the rounding of the squares.
    history = np.sqrt(1.0 + np.arange(500.0))[:, None, None]
    config = FeatureConfig(unit="1", factor=1.0)
    assert extract_features(history, config).E_trend == pytest.approx(1.0, rel=1e-12)


@given(
    noisy=st.lists(st.booleans(), min_size=0, max_size=40),
    window=st.integers(1, 6),
)
@settings(max_examples=150, deadline=None)
def test_the_stable_frame_is_where_the_first_run_of_quiet_steps_begins(noisy: list[bool], window: int) -> None:
    field, frames = np.full((2, 2), -0.07), [np.full((2, 2), -0.07)]
    for loud in noisy:
        # A change of the whole field at once is quiet: its deviation over the cells is none.
        field = field + (np.array([[1e-3, 0.0], [0.0, 0.0]]) if loud else 1e-4)
        frames.append(field)
    runs = [end for end in range(window - 1, len(noisy)) if not any(noisy[end - window + 1 : end + 1])]
    never = len(frames) if noisy else 0
    expected = runs[0] - window + 2 if runs else never
    config = FeatureConfig(stability_window=window)
    assert extract_features(np.stack(frames), config).T_stable == expected


@given(frames=st.integers(1, 12), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_frames_added_one_by_one_give_what_the_history_gives_bit_for_bit(frames: int, seed: int) -> None:
    history = random_history(frames, seed)
    accumulator = FeatureAccumulator()
    for number, frame in enumerate(history, 1):
        accumulator.add(frame)
        assert accumulator.frames == number
        assert accumulator.features() == extract_features(history[:number])


def test_an_accumulator_holds_two_frames_whatever_the_length_of_the_history() -> None:
    import tracemalloc

    frame = random_history(1, 1, (256, 256))[0]
    accumulator = FeatureAccumulator()
    accumulator.add(frame)
    tracemalloc.start()
    for _ in range(40):
        accumulator.add(frame)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2.5 * frame.nbytes


def test_a_frame_may_be_changed_after_it_was_added() -> None:
    frame = random_history(1)[0]
    accumulator = FeatureAccumulator()
    accumulator.add(frame)
    before = accumulator.features()
    frame[:] = 0.0
    assert accumulator.features() == before


def test_a_frame_that_is_refused_leaves_no_trace() -> None:
    history = random_history(3)
    accumulator = FeatureAccumulator()
    accumulator.add(history[0])
    for wrong in (np.full((12, 17), np.nan), np.zeros((12, 16)), np.zeros(12)):
        with pytest.raises(ValueError, match=r"field|frames"):
            accumulator.add(wrong)
    accumulator.add(history[1])
    assert accumulator.features() == extract_features(history[:2])


def test_there_are_no_features_before_the_first_frame() -> None:
    with pytest.raises(ValueError, match="there are no features before the first frame"):
        FeatureAccumulator().features()


def test_one_frame_has_no_change_and_says_so() -> None:
    features = extract_features(random_history(1))
    assert features == extract_features(random_history(1)[0])
    assert (features.dV_mean, features.dV_max, features.T_stable, features.E_trend) == (0.0, 0.0, 0, 0.0)
    assert dict(features.undefined)["E_trend"] == "one frame has no history"


@pytest.mark.parametrize("value", [-0.07, 0.0, 0.03])
def test_a_constant_field_has_neither_shape_nor_change(value: float) -> None:
    features = extract_features(np.full((20, 16, 16), value))
    assert (features.V_min, features.V_max) == (value * 1000, value * 1000)
    assert (features.V_std, features.V_skew, features.V_kurt) == (pytest.approx(0.0, abs=1e-12), 0.0, 0.0)
    assert (features.dV_mean, features.dV_max, features.E_trend) == (0.0, 0.0, 0.0)
    assert features.T_stable == 1
    assert dict(features.undefined)["V_skew"] == "all values are equal"
    assert np.isfinite(features.as_array()).all()


@pytest.mark.parametrize("unit", ["1", "level"])
def test_values_have_a_shape_however_small_their_unit_makes_them(unit: str) -> None:
    values = np.random.default_rng(2).gamma(2.0, size=(20, 30))
    config = FeatureConfig(unit=unit, factor=1.0, threshold_low=0.5, threshold_medium=1.0, threshold_high=2.0)
    expected = extract_features(values, config)
    assert expected.V_skew == pytest.approx(stats.skew(values.ravel()))
    assert expected.V_kurt == pytest.approx(stats.kurtosis(values.ravel()))
    for scale in (1e-30, 1e-12, 1e12):
        features = extract_features(values * scale, config)
        assert (features.V_skew, features.V_kurt) == pytest.approx((expected.V_skew, expected.V_kurt))
        assert "V_skew" not in dict(features.undefined)
    rounded = 1e6 + np.zeros((20, 30))
    rounded[3, 4] = np.nextafter(1e6, 2e6)
    assert dict(extract_features(rounded, config).undefined)["V_skew"] == "the values differ by rounding alone"


def test_potentials_that_hardly_differ_have_no_shape() -> None:
    noise = np.random.default_rng(2).normal(size=(20, 30))
    for spread, defined in ((0.9e-13, False), (1.2e-13, True)):  # volts
        features = extract_features(-0.001 + spread * noise / noise.std())
        assert ("V_skew" not in dict(features.undefined)) == defined
        if not defined:
            assert (features.V_skew, features.V_kurt) == (0.0, 0.0)
            assert dict(features.undefined)["V_kurt"] == "the standard deviation is at most 1e-10 mV"


def test_a_step_is_quiet_below_the_threshold_and_not_at_it() -> None:
    history = np.zeros((12, 2, 2))
    history[1::2, 0] = 1.0  # the standard deviation of every change is one half, exactly
    config = FeatureConfig(
        unit="1", factor=1.0, threshold_low=0.5, threshold_medium=1.0, threshold_high=2.0, stability_window=3
    )
    for threshold, stable_at in ((0.5, 12), (math.nextafter(0.5, 1.0), 1)):
        features = extract_features(history, dataclasses.replace(config, stability_threshold=threshold))
        assert features.T_stable == stable_at


def test_a_masked_array_is_refused_for_it_would_lose_its_mask() -> None:
    masked = np.ma.masked_greater(np.random.default_rng(1).random((4, 5)), 0.5)
    for measure in (extract_features, extended_features):
        with pytest.raises(ValueError, match=r"got a masked array; give its \.filled"):
            measure(masked)


def test_an_undefined_dimension_is_zero_and_told() -> None:
    features = extract_features(np.full((16, 16), -0.07))
    assert (features.D_box, features.D_r2) == (0.0, 0.0)
    assert dict(features.undefined)["D_box"] == "no box holds a true cell"


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_of_a_field_that_no_box_fits_into_the_dimension_says_so(shape: tuple[int, int]) -> None:
    reason = dict(extract_features(np.full(shape, -0.03)).undefined)["D_box"]
    assert reason == f"the smallest box, 2 x 2 cells, does not fit into {shape[0]} x {shape[1]}"


def test_equal_counts_have_dimension_zero_and_explain_no_variation() -> None:
    field = np.full((16, 16), -0.07)
    field[3, 4] = -0.05
    features = extract_features(field)
    assert (features.D_box, features.D_r2) == (0.0, 0.0)
    assert "D_box" not in dict(features.undefined)
    assert dict(features.undefined)["D_r2"] == "boxes of all sizes are equally many"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e200])
def test_a_value_that_is_no_number_is_refused_with_its_place(wrong: float) -> None:
    history = random_history(2)
    history[1, 3, 5] = wrong
    for measure in (extract_features, lambda field: extended_features(field[1])):
        with pytest.raises(ValueError, match=r"1 of 204 cells do not, the first .* at \(3, 5\)"):
            measure(history)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (4, 0), (0, 4, 4), (2, 2, 2, 2), ()])
def test_what_is_neither_field_nor_history_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a field has rows and columns, a history frames before them"):
        extract_features(np.zeros(shape))


@pytest.mark.parametrize("kind", [np.complex128, np.str_, np.object_])
def test_what_holds_no_real_numbers_is_refused(kind: type) -> None:
    with pytest.raises(ValueError, match="a field holds real numbers, got type"):
        extract_features(np.zeros((4, 4)).astype(kind))


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.uint8, np.bool_])
def test_any_real_type_is_measured(kind: type) -> None:
    values = (np.random.default_rng(1).random((20, 30)) * 2).astype(kind)
    config = FeatureConfig(unit="1", factor=1.0, threshold_low=0.5, threshold_medium=0.75, threshold_high=2.0)
    assert extract_features(values, config) == extract_features(values.astype(np.float64), config)


def test_values_in_another_unit_are_measured_at_their_own_thresholds() -> None:
    field = random_history(5)
    config = FeatureConfig(
        unit="level", factor=1.0, threshold_low=-0.060, threshold_medium=-0.050, threshold_high=-0.040
    )
    levels, volts = extract_features(field, config), extract_features(field)
    for name in ("D_box", "D_r2", "f_active", "N_clusters_low", "N_clusters_med", "max_cluster_size"):
        assert levels[name] == volts[name]
    assert levels.V_mean * 1000 == pytest.approx(volts.V_mean)
    assert levels.units[2:6] == ("level",) * 4
    assert levels.units[11] == "level²/step"


def test_masks_take_the_place_of_thresholds() -> None:
    field = random_history(4)
    masks = [field[-1] * 1000 > threshold for threshold in (-60, -50, -40)]
    assert extract_features(field, masks=masks) == extract_features(field)
    inverted = extract_features(field, masks=[~masks[0], ~masks[0], ~masks[0]])
    assert inverted.f_active == pytest.approx(1 - extract_features(field).f_active)
    for wrong in (masks[:2], [mask[1:] for mask in masks], []):
        with pytest.raises(ValueError, match=r"masks are three, each of the shape of the field, \(12, 17\)"):
            extract_features(field, masks=wrong)


def test_lengths_and_areas_are_in_the_unit_of_a_cell() -> None:
    field = random_history(1, 2)[0]
    cells, micrometres = (
        extract_features(field),
        extract_features(field, FeatureConfig(cell_length=0.5, length_unit="µm")),
    )
    assert micrometres.max_cluster_size == cells.max_cluster_size / 4
    assert micrometres.cluster_size_std == pytest.approx(cells.cluster_size_std / 4)
    assert micrometres.units[-2:] == ("µm²", "µm²")
    further = extended_features(field), extended_features(field, FeatureConfig(cell_length=0.5, length_unit="µm"))
    assert further[1].L_perimeter == pytest.approx(further[0].L_perimeter / 2)
    assert further[1].compactness == further[0].compactness
    assert further[1].units == ("1", "1", "bits", "µm", "1")


def test_clusters_go_on_at_the_opposite_edge_when_periodic() -> None:
    field = np.full((32, 32), -0.07)
    field[:, :2], field[:, -2:] = -0.05, -0.05
    plain, periodic = extract_features(field), extract_features(field, FeatureConfig(periodic=True))
    assert (plain.N_clusters_low, plain.max_cluster_size) == (2, 64.0)
    assert (periodic.N_clusters_low, periodic.max_cluster_size) == (1, 128.0)


def test_a_max_box_beyond_the_field_is_refused() -> None:
    with pytest.raises(ValueError, match="max_box must be at most the side of the mask, 12, got 13"):
        extract_features(random_history(1), FeatureConfig(max_box=13))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_box": 0}, "min_box must be at least 1, got 0"),
        ({"min_box": 1.5}, r"min_box must be a whole number of at least 1, got 1\.5"),
        ({"min_box": True}, "min_box must be a whole number of at least 1, got True"),
        ({"max_box": 1}, "max_box must be at least 2, got 1"),
        ({"num_scales": 1}, "num_scales must be 2 to 20, got 1"),
        ({"num_scales": 21}, "num_scales must be 2 to 20, got 21"),
        ({"threshold_low": -50.0}, r"thresholds must rise from low over medium to high, got -50\.0, -50\.0, -40\.0"),
        ({"threshold_high": -55.0}, "thresholds must rise"),
        ({"threshold_low": -101.0}, r"threshold_low must lie between -100 and 50 mV, got -101\.0; set unit"),
        ({"threshold_high": 51.0}, r"threshold_high must lie between -100 and 50 mV, got 51\.0"),
        ({"threshold_low": math.nan}, "threshold_low must be a finite number, got nan"),
        ({"threshold_low": "x"}, "threshold_low must be a finite number, got 'x'"),
        ({"stability_threshold": -0.1}, r"stability_threshold must be at least 0, got -0\.1"),
        ({"stability_threshold": math.inf}, "stability_threshold must be a finite number, got inf"),
        ({"stability_window": 0}, "stability_window must be at least 1, got 0"),
        ({"connectivity": 6}, "connectivity is 4 or 8, got 6"),
        ({"factor": 0.0}, r"factor must be positive, got 0\.0"),
        ({"cell_length": -1.0}, r"cell_length must be positive, got -1\.0"),
        ({"entropy_bins": 1}, "entropy_bins must be at least 2, got 1"),
    ],
)
def test_settings_out_of_their_bounds_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureConfig(**arguments)


def test_everything_that_is_wrong_with_settings_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"min_box .*; num_scales .*; stability_threshold .*; connectivity "):
        FeatureConfig(min_box=0, num_scales=1, stability_threshold=-1.0, connectivity=5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"min_box": 1, "num_scales": 2},
        {"num_scales": 20, "max_box": 2},
        {"threshold_low": -100.0, "threshold_high": 50.0},
        {"threshold_low": 90.0, "threshold_medium": 120.0, "threshold_high": 200.0, "unit": "level"},
        {"stability_threshold": 0.0, "stability_window": 1, "connectivity": 8},
        {"min_box": np.int64(3), "threshold_low": np.float32(-70.0)},
    ],
)
def test_settings_at_their_bounds_are_taken(arguments: dict[str, Any]) -> None:
    config = FeatureConfig(**arguments)
    for name, value in arguments.items():
        assert getattr(config, name) == value


ORDINARY = extract_features(np.clip(random_history(3, 1, (64, 64)), -0.095, 0.040))


def test_ordinary_features_have_no_warnings() -> None:
    assert feature_warnings(ORDINARY) == ()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("D_box", 2.6, "is out of its range, got 2.6; the range is 0 to 2.5"),
        ("D_box", -0.1, "is out of its range, got -0.1; the range is 0 to 2.5"),
        ("D_r2", 1.1, "is out of its range, got 1.1; the range is 0 to 1"),
        ("V_min", -100.5, "is out of its range, got -100.5 mV; the range is -100 to 50 mV"),
        ("V_max", 50.5, "is out of its range, got 50.5 mV; the range is -100 to 50 mV"),
        ("f_active", 1.5, "is out of its range, got 1.5; the range is 0 to 1"),
        ("V_skew", math.nan, "is not finite: nan"),
        ("E_trend", math.inf, "is not finite: inf"),
    ],
)
def test_a_feature_out_of_its_range_is_told_with_the_range(name: str, value: float, reason: str) -> None:
    (warning,) = feature_warnings(dataclasses.replace(ORDINARY, **{name: value}))
    assert (warning.name, warning.reason) == (name, reason)
    assert str(warning) == f"{name} {reason}"


@pytest.mark.parametrize(("value", "warned"), [(1.3, True), (1.4, False), (1.9, False), (2.0, True)])
def test_the_strict_range_of_the_dimension_is_that_of_mycelia(value: float, warned: bool) -> None:
    features = dataclasses.replace(ORDINARY, D_box=value)
    assert bool(feature_warnings(features, strict=True)) == warned
    assert feature_warnings(features) == ()


def test_an_undefined_dimension_is_a_warning_with_its_reason() -> None:
    found = feature_warnings(extract_features(np.full((16, 16), -0.07)))
    assert [str(warning) for warning in found] == [
        f"{name} is undefined and stands at 0: no box holds a true cell" for name in ("D_box", "D_r2")
    ]


def test_values_that_are_no_potentials_have_no_range() -> None:
    config = FeatureConfig(unit="level", factor=1.0, threshold_low=90.0, threshold_medium=128.0, threshold_high=166.0)
    levels = np.random.default_rng(1).integers(0, 256, (64, 64))
    assert feature_warnings(extract_features(levels, config)) == ()


def test_further_features_are_named_with_units_and_fits() -> None:
    field = np.full((128, 128), -0.07)
    row, column = np.indices((128, 128)) - 64
    field[row**2 + column**2 <= 40**2] = -0.05
    found = extended_features(field)
    assert tuple(found.as_dict()) == found.names == EXTENDED_FEATURE_NAMES
    assert len(found.units) == 5
    assert found.D_correlation == found.correlation.value == pytest.approx(2.0, abs=0.15)
    assert found.D_information == found.information.value == pytest.approx(2.0, abs=0.15)
    assert found.L_perimeter == pytest.approx(80 * math.pi, rel=0.02)
    assert found.compactness == pytest.approx(1.0, abs=0.03)
    share = np.mean(field > -0.06)
    assert found.H_entropy == pytest.approx(-share * math.log2(share) - (1 - share) * math.log2(1 - share))


def test_further_features_of_an_empty_mask_are_undefined() -> None:
    found = extended_features(np.full((64, 64), -0.07))
    assert found.as_dict() == {
        "D_correlation": None,
        "D_information": None,
        "H_entropy": 0.0,
        "L_perimeter": 0.0,
        "compactness": None,
    }
    assert np.isnan(found.as_array()).tolist() == [True, True, False, False, True]
    assert found.correlation.reason == found.information.reason == "the mask is empty"


def test_a_mask_takes_the_place_of_the_threshold_in_further_features_too() -> None:
    field = random_history(1, 2, (64, 64))[0]
    assert extended_features(field, mask=field * 1000 > -60) == extended_features(field)
    with pytest.raises(ValueError, match=r"a mask has the shape of the field, \(64, 64\), got \(64, 63\)"):
        extended_features(field, mask=np.ones((64, 63)))
