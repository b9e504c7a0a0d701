"""The suites that every backend and every plugin must pass."""

from __future__ import annotations

import pytest

from mfn_core.testing.backend import BackendSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_engine_numpy import NumpyBackend


class TestNumpyBackend(BackendSuite):
    tolerance = 0.0  # the same operations in the same order

    @pytest.fixture
    def backend(self) -> NumpyBackend:
        return NumpyBackend()


class TestEngineNumpyPlugin(PluginSuite):
    plugin = "engine_numpy"
