"""What a session asks of the memory that it advances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mfn_engine_numba._kernels import Prepared

__all__ = ["FloatArray", "Grid", "IntArray", "Words"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class Grid(Protocol):
    """The state of a trajectory and its accounts. A state is drawn or loaded before anything else."""

    @property
    def book(self) -> IntArray:
        """The accounts; see `mfn_engine_numba._memory`."""
        ...

    def draw(self, prepared: Prepared, seed: int) -> None:
        """The initial state of a seed."""
        ...

    def load(self, values: Sequence[FloatArray], words: Words) -> None:
        """A state of every species, and the generator that goes with it."""
        ...

    def advance(self, steps: int) -> None:
        """Goes on by so many steps, or until `FAILED_STEP` is set."""
        ...

    def values(self, species: int) -> FloatArray:
        """[N, N] copy of one species."""
        ...

    def words(self) -> Words:
        """A copy of the generator's state."""
        ...

    def adopt(self, coefficients: FloatArray) -> None:
        """Takes these coefficients from the next step on."""
        ...

    def cell(self, row: int, column: int) -> float:
        """The field at a cell."""
        ...

    def set_cell(self, row: int, column: int, value: float) -> float:
        """Changes the field at a cell; gives what it became in the precision of the grid."""
        ...

    def counters(self) -> list[int]:
        """Those of the model, in its order."""
        ...

    def set_counters(self, values: Sequence[int]) -> None:
        """Goes on counting from these."""
        ...

    def tally(self) -> IntArray:
        """[species, 2] NaN and infinities at `FAILED_STEP`."""
        ...
