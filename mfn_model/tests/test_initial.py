"""Initial states: distributions, patches, and the order of the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mfn_model import (
    Constant,
    FieldModel,
    FieldSpec,
    Normal,
    Parameter,
    Patches,
    Species,
    Uniform,
    mycelium_rd_spec,
    mycelium_spec,
    register_model,
)
from mfn_model.initial import draw_initial_state


def declared(name: str, **changes: Any) -> FieldModel:
    arguments: dict[str, Any] = {
        "name": name,
        "summary": "for a test",
        "species": (
            Species(name="u", unit="1", description="even", initial=Constant(value="level / 2")),
            Species(
                name="v", unit="1", description="often", when="on", initial=Normal(mean="level", deviation="level / 10")
            ),
            Species(name="w", unit="1", description="always", initial=Uniform(low="-level", high="level")),
        ),
        "parameters": (
            Parameter(name="level", default=3.0, unit="1", description="a number", minimum=0.0),
            Parameter(name="on", default=True, unit="1", description="a switch", kind="bool"),
        ),
        "boundary": "periodic",
        "source": "this test",
    }
    return register_model(FieldModel(**{**arguments, **changes}))


def drawn(spec: FieldSpec) -> tuple[list[np.ndarray], np.random.Generator]:
    fields = [np.empty((spec.grid_size, spec.grid_size)) for _ in spec.declaration.present(spec.parameters)]
    generator = np.random.default_rng(spec.seed)
    draw_initial_state(spec, generator, fields)
    return fields, generator


def of(name: str, grid_size: int, **parameters: Any) -> FieldSpec:
    return FieldSpec(model=name, grid_size=grid_size, seed=5, parameters=parameters)


@pytest.mark.parametrize("side", [1, 5, 150])
def test_species_are_drawn_one_after_the_other(side: int) -> None:
    declared("drawn_in_order")
    (u, v, w), generator = drawn(of("drawn_in_order", side))
    expected = np.random.default_rng(5)
    assert np.array_equal(u, np.full((side, side), 1.5))
    assert np.array_equal(v, expected.normal(3.0, 0.3, (side, side)))
    assert np.array_equal(w, expected.uniform(-3.0, 3.0, (side, side)))
    assert generator.bit_generator.state == expected.bit_generator.state


def test_an_absent_species_is_passed_over_or_drawn_and_forgotten() -> None:
    declared("passes_over")
    declared("draws_all", draws_absent_species=True)
    (_, w), _ = drawn(of("passes_over", 150, on=False))
    assert np.array_equal(w, np.random.default_rng(5).uniform(-3.0, 3.0, (150, 150)))
    (_, without), after = drawn(of("draws_all", 150, on=False))
    (_, _, with_it), before = drawn(of("draws_all", 150))
    assert np.array_equal(without, with_it)
    assert after.bit_generator.state == before.bit_generator.state


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937])
def test_uniform_numbers_are_passed_over_whatever_the_generator(bits: Any) -> None:
    states = []
    for reacting in (True, False):
        spec = mycelium_rd_spec(grid_size=20, turing_enabled=reacting)
        generator = np.random.Generator(bits(3))
        draw_initial_state(spec, generator, [np.empty((20, 20)) for _ in range(3 if reacting else 1)])
        states.append(generator.random(3))
    assert np.array_equal(*states)


def test_fields_may_be_views_of_any_strides() -> None:
    spec = mycelium_spec(grid_size=9)
    plain, _ = drawn(spec)
    padded = np.zeros((3, 11, 16))
    draw_initial_state(spec, np.random.default_rng(spec.seed), [each[1:10, 1:10] for each in padded])
    assert np.array_equal(padded[:, 1:10, 1:10], plain)
    assert not padded[:, 0].any()


def test_patches_lie_where_the_generator_says_and_go_on_at_the_other_edge() -> None:
    patches = Patches(count="level", side="level - 0.5", values=(("w", "level * 100"), ("v", "-1")))
    declared("patched", patches=patches)
    (_, v, w), generator = drawn(of("patched", 8))
    (_, plain_v, plain_w), expected = drawn(of("drawn_plain" if declared("drawn_plain") else "", 8))
    for _ in range(3):
        row, column = int(expected.integers(0, 8)), int(expected.integers(0, 8))
        for i in range(2):  # 2.5 rounds to the even 2
            for j in range(2):
                plain_v[(row + i) % 8, (column + j) % 8] = -1.0
                plain_w[(row + i) % 8, (column + j) % 8] = 300.0
    assert np.array_equal(v, plain_v)
    assert np.array_equal(w, plain_w)
    assert generator.bit_generator.state == expected.bit_generator.state


def test_a_patch_wider_than_the_grid_fills_it_and_spares_absent_species() -> None:
    declared("flooded", patches=Patches(count="1", side="50", values=(("w", "7"), ("v", "8"))))
    (u, w), _ = drawn(of("flooded", 6, on=False))
    assert np.array_equal(w, np.full((6, 6), 7.0))
    assert np.array_equal(u, np.full((6, 6), 1.5))


def test_arrays_of_another_number_or_shape_are_refused() -> None:
    spec = mycelium_spec(grid_size=4)
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"takes 3 arrays of shape \(4, 4\), got none"):
        draw_initial_state(spec, generator, [])
    with pytest.raises(ValueError, match=r"got \(4, 4\), \(4, 4\), \(4, 5\)"):
        draw_initial_state(spec, generator, [np.empty((4, 4)), np.empty((4, 4)), np.empty((4, 5))])
