"""Steps that are written by hand for one engine, and stand beside the declaration of their model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model._parameter import abbreviated
from mfn_model.spec import FieldSpec

__all__ = ["OwnStep", "StepUpdate", "own_step", "register_step"]

StepUpdate = Callable[[FieldSpec, Sequence[npt.NDArray[np.float64]], Sequence[npt.NDArray[np.float64]]], None]
"""`update(spec, old, new)`: see `OwnStep.update`."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStep:
    """How one engine updates the species of one model, in place of what it makes of the declaration.

    The declaration stays the truth: it is what other engines run, what `reference` evaluates and what analysis reads,
    and the step is to compute the same, within what its engine states. Spikes, kicks, noise and the ranges of species
    remain the engine's.

    Raises `ValueError` for names that are none, and `TypeError` where `update` cannot be called.
    """

    model: str
    """Name of the model."""
    engine: str
    """Name of the engine, such as `numpy`; one that takes no such steps runs the declaration."""
    update: StepUpdate
    """Called once a step, after spikes and before kicks, as `update(spec, old, new)`.

    `spec` has the parameters in force and the boundary. `old` has, for each species that exists, in the order of the
    declaration, its values with one cell more on every side, [N + 2, N + 2] float64: what the boundary makes of the
    neighbours of the edge; it is not to be written to. `new` takes the values after the update, [N, N] float64 each,
    all of them; what stands in it before means nothing. It keeps no reference to either, draws nothing at random, and
    may be called from several threads at once, for different trajectories.
    """

    def __post_init__(self) -> None:
        for what, name in (("model", self.model), ("engine", self.engine)):
            if _NAME.fullmatch(str(name)) is None:
                raise ValueError(
                    f"the {what} of a step is a name of 1 to 64 of a-z, 0-9 and _, beginning with a letter, "
                    f"got {abbreviated(name)}"
                )
        if not callable(self.update):
            raise TypeError(f"the update of a step is a function, got {abbreviated(self.update)}")


_steps: dict[tuple[str, str], OwnStep] = {}
_origins: dict[tuple[str, str], str] = {}


def register_step(step: OwnStep, *, origin: str = "") -> OwnStep:
    """Adds `step` to what this process knows and returns it; registering the same step again changes nothing.

    `origin` says in words who brings it. Raises `ValueError`, with both origins as far as they are known, when another
    step is registered for its model and engine. Sessions that are open already go on as they began.
    """
    key = step.model, step.engine
    known = _steps.setdefault(key, step)
    if known != step:
        first, second = (f" by {each}" if each else "" for each in (_origins.get(key, ""), origin))
        raise ValueError(
            f"another step of model {step.model!r} for engine {step.engine!r} is already registered{first}, and cannot "
            f"be a second time{second}; keep one of them"
        )
    if origin:
        _origins.setdefault(key, origin)
    return step


def own_step(model: str, engine: str) -> OwnStep | None:
    """What is registered for a model and an engine."""
    return _steps.get((model, engine))
