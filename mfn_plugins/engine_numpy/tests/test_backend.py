"""The backend and its declaration."""

from __future__ import annotations

import pytest

from mfn_core.compute import NeverCancelled
from mfn_engine_numpy import NumpyBackend
from mfn_engine_numpy.plugin import mfn_backends
from mfn_model import Constant, FieldModel, FieldSpec, SpecError, Species, mycelium_spec, register_model


def test_a_model_of_a_stranger_is_computed_from_its_declaration() -> None:
    model = register_model(
        FieldModel(
            name="foreign_to_numpy",
            summary="decays",
            species=(
                Species(name="u", unit="1", description="decays", reaction="-0.5 * u", initial=Constant(value="8")),
            ),
            parameters=(),
            boundary="periodic",
            source="this test",
        )
    )
    session = NumpyBackend().open(FieldSpec(model=model.name, grid_size=4, seed=0))
    session.step(3, NeverCancelled())
    assert session.state().field.tolist() == [[1.0] * 4] * 4


def test_a_specification_that_was_tampered_with_is_refused() -> None:
    spec = mycelium_spec()
    object.__setattr__(spec, "grid_size", -1)
    with pytest.raises(SpecError, match="grid_size is out of range"):
        NumpyBackend().open(spec)


def test_noise_is_slower_and_the_potential_alone_faster() -> None:
    speed = NumpyBackend().speed
    plain, noisy = speed(mycelium_spec()), speed(mycelium_spec(jitter=True))
    assert noisy < plain < speed(mycelium_spec(turing_enabled=False))


def test_the_plugin_declares_the_backend_numpy() -> None:
    (component,) = mfn_backends()
    assert component.name == "numpy"
    assert component.summary
