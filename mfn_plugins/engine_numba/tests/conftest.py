"""One directory of compiled kernels for a whole run of the tests, whichever processes it is spread over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mfn_engine_numba import NumbaBackend
from mfn_model import (
    MYCELIUM,
    MYCELIUM_RD,
    Constant,
    FieldModel,
    FieldSpec,
    Parameter,
    Species,
    Spike,
    models,
    register_model,
)

EXPLOSIVE = FieldModel(
    name="numba_test_explosive",
    summary="grows beyond every number where it is spiked",
    species=(
        Species(
            name="quiet",
            symbol="q",
            unit="1",
            description="only diffuses",
            diffusion="0.2",
            initial=Constant(value="1"),
        ),
        Species(
            name="wild",
            symbol="w",
            unit="1",
            description="squares itself",
            diffusion="0.1",
            reaction="growth * w * w + q - q",
            initial=Constant(value="0.5"),
        ),
    ),
    parameters=(Parameter(name="growth", default=0.5, unit="1", description="growth", minimum=0.0, maximum=10.0),),
    update="simultaneous",
    spikes=(Spike(species="wild", probability="0.2", mean="1", deviation="0.5"),),
    boundary="periodic",
    further_boundaries=("neumann",),
    source="these tests",
)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory. Workers of one run have a parent directory in common."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "kernels"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def every_kernel(kernels: Path) -> Path:
    """The directory, with the kernels of all models of `mfn_model` in it; takes three seconds for each."""
    compiling = NumbaBackend(cache_dir=kernels)
    for name in (MYCELIUM.name, MYCELIUM_RD.name, *(getattr(models, each).name for each in models.__all__)):
        compiling.compile(name)
    return kernels


@pytest.fixture
def backend(kernels: Path) -> NumbaBackend:
    """A backend of the default settings, but for its directory."""
    return NumbaBackend(cache_dir=kernels)


@pytest.fixture
def explosive() -> FieldSpec:
    """A specification whose numbers are soon no longer finite."""
    register_model(EXPLOSIVE)
    return FieldSpec(model=EXPLOSIVE.name, grid_size=8, seed=1)
