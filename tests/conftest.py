"""What tests of several folders share: wheels of the workspace, built once for a whole run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from mfn_environments import Wheels


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every process of the test run has in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def wheels(shared: Path) -> Wheels:
    """The wheel of every distribution of the workspace."""
    directory = shared / "wheels"
    directory.mkdir(exist_ok=True)
    return Wheels(directory)
