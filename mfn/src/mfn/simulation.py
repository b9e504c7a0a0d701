"""Simulate a field here and now: whole, or frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from html import escape
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mfn._files import replacing
from mfn.engines import engine_for
from mfn.models import find_model
from mfn_core import Backend
from mfn_core.compute import NeverCancelled
from mfn_model import (
    BoundViolation,
    DimensionEstimate,
    FieldSpec,
    FieldState,
    FieldStatistics,
    SpecError,
    active_mask,
    box_counting_dimension_legacy,
    estimate_dimension,
    field_statistics,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Progress", "SimulationResult", "npy_path", "simulate", "stream"]

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps asked for."""

_OF_POTENTIALS = (
    "fractal_dimension",
    "dimension",
    "pot_min_mV",
    "pot_max_mV",
    "pot_mean_mV",
    "pot_std_mV",
    "active_fraction",
)
"""What `SimulationResult.to_dict` says of a potential alone."""

SLICES = 100
"""In how many parts a run is done when somebody watches its progress."""


@frozen(kw_only=True, eq=False, repr=False)
class SimulationResult:
    """One field after some steps, and what there is to say about it.

    Statistics and dimensions are computed when they are first asked for, and kept. It can be pickled, so that a sweep
    may run in processes.
    """

    spec: FieldSpec
    """What was simulated: model, grid, seed, parameters."""
    engine: str
    """Name of the engine that computed it."""
    state: FieldState
    """Every species, and the counters."""

    @property
    def field(self) -> npt.NDArray[np.float64]:
        """The model's first species, [N, N] float64, read-only: of the mycelium models the potential in volts."""
        return self.state.field

    @property
    def is_potential(self) -> bool:
        """Whether the field is a potential in volts; of another quantity there are neither mV nor active cells."""
        return self.spec.declaration.species[0].unit == "V"

    @property
    def step(self) -> int:
        """Steps done since the initial field."""
        return self.state.step

    @property
    def growth_events(self) -> int:
        """Spikes added so far."""
        return self.state.growth_events

    @cached_property
    def statistics(self) -> FieldStatistics:
        """Extremes, moments and activity of the field, in V and mV."""
        return field_statistics(self.field)

    @cached_property
    def dimension(self) -> DimensionEstimate:
        """Box-counting dimension of the active cells (above −60 mV), or the reason why there is none."""
        return estimate_dimension(active_mask(self.field))

    @cached_property
    def fractal_dimension(self) -> float:
        """The legacy estimate of the same, which is 0.0 where it is undefined."""
        return box_counting_dimension_legacy(active_mask(self.field))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the field itself, in plain values that JSON can hold; potentials in mV.

        A number that is not finite, which only a field with NaN or infinite cells has, is None. So are the potentials,
        and what is measured on active cells, where the field is no potential.
        """
        return {**self._run(), **(self._potential() if self.is_potential else dict.fromkeys(_OF_POTENTIALS))}

    def _run(self) -> dict[str, Any]:
        statistics, species = self.statistics, self.spec.declaration.species[0]
        return {
            "model": self.spec.model,
            "engine": self.engine,
            "seed": self.spec.seed,
            "grid_size": self.spec.grid_size,
            "boundary": self.spec.boundary,
            "steps": int(self.step),
            "parameters": dict(self.spec.parameters),
            "growth_events": int(self.growth_events),
            "counters": {name: int(count) for name, count in self.state.counters.items()},
            "field": {
                "species": species.name,
                "unit": species.unit,
                "minimum": _finite(statistics.minimum),
                "maximum": _finite(statistics.maximum),
                "mean": _finite(statistics.mean),
                "std": _finite(statistics.std),
            },
        }

    def _potential(self) -> dict[str, Any]:
        statistics, dimension = self.statistics, self.dimension
        return {
            "fractal_dimension": _finite(self.fractal_dimension),
            "dimension": {
                "value": _finite(dimension.value),
                "reason": dimension.reason,
                "interval": None if dimension.interval is None else list(dimension.interval),
                "standard_error": _finite(dimension.standard_error),
                "r_squared": _finite(dimension.r_squared),
                "scales": [float(scale) for scale in dimension.scales],
                "counts": [int(count) for count in dimension.counts],
                "entropies": list(dimension.entropies),
            },
            "pot_min_mV": _finite(statistics.minimum_mv),
            "pot_max_mV": _finite(statistics.maximum_mv),
            "pot_mean_mV": _finite(statistics.mean_mv),
            "pot_std_mV": _finite(statistics.std_mv),
            "active_fraction": _finite(statistics.active_fraction),
        }

    def save(self, path: str | Path) -> Path:
        """Write the field as a `.npy` file, float64 in its unit; replaced whole or not at all. Returns the path.

        Raises:
            ValueError: the name does not end in `.npy`.
            OSError: the file cannot be written; an existing one is as it was.
        """
        target = npy_path(path)
        with replacing(target) as file:
            np.save(file, self.field)
        return target

    def rows(self) -> list[tuple[str, str]]:
        """Names and values as a person reads them, one line each."""
        parameters = ", ".join(f"{name} {_shown(value)}" for name, value in self.spec.parameters.items())
        edge = "" if self.spec.boundary == "periodic" else f", {self.spec.boundary}"
        rows = [
            ("model", f"{self.spec.model} on engine {self.engine}"),
            ("grid", f"{self.spec.grid_size} × {self.spec.grid_size} cells{edge}, seed {self.spec.seed}"),
            ("parameters", parameters),
            ("steps", f"{self.step}, with {self.growth_events} growth events"),
        ]
        return rows + (self._potential_rows() if self.is_potential else self._field_rows())

    def _potential_rows(self) -> list[tuple[str, str]]:
        statistics, dimension = self.statistics, self.dimension
        if dimension.value is None:
            measured = f"undefined: {dimension.reason}"
        else:
            measured = f"{dimension.value:.4f} (R² {dimension.r_squared:.4f})"
        return [
            ("potential", f"{statistics.minimum_mv:.4f} to {statistics.maximum_mv:.4f} mV"),
            ("mean, std", f"{statistics.mean_mv:.4f} mV, {statistics.std_mv:.4f} mV"),
            ("active cells", f"{statistics.active_cells} ({100 * statistics.active_fraction:.2f} %)"),
            ("dimension", measured),
        ]

    def _field_rows(self) -> list[tuple[str, str]]:
        statistics, species = self.statistics, self.spec.declaration.species[0]
        unit = "" if species.unit == "1" else f" {species.unit}"
        return [
            (species.name, f"{statistics.minimum:.6g} to {statistics.maximum:.6g}{unit}"),
            ("mean, std", f"{statistics.mean:.6g}{unit}, {statistics.std:.6g}{unit}"),
        ]

    def __repr__(self) -> str:
        return (
            f"SimulationResult(model={self.spec.model!r}, engine={self.engine!r}, seed={self.spec.seed}, "
            f"grid_size={self.spec.grid_size}, steps={self.step}, growth_events={self.growth_events}, "
            f"mean={self._mean()})"
        )

    def _mean(self) -> str:
        unit = self.spec.declaration.species[0].unit
        if unit == "V":
            return f"{self.statistics.mean_mv:.4f} mV"
        return f"{self.statistics.mean:.6g}" if unit == "1" else f"{self.statistics.mean:.6g} {unit}"

    def __rich__(self) -> Table:
        """A table, for `rich.print` and terminals."""
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self.rows():
            table.add_row(name, Text(value))  # Text: a bracket in a name is no markup
        return table

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self.rows())
        return f"<table>{rows}</table>"


def simulate(
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 64,
    *,
    model: str = "mycelium",
    boundary: str = "",
    engine: str = "auto",
    progress: Progress | None = None,
    parameters: Mapping[str, float | bool] | None = None,
    **further: float | bool,
) -> SimulationResult:
    """Simulate one field and return its last state.

    Args:
        seed: of the one generator from which everything random comes; 0 to 2⁶³−1.
        grid_size: cells along each side, at least 1.
        steps: explicit Euler steps, at least 0; 0 gives the initial field.
        model: name of a field model.
        boundary: of the grid, one of those that the model knows, such as `periodic`, `neumann` or `dirichlet`; empty
            for the model's own.
        engine: name of an engine, or `auto` for the fastest installed one.
        progress: called now and then with the steps done and `steps`.
        parameters: of the model by their names, any that are.
        further: the same as arguments, where the name is none of those above; for `mycelium`: `alpha` (0.18, 0 < α ≤
            0.25), `spike_probability` (0.25), `turing_enabled` (True), `turing_threshold` (0.75), `jitter` (False),
            `jitter_variance` (0.0005 V²).

    Raises:
        mfn_model.SpecError: values are out of their bounds, or no such engine is installed; it lists every one. A
            `ValueError`.
        ValueError: a parameter is given in both ways.
    """
    spec, name, backend = _checked(seed, grid_size, steps, model, boundary, engine, _united(parameters, further))
    steps = int(steps)
    session = backend.open(spec)
    try:
        chunk = steps if progress is None else max(1, math.ceil(steps / SLICES))
        for done in range(0, steps, max(1, chunk)):
            session.step(min(chunk, steps - done), NeverCancelled())
            if progress is not None:
                progress(min(done + chunk, steps), steps)
        return SimulationResult(spec=spec, engine=name, state=session.state())
    finally:
        session.close()


def stream(
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 100,
    *,
    every: int = 10,
    model: str = "mycelium",
    boundary: str = "",
    engine: str = "auto",
    parameters: Mapping[str, float | bool] | None = None,
    **further: float | bool,
) -> Iterator[SimulationResult]:
    """Iterate over the frames of one trajectory: after every `every` steps, and after the last.

    The last frame equals what `simulate` gives for the same arguments, bit for bit. The initial field is frame 0
    of `steps=0` alone. Arguments and errors are those of `simulate`; they are checked at the call, and the work
    begins when the first frame is asked for. Closing the iterator ends it.

    Raises:
        mfn_model.SpecError: as `simulate`.
        ValueError: `every` is less than 1, or a parameter is given in both ways.
    """
    if isinstance(every, bool) or not isinstance(every, Integral) or every < 1:
        raise ValueError(f"every must be a whole number of at least 1, got {every!r}")
    spec, name, backend = _checked(seed, grid_size, steps, model, boundary, engine, _united(parameters, further))
    return _frames(spec, name, backend, int(steps), int(every))


def npy_path(path: str | Path) -> Path:
    """`path`, where a field can be saved under that name.

    Raises:
        ValueError: it does not end in `.npy`.
    """
    target = Path(path)
    if target.suffix != ".npy":
        raise ValueError(f"{target} does not end in .npy, which is the format that is written; rename it")
    return target


def _frames(spec: FieldSpec, engine: str, backend: Backend, steps: int, every: int) -> Iterator[SimulationResult]:
    # The session opens at the first frame: an iterator that nobody ever asks for one holds nothing open.
    session = backend.open(spec)
    try:
        if steps == 0:
            yield SimulationResult(spec=spec, engine=engine, state=session.state())
        for done in range(0, steps, every):
            session.step(min(every, steps - done), NeverCancelled())
            yield SimulationResult(spec=spec, engine=engine, state=session.state())
    finally:
        session.close()


def _united(
    parameters: Mapping[str, float | bool] | None, further: Mapping[str, float | bool]
) -> dict[str, float | bool]:
    if parameters is None:
        return dict(further)
    if twice := sorted(parameters.keys() & further.keys()):
        raise ValueError(f"{', '.join(twice)} stands in parameters and beside them; leave one out")
    return {**parameters, **further}


def _checked(
    seed: int,
    grid_size: int,
    steps: int,
    model: str,
    boundary: str,
    engine: str,
    parameters: Mapping[str, float | bool],
) -> tuple[FieldSpec, str, Backend]:
    """The specification and the engine for it, once everything that is wrong has been gathered."""
    find_model(model)
    asked: dict[str, Any] = {
        "model": model,
        "grid_size": grid_size,
        "seed": seed,
        "parameters": parameters,
        "boundary": boundary,
    }
    violations = list(FieldSpec.violations(**asked))
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 0:
        message = f"steps must be a whole number of at least 0, got {steps!r}"
        violations.append(BoundViolation(field="steps", value=steps, bound="0 <= steps", message=message))
    if violations:
        raise SpecError(violations)
    spec = FieldSpec(**asked)
    name, backend = engine_for(spec, engine)
    return spec, name, backend


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _shown(value: float | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}"
