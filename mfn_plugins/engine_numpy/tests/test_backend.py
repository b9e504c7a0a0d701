"""The backend and its declaration."""

from __future__ import annotations

import pytest

from mfn_engine_numpy import NumpyBackend
from mfn_engine_numpy.plugin import mfn_backends
from mfn_model import FieldModel, FieldSpec, SpecError, Species, mycelium_spec, register_model


def foreign() -> FieldSpec:
    register_model(
        FieldModel(
            name="foreign_to_numpy",
            summary="nothing",
            species=(Species(name="u", unit="1", description="nothing"),),
            parameters=(),
            clamp=(0.0, 1.0),
            boundary="periodic",
            source="this test",
        )
    )
    return FieldSpec(model="foreign_to_numpy", grid_size=4, seed=0)


def test_another_model_is_refused_with_the_one_it_computes() -> None:
    with pytest.raises(SpecError) as caught:
        NumpyBackend().open(foreign())
    (violation,) = caught.value.violations
    assert violation.field == "model"
    assert violation.message == (
        "the numpy engine does not compute the model 'foreign_to_numpy', only 'mycelium' and 'mycelium_rd'"
    )


def test_noise_is_slower_and_the_potential_alone_faster() -> None:
    speed = NumpyBackend().speed
    plain, noisy = speed(mycelium_spec()), speed(mycelium_spec(jitter=True))
    assert noisy < plain < speed(mycelium_spec(turing_enabled=False))


def test_the_plugin_declares_the_backend_numpy() -> None:
    (component,) = mfn_backends()
    assert component.name == "numpy"
    assert component.summary
