"""Features of a history, frame by frame, without the history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mfn_model._box_counting_legacy import box_counting_legacy
from mfn_model._components import component_sizes
from mfn_model._feature_config import FeatureConfig
from mfn_model._feature_vector import FeatureVector, feature_units
from mfn_model.statistics import mean_and_std

__all__ = ["FeatureAccumulator", "Masks", "checked_masks", "checked_values"]

Values = npt.NDArray[np.float64]

Masks = Sequence[npt.ArrayLike]
"""Three masks, for the low, the medium and the high threshold."""

FLAT_MV = 1e-10
"""A standard deviation of potentials up to this, in mV, is none."""
ROUNDING = 1e-14
"""So is one of other values up to this share of the largest of them: it is what rounding leaves."""


class FeatureAccumulator:
    """Takes the frames of a history one by one and gives the features of all of them at any time.

    It holds two frames and a few numbers, whatever the length of the history. `extract_features` uses it, so that both
    give the same features, bit for bit. One thread at a time.
    """

    def __init__(self, config: FeatureConfig | None = None) -> None:
        self.config = FeatureConfig() if config is None else config
        self._frames = 0
        self._last: Values = np.zeros((0, 0))
        self._change_sum = 0.0
        self._change_max = 0.0
        self._quiet = 0
        self._stable_at: int | None = None
        # The regression of the energy on the frame number, by its running means and co-moments, in differences to
        # the first energy (B. P. Welford, Technometrics 4 (1962) 419–420).
        self._first_energy = 0.0
        self._energy_mean = 0.0
        self._co_moment = 0.0

    @property
    def frames(self) -> int:
        """How many frames were added."""
        return self._frames

    @property
    def last(self) -> Values:
        """The last frame in the unit of the features, float64 [rows, columns], read-only; without cells before one."""
        view = self._last.view()
        view.flags.writeable = False
        return view

    def add(self, field: npt.ArrayLike) -> None:
        """Take the next frame, rows × columns, of any real type; it is copied.

        Raises `ValueError`, and takes nothing, when it is not a matrix with at least one cell, differs in shape from
        the frames before, or holds NaN, infinite or overly large values.
        """
        values = checked_values(field, self.config.factor)
        if self._frames and values.shape != self._last.shape:
            raise ValueError(f"frames have one shape; this one has {values.shape}, those before {self._last.shape}")
        energy = float(np.sum(values * values))
        if self._frames:
            self._take_change(np.abs(values - self._last))
        else:
            self._first_energy = energy
        self._take_energy(energy - self._first_energy)
        self._last = values
        self._frames += 1

    def features(self, masks: Masks | None = None) -> FeatureVector:
        """The features of the frames so far.

        `masks` are used instead of the thresholds, of the last frame's shape: where a value above a threshold is not
        what makes a cell active, or the threshold is not the same everywhere. Raises `ValueError` before the first
        frame, and for masks of another number or shape.
        """
        if self._frames == 0:
            raise ValueError("there are no features before the first frame; add one")
        config = self.config
        low, medium, high = self._masks(masks)
        estimate = box_counting_legacy(low, config.min_box, config.max_box, config.num_scales)
        mean, std = mean_and_std(self._last)
        flat = _flatness(self._last, std, config.unit)
        skew, kurtosis = _shape(self._last, mean, std) if flat is None else (0.0, 0.0)
        sizes = component_sizes(low, connectivity=config.connectivity, periodic=config.periodic)
        areas = sizes * config.cell_length**2
        undefined = []
        r_squared = estimate.r_squared
        if estimate.value is None:
            undefined += [(name, str(estimate.reason)) for name in ("D_box", "D_r2")]
        elif len(set(estimate.counts)) == 1:
            r_squared = None  # a flat line explains no variation, since there is none
            undefined.append(("D_r2", "boxes of all sizes are equally many"))
        if flat is not None:
            undefined += [(name, flat) for name in ("V_skew", "V_kurt")]
        if self._frames == 1:
            undefined += [(name, "one frame has no history") for name in ("dV_mean", "dV_max", "T_stable", "E_trend")]
        return FeatureVector(
            D_box=0.0 if estimate.value is None else estimate.value,
            D_r2=0.0 if r_squared is None else r_squared,
            V_min=float(self._last.min()),
            V_max=float(self._last.max()),
            V_mean=mean,
            V_std=std,
            V_skew=skew,
            V_kurt=kurtosis,
            dV_mean=self._change_sum / ((self._frames - 1) * self._last.size) if self._frames > 1 else 0.0,
            dV_max=self._change_max,
            T_stable=self._stable(),
            E_trend=self._trend(),
            f_active=int(np.count_nonzero(low)) / self._last.size,
            N_clusters_low=int(sizes.size),
            N_clusters_med=self._clusters(medium),
            N_clusters_high=self._clusters(high),
            max_cluster_size=float(areas.max()) if areas.size else 0.0,
            cluster_size_std=float(np.std(areas)) if areas.size > 1 else 0.0,
            units=feature_units(config.unit, config.length_unit),
            undefined=tuple(undefined),
        )

    def _take_change(self, change: Values) -> None:
        self._change_sum += float(np.sum(change))
        self._change_max = max(self._change_max, float(change.max()))
        _, std = mean_and_std(change)
        self._quiet = self._quiet + 1 if std < self.config.stability_threshold else 0
        if self._stable_at is None and self._quiet == self.config.stability_window:
            # The change to frame t has number t − 1; the run ends with it, and is told by the frame it begins at.
            self._stable_at = (self._frames - 1) - self.config.stability_window + 2

    def _take_energy(self, energy: float) -> None:
        index = float(self._frames)
        gap = index - (index - 1.0) / 2.0 if self._frames else 0.0  # to the mean of the indices before
        self._energy_mean += (energy - self._energy_mean) / (index + 1.0)
        self._co_moment += gap * (energy - self._energy_mean)

    def _stable(self) -> int:
        if self._frames < 2:
            return 0
        return self._frames if self._stable_at is None else self._stable_at

    def _trend(self) -> float:
        count = self._frames
        return self._co_moment / (count * (count * count - 1) / 12.0) if count > 1 else 0.0

    def _masks(self, masks: Masks | None) -> tuple[npt.NDArray[np.bool_], ...]:
        if masks is not None:
            return checked_masks(masks, self._last.shape)
        config = self.config
        return tuple(
            np.asarray(self._last > threshold)
            for threshold in (config.threshold_low, config.threshold_medium, config.threshold_high)
        )

    def _clusters(self, mask: npt.NDArray[np.bool_]) -> int:
        return int(component_sizes(mask, connectivity=self.config.connectivity, periodic=self.config.periodic).size)


def checked_values(field: npt.ArrayLike, factor: float) -> Values:
    """The field as float64 in the unit of the features, a new array; `ValueError` for what cannot be measured."""
    if isinstance(field, np.ma.MaskedArray):
        raise ValueError("a field has a number in every cell, got a masked array; give its .filled(…)")
    array = np.asarray(field)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"a field is a matrix with at least one cell, got shape {array.shape}")
    if array.dtype.kind not in "buif":
        raise ValueError(f"a field holds real numbers, got type {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
        values = array.astype(np.float64) * factor
        measurable = np.isfinite(values * values * values.size)
    if not measurable.all():
        row, column = (int(index) for index in np.argwhere(~measurable)[0])
        raise ValueError(
            f"a field holds finite values whose squares can be summed; {int(np.count_nonzero(~measurable))} of "
            f"{array.size} cells do not, the first {array[row, column]} at ({row}, {column}); replace them, or cut "
            "them off"
        )
    return values


def checked_masks(masks: Masks, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.bool_], ...]:
    """Three masks of this shape as bool arrays."""
    found = tuple(np.asarray(mask, dtype=np.bool_) for mask in masks)
    if len(found) != 3 or any(mask.shape != shape for mask in found):
        raise ValueError(
            f"masks are three, each of the shape of the field, {shape}; got shapes "
            + (", ".join(str(mask.shape) for mask in found) or "of none")
        )
    return found


def _flatness(values: Values, std: float, unit: str) -> str | None:
    """Why values with this standard deviation have no skewness; `None` where they have one."""
    if std == 0.0:
        return "all values are equal"
    if unit == "mV":
        return f"the standard deviation is at most {FLAT_MV:g} mV" if std <= FLAT_MV else None
    return "the values differ by rounding alone" if std <= ROUNDING * float(np.abs(values).max()) else None


def _shape(values: Values, mean: float, std: float) -> tuple[float, float]:
    """Skewness and excess kurtosis of values that are not flat."""
    standard = (values - mean) / std
    squares = standard * standard
    return float(np.mean(squares * standard)), float(np.mean(squares * squares)) - 3.0
