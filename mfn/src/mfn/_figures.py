"""What pictures have in common: the library they need, the formats, the quantity drawn, and its colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from attrs import frozen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mfn_model import FieldSpec

__all__ = [
    "INK",
    "PAPER",
    "POTENTIAL",
    "Quantity",
    "Snapshot",
    "blank",
    "colour_range",
    "events",
    "extend_of",
    "picture_format",
    "quantity_of",
    "require_matplotlib",
    "signed",
    "title_of",
]

INSTALL = 'drawing needs matplotlib; install it with: pip install "mycelium-fractal-net[plot]"'

INK, PAPER = "#e8e6e3", "#101014"
"""Text and ground of pictures that show a film: the field glows on dark ground."""


class Snapshot(Protocol):
    """A field at one step: a result of `simulate` or `stream`, or a frame that a client received."""

    @property
    def field(self) -> npt.NDArray[Any] | None:
        """[N, N], in the unit of the model's first species."""
        ...

    @property
    def step(self) -> int:
        """Steps since the initial field."""
        ...

    @property
    def growth_events(self) -> int:
        """Spikes so far."""
        ...


@frozen(kw_only=True)
class Quantity:
    """What the colours of a picture say."""

    label: str
    """For the colour bar: name and unit."""
    unit: str
    """After a number, with the space before it; empty where there is none."""
    scale: float = 1.0
    """What a value of the field is multiplied by."""
    places: int = 3
    """Decimal places of its values in captions."""

    def of(self, field: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The field in this unit; what leaves the range of float64 is infinite."""
        with np.errstate(over="ignore"):
            return np.asarray(field, dtype=np.float64) * self.scale


POTENTIAL = Quantity(label="potential (mV)", unit=" mV", scale=1000.0, places=2)


def quantity_of(spec: FieldSpec) -> Quantity:
    """The first species of the model; a potential in volts is shown in millivolts."""
    species = spec.declaration.species[0]
    if species.unit == "V":
        return (
            POTENTIAL
            if species.name == "potential"
            else Quantity(label=f"{species.name} (mV)", unit=" mV", scale=1000.0, places=2)
        )
    if species.unit == "1":
        return Quantity(label=species.name, unit="")
    return Quantity(label=f"{species.name} ({species.unit})", unit=f" {species.unit}")


def require_matplotlib() -> None:
    """Raise `ImportError` with the way to install matplotlib where it is not installed."""
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError as missing:
        raise ImportError(INSTALL) from missing


def picture_format(path: Path) -> str:
    """The format that the suffix of `path` asks for, in lower case without the dot.

    Raises:
        ImportError: matplotlib is not installed; the text says how to install it.
        ValueError: there is no suffix, or no such format; the text names those that there are.
    """
    require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    found = path.suffix.removeprefix(".").lower()
    if found not in known:
        raise ValueError(f"{path} does not end in a known picture format; use one of: {', '.join(known)}")
    return found


def blank(width: float, height: float, *, dpi: int, ground: str = "white") -> Figure:
    """A figure of its own and not pyplot's, in inches: nothing global is touched, and nothing is left open."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, facecolor=ground)
    FigureCanvasAgg(figure)
    return figure


def colour_range(
    fields: Sequence[npt.NDArray[np.float64]], limits: tuple[float, float] | None, *, low: float, high: float
) -> tuple[float, float]:
    """Ends of the colour scale: the `limits` given, or the percentiles `low` and `high` of all fields together.

    They are apart by at least a thousandth, so that one value has a colour. Raises `ValueError` for limits that are
    not two finite numbers that rise.
    """
    if limits is not None:
        first, last = limits
        if not (np.isfinite(first) and np.isfinite(last) and first < last):
            raise ValueError(
                f"limits must be two finite potentials in mV (or values in the model's unit), the smaller first, "
                f"got {limits!r}"
            )
        return float(first), float(last)
    values = fields[0] if len(fields) == 1 else np.stack(list(fields))
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    first, last = np.percentile(finite, [low, high])
    room = max(0.0, 1e-3 - (last - first)) / 2
    return float(first - room), float(last + room)


def extend_of(fields: Iterable[npt.NDArray[np.float64]], limits: tuple[float, float]) -> str:
    """At which ends the colour bar has an arrow, because values lie beyond them."""
    low, high = limits
    below = above = False
    for field in fields:
        below, above = below or bool(np.nanmin(field) < low), above or bool(np.nanmax(field) > high)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def events(count: int) -> str:
    """`1 growth event`, `12 growth events`."""
    return "1 growth event" if count == 1 else f"{count} growth events"


def signed(text: str) -> str:
    """With a minus sign where a hyphen stands for one."""
    return text.replace("-", "−")


def title_of(spec: FieldSpec) -> str:
    """`mycelium, 64 × 64 cells, seed 42`, and every parameter that is not at the model's default."""
    size = spec.grid_size
    defaults = {each.name: each.default for each in spec.declaration.parameters}
    changed = [
        f"{name} {('on' if value else 'off') if isinstance(value, bool) else format(value, 'g')}"
        for name, value in spec.parameters.items()
        if value != defaults[name]
    ]
    return ", ".join([spec.model, f"{size} × {size} cells", f"seed {spec.seed}", *changed])
