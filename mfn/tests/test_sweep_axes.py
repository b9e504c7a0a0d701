"""How the values of a sweep are written."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn.sweeps import Request
from mfn.sweeps._design import GridDesign


def axes(**request: Any) -> GridDesign:
    design = Request(**request).plan().design
    assert isinstance(design, GridDesign)
    return design


def values(text: object) -> tuple[object, ...]:
    return axes(set={"alpha": text}).parameters[0][1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", (0.1,)),
        ("0.1,0.25", (0.1, 0.25)),
        ("0.1:0.2:5", (0.1, 0.125, 0.15, 0.175, 0.2)),
        ("0.05:0.2:4", (0.05, 0.1, 0.15, 0.2)),
        ("0.2:0.1:3, 0.05", (0.2, 0.15, 0.1, 0.05)),
        ("true,false", (True, False)),
        (0.15, (0.15,)),
        (True, (True,)),
        ([0.1, "0.2:0.24:3"], (0.1, 0.2, 0.22, 0.24)),
        (np.array([0.1, 0.2]), (0.1, 0.2)),
        (np.float64(0.1), (0.1,)),
    ],
)
def test_values_are_read(text: object, expected: tuple[object, ...]) -> None:
    found = values(text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@given(
    first=st.decimals(-10, 10, places=3),
    last=st.decimals(-10, 10, places=3),
    count=st.integers(2, 50),
)
def test_a_range_has_the_nearest_float_of_every_exact_value(first: Any, last: Any, count: int) -> None:
    if first == last:
        return
    exact = [Fraction(first) + (Fraction(last) - Fraction(first)) * i / (count - 1) for i in range(count)]
    assert values(f"{first}:{last}:{count}") == tuple(float(value) for value in exact)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.1,",
        "x",
        "0.1:0.2",
        "0.1:0.2:1",
        "0.1:0.2:0",
        "0.1:0.2:2.5",
        "1:2:3:4",
        "1/0",
        "nan",
        "0.1:0.2:99999999999",
        "1e99999999",
        "1e-99999999",
        "1:1e99_999_999:3",
    ],
)
def test_what_cannot_be_read_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^alpha (cannot be read|has a value that cannot be read)"):
        values(text)


@pytest.mark.parametrize("text", ["0.1,0.10", "0.1:0.2:3,0.15"])
def test_a_value_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"alpha has 0\.1.* twice; keep one"):
        values(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", [7]),
        ("0:100", list(range(100))),
        ("1,2,10:12", [1, 2, 10, 11]),
        (range(3), [0, 1, 2]),
        (range(0, 6, 2), [0, 2, 4]),
        ([5, 3], [5, 3]),
        (np.int64(4), [4]),
    ],
)
def test_seeds_are_read_and_keep_their_order(text: object, expected: list[int]) -> None:
    assert list(axes(seeds=text).seeds) == expected


@pytest.mark.parametrize("text", ["", "x", "5:5", "9:3", "1.5", 1.5, True, "0:99999999", "1,1", math.inf])
def test_seeds_that_are_none_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="seed"):
        axes(seeds=text)


def test_grids_and_steps_are_whole_numbers() -> None:
    assert axes(grid="16,32", steps="10:30:3").grid_sizes == (16, 32)
    assert axes(grid="16,32", steps="10:30:3").steps == (10, 20, 30)
    with pytest.raises(ValueError, match=r"grid takes whole numbers, got 16\.5"):
        axes(grid="16.5")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        axes(steps=0)


def test_a_sweep_of_too_many_simulations_is_refused() -> None:
    with pytest.raises(ValueError, match="the sweep has 20000000 simulations, the bound is 10000000; split it"):
        axes(seeds="0:10000000", set={"alpha": "0.1,0.2"})


def test_thresholds_are_three_numbers_that_rise() -> None:
    assert Request(thresholds="-65,-60,-55").plan().thresholds == (-65.0, -60.0, -55.0)
    for wrong in ("-60,-50", "-50,-60,-40", "1,2,3,4", "true,false,1"):
        with pytest.raises(ValueError, match="thresholds are three numbers that rise"):
            Request(thresholds=wrong).plan()
