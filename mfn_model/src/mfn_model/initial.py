"""The initial state of a specification, and the order of the draws that make it.

All randomness of a trajectory comes from one generator, `numpy.random.default_rng(seed)` (PCG64), and the order of its
draws is part of a model. For step 0, species by species in declared order, it draws what the species' `initial` says,
cells in row-major order: `Normal` one normal number a cell, `Uniform` one uniform number a cell, `Constant` nothing.
Species that are switched off are passed over, or, with `draws_absent_species`, drawn and forgotten. Then, if the model
has patches, it draws for each a row and a column (`integers(0, N)`), its upper left cell. The initial state is not
confined to the ranges of the species.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt

from mfn_model._species import Constant, Initial, Normal, Patches, Uniform
from mfn_model.expressions import evaluate_number, parse
from mfn_model.spec import FieldSpec

__all__ = ["draw_initial_state"]

FloatArray = npt.NDArray[np.float64]

_CELLS_DRAWN_AT_ONCE: Final = 16_384  # small enough to stay in the cache until it is copied


def draw_initial_state(spec: FieldSpec, generator: np.random.Generator, fields: Sequence[FloatArray]) -> None:
    """Draws the state at step 0 into `fields`, one array for each species that exists, in declared order.

    Each is [N, N] float64 with any strides and is filled in place. `generator` moves on by exactly the model's draws;
    pass `numpy.random.default_rng(spec.seed)`. Raises `ValueError` when the number of arrays, or a shape, is wrong.
    """
    declaration = spec.declaration
    present = declaration.present(spec.parameters)
    shape = (spec.grid_size, spec.grid_size)
    if [values.shape for values in fields] != [shape] * len(present):
        shapes = ", ".join(str(values.shape) for values in fields) or "none"
        raise ValueError(f"the initial state takes {len(present)} arrays of shape {shape}, got {shapes}")
    by_name = {species.name: values for species, values in zip(present, fields, strict=True)}
    for species in declaration.species:
        if species.name in by_name:
            _fill(by_name[species.name], species.initial, spec, generator)
        elif declaration.draws_absent_species:
            _pass_over(species.initial, spec, generator)
    if declaration.patches is not None:
        _lay_patches(by_name, declaration.patches, spec, generator)


def _number(text: str, spec: FieldSpec) -> float:
    return evaluate_number(parse(text), spec.parameters)


def _fill(values: FloatArray, initial: Initial, spec: FieldSpec, generator: np.random.Generator) -> None:
    rows, columns = values.shape
    chunk = max(1, _CELLS_DRAWN_AT_ONCE // columns)
    targets = [values[first : first + chunk] for first in range(0, rows, chunk)]
    match initial:
        case Constant(value=value):
            values[...] = _number(value, spec)
        case Normal(mean=mean, deviation=deviation):
            settled = _number(mean, spec), _number(deviation, spec)
            for target in targets:
                target[...] = generator.normal(*settled, size=target.shape)
        case Uniform(low=low, high=high):
            settled = _number(low, spec), _number(high, spec)
            for target in targets:
                target[...] = generator.uniform(*settled, size=target.shape)
        case _:
            assert_never(initial)


def _pass_over(initial: Initial, spec: FieldSpec, generator: np.random.Generator) -> None:
    cells = spec.grid_size**2
    bits = generator.bit_generator
    match initial:
        case Uniform() if isinstance(bits, np.random.PCG64):
            bits.advance(cells)  # a uniform number takes one step of this generator
        case Uniform():
            for first in range(0, cells, _CELLS_DRAWN_AT_ONCE):
                generator.random(min(_CELLS_DRAWN_AT_ONCE, cells - first))
        case Normal():
            for first in range(0, cells, _CELLS_DRAWN_AT_ONCE):
                generator.standard_normal(min(_CELLS_DRAWN_AT_ONCE, cells - first))
        case Constant():
            pass  # it draws nothing
        case _:
            assert_never(initial)


def _lay_patches(
    by_name: dict[str, FloatArray], patches: Patches, spec: FieldSpec, generator: np.random.Generator
) -> None:
    n = spec.grid_size
    side = min(n, round(_number(patches.side, spec)))
    settled = [(by_name[name], _number(value, spec)) for name, value in patches.values if name in by_name]
    offsets = np.arange(side)
    for _ in range(round(_number(patches.count, spec))):
        row, column = int(generator.integers(0, n)), int(generator.integers(0, n))
        cells = np.ix_((row + offsets) % n, (column + offsets) % n)
        for values, value in settled:
            values[cells] = value
