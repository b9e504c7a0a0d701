from typing import ClassVar

import pytest
from engine_toy import ToyBackend

from mfn_core.testing.backend import BackendSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_model import mycelium_spec


class TestToyBackend(BackendSuite):
    specs: ClassVar = {
        "defaults": mycelium_spec(grid_size=32, spike_probability=0.0, turing_enabled=False),
        "at the limit": mycelium_spec(seed=1, grid_size=9, alpha=0.25, spike_probability=0.0, turing_enabled=False),
        "one cell": mycelium_spec(seed=2, grid_size=1, spike_probability=0.0, turing_enabled=False),
        "spikes, which it refuses": mycelium_spec(grid_size=16, turing_enabled=False),
    }

    @pytest.fixture
    def backend(self) -> ToyBackend:
        return ToyBackend()


class TestToyPlugin(PluginSuite):
    plugin = "engine_toy"
