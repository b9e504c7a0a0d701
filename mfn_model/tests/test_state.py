"""Snapshots and checkpoints."""

from __future__ import annotations

import pickle

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
