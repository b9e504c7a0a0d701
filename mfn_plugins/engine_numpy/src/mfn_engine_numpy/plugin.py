"""What this package declares to the kernel."""

from __future__ import annotations

from collections.abc import Sequence

from mfn_core import ComponentSpec, hookimpl
from mfn_core.components import ComponentContext, NoSettings
from mfn_engine_numpy.backend import NumpyBackend

__all__ = ["mfn_backends"]


def _backend(config: NoSettings, context: ComponentContext) -> NumpyBackend:
    return NumpyBackend()


@hookimpl
def mfn_backends() -> Sequence[ComponentSpec]:
    """The backend `numpy`."""
    return [
        ComponentSpec(
            name="numpy",
            factory=_backend,
            summary="mycelium and mycelium_rd fields with NumPy alone, bit-identical to the plain evaluation",
            stability="stable",
        )
    ]
