"""The suites that every backend and every plugin must pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from mfn_core.testing.backend import BackendSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_engine_numba import NumbaBackend, backend
from mfn_model import FieldSpec, mycelium_rd_spec

pytestmark = pytest.mark.timeout(300)  # the first test of a run compiles the kernels of all models


class TestNumbaBackend(BackendSuite):
    tolerance = 0.0  # the same operations in the same order

    @pytest.fixture
    def backend(self, every_kernel: Path) -> NumbaBackend:
        return NumbaBackend(cache_dir=every_kernel)


@pytest.mark.slow  # kernels of their own to compile, and three threads for every small field
class TestNumbaBackendInBands(BackendSuite):
    """Small fields cut into bands that would never be: three threads for every one of them."""

    tolerance = 0.0
    specs: ClassVar[Mapping[str, FieldSpec]] = {
        "periodic": mycelium_rd_spec(seed=1, grid_size=24, spike_probability=0.9),
        "a Turing pattern that is kicked": mycelium_rd_spec(
            seed=2,
            grid_size=33,
            turing_threshold=0.5,
            d_activator=0.01,
            d_inhibitor=0.24,
            r_activator=0.1,
            r_inhibitor=0.001,
        ),
        "noise": mycelium_rd_spec(seed=3, grid_size=32, jitter=True, jitter_variance=1e-5),
        "nothing flows through the edge": mycelium_rd_spec(seed=4, grid_size=25, boundary="neumann"),
        "a held edge with noise": mycelium_rd_spec(
            seed=5, grid_size=32, jitter=True, jitter_variance=1e-5, boundary="dirichlet"
        ),
        "a grid of odd size": mycelium_rd_spec(seed=10, grid_size=201, spike_probability=0.9, boundary="dirichlet"),
    }

    @pytest.fixture
    def backend(self, kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NumbaBackend]:
        monkeypatch.setattr(backend, "band_count", lambda grid, threads: 3 if grid >= 8 else 1)
        made = NumbaBackend(cache_dir=kernels, threads=3)
        yield made
        made.close()

    def supported(self, backend: NumbaBackend) -> dict[str, FieldSpec]:  # type: ignore[override]  # narrower is enough
        return dict(self.specs)


class TestEngineNumbaPlugin(PluginSuite):
    plugin = "engine_numba"
