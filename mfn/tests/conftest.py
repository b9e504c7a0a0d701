"""An engine for tests, which fails and dies as its specification tells it to."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

FRAGILE = '''
"""Steps mycelium_rd by its reference; three seeds are special."""

import os
import signal

from mfn_core import ComponentSpec, hookimpl
from mfn_core.compute import require_supported
from mfn_model import NumericalInstabilityError, reference_mycelium_rd

FAILS, DIES, WAITS = 7, 13, 99


class Fragile:
    def supports(self, spec):
        return spec.model == "mycelium_rd"

    def speed(self, spec):
        return 0.5  # never chosen by itself

    def open(self, spec):
        require_supported(self, spec)
        return Session(spec)


class Session:
    def __init__(self, spec):
        self.spec, self.done = spec, 0

    def step(self, n, cancel):
        if cancel.is_set():
            return 0
        if self.spec.seed == FAILS:
            raise NumericalInstabilityError(step=1, species="potential", nan_count=2, inf_count=0)
        if self.spec.seed == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        while self.spec.seed == WAITS and not cancel.is_set():
            pass
        if cancel.is_set():
            return 0
        self.done += n
        return n

    def state(self):
        return reference_mycelium_rd(self.spec, self.done)

    def close(self):
        pass


@hookimpl
def mfn_backends():
    return [ComponentSpec(name="fragile", factory=lambda config, context: Fragile(), summary="for tests")]
'''


@pytest.fixture
def fragile_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name, for `--engine`; installed for this process and its children. Seed 7 fails, 13 dies, 99 never ends."""
    site = tmp_path / "site"
    info = site / "fragile-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "fragile_engine.py").write_text(FRAGILE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mfn.plugins.v1]\nengine_fragile = fragile_engine\n")
    monkeypatch.syspath_prepend(site)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{site}:{inherited}" if inherited else str(site))
    importlib.invalidate_caches()
    return "fragile"
