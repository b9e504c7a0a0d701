"""Whether a trajectory can go on from what a checkpoint carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mfn_model._parameter import abbreviated

if TYPE_CHECKING:
    from mfn_model._state import Checkpoint

__all__ = ["problems_of"]

_MOST: Final = 2**62
"""Of steps and of events: what comes later still fits into 64 bits, with a sign."""


def problems_of(checkpoint: Checkpoint) -> Iterator[str]:
    """Everything for which a checkpoint cannot be gone on from."""
    spec, state = checkpoint.spec, checkpoint.state
    names = [species.name for species in spec.declaration.present(spec.parameters)]
    if sorted(state.species) != sorted(names[1:]):
        yield f"the checkpoint carries the species {sorted(state.species)}, its spec needs {sorted(names[1:])}"
    for name, array in {names[0]: state.field, **state.species}.items():
        if not np.isfinite(array).all():
            yield f"the checkpoint's {name} holds values that are not finite"
    for name, count in {"step": state.step, "growth_events": state.growth_events, **state.counters}.items():
        if not _within(count, _MOST):
            bound = f"0 <= {name} <= 2**62"
            yield f"the checkpoint's {name} is out of range, got {abbreviated(count)}; the bound is {bound}"
    if problem := _generator_problem(checkpoint.generator):
        yield f"the checkpoint's generator is not the state of a PCG64: {problem}"


def _generator_problem(generator: Mapping[str, Any]) -> str:
    """What keeps this from being a `numpy.random.PCG64().state`; empty: nothing."""
    if generator.get("bit_generator") != "PCG64":
        return f"its bit_generator is {abbreviated(generator.get('bit_generator'))}"
    inner = generator.get("state")
    if not isinstance(inner, Mapping):
        return f"its state is {abbreviated(inner)}"
    numbers = {"state": (inner.get("state"), 2**128 - 1), "inc": (inner.get("inc"), 2**128 - 1)}
    numbers |= {"has_uint32": (generator.get("has_uint32"), 1), "uinteger": (generator.get("uinteger"), 2**32 - 1)}
    for name, (value, most) in numbers.items():
        if not _within(value, most):
            return (
                f"{name} is out of range, got {abbreviated(value)}; the bound is 0 <= {name} < 2**{most.bit_length()}"
            )
    if inner["inc"] % 2 == 0:
        return f"inc must be odd, got {inner['inc']}"  # by an even one it would repeat itself early
    return ""


def _within(value: object, most: int) -> bool:
    return isinstance(value, Integral) and 0 <= int(value) <= most
