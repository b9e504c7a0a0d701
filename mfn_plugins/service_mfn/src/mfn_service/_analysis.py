"""What is measured of an uploaded field, in steps that are short enough to be given up between."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mfn_model import FieldStatistics, active_mask, box_counting_dimension_legacy, field_statistics
from mfn_model.dimension import DimensionEstimate, estimate_dimension, offset_averaged_dimension
from mfn_model.features import (
    ExtendedFeatures,
    FeatureAccumulator,
    FeatureConfig,
    FeatureVector,
    extended_features,
    feature_warnings,
)
from mfn_model.mycelium import ACTIVE_THRESHOLD
from mfn_model.thresholds import Threshold, ThresholdSettings
from mfn_proto.defaults import effective
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._limits import invalid
from mfn_service._messages import fractal_dimension, species_frame, statistics_message
from mfn_service._models import POTENTIAL

__all__ = ["Analysis", "unit_of"]

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NO_ACTIVE_CELL = "no cell is active"

_MILLIVOLTS = FeatureConfig()
# Masks are given: the thresholds only have to rise.
_OWN_UNIT = FeatureConfig(unit="1", factor=1.0, threshold_low=0.0, threshold_medium=1.0, threshold_high=2.0)


def unit_of(header: pb.AnalyzeFieldHeader) -> str:
    """The unit of the field."""
    return header.unit or POTENTIAL


@frozen(kw_only=True)
class _Active:
    """Which cells are active, and by which threshold."""

    mask: Mask
    used: pb.ThresholdUsed
    masks: tuple[Mask, Mask, Mask] | None
    """For the low, the medium and the high threshold of the features; None: their own, in mV."""


class Analysis:
    """The measurement of one field. Its steps are called in order, on compute threads, one at a time."""

    def __init__(self, header: pb.AnalyzeFieldHeader, uploaded: npt.NDArray[np.floating[Any]]) -> None:
        """Of what was uploaded under a valid header, [rows, columns]."""
        self._header = header
        self._uploaded = uploaded
        self._unit = unit_of(header)
        self._reply = pb.AnalyzeFieldResponse(request_id=header.request_id)

    @property
    def reply(self) -> pb.AnalyzeFieldResponse:
        """What has been measured."""
        return self._reply

    def steps(self) -> tuple[Callable[[], None], ...]:
        """What there is to do."""
        if not self._header.HasField("features"):
            return (self._describe,)
        return (self._describe, self._take_features, self._take_averaged, self._take_further)

    def _describe(self) -> None:
        """Statistics, threshold and dimension.

        Raises:
            MfnError: INVALID_ARGUMENT, for cells that are NaN or infinite, and a threshold that there is none of.
        """
        self._field = _finite(self._uploaded)
        found = _statistics(self._field)
        self._active = self._threshold()
        potential, reply = self._unit == POTENTIAL, self._reply
        if potential:
            reply.statistics.CopyFrom(statistics_message(found))
            reply.threshold_volts = self._active.used.value
        reply.values.CopyFrom(species_frame(found, self._unit))
        reply.threshold.CopyFrom(self._active.used)
        self._nested = estimate_dimension(self._active.mask)
        reply.dimension.CopyFrom(fractal_dimension(self._nested))
        reply.fractal_dimension = box_counting_dimension_legacy(self._active.mask)
        reply.active_fraction = int(np.count_nonzero(self._active.mask)) / self._field.size

    def _threshold(self) -> _Active:
        header, field = self._header, self._field
        potential = self._unit == POTENTIAL
        if potential and not header.HasField("threshold"):
            settings = ThresholdSettings(value=float(effective(header, "threshold_volts")))
        else:
            settings = _settings(header.threshold)
        beyond = self._beyond(settings)
        used = pb.ThresholdUsed(method=beyond.method, value=beyond.value, unit=self._unit)
        # Potentials above the threshold of activity have two more of their own, however that threshold was asked for.
        if potential and settings.value == ACTIVE_THRESHOLD and not settings.invert:
            return _Active(mask=active_mask(field), used=used, masks=None)
        masks = beyond.masks()
        return _Active(mask=masks[0], used=used, masks=masks)

    def _beyond(self, settings: ThresholdSettings) -> Threshold:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                beyond = settings.over(self._field)
        except ValueError as none:
            raise invalid("header.threshold", f"got a field without one: {none}") from none
        if (beyond.value is not None and not math.isfinite(beyond.value)) or np.isnan(beyond.excess).any():
            raise invalid(
                "header.threshold",
                "got a field whose values are so large that no threshold can be computed; scale it down",
            )
        return beyond

    def _take_features(self) -> None:
        potential, options = self._unit == POTENTIAL, self._header.features
        config = _MILLIVOLTS if potential else _OWN_UNIT
        self._config = replace(config, connectivity=int(effective(options, "connectivity")), periodic=options.periodic)
        accumulator = FeatureAccumulator(self._config)
        try:
            accumulator.add(self._field)
        except ValueError as wrong:
            raise invalid("chunk", f"got a field without features: {wrong}") from wrong
        vector = accumulator.features(self._active.masks)
        self._reply.features.extend(_features(vector))
        self._reply.warnings.extend(str(each) for each in feature_warnings(vector))

    def _take_averaged(self) -> None:
        averaged = offset_averaged_dimension(self._active.mask, periodic=self._config.periodic)
        self._reply.dimensions.extend((_estimate("nested_boxes", self._nested), _estimate("offset_averaged", averaged)))

    def _take_further(self) -> None:
        further = extended_features(self._field, self._config, mask=self._active.mask)
        self._reply.features.extend(_further_features(further))
        self._reply.dimensions.extend(
            (_estimate("information", further.information), _estimate("correlation", further.correlation))
        )


def _settings(threshold: pb.Threshold) -> ThresholdSettings:
    match threshold.WhichOneof("method"):
        case "value":
            return ThresholdSettings(value=threshold.value, invert=threshold.invert)
        case "percentile":
            return ThresholdSettings(percentile=threshold.percentile, invert=threshold.invert)
        case "adaptive":
            local = threshold.adaptive
            return ThresholdSettings(adaptive=local.block, offset=local.offset, invert=threshold.invert)
        case _:
            return ThresholdSettings(otsu=True, invert=threshold.invert)


def _finite(uploaded: npt.NDArray[np.floating[Any]]) -> Values:
    """What was uploaded, as float64.

    Raises:
        MfnError: INVALID_ARGUMENT, when it holds NaN or infinite values.
    """
    finite = np.isfinite(uploaded)
    wrong = uploaded.size - int(np.count_nonzero(finite))
    if wrong:
        row, column = divmod(int(np.argmin(finite)), uploaded.shape[1])
        raise invalid(
            "chunk",
            f"{wrong} of {uploaded.size} cells are NaN or infinite, the first at row {row}, column {column}: "
            f"{float(uploaded[row, column])!r}; send finite values",
        )
    return uploaded.astype(np.float64, copy=False)


def _statistics(field: Values) -> FieldStatistics:
    """Statistics of any finite field, also where the sums of its values or of their squares overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = field_statistics(field)
    if math.isfinite(found.mean) and math.isfinite(found.std):
        return found
    # A power of two scales exactly; the deviation is at most half the range, so that nothing overflows again.
    largest = max(abs(found.minimum), abs(found.maximum))
    exponent = math.frexp(largest)[1]
    scaled = field_statistics(np.ldexp(field, -exponent))
    return FieldStatistics(
        minimum=found.minimum,
        maximum=found.maximum,
        mean=math.ldexp(scaled.mean, exponent),
        std=math.ldexp(scaled.std, exponent),
        active_fraction=found.active_fraction,
        active_cells=found.active_cells,
        cells=found.cells,
    )


