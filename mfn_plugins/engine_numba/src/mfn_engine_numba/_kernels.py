"""The kernels of one backend: generated, compiled at most once, and what a specification needs beside one."""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Final, assert_never

import llvmlite
import numba
import numpy as np
import numpy.typing as npt
from attrs import frozen
from llvmlite import binding
from numba.core import config

from mfn_engine_numba import _memory as at
from mfn_engine_numba._cache import ModuleCache
from mfn_engine_numba._field import Blueprint, blueprint
from mfn_engine_numba._source import kernel_source, storing_source
from mfn_engine_numba._target import Precision, Target
from mfn_model import Constant, FieldModel, FieldSpec, Normal, ParameterValues, Uniform
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import Coefficient, Expression, Name, Number, evaluate_number, parse, walk
from mfn_model.spec import MAXIMUM_SEED

__all__ = ["Kernels", "Prepared", "estimated_speed", "processor"]

FloatArray = npt.NDArray[np.float64]

_REMEMBERED: Final = 512
"""Specifications, but for their seeds, of which everything that precedes the first draw is kept."""

_CELL: Final = 0.1e-9
"""Seconds that a cell takes in any step."""
_STENCIL: Final = 0.2e-9
"""The same for the diffusion of one species."""
_OPERATION: Final = 0.03e-9
"""The same for one operation of a reaction."""
_NORMAL: Final = 3.5e-9
"""The same for one normal number of noise."""

_COMPILED_IN: Final = (
    "_advance",
    "_entries",
    "_intervals",
    "_lines",
    "_memory",
    "_numba",
    "_pcg64",
    "_storing",
    "_sweep",
)
"""The modules of this package that become part of compiled code."""


def processor() -> tuple[str, str]:
    """Name and features of the processor that Numba compiles for."""
    name = config.CPU_NAME or binding.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME else binding.get_host_cpu_features().flatten()
    return name, features


