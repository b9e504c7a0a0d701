"""What calls return: frozen values, with potentials in the unit that the attribute names."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import cmp_using, field, frozen

from mfn_client._analysis_results import DimensionEstimate, Feature, SpeciesStatistics, ThresholdUsed

__all__ = [
    "Acknowledgement",
    "BoxCount",
    "Dimension",
    "FeatureFrame",
    "Features",
    "FieldAnalysis",
    "FieldArray",
    "FieldStatistics",
    "Frame",
    "ServingStatus",
    "SessionEndReason",
    "SessionEnded",
    "SimulationFrame",
    "SimulationSummary",
    "SpeciesFrame",
    "Validation",
]

FieldArray = npt.NDArray[np.float64] | npt.NDArray[np.float32]
"""A quantity, [rows, columns], C order, read-only."""


@frozen(kw_only=True)
class SimulationSummary:
    """The last field of a simulation, described."""

    request_id: str
    """The request's, as the server echoed it."""
    growth_events: int
    """Growth events of the whole run."""
    fractal_dimension: float
    """Box-counting dimension of the cells above −60 mV, 0 to about 2.1; 0 where it is undefined."""
    pot_min_mv: float
    """Smallest potential, mV."""
    pot_max_mv: float
    """Largest potential, mV."""
    pot_mean_mv: float
    """Mean potential, mV."""
    pot_std_mv: float
    """Population standard deviation of the potential, mV."""
    server: Mapping[str, str] = field(factory=dict, hash=False)
    """What the server says of itself: `server`, `version`."""


@frozen(kw_only=True)
class Features:
    """What was measured of the last field of a simulation."""

    request_id: str
    """The request's, as the server echoed it."""
    fractal_dimension: float
    """Box-counting dimension of the cells above −60 mV, 0 to about 2.1; 0 where it is undefined."""
    growth_events: int
    """Growth events of the whole run."""
    pot_min_mv: float
    """Smallest potential, mV."""
    pot_max_mv: float
    """Largest potential, mV."""
    pot_mean_mv: float
    """Mean potential, mV."""
    pot_std_mv: float
    """Population standard deviation of the potential, mV."""
    server: Mapping[str, str] = field(factory=dict, hash=False)
    """What the server says of itself: `server`, `version`."""


@frozen(kw_only=True)
class Validation:
    """How a validation training went, and what its fields were like."""

    request_id: str
    """The request's, as the server echoed it."""
    loss_start: float
    """Mean squared error of the first mini-batch, before its update."""
    loss_final: float
    """Mean squared error of the last mini-batch."""
    loss_drop: float
    """loss_start - loss_final; negative where the loss rose."""
    pot_min_mv: float
    """Smallest potential of the 16 training fields, mV."""
    pot_max_mv: float
    """Largest potential of the 16 training fields, mV."""
    example_fractal_dimension: float
    """Box-counting dimension of the example field, 0 where it is undefined."""
    lyapunov_exponent: float
    """Mean logarithm of the contraction of a random iterated function system, per iteration; negative: contracts."""
    growth_events: int
    """Growth events of the example field."""
    nernst_symbolic_mv: float
    """Potassium equilibrium potential (5 and 140 mmol/L, 310 K) from the symbolic form, mV."""
    nernst_numeric_mv: float
    """The same in floating point, mV."""
    server: Mapping[str, str] = field(factory=dict, hash=False)
    """What the server says of itself: `server`, `version`."""


@frozen(kw_only=True)
class SimulationFrame:
    """The field after `step` steps, described."""

    request_id: str
    step: int
    """Steps completed since the initial field, 1 to total_steps."""
    is_final: bool
    """Whether this is the last frame."""
    growth_events: int
    """Growth events since the initial field."""
    pot_min_mv: float
    """Smallest potential, mV."""
    pot_max_mv: float
    """Largest potential, mV."""
    pot_mean_mv: float
    """Mean potential, mV."""
    pot_std_mv: float
    """Population standard deviation of the potential, mV."""


@frozen(kw_only=True)
class FeatureFrame:
    """What was measured of the field after `step` steps."""

    request_id: str
    step: int
    """Steps completed since the initial field, 1 to total_steps."""
    is_final: bool
    """Whether this is the last frame: its numbers are those of `extract_features` for as many steps."""
    fractal_dimension: float
    """As in `Features`."""
    growth_events: int
    """Growth events since the initial field."""
    pot_min_mv: float
    """Smallest potential, mV."""
    pot_max_mv: float
    """Largest potential, mV."""
    pot_mean_mv: float
    """Mean potential, mV."""
    pot_std_mv: float
    """Population standard deviation of the potential, mV."""


@frozen(kw_only=True)
class FieldStatistics:
    """Statistics over all cells of a potential, in V, with the same in mV beside it; NaN where the field is none."""

    min_volts: float
    max_volts: float
    mean_volts: float
    std_volts: float
    """Population standard deviation."""

    @property
    def min_mv(self) -> float:
        """Smallest potential, mV."""
        return self.min_volts * 1000.0

    @property
    def max_mv(self) -> float:
        """Largest potential, mV."""
        return self.max_volts * 1000.0

    @property
    def mean_mv(self) -> float:
        """Mean potential, mV."""
        return self.mean_volts * 1000.0

    @property
    def std_mv(self) -> float:
        """Population standard deviation, mV."""
        return self.std_volts * 1000.0


