"""Where an image or a field is an object: thresholds fixed, by rank, by Otsu's criterion, and local.

>>> import numpy as np
>>> values = np.array([[10.0, 12.0, 11.0], [90.0, 95.0, 12.0]])
>>> found = ThresholdSettings(otsu=True).over(values)
>>> found.value, int(found.masks()[0].sum())
(51.0, 2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt

__all__ = ["Threshold", "ThresholdSettings", "local_mean", "otsu_threshold"]

Values = npt.NDArray[np.float64]

ROUNDING = 1e-9
"""Of the range of the values: a difference to a local mean up to this share is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSettings:
    """Which threshold to take: one of four, or Otsu's where none is given.

    Raises `ValueError` when more than one is given, or a value is out of its bounds.
    """

    value: float | None = None
    """A fixed one, in the unit of the values."""
    percentile: float | None = None
    """That many per cent of the pixels are below or at it, 0 … 100."""
    otsu: bool = False
    """The one that divides the values into two classes with the least variance within them."""
    adaptive: int | None = None
    """The mean of a window of that many pixels a side around each pixel, odd and at least 3."""
    offset: float = 0.0
    """By how much a pixel must be beyond the local mean."""
    invert: bool = False
    """Objects are darker than the threshold."""

    def __post_init__(self) -> None:
        given = [name for name in ("value", "percentile", "adaptive") if getattr(self, name) is not None]
        given += ["otsu"] if self.otsu else []
        if len(given) > 1:
            names = ("threshold" if name == "value" else name for name in given)
            raise ValueError(f"one threshold is taken, got {' and '.join(names)}; leave out all but one")
        for name, number in (("threshold", self.value), ("percentile", self.percentile), ("offset", self.offset)):
            if number is not None and not (isinstance(number, Real) and math.isfinite(number)):
                raise ValueError(f"{name} must be a finite number, got {number!r}")
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile must lie between 0 and 100, got {self.percentile}")
        block = self.adaptive
        if block is not None and (not isinstance(block, Integral) or block < 3 or block % 2 == 0):
            raise ValueError(f"adaptive must be an odd number of pixels of at least 3, got {block!r}")
        if self.offset and block is None:
            raise ValueError("offset belongs to adaptive; add the offset to the threshold instead")

    def over(self, values: Values) -> Threshold:
        """The threshold for these values, finite float64, rows × columns.

        Raises `ValueError` when it is Otsu's and all values are equal.
        """
        sign = -1.0 if self.invert else 1.0
        if self.adaptive is not None:
            # Where all values of a window are equal, a pixel differs from their mean by a rounding, and is no object.
            beyond = self.offset + ROUNDING * float(np.ptp(values))
            excess = sign * (values - local_mean(values, int(self.adaptive))) - beyond
            return Threshold(method="adaptive", value=None, excess=excess, settings=self)
        if self.value is not None:
            method, value = "fixed", float(self.value)
        elif self.percentile is not None:
            method, value = "percentile", float(np.percentile(values, self.percentile))
        else:
            method, value = "otsu", otsu_threshold(values)
        return Threshold(method=method, value=value, excess=sign * (values - value), settings=self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Threshold:
    """A threshold over an image, and which pixels are beyond it."""

    method: str
    """`fixed`, `percentile`, `otsu` or `adaptive`."""
    value: float | None
    """In the unit of the values; `None` where it differs from pixel to pixel."""
    excess: Values
    """How far each value is beyond the threshold, positive within objects."""
    settings: ThresholdSettings

    def masks(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Pixels beyond the threshold, and those beyond it by more than one and two thirds of the largest excess."""
        peak = float(self.excess.max())
        if peak <= 0.0:
            nothing = np.zeros(self.excess.shape, dtype=np.bool_)
            return nothing, nothing, nothing
        return self.excess > 0.0, self.excess > peak / 3.0, self.excess > peak * 2.0 / 3.0

    def words(self, unit: str) -> str:
        """The threshold as a person reads it: `above 107.5 levels (Otsu)`, for the unit `levels`; `1` is none."""
        settings = self.settings
        side = "below" if settings.invert else "above"
        named = f" {unit}" if unit != "1" else ""
        if self.value is None:
            beyond = f" by more than {settings.offset:g}{named}" if settings.offset else ""
            return f"{side} the mean of {settings.adaptive} × {settings.adaptive} pixels{beyond}"
        how = " (Otsu)" if self.method == "otsu" else ""
        if settings.percentile is not None:
            how = f" (percentile {settings.percentile:g})"
        return f"{side} {self.value:g}{named}{how}"


def otsu_threshold(values: Values) -> float:
    """Otsu's threshold: halfway between the two classes whose variance between them is largest.

    The criterion is evaluated between any two neighbouring values, without a histogram (N. Otsu, IEEE Trans. Syst.
    Man Cybern. 9 (1979) 62–66). Of equally good ones the lowest is taken. Takes finite float64 of any shape, at least
    one value. Raises `ValueError` when all values are equal.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size == 1:
        raise ValueError(f"all values are {distinct[0]:g}, and Otsu's threshold needs two; give a fixed threshold")
    # Within ±1, so that no square overflows; the criterion does not mind.
    centred = distinct / np.abs(distinct).max()
    centred -= np.average(centred, weights=counts)
    below = np.cumsum(counts)[:-1].astype(np.float64)
    sums = np.cumsum(centred * counts)[:-1]
    # Between-class variance ∝ (sum below)² / (n₀ n₁), for values whose mean is 0.
    last = int(np.argmax(sums * sums / (below * (values.size - below))))
    return float(distinct[last] / 2 + distinct[last + 1] / 2)


def local_mean(values: Values, block: int) -> Values:
    """The mean over a window of `block` × `block` pixels around each pixel, of what of it lies in the image."""
    reach = block // 2
    mean = float(values.mean())
    total = values - mean  # keeps the sums small
    for axis in (0, 1):
        length = values.shape[axis]
        sums = np.zeros((length + 1, values.shape[1 - axis]))
        np.cumsum(total if axis == 0 else total.T, axis=0, out=sums[1:])
        places = np.arange(length)
        low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, length)
        window = (sums[high] - sums[low]) / (high - low)[:, None]
        total = window if axis == 0 else window.T
    return np.asarray(total + mean)
