"""What is generated: the same text for the same structure, vectorised, and nothing contracted."""

from __future__ import annotations

import platform
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest

from mfn_core.compute import NeverCancelled
from mfn_core.testing.backend import assert_same_state
from mfn_engine_numba import NumbaBackend, _kernels
from mfn_engine_numba._cache import ModuleCache
from mfn_engine_numba._kernels import Kernels, processor
from mfn_engine_numba._source import kernel_source, storing_source
from mfn_engine_numba._target import DOUBLE, SINGLE, Precision, Target
from mfn_model import (
    MYCELIUM,
    MYCELIUM_RD,
    FieldModel,
    FieldSpec,
    Normal,
    Parameter,
    Species,
    Spike,
    Uniform,
    models,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
    register_model,
)
from mfn_model.dynamics import Dynamics

NEVER = NeverCancelled()

OURS = (MYCELIUM, MYCELIUM_RD, *(getattr(models, name) for name in models.__all__))
"""The models of `mfn_model`; other tests may have registered further ones."""

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="it reads instructions of x86")


def dynamics_of(spec: FieldSpec) -> Dynamics:
    return spec.declaration.dynamics.switched(spec.parameters)


def target(precision: Precision = DOUBLE, *, fused: bool = True, lines: bool = False, kept: bool = False) -> Target:
    return Target(precision=precision, fused=fused, lines=lines, identity="a test", kept=kept)


def text(
    spec: FieldSpec,
    *,
    fused: bool = True,
    lines: bool = False,
    precision: Precision = DOUBLE,
    banded: bool = False,
) -> str:
    return kernel_source(dynamics_of(spec), target(precision, fused=fused, lines=lines), banded=banded)


EVERY_OPERATION = "0.1 * (-v + rate / (1 + v ** 2)) + 0.01 * (minimum(v, u) - maximum(v, 0.5) + sqrt(abs(u - v)))"


def model_of(reaction: str, *, name: str) -> FieldModel:
    """Two species, of which one reacts so."""
    return FieldModel(
        name=name,
        summary="for these tests",
        species=(
            Species(
                name="fast",
                symbol="v",
                unit="1",
                description="reacts",
                diffusion="0.15",
                reaction=reaction,
                initial=Uniform(low="-1", high="1"),
                minimum=-1.5,
                maximum=1.5,
                outside="0.25",
            ),
            Species(
                name="slow",
                symbol="u",
                unit="1",
                description="follows",
                diffusion="0.05",
                reaction="0.02 * (v - u)",
                initial=Normal(mean="0", deviation="0.5"),
            ),
        ),
        parameters=(Parameter(name="rate", default=0.5, unit="1", description="rate", minimum=0.0, maximum=1.0),),
        update="simultaneous",
        spikes=(Spike(species="fast", probability="0.4", mean="0.5", deviation="0.2"),),
        boundary="periodic",
        further_boundaries=("neumann", "dirichlet"),
        source="these tests",
    )


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
        text(spec, lines=True),
        text(spec, precision=SINGLE),
        text(spec, banded=True),
        kernel_source(dynamics_of(spec), replace_identity("another processor"), banded=False),
        storing_source(target(), banded=False),
        storing_source(target(SINGLE), banded=False),
        storing_source(target(), banded=True),
        storing_source(target(kept=True), banded=True),
    }
    assert len(different) == 10


def replace_identity(identity: str) -> Target:
    return Target(precision=DOUBLE, fused=True, lines=False, identity=identity, kept=False)


def test_the_text_of_every_model_can_be_parsed() -> None:
    for model in OURS:
        spec = FieldSpec(model=model.name, grid_size=4, seed=0)
        for banded in (False, True):
            for precision in (DOUBLE, SINGLE):
                for lines in (False, True):
                    made = text(spec, precision=precision, lines=lines, banded=banded)
                    compile(made, model.name, "exec")
                    assert ("update_lines" in made) == lines


def test_a_model_with_a_function_that_lines_lack_is_computed_cell_by_cell() -> None:
    without = model_of("tanh(v) - v", name="numba_test_tanh").dynamics
    assert kernel_source(without, target(lines=True), banded=False) == kernel_source(without, target(), banded=False)


def test_formulas_are_computed_in_the_order_in_which_they_are_declared() -> None:
    update = text(mycelium_rd_spec()).partition("def update_cells")[2].partition("        return")[0]
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

    features_of = ("+fma", "+fma,+more", "+fma,+avx512f", "-fma", "-fma,+avx512f")
    for name, features in (*(("one", each) for each in features_of), ("other", "+fma")):
        monkeypatch.setattr(_kernels, "processor", lambda name=name, features=features: (name, features))
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        Kernels(Recording(kernels), DOUBLE).kernel(MYCELIUM.name, dynamics_of(mycelium_spec()))
    assert len(set(made)) == 6
    assert ["fused(MINUS_FOUR" in each for each in made] == [True, True, True, False, False, True]
    assert ["line_fused" in each.partition("def update")[2] for each in made] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


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
@pytest.mark.slow
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


@pytest.mark.timeout(300)  # kernels are compiled
@pytest.mark.parametrize("lines", [False, True], ids=["cells", "lines"])
def test_rows_by_cells_and_by_lines_have_the_numbers_of_the_plain_evaluation(
    kernels: Path, monkeypatch: pytest.MonkeyPatch, lines: bool
) -> None:
    monkeypatch.setattr(_kernels, "_has_fused", lambda features: True)
    monkeypatch.setattr(_kernels, "_has_lines", lambda features: lines)
    model = model_of(EVERY_OPERATION, name="numba_test_every_operation")
    register_model(model)
    backend = NumbaBackend(cache_dir=kernels)
    for grid_size in (8, 16, 40, 21):
        for boundary in ("periodic", "neumann", "dirichlet"):
            spec = FieldSpec(model=model.name, grid_size=grid_size, seed=grid_size, boundary=boundary)
            session = backend.open(spec)
            session.step(1, NEVER)
            session.step(38, NEVER)
            assert_same_state(session.state(), reference(spec, 39))


@pytest.mark.slow
@pytest.mark.timeout(600)  # kernels are compiled
@pytest.mark.parametrize("precision", ["double", "single"])
def test_every_model_has_the_same_numbers_by_cells_and_by_lines(
    kernels: Path, monkeypatch: pytest.MonkeyPatch, precision: Literal["double", "single"]
) -> None:
    monkeypatch.setattr(_kernels, "_has_fused", lambda features: True)
    for model in OURS:
        states = []
        for lines in (False, True):
            monkeypatch.setattr(_kernels, "_has_lines", lambda features, lines=lines: lines)
            session = NumbaBackend(cache_dir=kernels, precision=precision).open(
                FieldSpec(model=model.name, grid_size=32, seed=3)
            )
            session.step(100, NEVER)
            states.append(session.state())
        assert_same_state(*states)


def test_models_that_differ_in_numbers_alone_share_a_kernel() -> None:
    again = replace(MYCELIUM_RD, name="numba_test_again", summary="the same again")
    spec = FieldSpec(model=MYCELIUM_RD.name, grid_size=8, seed=0)
    dynamics = again.dynamics.switched(spec.parameters)
    assert kernel_source(dynamics, target(), banded=False) == text(spec)
