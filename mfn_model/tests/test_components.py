"""Connected components."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mfn_model.features import component_sizes

Mask = npt.NDArray[np.bool_]


def random_mask(height: int, width: int, density: float) -> Mask:
    return np.random.default_rng(height * 101 + width).random((height, width)) < density


masks = st.builds(random_mask, st.integers(0, 24), st.integers(0, 24), st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.8, 1.0]))


@given(mask=masks, connectivity=st.sampled_from([4, 8]))
@settings(max_examples=200, deadline=None)
def test_sizes_are_those_of_another_implementation_in_the_order_of_first_cells(mask: Mask, connectivity: int) -> None:
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    labels, count = ndimage.label(mask, structure=structure) if mask.size else (mask.astype(int), 0)
    expected = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    assert component_sizes(mask, connectivity=connectivity).tolist() == expected.tolist()


@given(mask=masks, connectivity=st.sampled_from([4, 8]))
@settings(max_examples=200, deadline=None)
def test_periodic_sizes_are_those_of_cells_followed_one_by_one_around_the_torus(mask: Mask, connectivity: int) -> None:
    height, width = mask.shape
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    if connectivity == 8:
        steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    expected: Counter[int] = Counter()
    while left:
        waiting, size = [left.pop()], 0
        while waiting:
            row, column = waiting.pop()
            size += 1
            for down, right in steps:
                beside = ((row + down) % height, (column + right) % width)
                if beside in left:
                    left.remove(beside)
                    waiting.append(beside)
        expected[size] += 1
    found = component_sizes(mask, connectivity=connectivity, periodic=True)
    assert Counter(found.tolist()) == expected


def test_a_band_across_the_edge_is_two_components_and_one_when_periodic() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[0], mask[9] = True, True
    assert component_sizes(mask).tolist() == [10, 10]
    assert component_sizes(mask, periodic=True).tolist() == [20]
    assert component_sizes(mask.T, periodic=True).tolist() == [20]


def test_corners_of_the_torus_meet_at_connectivity_eight() -> None:
    mask = np.zeros((6, 9), dtype=bool)
    mask[0, 0], mask[5, 8] = True, True
    assert component_sizes(mask, connectivity=4, periodic=True).tolist() == [1, 1]
    assert component_sizes(mask, connectivity=8, periodic=True).tolist() == [2]


def test_a_spiral_is_one_component() -> None:
    side = 301
    mask = np.zeros((side, side), dtype=bool)
    row, column, down, right, length = 0, 0, 0, 1, side - 1
    mask[0, 0] = True
    turns = 0
    while length > 0:
        for _ in range(length):
            row, column = row + down, column + right
            mask[row, column] = True
        down, right = right, -down
        turns += 1
        if turns >= 3 and turns % 2 == 1:
            length -= 2
    assert component_sizes(mask).tolist() == [int(mask.sum())]


def test_a_checkerboard_has_a_component_for_each_true_cell_or_one() -> None:
    mask = np.indices((64, 64)).sum(axis=0) % 2 == 0
    assert component_sizes(mask).tolist() == [1] * 2048
    assert component_sizes(mask, connectivity=8).tolist() == [2048]


@pytest.mark.parametrize("connectivity", [0, 6, 5])
def test_another_connectivity_is_refused(connectivity: int) -> None:
    with pytest.raises(ValueError, match=f"connectivity is 4 or 8, got {connectivity}"):
        component_sizes(np.ones((3, 3)), connectivity=connectivity)


def test_what_is_no_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="a mask is a matrix"):
        component_sizes(np.ones(3))
