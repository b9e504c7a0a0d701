"""The backend and its declaration."""

from __future__ import annotations

import copy
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from mfn_core.components import ComponentContext
from mfn_core.compute import NeverCancelled, SupportsBatch, SupportsRestore, SupportsSpeed
from mfn_core.config import ServerSettings
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.testing.backend import assert_same_state
from mfn_engine_numba import NumbaBackend
from mfn_engine_numba.plugin import mfn_backends
from mfn_engine_numba.settings import NumbaSettings
from mfn_model import FieldSpec, SpecError, UnknownModelError, mycelium_rd_spec, mycelium_spec, reference

pytestmark = pytest.mark.timeout(300)  # what is compiled first takes a while

NEVER = NeverCancelled()


def made(config: NumbaSettings) -> NumbaBackend:
    (component,) = mfn_backends()
    compute = ComputePool({})
    context = ComponentContext(
        name="numba",
        server=ServerSettings(),
        worker=0,
        compute=compute,
        catalogue=Catalogue(),
        log=logging.getLogger("mfn.engines.numba"),
    )
    try:
        backend = component.factory(config, context)
    finally:
        compute.shutdown()
    assert isinstance(backend, NumbaBackend)
    return backend


def test_it_can_do_whatever_an_engine_may_be_able_to(backend: NumbaBackend) -> None:
    assert isinstance(backend, SupportsSpeed)
    assert isinstance(backend, SupportsRestore)
    assert isinstance(backend, SupportsBatch)


def test_noise_is_slower_and_the_potential_alone_faster(backend: NumbaBackend) -> None:
    plain, noisy = backend.speed(mycelium_spec()), backend.speed(mycelium_spec(jitter=True))
    assert noisy < plain < backend.speed(mycelium_spec(turing_enabled=False))


def test_the_estimate_of_speed_is_above_that_of_the_engine_without_a_compiler(backend: NumbaBackend) -> None:
    assert backend.speed(mycelium_spec()) > 5e8


@pytest.mark.parametrize(
    "changes", [{"seed": -1}, {"seed": 2**63}, {"grid_size": 0}, {"grid_size": 8.5}, {"seed": 1.0}]
)
def test_a_specification_that_was_tampered_with_is_refused_though_its_like_was_seen(
    backend: NumbaBackend, changes: dict[str, Any]
) -> None:
    spec = mycelium_spec(grid_size=8)
    backend.open(spec).close()
    broken = copy.copy(spec)
    for name, value in changes.items():
        object.__setattr__(broken, name, value)
    with pytest.raises(SpecError):
        backend.open(broken)


def test_more_specifications_than_are_remembered_are_computed(
    backend: NumbaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mfn_engine_numba import _kernels

    monkeypatch.setattr(_kernels, "_REMEMBERED", 3)
    for alpha in (0.1, 0.11, 0.12, 0.13, 0.14, 0.1):
        spec = mycelium_spec(grid_size=6, alpha=alpha)
        session = backend.open(spec)
        session.step(3, NEVER)
        assert_same_state(session.state(), reference(spec, 3))
    assert len(backend._kernels._prepared) == 3


# As a component.


async def test_starting_compiles_what_was_named(kernels: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = NumbaBackend(cache_dir=kernels, precompile=["mycelium"])
    with caplog.at_level(logging.INFO):
        await backend.start()
    assert "kernels of mycelium are ready" in caplog.text
    # With and without activator and inhibitor: no call meets a compiler.
    assert {names for model, names, _ in _kernel_keys(backend) if model == "mycelium"} == {
        ("potential",),
        ("potential", "activator", "inhibitor"),
    }
    await backend.stop()


def _kernel_keys(backend: NumbaBackend) -> list[tuple[str, tuple[str, ...], bool]]:
    return [key for key in backend._kernels._modules if isinstance(key, tuple)]


@pytest.mark.slow
async def test_stopping_ends_the_threads_and_may_be_done_twice(kernels: Path) -> None:
    backend = NumbaBackend(cache_dir=kernels, threads=3)
    session = backend.open(mycelium_rd_spec(grid_size=400))
    session.step(2, NEVER)
    session.close()
    assert _own_threads()
    await backend.stop()
    await backend.stop()
    assert not _own_threads()
    again = backend.open(mycelium_rd_spec(grid_size=400))
    assert again.step(2, NEVER) == 2
    again.close()
    backend.close()


def _own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mfn-numba")]


def test_a_model_that_nobody_knows_cannot_be_compiled(backend: NumbaBackend) -> None:
    with pytest.raises(UnknownModelError, match="mycelium"):
        backend.compile("mycelum")


def test_the_plugin_declares_the_backend_numba() -> None:
    (component,) = mfn_backends()
    assert component.name == "numba"
    assert component.config is NumbaSettings


def test_a_model_to_compile_that_nobody_knows_is_a_problem_of_the_configuration() -> None:
    with pytest.raises(ValueError, match=r"precompile: no model 'mycelum' is known; did you mean 'mycelium'\?"):
        made(NumbaSettings(precompile=("mycelum",)))


def test_settings_reach_the_backend(kernels: Path) -> None:
    backend = made(NumbaSettings(precision="single", threads=2, cache_dir=kernels))
    assert backend._kernels.precision.name == "float32"
    assert backend._threads == 2
    assert backend._precompile == ("mycelium", "mycelium_rd")


def test_models_of_the_catalogue_are_supported_and_no_others(backend: NumbaBackend) -> None:
    assert backend.supports(mycelium_spec())
    assert not backend.supports(_unknown())


def _unknown() -> FieldSpec:
    spec = copy.copy(mycelium_spec())
    object.__setattr__(spec, "model", "nobody knows it")
    return spec
