"""What is generated: the same text for the same structure, vectorised, and nothing contracted."""

from __future__ import annotations

import platform
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mfn_core.compute import NeverCancelled
from mfn_engine_numba import NumbaBackend, _kernels
from mfn_engine_numba._cache import ModuleCache
from mfn_engine_numba._kernels import Kernels, processor
from mfn_engine_numba._source import DOUBLE, SINGLE, Precision, Target, kernel_source, storing_source
from mfn_model import MODELS, MYCELIUM, MYCELIUM_RD, FieldSpec, mycelium_rd_spec, mycelium_spec, reference
from mfn_model.dynamics import Dynamics

NEVER = NeverCancelled()

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="it reads instructions of x86")


def dynamics_of(spec: FieldSpec) -> Dynamics:
    return spec.declaration.dynamics.switched(spec.parameters)


def target(precision: Precision = DOUBLE, *, fused: bool = True, kept: bool = False) -> Target:
    return Target(precision=precision, fused=fused, identity="a test", kept=kept)


def text(spec: FieldSpec, *, fused: bool = True, precision: Precision = DOUBLE, banded: bool = False) -> str:
    return kernel_source(dynamics_of(spec), target(precision, fused=fused), banded=banded)


def test_the_text_depends_on_the_structure_of_the_model_alone() -> None:
    usual = text(mycelium_rd_spec())
    assert text(mycelium_rd_spec(seed=7, grid_size=9, alpha=0.1, boundary="dirichlet")) == usual
    assert text(mycelium_rd_spec(jitter=True, spike_probability=0.0)) == usual
    assert text(mycelium_rd_spec(turing_enabled=False)) != usual
    assert text(mycelium_spec()) != usual


def test_the_text_depends_on_what_it_is_compiled_for() -> None:
    spec = mycelium_spec()
    different = {
        text(spec),
        text(spec, fused=False),
        text(spec, precision=SINGLE),
        text(spec, banded=True),
        kernel_source(dynamics_of(spec), replace_identity("another processor"), banded=False),
        storing_source(target(), banded=False),
        storing_source(target(SINGLE), banded=False),
        storing_source(target(), banded=True),
        storing_source(target(kept=True), banded=True),
    }
    assert len(different) == 9


def replace_identity(identity: str) -> Target:
    return Target(precision=DOUBLE, fused=True, identity=identity, kept=False)


def test_the_text_of_every_model_can_be_parsed() -> None:
    for name, model in MODELS.items():
        spec = FieldSpec(model=name, grid_size=4, seed=0)
        for banded in (False, True):
            for precision in (DOUBLE, SINGLE):
                compile(text(spec, precision=precision, banded=banded), model.name, "exec")


def test_formulas_are_computed_in_the_order_in_which_they_are_declared() -> None:
    update = text(mycelium_rd_spec()).partition("def update_cells")[2].partition("    else:")[0]
    lines = [line.strip() for line in update.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.endswith("float64(1.0) - s1"))
    # d_activator * L(a) + r_activator * (a * (1 - a) - h), added to a
    names = [line.partition(" = ")[0] for line in lines]
    assert lines[first + 1].endswith(f"s1 * {names[first]}")
    assert lines[first + 2].endswith(f"{names[first + 1]} - s2")
    assert re.fullmatch(rf"t\d+ = c\d+ \* {names[first + 2]}", lines[first + 3])
    assert lines[first + 4] == f"{names[first + 4]} = {names[first - 1]} + {names[first + 3]}"
    assert lines[first + 5] == f"n1 = s1 + {names[first + 4]}"


# The processor.


def test_another_processor_has_other_modules(monkeypatch: pytest.MonkeyPatch, kernels: Path) -> None:
    made: list[str] = []

    class Recording(ModuleCache):
        def module(self, source: Any) -> ModuleType:
            made.append(source(True))
            return ModuleType("none")

    for name, features in (("one", "+fma"), ("one", "+fma,+more"), ("other", "+fma"), ("other", "-fma")):
        monkeypatch.setattr(_kernels, "processor", lambda name=name, features=features: (name, features))
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        Kernels(Recording(kernels), DOUBLE).kernel(MYCELIUM.name, dynamics_of(mycelium_spec()))
    assert len(set(made)) == 4
    assert ["fused(MINUS_FOUR" in each for each in made] == [True, True, True, False]


def test_the_processor_is_that_of_this_machine_unless_numba_was_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name, features = processor()
    assert name
    assert "+" in features or platform.machine() not in ("x86_64", "AMD64")
    monkeypatch.setattr(_kernels.config, "CPU_NAME", "generic")
    assert processor() == ("generic", "")
    monkeypatch.setattr(_kernels.config, "CPU_FEATURES", "+fma")
    assert processor() == ("generic", "+fma")


# Machine code.


@pytest.fixture(scope="module")
def unfused(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A kernel without the fused multiply-add, compiled here and now."""
    cache = ModuleCache(tmp_path_factory.mktemp("unfused") / "none")
    return cache.module(lambda kept: text(mycelium_rd_spec(turing_enabled=False), fused=False))


@pytest.mark.timeout(300)  # a kernel is compiled
def test_without_a_fused_multiply_add_the_numbers_are_the_same(
    unfused: ModuleType, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = NumbaBackend(cache_dir=kernels)
    monkeypatch.setattr(backend._kernels, "kernel", lambda model, dynamics, banded=False: unfused)
    spec = mycelium_rd_spec(seed=1, grid_size=24, spike_probability=0.9, turing_enabled=False)
    session = backend.open(spec)
    session.step(60, NEVER)
    assert np.array_equal(session.state().field, reference(spec, 60).field)


@x86
@pytest.mark.timeout(300)  # a kernel is compiled
def test_rows_are_computed_in_vectors_and_nothing_is_contracted(unfused: ModuleType) -> None:
    (assembly,) = unfused.update_cells.inspect_asm().values()
    assert "+avx" not in processor()[1].split(",") or re.search(r"vmulpd\s.*%[yz]mm", assembly)
    assert re.search(r"mulpd\s", assembly)
    assert not re.search(r"v?fn?m(add|sub)", assembly)


def test_models_that_differ_in_numbers_alone_share_a_kernel() -> None:
    again = replace(MYCELIUM_RD, name="numba_test_again", summary="the same again")
    spec = FieldSpec(model=MYCELIUM_RD.name, grid_size=8, seed=0)
    dynamics = again.dynamics.switched(spec.parameters)
    assert kernel_source(dynamics, target(), banded=False) == text(spec)
