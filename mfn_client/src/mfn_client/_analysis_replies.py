"""From the reply of AnalyzeField to features and dimensions."""

from __future__ import annotations

from mfn_client._analysis_results import DimensionEstimate, DimensionPoint, Feature
from mfn_proto.v1 import field_pb2

__all__ = ["dimension_estimates", "features_measured"]


def features_measured(reply: field_pb2.AnalyzeFieldResponse) -> tuple[Feature, ...]:
    """The features, in their order."""
    return tuple(
        Feature(
            name=each.name,
            value=each.value if each.HasField("value") else None,
            unit=each.unit,
            reason=each.reason,
        )
        for each in reply.features
    )


def dimension_estimates(reply: field_pb2.AnalyzeFieldResponse) -> tuple[DimensionEstimate, ...]:
    """The dimensions by several estimators."""
    return tuple(
        DimensionEstimate(
            name=each.name,
            value=each.value if each.HasField("value") else None,
            reason=each.reason,
            r_squared=each.r_squared if each.HasField("r_squared") else None,
            standard_error=each.standard_error if each.HasField("standard_error") else None,
            interval=(each.interval_low, each.interval_high) if each.HasField("interval_low") else None,
            points=tuple(DimensionPoint(scale=point.scale, entropy=point.entropy) for point in each.points),
        )
        for each in reply.dimensions
    )
