"""MFN: simulate mycelium-like reaction–diffusion fields, measure them and serve them.

>>> import mfn
>>> result = mfn.simulate(seed=42, grid_size=32, steps=32)
>>> result.growth_events, round(result.statistics.mean_mv, 6)
(11, -69.949898)

`simulate` runs one field to its end, `stream` iterates over the frames of one trajectory, `plot` draws either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfn.engines import available_engines
    from mfn.plotting import plot
    from mfn.simulation import SimulationResult, simulate, stream

__all__ = ["SimulationResult", "available_engines", "plot", "simulate", "stream"]

_HOMES = {
    "SimulationResult": "mfn.simulation",
    "available_engines": "mfn.engines",
    "plot": "mfn.plotting",
    "simulate": "mfn.simulation",
    "stream": "mfn.simulation",
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
