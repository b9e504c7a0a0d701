"""MFN: simulate mycelium-like reaction–diffusion fields, measure them and serve them.

>>> import mfn
>>> result = mfn.simulate(seed=42, grid_size=32, steps=32)
>>> result.growth_events, round(result.statistics.mean_mv, 6)
(11, -69.949898)

`simulate` runs one field to its end, `stream` iterates over the frames of one trajectory, `plot` draws either;
`film_strip` and `animate` draw many frames. `sweep` measures many runs into a table, and `plot_sweep` draws what it
found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfn.engines import available_engines
    from mfn.film import animate, film_strip
    from mfn.plotting import plot
    from mfn.simulation import SimulationResult, simulate, stream
    from mfn.sweep_plots import plot_sweep
    from mfn.sweeps.notebook import sweep

__all__ = [
    "SimulationResult",
    "animate",
    "available_engines",
    "film_strip",
    "plot",
    "plot_sweep",
    "simulate",
    "stream",
    "sweep",
]

_HOMES = {
    "SimulationResult": "mfn.simulation",
    "animate": "mfn.film",
    "available_engines": "mfn.engines",
    "film_strip": "mfn.film",
    "plot": "mfn.plotting",
    "plot_sweep": "mfn.sweep_plots",
    "simulate": "mfn.simulation",
    "stream": "mfn.simulation",
    "sweep": "mfn.sweeps.notebook",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `mfn --help` does not wait for NumPy.
    if name not in _HOMES:
        raise AttributeError(f"module 'mfn' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
