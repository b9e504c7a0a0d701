"""The backend that opens sessions on compiled kernels."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Literal

from mfn_core.compute import Run, require_supported
from mfn_engine_numba._bands import BandedGrid, band_count
from mfn_engine_numba._batch import SpareGrids, run_together
from mfn_engine_numba._cache import ModuleCache
from mfn_engine_numba._grid import Grid
from mfn_engine_numba._kernels import Kernels, Prepared, estimated_speed
from mfn_engine_numba._target import DOUBLE, SINGLE
from mfn_engine_numba._whole import WholeGrid
from mfn_engine_numba.session import NumbaSession
from mfn_model import MODELS, Checkpoint, FieldSpec, FieldState, get_model

__all__ = ["NumbaBackend"]

_log = logging.getLogger(__name__)


class NumbaBackend:
    """Steps every declared model with kernels that are generated from its declaration and compiled by Numba.

    In double precision the numbers are those of `mfn_model.reference`. Kernels are kept on disk; see
    `mfn_engine_numba._cache`. Sessions are independent of each other and release the interpreter's lock while they
    advance. Safe to use from several threads.
    """

    def __init__(
        self,
        *,
        precision: Literal["double", "single"] = "double",
        threads: int = 1,
        cache_dir: Path | None = None,
        precompile: Sequence[str] = (),
    ) -> None:
        """A backend; nothing is compiled before `start`, `compile` or the first session.

        `threads` may work at one large field together. `cache_dir` is where compiled kernels are kept, by default in
        the user's cache. `precompile` names the models that `start` compiles.
        """
        self._kernels = Kernels(ModuleCache(cache_dir), SINGLE if precision == "single" else DOUBLE)
        self._threads = threads
        self._precompile = tuple(precompile)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._spares = SpareGrids()

    # As a component of a server.

    async def start(self) -> None:
        """Compiles the kernels of the models that were named, or loads them; not on the event loop."""
        for model in self._precompile:
            begun = time.perf_counter()
            await asyncio.to_thread(self.compile, model)
            _log.info("kernels of %s are ready after %.1f s", model, time.perf_counter() - begun)

    async def stop(self) -> None:
        """Ends the threads for large fields, as `close` does; not on the event loop."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Ends the threads for large fields, while no session is stepping; sessions opened later start new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def compile(self, model: str) -> None:
        """Compiles what sessions of a model need, whichever of its species are switched on, or loads it.

        Raises `mfn_model.UnknownModelError` where no model has that name.
        """
        declaration = get_model(model)
        switches = sorted({species.when for species in declaration.species if species.when is not None})
        values = {parameter.name: parameter.default for parameter in declaration.parameters}
        for choice in itertools.product((True, False), repeat=len(switches)):
            dynamics = declaration.dynamics.switched({**values, **dict(zip(switches, choice, strict=True))})
            if dynamics.species:
                self._kernels.kernel(model, dynamics)
        self._kernels.storing()

    # As an engine.

    def supports(self, spec: FieldSpec) -> bool:
        """Whether the model of `spec` is known to this process."""
        return spec.model in MODELS

    def open(self, spec: FieldSpec) -> NumbaSession:
        """A session at step 0; compiles the kernel of its model if that was not done yet.

        Raises `SpecError` for values out of the model's bounds.
        """
        return NumbaSession(spec, self._prepare)

    def restore(self, checkpoint: Checkpoint) -> NumbaSession:
        """A session at the checkpoint's step.

        Raises `SpecError` for values out of the model's bounds, and `ValueError` when state, specification and
        generator do not belong together.
        """
        return NumbaSession.restored(checkpoint, self._prepare)

    def run_batch(self, runs: Sequence[Run]) -> list[FieldState | Exception]:
        """The last states of several runs; see `mfn_core.compute.SupportsBatch`."""
        return run_together(runs, self._prepared, self._spares)

    def speed(self, spec: FieldSpec) -> float:
        """Estimated cell-steps a second on one core, from measurements of all models at 64² cells."""
        return estimated_speed(spec.declaration.dynamics.switched(spec.parameters))

    def _prepared(self, spec: FieldSpec) -> Prepared:
        return self._kernels.prepared(spec, self._check)

    def _check(self, spec: FieldSpec) -> None:
        require_supported(self, spec)

    def _prepare(self, spec: FieldSpec) -> tuple[Prepared, Grid]:
        prepared = self._prepared(spec)
        count = band_count(spec.grid_size, self._threads)
        if count == 1:
            return prepared, WholeGrid(prepared)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="mfn-numba")
            pool = self._pool
        return prepared, BandedGrid(spec, prepared, self._kernels, count, pool)