def _features(vector: FeatureVector) -> list[pb.Feature]:
    undefined = dict(vector.undefined)
    return [
        pb.Feature(
            name=name,
            value=None if name in undefined else float(value),
            unit=unit,
            reason=undefined.get(name, ""),
        )
        for (name, value), unit in zip(vector.as_dict().items(), vector.units, strict=True)
    ]


def _further_features(further: ExtendedFeatures) -> list[pb.Feature]:
    reasons = {"D_correlation": further.correlation.reason, "D_information": further.information.reason}
    return [
        pb.Feature(
            name=name,
            value=value,
            unit=unit,
            reason="" if value is not None else reasons.get(name) or NO_ACTIVE_CELL,
        )
        for (name, value), unit in zip(further.as_dict().items(), further.units, strict=True)
    ]


def _estimate(name: str, estimate: DimensionEstimate) -> pb.DimensionEstimate:
    low, high = estimate.interval or (None, None)
    return pb.DimensionEstimate(
        name=name,
        value=estimate.value,
        reason=estimate.reason or "",
        r_squared=estimate.r_squared,
        standard_error=estimate.standard_error,
        interval_low=low,
        interval_high=high,
        points=[
            pb.DimensionPoint(scale=scale, entropy=entropy)
            for scale, entropy in zip(estimate.scales, estimate.entropies, strict=True)
        ],
    )