def _has_fused(features: str) -> bool:
    """Whether it has a fused multiply-add; without one, the function that stands in for it is slow."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return True
    return "+fma" in features.split(",")


def _has_lines(features: str) -> bool:
    """Whether a register holds a cache line."""
    return "+avx512f" in features.split(",")


@functools.cache
def _sources() -> str:
    """A hash of the sources that are compiled into kernels."""
    digest = hashlib.sha256()
    for name in _COMPILED_IN:
        path = Path(__file__).with_name(f"{name}.py")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _identity() -> str:
    name, features = processor()
    return (
        f"sources {_sources()}; numba {numba.__version__}, llvmlite {llvmlite.__version__}, "
        f"{sys.implementation.cache_tag}; {name}, {hashlib.sha256(features.encode()).hexdigest()[:16]}"
    )


@functools.lru_cache(1024)
def _parsed(text: str) -> Expression:
    return parse(text)


@frozen(kw_only=True, eq=False)
class Prepared:
    """All that a specification determines but for its seed."""

    dynamics: Dynamics
    names: tuple[str, ...]
    """Of its species."""
    coefficients: FloatArray
    blueprint: Blueprint
    kernel: ModuleType
    storing: ModuleType
    recipe: FloatArray
    """See `mfn_engine_numba._storing.draw_state`."""
    patches: FloatArray
    drawing: tuple[int, int, int, int, int]
    """The words of a job from `JOB_RECIPE` on: where the recipe is, its rows, where the patches are, and the new book
    with its size."""
    speed: float
    """Estimated cell-steps a second."""


def _sound(grid: object, seed: object) -> bool:
    return type(grid) is int and type(seed) is int and 0 <= seed <= MAXIMUM_SEED


def estimated_speed(dynamics: Dynamics) -> float:
    """Cell-steps a second on one core, from measurements of all models at 64² cells in double precision."""
    return 1.0 / sum(_costs(dynamics))


def _costs(dynamics: Dynamics) -> Iterator[float]:
    yield _CELL + _NORMAL * len(dynamics.noises)
    for terms in dynamics.species:
        yield _OPERATION if terms.diffusion is None else _STENCIL
        if terms.reaction is not None:
            yield _OPERATION * sum(not isinstance(node, (Number, Name, Coefficient)) for node in walk(terms.reaction))


class Kernels:
    """Compiled code for one precision. Safe to use from several threads."""

    def __init__(self, cache: ModuleCache, precision: Precision) -> None:
        """Keep compiled code in `cache`. Nothing is compiled before it is needed."""
        self.precision = precision
        self._cache = cache
        self._lock = Lock()
        self._modules: dict[Any, ModuleType] = {}
        self._prepared: dict[Any, Prepared] = {}

    def prepared(self, spec: FieldSpec, check: Callable[[FieldSpec], None]) -> Prepared:
        """What a specification needs; compiles its kernel if that was not done yet.

        `check` raises for one that breaks its bounds. It is not asked again about what it has seen already.
        """
        if type(spec.parameters) is not ParameterValues or not _sound(spec.grid_size, spec.seed):
            check(spec)
            spec = replace(spec)
        key = (spec.model, spec.boundary, spec.grid_size, spec.parameters)
        found = self._prepared.get(key)
        if found is None:
            check(spec)
            found = self._prepare(spec)
            with self._lock:
                self._prepared[key] = found
                if len(self._prepared) > _REMEMBERED:
                    self._prepared.pop(next(iter(self._prepared)))
        return found

    def kernel(self, model: str, dynamics: Dynamics, *, banded: bool = False) -> ModuleType:
        """The module that steps a model of which these species exist."""
        key = (model, tuple(terms.name for terms in dynamics.species), banded)
        return self._module(key, lambda target: kernel_source(dynamics, target, banded=banded))

    def storing(self, *, banded: bool = False) -> ModuleType:
        """The module for what goes into fields and out of them."""
        return self._module(banded, lambda target: storing_source(target, banded=banded))

    def _module(self, key: Any, source: Any) -> ModuleType:
        module = self._modules.get(key)
        if module is None:
            features = processor()[1]
            fused = _has_fused(features)
            lines = fused and _has_lines(features)

            def text(kept: bool) -> str:
                target = Target(precision=self.precision, fused=fused, lines=lines, identity=_identity(), kept=kept)
                return str(source(target))

            module = self._modules[key] = self._cache.module(text)
        return module

    def _prepare(self, spec: FieldSpec) -> Prepared:
        dynamics = spec.declaration.dynamics.switched(spec.parameters)
        coefficients = np.array(dynamics.values(spec.parameters), dtype=np.float64)
        recipe, patches = _recipe(spec.declaration, dynamics, spec)
        plan = blueprint(dynamics, spec.boundary, spec.grid_size, self.precision)
        return Prepared(
            dynamics=dynamics,
            names=tuple(terms.name for terms in dynamics.species),
            coefficients=coefficients,
            blueprint=plan,
            kernel=self.kernel(spec.model, dynamics),
            storing=self.storing(),
            recipe=recipe,
            patches=patches,
            drawing=(recipe.ctypes.data, len(recipe), patches.ctypes.data, plan.book.ctypes.data, plan.book.size),
            speed=estimated_speed(dynamics),
        )


def _recipe(declaration: FieldModel, dynamics: Dynamics, spec: FieldSpec) -> tuple[FloatArray, FloatArray]:
    """How the initial state is drawn, as numbers."""
    numbers = {terms.name: number for number, terms in enumerate(dynamics.species)}

    def value(text: str) -> float:
        return evaluate_number(_parsed(text), spec.parameters)

    rows: list[tuple[float, ...]] = []
    for species in declaration.species:
        number = numbers.get(species.name, -1)
        if number < 0 and not declaration.draws_absent_species:
            continue
        match species.initial:
            case Constant(value=text):
                rows.append((at.CONSTANT, number, value(text), 0.0))
            case Normal(mean=mean, deviation=deviation):
                rows.append((at.NORMAL, number, value(mean), value(deviation)))
            case Uniform(low=low, high=high):
                rows.append((at.UNIFORM, number, value(low), value(high)))
            case _:
                assert_never(species.initial)
    patches = np.full(2 + len(numbers), np.nan)
    patches[:2] = 0.0
    if declaration.patches is not None:
        count, side = value(declaration.patches.count), value(declaration.patches.side)
        patches[:2] = round(count), min(spec.grid_size, round(side))
        for name, text in declaration.patches.values:
            if name in numbers:
                patches[2 + numbers[name]] = value(text)
    return np.array(rows, dtype=np.float64).reshape(-1, at.RECIPE_WORDS), patches
