"""AnalyzeField beyond statistics: which threshold is sent, and what features become."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mfn_client import DimensionEstimate, DimensionPoint, Feature, MFNClient, SpeciesStatistics, ThresholdUsed
from mfn_proto.v1 import field_pb2 as pb

ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
FIELD = np.zeros((4, 6))


async def headers(server: Any, reply: pb.AnalyzeFieldResponse) -> list[pb.AnalyzeFieldHeader]:
    """Serve AnalyzeField; the list holds the headers that came."""
    came: list[pb.AnalyzeFieldHeader] = []

    async def handle(call: Any) -> None:
        header = pb.AnalyzeFieldRequest.FromString((await call.read_all())[0]).header
        came.append(header)
        reply.request_id = header.request_id
        await call.write(reply)

    server.serve(ANALYZE, handle)
    return came


@pytest.mark.parametrize(
    ("arguments", "threshold"),
    [
        ({"threshold": 0.5}, pb.Threshold(value=0.5)),
        ({"threshold": 0.0, "invert": True}, pb.Threshold(value=0.0, invert=True)),
        ({"percentile": 90}, pb.Threshold(percentile=90.0)),
        ({"otsu": True}, pb.Threshold(otsu=True)),
        ({"invert": True}, pb.Threshold(otsu=True, invert=True)),
        ({"adaptive": 5, "offset": 0.1}, pb.Threshold(adaptive=pb.AdaptiveThreshold(block=5, offset=0.1))),
    ],
)
async def test_the_threshold_that_is_asked_for_is_sent_and_no_other(
    server: Any, client: MFNClient, arguments: dict[str, Any], threshold: pb.Threshold
) -> None:
    came = await headers(server, pb.AnalyzeFieldResponse())
    await client.analyze_field(FIELD, **arguments)
    assert came[0].threshold == threshold
    assert not came[0].HasField("threshold_volts")
    assert not came[0].HasField("features")


async def test_without_a_threshold_a_potential_has_its_own_and_another_field_none(
    server: Any, client: MFNClient
) -> None:
    came = await headers(server, pb.AnalyzeFieldResponse())
    await client.analyze_field(FIELD)
    await client.analyze_field(FIELD, unit="1")
    assert (came[0].unit, came[0].threshold_volts) == ("V", -0.060)
    assert came[1].unit == "1"
    assert not came[1].HasField("threshold_volts")
    assert not came[1].HasField("threshold")


async def test_features_are_asked_for_with_their_options(server: Any, client: MFNClient) -> None:
    came = await headers(server, pb.AnalyzeFieldResponse())
    await client.analyze_field(FIELD, features=True, connectivity=8, periodic=True)
    assert came[0].features == pb.FeatureOptions(connectivity=8, periodic=True)
    assert list(came[0].shape) == [4, 6]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"threshold": 0.5, "otsu": True}, "one threshold is taken, got threshold and otsu"),
        ({"percentile": 5, "adaptive": 3}, "one threshold is taken, got percentile and adaptive"),
        ({"threshold_volts": -0.06, "otsu": True}, "got threshold_volts and another"),
        ({"offset": 0.1}, "offset belongs to adaptive"),
    ],
)
async def test_thresholds_that_exclude_one_another_are_refused_before_a_call(
    server: Any, client: MFNClient, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await client.analyze_field(FIELD, **arguments)
    assert server.calls == []


async def test_what_was_measured_is_typed_and_what_is_undefined_has_its_reason(server: Any, client: MFNClient) -> None:
    reply = pb.AnalyzeFieldResponse(
        values=pb.SpeciesFrame(unit="1", min=0.0, max=2.0, mean=1.0, std=0.5),
        threshold=pb.ThresholdUsed(method="otsu", value=1.5, unit="1"),
        features=[
            pb.Feature(name="V_max", value=2.0, unit="1"),
            pb.Feature(name="D_box", unit="1", reason="no box holds a true cell"),
        ],
        dimensions=[
            pb.DimensionEstimate(
                name="nested_boxes",
                value=1.5,
                r_squared=0.99,
                standard_error=0.1,
                interval_low=1.2,
                interval_high=1.8,
                points=[pb.DimensionPoint(scale=2.0, entropy=3.0)],
            ),
            pb.DimensionEstimate(name="correlation", reason="the mask is empty"),
        ],
        warnings=["D_box is undefined"],
    )
    await headers(server, reply)
    result = await client.analyze_field(FIELD, unit="1", features=True)
    assert math.isnan(result.statistics.mean_volts)
    assert math.isnan(result.threshold_volts)
    assert result.values == SpeciesStatistics(name="", unit="1", min=0.0, max=2.0, mean=1.0, std=0.5)
    assert result.threshold == ThresholdUsed(method="otsu", value=1.5, unit="1")
    assert result.features == (
        Feature(name="V_max", value=2.0, unit="1", reason=""),
        Feature(name="D_box", value=None, unit="1", reason="no box holds a true cell"),
    )
    nested, correlation = result.dimensions
    assert nested == DimensionEstimate(
        name="nested_boxes",
        value=1.5,
        reason="",
        r_squared=0.99,
        standard_error=0.1,
        interval=(1.2, 1.8),
        points=(DimensionPoint(scale=2.0, entropy=3.0),),
    )
    assert (correlation.value, correlation.interval, correlation.reason) == (None, None, "the mask is empty")
    assert result.warnings == ("D_box is undefined",)


async def test_a_threshold_in_volts_is_told_in_volts(server: Any, client: MFNClient) -> None:
    reply = pb.AnalyzeFieldResponse(
        statistics=pb.FieldStatistics(mean_volts=-0.07),
        threshold_volts=-0.065,
        threshold=pb.ThresholdUsed(method="percentile", value=-0.065, unit="V"),
    )
    await headers(server, reply)
    result = await client.analyze_field(FIELD, percentile=75)
    assert (result.threshold_volts, result.statistics.mean_volts) == (-0.065, -0.07)
    reply.threshold.CopyFrom(pb.ThresholdUsed(method="adaptive", unit="V"))
    assert math.isnan((await client.analyze_field(FIELD, adaptive=3)).threshold_volts)
