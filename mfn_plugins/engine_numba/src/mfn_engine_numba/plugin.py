"""What this package declares to the kernel."""

from __future__ import annotations

from collections.abc import Sequence

from mfn_core import ComponentContext, ComponentSpec, hookimpl
from mfn_engine_numba.backend import NumbaBackend
from mfn_engine_numba.settings import NumbaSettings
from mfn_model import UnknownModelError, get_model

__all__ = ["mfn_backends"]


def _backend(config: NumbaSettings, context: ComponentContext) -> NumbaBackend:
    for name in config.precompile:
        try:
            get_model(name)
        except UnknownModelError as unknown:
            raise ValueError(f"precompile: {unknown}") from unknown
    return NumbaBackend(
        precision=config.precision,
        threads=config.threads,
        cache_dir=config.cache_dir,
        precompile=config.precompile,
    )


@hookimpl
def mfn_backends() -> Sequence[ComponentSpec]:
    """The backend `numba`."""
    return [
        ComponentSpec(
            name="numba",
            config=NumbaSettings,
            factory=_backend,
            summary="every declared model by compiled kernels, same numbers as the plain evaluation",
            stability="stable",
            examples={
                "large fields on several threads": "[engines.numba]\nthreads = 4\n",
                "kernels compiled before the first call": '[engines.numba]\nprecompile = ["mycelium", "gray_scott"]\n',
                "half the digits, for whoever asks for it": '[engines."numba/single"]\nprecision = "single"\n',
            },
        )
    ]
