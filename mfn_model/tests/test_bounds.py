"""Scalar arguments against their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfn_model._bounds import integer_problems, number_problems, refuse


def test_numbers_of_any_kind_within_their_bounds_pass() -> None:
    for value in (1, 1.5, np.float32(1.0), np.int64(2)):
        assert number_problems("x", value, 1.0, 2.0) == []
    assert integer_problems("n", np.int32(3), 3, 3) == []


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        (number_problems("x", True), "x must be a number, got True"),
        (number_problems("x", "1"), "x must be a number, got '1'"),
        (number_problems("x", math.nan), "x must be finite, got nan"),
        (number_problems("x", -math.inf, maximum=1.0), "x must be at most 1 and finite, got -inf"),
        (
            number_problems("x", 2.0, 0.0, 2.0, unit="K", maximum_exclusive=True),
            "x must be at least 0 and below 2 K, got 2.0",
        ),
        (number_problems("x", 0.0, 0.0, unit="V", minimum_exclusive=True), "x must be above 0 V and finite, got 0.0"),
        (number_problems("x", np.float64(3.0), 0.0, 1.0), "x must be at least 0 and at most 1, got 3.0"),
        (integer_problems("n", 1.0, 0), "n must be an integer, got 1.0"),
        (integer_problems("n", np.int64(-1), 0), "n must be at least 0, got -1"),
        (integer_problems("n", 9, 0, 8), "n must be from 0 to 8, got 9"),
    ],
)
def test_what_is_out_is_named_with_its_value_and_its_bound(problems: list[str], message: str) -> None:
    assert problems == [message]


def test_all_problems_are_raised_at_once_and_none_raises_nothing() -> None:
    refuse([])
    with pytest.raises(ValueError, match=r"^a; b$"):
        refuse(["a", "b"])
