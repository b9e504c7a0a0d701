"""One directory of compiled kernels for a whole run of the tests, whichever processes it is spread over."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfn_engine_numba import NumbaBackend


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The directory. Workers of one run have a parent directory in common."""
    own = tmp_path_factory.getbasetemp()
    directory = (own if worker_id == "master" else own.parent) / "kernels"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


@pytest.fixture
def backend(kernels: Path) -> NumbaBackend:
    """A backend of the default settings, but for its directory."""
    return NumbaBackend(cache_dir=kernels)
