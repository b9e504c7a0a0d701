"""Snapshots and checkpoints."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from mfn_model import Checkpoint, FieldState, mycelium_spec


def test_an_array_that_owns_its_memory_is_taken_over_and_made_read_only() -> None:
    array = np.zeros((3, 3))
    state = FieldState(step=0, field=array)
    assert state.field is array
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0


def test_a_view_is_copied_so_that_its_owner_cannot_change_the_state() -> None:
    owner = np.zeros((5, 5))
    state = FieldState(step=0, field=owner[1:-1, 1:-1], species={"activator": owner.T[:3, :3]})
    owner[...] = 1.0
    assert not state.field.any()
    assert not state.species["activator"].any()
    assert state.field.flags.c_contiguous
    assert state.grid_size == 3


def test_parts_of_a_read_only_array_are_taken_as_they_are() -> None:
    whole = np.arange(18.0).reshape(2, 3, 3).copy()
    copied = FieldState(step=0, field=whole[0])
    assert not np.shares_memory(copied.field, whole)
    whole.flags.writeable = False
    state = FieldState(step=0, field=whole[0], species={"activator": whole[1], "turned": whole[1].T})
    assert np.shares_memory(state.field, whole)
    assert np.shares_memory(state.species["activator"], whole)
    assert state.species["turned"].flags.c_contiguous
    assert not np.shares_memory(state.species["turned"], whole)
    with pytest.raises(ValueError, match="read-only"):
        state.field[0, 0] = 1.0


def test_a_read_only_view_of_memory_that_others_can_write_is_copied() -> None:
    owner = np.zeros((4, 4))
    view = owner[:]
    view.flags.writeable = False
    state = FieldState(step=0, field=view)
    owner[...] = 1.0
    assert not state.field.any()


def test_mappings_are_read_only_and_detached() -> None:
    counters = {"turing_activations": 1}
    state = FieldState(step=0, field=np.zeros((2, 2)), counters=counters)
    counters["turing_activations"] = 2
    assert state.counters["turing_activations"] == 1
    with pytest.raises(TypeError):
        state.counters["x"] = 1  # type: ignore[index]  # what is being tested


def test_a_field_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"square matrix, got shape \(2, 3\)"):
        FieldState(step=0, field=np.zeros((2, 3)))


@pytest.mark.parametrize("changes", [{"step": -3}, {"growth_events": -1}, {"counters": {"kicks": -2}}])
def test_a_count_below_0_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(step|growth_events|kicks) must be at least 0, got -\d"):
        FieldState(**{"step": 1, "field": np.zeros((2, 2)), **changes})


def test_a_species_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="species 'activator' has shape"):
        FieldState(step=0, field=np.zeros((2, 2)), species={"activator": np.zeros((3, 3))})


def test_a_state_survives_pickling_and_stays_read_only() -> None:
    state = FieldState(
        step=3,
        field=np.arange(4.0).reshape(2, 2).copy(),
        species={"activator": np.ones((2, 2))},
        growth_events=2,
        counters={"clamping_events": 5},
    )
    received = pickle.loads(pickle.dumps(state))
    assert (received.step, received.growth_events, dict(received.counters)) == (3, 2, {"clamping_events": 5})
    assert np.array_equal(received.field, state.field)
    assert np.array_equal(received.species["activator"], state.species["activator"])
    assert not received.field.flags.writeable
    assert not received.species["activator"].flags.writeable


def test_a_checkpoint_survives_pickling() -> None:
    generator = np.random.default_rng(1).bit_generator.state
    checkpoint = Checkpoint(
        spec=mycelium_spec(grid_size=2), state=FieldState(step=1, field=np.zeros((2, 2))), generator=generator
    )
    received = pickle.loads(pickle.dumps(checkpoint))
    assert received.spec == checkpoint.spec
    assert received.generator == generator
    assert received.state.step == 1


def test_a_checkpoint_keeps_its_own_copy_of_the_generator() -> None:
    generator = np.random.default_rng(1).bit_generator.state
    checkpoint = Checkpoint(
        spec=mycelium_spec(grid_size=2), state=FieldState(step=1, field=np.zeros((2, 2))), generator=generator
    )
    generator["state"]["state"] = 0
    assert checkpoint.generator["state"]["state"] != 0


def test_a_checkpoint_of_mismatched_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="grid size 2, its specification 3"):
        Checkpoint(spec=mycelium_spec(grid_size=3), state=FieldState(step=1, field=np.zeros((2, 2))), generator={})


def checkpoint(generator: dict[str, Any] | None = None, **state: Any) -> Checkpoint:
    return Checkpoint(
        spec=mycelium_spec(grid_size=2, turing_enabled=False),
        state=FieldState(**{"step": 1, "field": np.zeros((2, 2)), **state}),
        generator={**np.random.default_rng(1).bit_generator.state, **(generator or {})},
    )


def test_a_checkpoint_at_the_ends_of_its_bounds_can_be_gone_on_from() -> None:
    checkpoint(step=0, counters={"clamping_events": np.int64(3)}).require_restorable()
    checkpoint(step=2**62, growth_events=2**62).require_restorable()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"step": 2**63 - 1}, "step is out of range, got 9223372036854775807; the bound is 0 <= step <= 2**62"),
        ({"step": 1.5}, "step is out of range, got 1.5"),
        ({"growth_events": 2**62 + 1}, "growth_events is out of range"),
        ({"counters": {"clamping_events": 2**64}}, "clamping_events is out of range"),
        ({"species": {"activator": np.zeros((2, 2))}}, "carries the species ['activator'], its spec needs []"),
        ({"field": np.full((2, 2), np.inf)}, "potential holds values that are not finite"),
        ({"generator": {"bit_generator": "MT19937"}}, "not the state of a PCG64: its bit_generator is 'MT19937'"),
        ({"generator": {"state": None}}, "its state is None"),
        ({"generator": {"state": {"state": "x", "inc": 1}}}, "state is out of range, got 'x'"),
        ({"generator": {"state": {"state": 2**128, "inc": 1}}}, "the bound is 0 <= state < 2**128"),
        ({"generator": {"state": {"state": 1, "inc": 4}}}, "inc must be odd, got 4"),
        ({"generator": {"has_uint32": 2}}, "has_uint32 is out of range, got 2; the bound is 0 <= has_uint32 < 2**1"),
        ({"generator": {"uinteger": -1}}, "uinteger is out of range"),
    ],
)
def test_a_checkpoint_that_nothing_can_go_on_from_says_why(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match="the checkpoint") as refused:
        checkpoint(**changes).require_restorable()
    assert problem in str(refused.value)


def test_every_reason_is_given_at_once() -> None:
    with pytest.raises(ValueError, match=r"step is out of range.*; the checkpoint's growth_events is out of range"):
        checkpoint(step=2**63, growth_events=2**63).require_restorable()