@frozen(kw_only=True)
class BoxCount:
    """One point of the fit of a box-counting dimension."""

    box_size: float
    """Side of a box, cells."""
    occupied_boxes: int
    """Those that hold an active cell: their mean over every position of the boxes, rounded."""


@frozen(kw_only=True)
class Dimension:
    """Box-counting dimension with the fit that it comes from, or the reason why there is none."""

    value: float | None
    """Slope of log(occupied boxes) over log(1 / box size); None where it is undefined."""
    reason: str
    """Why `value` is None; empty where it is not."""
    r_squared: float | None
    """Coefficient of determination of the fit, 0 to 1."""
    scales: tuple[BoxCount, ...]
    """The points of the fit, in rising order of box size."""


def _same_field(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one is None and other is None


def _field_repr(value: npt.NDArray[Any] | None) -> str:
    return "None" if value is None else f"<{value.dtype} array of {' × '.join(map(str, value.shape))}>"


@frozen(kw_only=True)
class SpeciesFrame:
    """One species in a snapshot."""

    statistics: SpeciesStatistics
    """With its name and unit."""
    field: FieldArray | None = field(default=None, eq=cmp_using(eq=_same_field), hash=False, repr=_field_repr)
    """Its values, [N, N], read-only; None unless the species was named and fields were asked for."""


@frozen(kw_only=True)
class Frame:
    """A snapshot of a run."""

    request_id: str
    """The request's; in a session, that of its start."""
    step: int
    """Steps completed since the initial field."""
    is_final: bool
    """Whether this is the run's last frame."""
    statistics: FieldStatistics
    """Of the potential; NaN for a model whose first species is none."""
    growth_events: int
    """Growth events since the initial field; injections are not counted."""
    dimension: Dimension
    """Of the active cells, above −0.060 V or the threshold that was asked for."""
    fractal_dimension: float
    """Its legacy estimate, 0 where it is undefined."""
    field: FieldArray | None = field(default=None, eq=cmp_using(eq=_same_field), hash=False, repr=_field_repr)
    """The first species, [N, N], read-only; None unless it was asked for, and where species were named."""
    unit: str = "V"
    """Of `field`."""
    species: tuple[SpeciesFrame, ...] = ()
    """The species that were named, in that order; else the first one of the model."""


@frozen(kw_only=True)
class FieldAnalysis:
    """What was measured of an uploaded field."""

    request_id: str
    statistics: FieldStatistics
    """NaN where the field is no potential."""
    dimension: Dimension
    """Of the active cells."""
    fractal_dimension: float
    """Its legacy estimate, 0 where it is undefined."""
    active_fraction: float
    """Active cells over all cells, 0 to 1."""
    threshold_volts: float
    """Cells strictly above it were active, V; NaN where the threshold is not a single potential."""
    values: SpeciesStatistics | None = None
    """Statistics in the field's own unit; None from an older server."""
    threshold: ThresholdUsed | None = None
    """The threshold that was used; None from an older server."""
    features: tuple[Feature, ...] = ()
    """The 18 features and five further ones, in their order; empty unless they were asked for."""
    dimensions: tuple[DimensionEstimate, ...] = ()
    """Dimensions by several estimators; empty unless features were asked for."""
    warnings: tuple[str, ...] = ()
    """What is odd about the features."""


@frozen(kw_only=True)
class Acknowledgement:
    """A command has taken effect; it precedes every frame that shows the effect."""

    sequence: int
    """What sending the command returned."""
    step: int
    """Steps completed when it took effect; of a duplicate, steps completed now."""
    duplicate: bool
    """Whether it repeated an earlier command, and so changed nothing."""


class SessionEndReason(enum.StrEnum):
    """Why a session, or a call's hold on it, is over."""

    UNSPECIFIED = "UNSPECIFIED"
    """Not said, or a reason that this version does not know."""
    COMPLETED = "COMPLETED"
    """total_steps are done."""
    STOPPED = "STOPPED"
    """It was stopped."""
    SUPERSEDED = "SUPERSEDED"
    """Another call took the session over; it goes on there."""
    LIMIT = "LIMIT"
    """A limit of the server on a session's steps or life was reached."""
    DRAINING = "DRAINING"
    """The server drains; the session is gone."""


@frozen(kw_only=True)
class SessionEnded:
    """The session is over; the last event."""

    reason: SessionEndReason
    step: int
    """Steps completed."""


class ServingStatus(enum.StrEnum):
    """Whether a server, or one of its services, takes calls. A member equals its name."""

    UNKNOWN = "UNKNOWN"
    """Not said, or a status that this version does not know."""
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    """It starts, or drains."""
    SERVICE_UNKNOWN = "SERVICE_UNKNOWN"
    """The server has no such service."""
