"""An aggregation that is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mfn_model.aggregation import (
    balanced_hierarchical_krum,
    bulyan,
    coordinate_median,
    coordinate_trimmed_mean,
    geometric_median,
    hierarchical_krum,
    krum,
    multi_krum,
)

GRADIENTS = np.random.default_rng(5).normal(0.0, 1.0, (40, 9000))

CALLS: dict[str, Callable[..., Any]] = {
    "krum": lambda check: krum(GRADIENTS, byzantine=3, check=check),
    "multi_krum": lambda check: multi_krum(GRADIENTS, byzantine=3, check=check),
    "bulyan": lambda check: bulyan(GRADIENTS, byzantine=3, check=check),
    "coordinate_trimmed_mean": lambda check: coordinate_trimmed_mean(GRADIENTS, byzantine=3, check=check),
    "coordinate_median": lambda check: coordinate_median(GRADIENTS, check=check),
    "geometric_median": lambda check: geometric_median(GRADIENTS, check=check),
    "hierarchical_krum": lambda check: hierarchical_krum(GRADIENTS, num_clusters=4, check=check),
    "balanced_hierarchical_krum": lambda check: balanced_hierarchical_krum(
        GRADIENTS, byzantine=2, num_clusters=8, generator=np.random.default_rng(1), check=check
    ),
}


class GivenUpError(Exception):
    """Raised by the check."""


@pytest.mark.parametrize("name", CALLS)
def test_what_the_check_raises_ends_the_aggregation_between_two_blocks(name: str) -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    CALLS[name](count)
    whole, calls = calls, 0
    assert whole >= 2

    def give_up() -> None:
        count()
        if calls == 2:
            raise GivenUpError

    with pytest.raises(GivenUpError):
        CALLS[name](give_up)
    assert calls == 2


@pytest.mark.parametrize("name", CALLS)
def test_a_check_changes_no_number(name: str) -> None:
    with_check, without = CALLS[name](lambda: None), CALLS[name](None)
    assert np.array_equal(getattr(with_check, "gradient", with_check), getattr(without, "gradient", without))
