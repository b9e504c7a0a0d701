"""The suites that every backend and every plugin must pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfn_core.testing.backend import BackendSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_engine_numba import NumbaBackend


class TestNumbaBackend(BackendSuite):
    tolerance = 0.0  # the same operations in the same order

    @pytest.fixture
    def backend(self, kernels: Path) -> NumbaBackend:
        return NumbaBackend(cache_dir=kernels)


class TestEngineNumbaPlugin(PluginSuite):
    plugin = "engine_numba"
