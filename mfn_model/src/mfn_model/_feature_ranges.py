"""Ranges in which features are plausible, and warnings about those that are not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mfn_model._feature_config import POTENTIAL_RANGE_MV
from mfn_model._feature_vector import FeatureVector

__all__ = ["FeatureWarning", "feature_warnings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureWarning:
    """A feature that is not what a field of this kind should have."""

    name: str
    value: float
    reason: str
    """What is odd about it, with the bound; reads on after the name."""

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


def feature_warnings(features: FeatureVector, *, strict: bool = False) -> tuple[FeatureWarning, ...]:
    """What is odd about these features, in their order; empty when nothing is.

    Told are: values that are NaN or infinite; the dimension when it is undefined, for which its 0 stands; D_box
    outside 0 … 2.5, or with `strict` outside 1.4 … 1.9, where mycelia lie; D_r2 and f_active outside 0 … 1; and, where
    values are potentials in mV, V_min, V_max and V_mean outside −100 … 50 mV.
    """
    ranges = {"D_box": (1.4, 1.9) if strict else (0.0, 2.5), "D_r2": (0.0, 1.0), "f_active": (0.0, 1.0)}
    units = dict(zip(features.names, features.units, strict=True))
    if units["V_min"] == "mV":
        ranges |= dict.fromkeys(("V_min", "V_max", "V_mean"), POTENTIAL_RANGE_MV)
    why_undefined = dict(features.undefined)
    found = []
    for name, value in features.as_dict().items():
        if name in why_undefined and name in ("D_box", "D_r2"):
            reason = f"is undefined and stands at 0: {why_undefined[name]}"
        elif not math.isfinite(value):
            reason = f"is not finite: {value}"
        elif name in ranges and not ranges[name][0] <= value <= ranges[name][1]:
            unit = f" {units[name]}" if units[name] != "1" else ""
            least, most = ranges[name]
            reason = f"is out of its range, got {value:g}{unit}; the range is {least:g} to {most:g}{unit}"
        else:
            continue
        found.append(FeatureWarning(name=name, value=value, reason=reason))
    return tuple(found)
