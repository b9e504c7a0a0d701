"""The suites that every backend and every plugin must pass."""

import pytest

from mfn_core.testing.backend import BackendSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_engine_toy.plugin import ToyBackend


class TestToyBackend(BackendSuite):
    @pytest.fixture
    def backend(self) -> ToyBackend:
        return ToyBackend()


class TestToyPlugin(PluginSuite):
    plugin = "engine_toy"
