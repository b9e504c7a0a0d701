"""Steps that are written by hand: what they are called, and that there is one for a model and an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model import FieldSpec, OwnStep, own_step, register_step


def update(spec: FieldSpec, old: Sequence[npt.NDArray[np.float64]], new: Sequence[npt.NDArray[np.float64]]) -> None:
    raise AssertionError("nobody steps here")


@pytest.mark.parametrize("name", ["", "Gray", "a b", "../x", "a" * 65, None, 3])
def test_a_step_names_a_model_and_an_engine(name: Any) -> None:
    for names in ({"model": name, "engine": "numpy"}, {"model": "gray_scott", "engine": name}):
        with pytest.raises(ValueError, match="of a step is a name of 1 to 64 of a-z, 0-9 and _"):
            OwnStep(**names, update=update)


def test_a_step_is_a_function() -> None:
    broken: Any = "fast"
    with pytest.raises(TypeError, match="the update of a step is a function, got 'fast'"):
        OwnStep(model="gray_scott", engine="numpy", update=broken)


def test_there_is_one_step_for_a_model_and_an_engine() -> None:
    step = OwnStep(model="gray_scott", engine="an_engine_of_this_test", update=update)
    assert own_step("gray_scott", "an_engine_of_this_test") is None
    assert register_step(step, origin="plugin 'one'") is step
    assert register_step(step, origin="plugin 'two'") is step
    assert own_step("gray_scott", "an_engine_of_this_test") is step
    assert own_step("gray_scott", "another_engine") is None
    another = OwnStep(model="gray_scott", engine="an_engine_of_this_test", update=lambda *_: None)
    with pytest.raises(ValueError, match="registered by plugin 'one', and cannot be a second time by plugin 'three'"):
        register_step(another, origin="plugin 'three'")
    assert own_step("gray_scott", "an_engine_of_this_test") is step
