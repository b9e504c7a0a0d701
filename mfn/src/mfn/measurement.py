"""Measure a photograph, an array or a saved field: mask, dimensions and features."""

from __future__ import annotations

import base64
import os
import zlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mfn._image_files import Image, UnreadableError, image_of_array, read_image
from mfn_model.dimension import DimensionEstimate, estimate_dimension, offset_averaged_dimension
from mfn_model.features import (
    ExtendedFeatures,
    FeatureAccumulator,
    FeatureConfig,
    FeatureVector,
    FeatureWarning,
    extended_features,
    feature_warnings,
)
from mfn_model.thresholds import Threshold, ThresholdSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = ["Measurement", "UnreadableError", "features", "mask_of"]

ACTIVE_MV = -60.0
"""Threshold of potentials in mV where none is given."""

SCALES = (1e-12, 1e12)
"""Bounds of the side of a pixel in µm: far beyond them the squares of areas leave the range of float64."""


@frozen(kw_only=True, eq=False, repr=False)
class Measurement:
    """An image, where it is an object, and what there is to say about that.

    Dimensions and features are computed when they are first asked for, and kept.
    """

    name: str
    """The file, or what the array is called."""
    image: Image
    """What was read, as stored."""
    values: npt.NDArray[np.float64]
    """What was measured, [rows, columns], in `unit`; of several frames the last."""
    mask: npt.NDArray[np.bool_]
    """Where the object is, [rows, columns]."""
    threshold: Threshold
    """What is beyond it is the object."""
    config: FeatureConfig
    """Units and settings of the features."""
    features: FeatureVector
    """The 18 features."""

    @property
    def unit(self) -> str:
        """Of the values: `mV`, `level`, or `1`."""
        return self.config.unit

    @property
    def threshold_words(self) -> str:
        """The threshold as a person reads it: `above 107.5 levels (Otsu)`."""
        return self.threshold.words("levels" if self.unit == "level" else self.unit)

    @cached_property
    def dimension(self) -> DimensionEstimate:
        """Box-counting dimension of the mask over nested boxes, as `SimulationResult.dimension` has it."""
        return estimate_dimension(self.mask)

    @cached_property
    def averaged_dimension(self) -> DimensionEstimate:
        """Box-counting dimension of the mask over all positions of the boxes: the one for photographs."""
        return offset_averaged_dimension(self.mask, periodic=self.config.periodic)

    @cached_property
    def extended(self) -> ExtendedFeatures:
        """Correlation and information dimension, entropy, perimeter, compactness."""
        return extended_features(self.values, replace(self.config, factor=1.0), mask=self.mask)

    @property
    def warnings(self) -> tuple[FeatureWarning, ...]:
        """What is odd about the features."""
        return feature_warnings(self.features)

    def dimensions(self) -> dict[str, DimensionEstimate]:
        """Every dimension of the mask, by name."""
        return {
            "nested_boxes": self.dimension,
            "offset_averaged": self.averaged_dimension,
            "information": self.extended.information,
            "correlation": self.extended.correlation,
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, in plain values that JSON can hold; `mask_of` gives the mask back.

        Lengths and box sizes are in `length_unit`, areas in its square, or both in cells.
        """
        rows, columns = self.mask.shape
        further = self.extended
        return {
            "name": self.name,
            "kind": self.image.kind,
            "rows": rows,
            "columns": columns,
            "page": self.image.page,
            "pages": self.image.pages,
            "frames": self._frames,
            "unit": self.unit,
            "length_unit": self.config.length_unit,
            "cell_length": self.config.cell_length,
            "threshold": {
                "method": self.threshold.method,
                "value": self.threshold.value,
                "block": self.threshold.settings.adaptive,
                "offset": self.threshold.settings.offset,
                "percentile": self.threshold.settings.percentile,
                "invert": self.threshold.settings.invert,
            },
            "mask": {
                "cells": int(np.count_nonzero(self.mask)),
                "fraction": self.features.f_active,
                "area": int(np.count_nonzero(self.mask)) * self.config.cell_length**2,
                "bits": base64.b64encode(zlib.compress(np.packbits(self.mask).tobytes())).decode("ascii"),
            },
            "dimension": self._told(self.dimension),
            "dimensions": {name: self._told(estimate) for name, estimate in self.dimensions().items()},
            "features": self.features.as_dict(),
            "further_features": further.as_dict(),
            "units": dict(
                zip((*self.features.names, *further.names), (*self.features.units, *further.units), strict=True)
            ),
            "undefined": dict(self.features.undefined),
            "warnings": [str(warning) for warning in self.warnings],
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Names, values and units as a person reads them; a name with neither is the heading of what follows."""
        from mfn._measurement_rows import rows

        return rows(self)

    def overlay(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw the image with the outline of the mask; write it to `path`, in the format of its suffix, as well.

        Raises:
            ImportError: matplotlib is not installed; the text says how to install it.
            ValueError: the format of `path` is unknown.
            OSError: the file cannot be written; an existing one is as it was.
        """
        from mfn._overlay import overlay

        return overlay(self, path, ax=ax)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the fit of the box-counting dimension with its confidence band; write it to `path` as well.

        Raises:
            ImportError: matplotlib is not installed; the text says how to install it.
            ValueError: the dimension is undefined, or the format of `path` is unknown.
            OSError: the file cannot be written; an existing one is as it was.
        """
        from mfn._fit_plot import fit_plot

        return fit_plot(self, path)

    @property
    def _frames(self) -> int:
        """How many frames the features of change are about."""
        return self.image.frames.shape[0] if self.image.frames.ndim == 3 else 1

    def _told(self, estimate: DimensionEstimate) -> dict[str, Any]:
        length = self.config.cell_length
        return {
            "value": estimate.value,
            "reason": estimate.reason,
            "interval": None if estimate.interval is None else list(estimate.interval),
            "standard_error": estimate.standard_error,
            "r_squared": estimate.r_squared,
            "scales": [scale * length for scale in estimate.scales],
            "counts": list(estimate.counts),
            "entropies": list(estimate.entropies),
        }

    def __repr__(self) -> str:
        dimension = self.averaged_dimension.value
        return (
            f"Measurement(name={self.name!r}, {self.mask.shape[0]} × {self.mask.shape[1]}, "
            f"{100 * self.features.f_active:.2f} % {self.threshold_words}, "
            f"dimension={'undefined' if dimension is None else format(dimension, '.4f')})"
        )

    def __rich__(self) -> Table:
        """A table, for `rich.print` and terminals."""
        from mfn._measurement_rows import table

        return table(self)

    def _repr_html_(self) -> str:
        from mfn._measurement_rows import html

        return html(self)


def features(
    source: str | Path | npt.ArrayLike,
    *,
    threshold: float | None = None,
    percentile: float | None = None,
    otsu: bool = False,
    adaptive: int | None = None,
    offset: float = 0.0,
    invert: bool = False,
    scale: float | None = None,
    page: int | None = None,
    array: str | None = None,
    volts: bool = False,
    connectivity: int = 4,
    periodic: bool = False,
) -> Measurement:
    """Measure a photograph, an array or a saved field.

    Args:
        source: a path, or an array. Pictures are PNG, TIFF and JPEG (they need Pillow, the extra `images`); arrays
            `.npy`, `.npz`; tables of numbers `.csv`, `.tsv`, `.txt`. Colours become luma (0.2126 R + 0.7152 G +
            0.0722 B, of the values as stored), transparent pixels background, and what an orientation tag says is done.
            Whole numbers of 8 or 16 bits in three
            or four channels are colours; any other array of three axes is a history of frames, of which the last is
            measured and all give the features of change.
        threshold: objects are brighter than this, in the unit of the values: levels of a picture as stored, numbers of
            an array, mV with `volts`.
        percentile: the threshold is above that many per cent of the pixels, 0 to 100.
        otsu: the threshold is Otsu's; so it is where no other is given, except with `volts`, where it is −60 mV.
        adaptive: the threshold is the mean of a window of that many pixels a side around each pixel, odd, at least 3.
        offset: by how much a pixel must be beyond the local mean, with `adaptive`.
        invert: objects are darker than the threshold.
        scale: side of a pixel in µm, 1e-12 to 1e12; lengths are then in µm and areas in µm², otherwise both in cells.
        page: page of a TIFF or frame of a history, from 1; without it the first of a TIFF.
        array: name of the array in an `.npz` of several.
        volts: the values are potentials in volts, as `SimulationResult.save` writes them, and are told in mV.
        connectivity: 4, or 8 if clusters may hang together by corners.
        periodic: the image goes on at the opposite edge, as a simulated field does.

    Raises:
        ImportError: a picture, and Pillow is not installed; the text says how to install it.
        UnreadableError: the content of a file is damaged or of another kind than its name says. A `ValueError`.
        ValueError: an argument is out of its bounds, several thresholds are given, `page` or `array` name what is not
            there, or values are NaN or infinite.
        OSError: the file cannot be read.
    """
    if scale is not None and not _is_scale(scale):
        raise ValueError(f"scale must be the µm of a pixel, {SCALES[0]:g} to {SCALES[1]:g}, got {scale!r}")
    chosen = threshold is not None or percentile is not None or otsu or adaptive is not None
    if volts and not chosen:
        threshold = ACTIVE_MV
    settings = ThresholdSettings(
        value=threshold, percentile=percentile, otsu=otsu, adaptive=adaptive, offset=offset, invert=invert
    )
    if isinstance(source, (str, Path)):
        # A name that is no UTF-8 can be read, but neither be drawn nor stand in JSON.
        name = os.fsencode(Path(source).name).decode("utf-8", "replace")
        image = read_image(Path(source), page=page, array=array)
    elif array is not None:
        raise ValueError("an array has a name in an .npz file alone; leave `array` out")
    else:
        name, image = "array", image_of_array(source, page=page)
    if volts and image.unit == "level":
        raise ValueError(f"volts are stored in floating-point numbers, and {name} holds levels of {image.kind}")
    config = FeatureConfig(
        unit="mV" if volts else image.unit,
        factor=1000.0 if volts else 1.0,
        cell_length=1.0 if scale is None else float(scale),
        length_unit="cells" if scale is None else "µm",
        connectivity=connectivity,
        periodic=periodic,
        # Masks are given, but for potentials at their own thresholds: others only have to rise.
        threshold_low=ACTIVE_MV if volts else 0.0,
        threshold_medium=ACTIVE_MV + 10.0 if volts else 1.0,
        threshold_high=ACTIVE_MV + 20.0 if volts else 2.0,
    )
    accumulator = FeatureAccumulator(config)
    stored = image.frames if image.frames.ndim == 3 else image.frames[np.newaxis]
    for frame in stored:
        accumulator.add(_against_background(frame, image, invert=invert))
    values = accumulator.last
    beyond = settings.over(values)
    # Potentials above the threshold of activity have two more of their own, however that threshold was asked for.
    masks = None if volts and settings.value == ACTIVE_MV and not invert else beyond.masks()
    active = values > config.threshold_low if masks is None else masks[0]
    return Measurement(
        name=name,
        image=image,
        values=values,
        mask=active,
        threshold=beyond,
        config=config,
        features=accumulator.features(masks),
    )


def mask_of(told: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """The mask of what `Measurement.to_dict` gave, [rows, columns]."""
    packed = np.frombuffer(zlib.decompress(base64.b64decode(told["mask"]["bits"])), dtype=np.uint8)
    shape = (told["rows"], told["columns"])
    return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(np.bool_)


def _against_background(frame: npt.NDArray[Any], image: Image, *, invert: bool) -> npt.NDArray[Any]:
    """The frame in front of what is no object: black, or white where objects are dark."""
    if image.alpha is None:
        return frame
    background = image.full_scale if invert else 0.0
    return frame * image.alpha + background * (1.0 - image.alpha)


def _is_scale(number: object) -> bool:
    least, largest = SCALES
    if isinstance(number, bool) or not isinstance(number, (int, float, np.integer, np.floating)):
        return False
    return bool(least <= number <= largest)
