"""`AnalyzeField` beyond statistics: rectangles, thresholds, features and further dimensions."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_core import Code
from mfn_model import box_counting_dimension_legacy, estimate_dimension
from mfn_model.dimension import correlation_dimension, information_dimension, offset_averaged_dimension
from mfn_model.features import EXTENDED_FEATURE_NAMES, FEATURE_NAMES, FeatureConfig, extended_features, extract_features
from mfn_model.thresholds import otsu_threshold
from mfn_proto.v1 import field_pb2 as pb

ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
FLOAT64 = pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN

FIELD = np.random.default_rng(11).normal(-0.065, 0.01, (32, 32))
CARPET = np.ones((1, 1), dtype=bool)
for _ in range(4):
    CARPET = np.kron(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool), CARPET)


async def analysed(served: Any, field: npt.NDArray[Any], **header: Any) -> Any:
    conversation = served.open(ANALYZE)
    conversation.send(
        pb.AnalyzeFieldRequest(header=pb.AnalyzeFieldHeader(shape=field.shape, encoding=FLOAT64, **header)),
        *(
            pb.AnalyzeFieldRequest(chunk=field.astype("<f8").tobytes()[start : start + 100_000])
            for start in range(0, field.size * 8, 100_000)
        ),
    )
    conversation.half_close()
    return await conversation.outcome()


async def measured(served: Any, field: npt.NDArray[Any], **header: Any) -> pb.AnalyzeFieldResponse:
    outcome = await analysed(served, field, **header)
    assert outcome.code is Code.OK, outcome.message
    return pb.AnalyzeFieldResponse.FromString(outcome.reply)


def close(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-12)


# Rectangles.


@pytest.mark.parametrize("shape", [(1, 64), (16, 40), (40, 16), (33, 7)])
async def test_a_rectangle_is_measured_as_the_mathematics_measures_it(served: Any, shape: tuple[int, int]) -> None:
    field = np.random.default_rng(2).normal(-0.06, 0.01, shape)
    reply = await measured(served, field)
    mask = field > -0.06
    assert close(reply.statistics.mean_volts, float(field.mean()))
    assert close(reply.active_fraction, float(mask.mean()))
    assert reply.fractal_dimension == box_counting_dimension_legacy(mask)
    expected = estimate_dimension(mask)
    assert reply.dimension.HasField("value") == (expected.value is not None)
    assert reply.dimension.value == (expected.value or 0.0)


async def test_rows_come_first(served: Any) -> None:
    field = np.full((4, 9), -0.07)
    field[3, 8] = math.nan
    outcome = await analysed(served, field)
    assert "the first at row 3, column 8: nan" in outcome.error.violations[0].description


async def test_a_rectangle_is_charged_for_its_cells(served: Any) -> None:
    await measured(served, np.zeros((4, 30)))
    await measured(served, np.zeros((4, 30)), features=pb.FeatureOptions())
    assert served.charges == [("AnalyzeField", 120.0), ("AnalyzeField", 120.0 * 51)]


# Thresholds.


async def test_without_a_threshold_potentials_above_minus_sixty_millivolts_are_active(served: Any) -> None:
    reply = await measured(served, FIELD)
    assert (reply.threshold.method, reply.threshold.value, reply.threshold.unit) == ("fixed", -0.060, "V")
    assert reply.threshold_volts == -0.060
    assert close(reply.active_fraction, float((FIELD > -0.060).mean()))


async def test_the_threshold_of_activity_has_the_same_features_however_it_is_asked_for(served: Any) -> None:
    noisy, options = FIELD + 0.008, pb.FeatureOptions()
    unasked = await measured(served, noisy, features=options)
    for asked in ({"threshold": pb.Threshold(value=-0.060)}, {"threshold_volts": -0.060}):
        reply = await measured(served, noisy, features=options, **asked)
        assert reply.features == unasked.features
    another = await measured(served, noisy, features=options, threshold=pb.Threshold(value=-0.0601))
    assert another.features != unasked.features


@pytest.mark.parametrize(
    ("threshold", "method", "value", "mask"),
    [
        (pb.Threshold(value=-0.065), "fixed", -0.065, FIELD > -0.065),
        (pb.Threshold(value=-0.065, invert=True), "fixed", -0.065, FIELD < -0.065),
        (pb.Threshold(percentile=90.0), "percentile", np.percentile(FIELD, 90), np.percentile(FIELD, 90) < FIELD),
        (pb.Threshold(percentile=0.0), "percentile", FIELD.min(), FIELD.min() < FIELD),
        (pb.Threshold(otsu=True), "otsu", otsu_threshold(FIELD), otsu_threshold(FIELD) < FIELD),
        (pb.Threshold(), "otsu", otsu_threshold(FIELD), otsu_threshold(FIELD) < FIELD),
    ],
)
async def test_a_threshold_is_found_as_it_is_asked_for(
    served: Any, threshold: pb.Threshold, method: str, value: float, mask: npt.NDArray[np.bool_]
) -> None:
    reply = await measured(served, FIELD, threshold=threshold)
    assert (reply.threshold.method, reply.threshold.unit) == (method, "V")
    assert close(reply.threshold.value, float(value))
    assert reply.threshold_volts == reply.threshold.value
    assert close(reply.active_fraction, float(mask.mean()))
    assert reply.dimension.value == estimate_dimension(mask).value


async def test_a_local_threshold_finds_what_stands_out_of_its_surroundings(served: Any) -> None:
    slope = np.linspace(-0.09, -0.03, 40)[np.newaxis].repeat(40, axis=0)
    spots = [(5, 5), (20, 20), (35, 33)]
    for spot in spots:
        slope[spot] += 0.005
    local = pb.Threshold(adaptive=pb.AdaptiveThreshold(block=5, offset=0.002))
    reply = await measured(served, slope, threshold=local)
    assert reply.threshold.method == "adaptive"
    assert not reply.threshold.HasField("value")
    assert reply.threshold_volts == 0.0
    assert reply.active_fraction * slope.size == pytest.approx(len(spots))


async def test_equal_values_have_no_threshold_of_otsu(served: Any) -> None:
    outcome = await analysed(served, np.full((8, 8), -0.07), threshold=pb.Threshold(otsu=True))
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == "header.threshold"
    assert "all values are -0.07" in violation.description


async def test_two_thresholds_are_one_too_many(served: Any) -> None:
    outcome = await analysed(served, FIELD, threshold_volts=-0.05, threshold=pb.Threshold(otsu=True))
    assert [violation.field for violation in outcome.error.violations] == ["header.threshold_volts"]
    outcome = await analysed(served, FIELD, unit="1", threshold_volts=-0.05)
    assert [violation.field for violation in outcome.error.violations] == ["header.threshold_volts"]
    assert served.charges == []


@pytest.mark.parametrize(
    "threshold",
    [pb.Threshold(value=0.0), pb.Threshold(otsu=True), pb.Threshold(adaptive=pb.AdaptiveThreshold(block=3))],
)
@pytest.mark.parametrize("features", [None, pb.FeatureOptions()])
async def test_values_near_the_largest_float_are_no_defect(
    served: Any, threshold: pb.Threshold, features: pb.FeatureOptions | None
) -> None:
    field = np.full((8, 8), 1.5e308)
    field[::2] = -1.5e308
    outcome = await analysed(served, field, threshold=threshold, features=features)
    assert outcome.code in (Code.OK, Code.INVALID_ARGUMENT)
    if features is not None:
        assert outcome.code is Code.INVALID_ARGUMENT


# What is no potential.


async def test_the_levels_of_a_picture_are_not_told_in_volts(served: Any) -> None:
    picture = np.where(CARPET, 200.0, 30.0)
    reply = await measured(served, picture, unit="1")
    assert not reply.HasField("statistics")
    assert (reply.values.unit, reply.values.min, reply.values.max) == ("1", 30.0, 200.0)
    assert close(reply.values.mean, float(picture.mean()))
    assert reply.threshold == pb.ThresholdUsed(method="otsu", value=115.0, unit="1")
    assert reply.threshold_volts == 0.0
    assert reply.dimension.value == pytest.approx(math.log(8) / math.log(3), abs=0.02)


async def test_the_statistics_of_a_potential_are_there_in_both_forms(served: Any) -> None:
    reply = await measured(served, FIELD)
    assert reply.values == pb.SpeciesFrame(
        unit="V",
        min=reply.statistics.min_volts,
        max=reply.statistics.max_volts,
        mean=reply.statistics.mean_volts,
        std=reply.statistics.std_volts,
    )


# Features.


def values(reply: pb.AnalyzeFieldResponse) -> dict[str, float | None]:
    return {each.name: each.value if each.HasField("value") else None for each in reply.features}


async def test_nothing_more_is_measured_than_is_asked_for(served: Any) -> None:
    reply = await measured(served, FIELD)
    assert (len(reply.features), len(reply.dimensions), len(reply.warnings)) == (0, 0, 0)


async def test_the_features_are_those_of_the_field_in_their_order_with_their_units(served: Any) -> None:
    reply = await measured(served, FIELD, features=pb.FeatureOptions())
    expected, further = extract_features(FIELD), extended_features(FIELD)
    assert [each.name for each in reply.features] == [*FEATURE_NAMES, *EXTENDED_FEATURE_NAMES]
    assert [each.unit for each in reply.features] == [*expected.units, *further.units]
    undefined = dict(expected.undefined)
    assert set(undefined) >= {"dV_mean", "dV_max", "T_stable", "E_trend"}
    found = values(reply)
    for name, value in {**expected.as_dict(), **further.as_dict()}.items():
        if name in undefined:
            assert found[name] is None
        else:
            told = found[name]
            assert told is not None
            assert value is not None
            assert close(told, value), name
    reasons = {each.name: each.reason for each in reply.features if each.reason}
    assert reasons == undefined


async def test_a_threshold_of_the_callers_counts_for_the_features_too(served: Any) -> None:
    reply = await measured(served, FIELD, features=pb.FeatureOptions(), threshold=pb.Threshold(percentile=75.0))
    mask = np.percentile(FIELD, 75.0) < FIELD
    found = values(reply)
    assert found["f_active"] == pytest.approx(0.25)
    excess = FIELD - np.percentile(FIELD, 75.0)
    masks = [excess > excess.max() * share for share in (0.0, 1 / 3, 2 / 3)]
    expected = extract_features(FIELD, masks=masks)
    assert found["N_clusters_low"] == expected.N_clusters_low
    assert found["N_clusters_high"] == expected.N_clusters_high
    assert found["D_box"] == box_counting_dimension_legacy(mask)


@pytest.mark.parametrize(("connectivity", "periodic"), [(4, False), (8, False), (4, True), (8, True)])
async def test_how_clusters_hang_together_is_the_callers_choice(served: Any, connectivity: int, periodic: bool) -> None:
    options = pb.FeatureOptions(connectivity=connectivity, periodic=periodic)
    found = values(await measured(served, FIELD, features=options))
    expected = extract_features(FIELD, FeatureConfig(connectivity=connectivity, periodic=periodic))
    assert found["N_clusters_low"] == expected.N_clusters_low
    assert found["max_cluster_size"] == expected.max_cluster_size


async def test_further_dimensions_come_with_their_fit_and_confidence(served: Any) -> None:
    field = np.where(CARPET, -0.05, -0.07)
    reply = await measured(served, field, features=pb.FeatureOptions())
    expected = {
        "nested_boxes": estimate_dimension(CARPET),
        "offset_averaged": offset_averaged_dimension(CARPET),
        "information": information_dimension(CARPET),
        "correlation": correlation_dimension(CARPET),
    }
    assert [each.name for each in reply.dimensions] == list(expected)
    for told in reply.dimensions:
        estimate = expected[told.name]
        assert told.value == estimate.value
        assert told.r_squared == estimate.r_squared
        assert told.standard_error == estimate.standard_error
        assert (told.interval_low, told.interval_high) == estimate.interval
        assert told.interval_low <= told.value <= told.interval_high
        assert [(point.scale, point.entropy) for point in told.points] == list(
            zip(estimate.scales, estimate.entropies, strict=True)
        )
        assert told.value == pytest.approx(1.8928, abs=0.1)
    assert reply.dimensions[0].value == reply.dimension.value


async def test_where_nothing_is_active_everything_has_its_reason(served: Any) -> None:
    reply = await measured(served, np.full((16, 16), -0.07), features=pb.FeatureOptions())
    for told in reply.dimensions:
        assert not told.HasField("value")
        assert told.reason
        assert not told.HasField("interval_low")
    reasons = {each.name: each.reason for each in reply.features if not each.HasField("value")}
    assert reasons["compactness"] == "no cell is active"
    assert reasons["D_correlation"]
    assert reasons["D_box"] == "no box holds a true cell"
    assert any(warning.startswith("D_box is undefined") for warning in reply.warnings)


async def test_features_of_what_is_no_potential_are_in_its_own_unit(served: Any) -> None:
    picture = np.where(CARPET, 200.0, 30.0)
    reply = await measured(served, picture, unit="1", features=pb.FeatureOptions())
    units = {each.name: each.unit for each in reply.features}
    assert (units["V_mean"], units["max_cluster_size"]) == ("1", "cells")
    assert values(reply)["V_max"] == 200.0
    assert values(reply)["f_active"] == pytest.approx(float(CARPET.mean()))


async def test_a_measurement_that_is_not_wanted_any_more_ends_between_two_steps(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any, **options: Any) -> Any:
        reached.set()
        go_on.wait(30)
        return offset_averaged_dimension(*arguments, **options)

    def forbidden(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("it went on")

    monkeypatch.setattr("mfn_service._analysis.offset_averaged_dimension", slow)
    monkeypatch.setattr("mfn_service._analysis.extended_features", forbidden)
    conversation = served.open(ANALYZE)
    shape = FIELD.shape
    conversation.send(
        pb.AnalyzeFieldRequest(
            header=pb.AnalyzeFieldHeader(shape=shape, encoding=FLOAT64, features=pb.FeatureOptions())
        ),
        pb.AnalyzeFieldRequest(chunk=FIELD.tobytes()),
    )
    conversation.half_close()
    await served.until(reached.is_set)
    conversation.break_off()
    go_on.set()
    assert (await conversation.outcome()).code is Code.CANCELLED
    assert served.provider.uploads.taken == 0
