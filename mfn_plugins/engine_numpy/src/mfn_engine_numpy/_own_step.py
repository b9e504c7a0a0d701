"""A step that somebody has written by hand for this engine, in the place of the compiled update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from mfn_engine_numpy._lattice import FloatArray, PaddedLattice
from mfn_engine_numpy._program import Block, Operation, Program
from mfn_model import FieldSpec, OwnStep, own_step

__all__ = ["ENGINE", "HandWritten", "step_of"]

ENGINE: Final = "numpy"
"""What steps for this engine name."""


def step_of(spec: FieldSpec) -> OwnStep | None:
    """The step that was brought for the model of `spec`."""
    return own_step(spec.model, ENGINE)


class HandWritten:
    """The update of one session by an `OwnStep`."""

    def __init__(self, step: OwnStep, lattice: PaddedLattice) -> None:
        self._update = step.update
        self._spec: FieldSpec | None = None
        self._interiors = [lattice.interior(s) for s in range(lattice.species)]
        self._old: list[FloatArray] = []
        for s in range(lattice.species):
            padded = lattice.padded(s)
            padded.flags.writeable = False
            self._old.append(padded)
        self._new = [np.zeros((lattice.side, lattice.side)) for _ in range(lattice.species)]

    @classmethod
    def program(
        cls,
        step: OwnStep,
        side: int,
        species: int,
        boundary: str,
        settle: Callable[[PaddedLattice, Block], Sequence[Operation]],
    ) -> tuple[HandWritten, Program]:
        """The update, and a program of it and of what follows an update."""
        lattice = PaddedLattice(side, species, boundary)
        written = cls(step, lattice)
        follows = settle(lattice, Block(first=0, last=side))
        return written, Program(lattice=lattice, operations=((written, None, None, None), *follows))

    def adopt(self, spec: FieldSpec) -> None:
        """Use the parameters of `spec` from the next step on."""
        self._spec = spec

    def __call__(self, left: Any, right: Any, out: Any) -> None:
        """One update: an operation of a program, whose operands say nothing here."""
        assert self._spec is not None, "adopt comes first"
        self._update(self._spec, tuple(self._old), tuple(self._new))
        for interior, values in zip(self._interiors, self._new, strict=True):
            interior[...] = values
