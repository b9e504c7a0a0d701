"""What a session asks of the memory that it advances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mfn_engine_numba import _memory as at
from mfn_engine_numba._kernels import Prepared

__all__ = ["FloatArray", "Grid", "IntArray", "Snapshot", "Words", "counters_of", "tally_of"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class Snapshot(Protocol):
    """The state of a trajectory and its accounts."""

    @property
    def book(self) -> IntArray:
        """The accounts; see `mfn_engine_numba._memory`."""
        ...

    def values(self, species: int) -> FloatArray:
        """[N, N] of one species, which nobody changes any more."""
        ...

    def counters(self) -> list[int]:
        """Those of the model, in its order."""
        ...

    def tally(self) -> IntArray:
        """[species, 2] NaN and infinities at `FAILED_STEP`."""
        ...


class Grid(Snapshot, Protocol):
    """One that goes on. A state is drawn or loaded before anything else."""

    def draw(self, prepared: Prepared, seed: int) -> None:
        """The initial state of a seed."""
        ...

    def load(self, values: Sequence[FloatArray], words: Words) -> None:
        """A state of every species, and the generator that goes with it."""
        ...

    def advance(self, steps: int) -> None:
        """Goes on by so many steps, or until `FAILED_STEP` is set."""
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

    def set_counters(self, values: Sequence[int]) -> None:
        """Goes on counting from these."""
        ...


def counters_of(book: IntArray, count: int) -> list[int]:
    """The first `count` counters of a book."""
    first = int(book[at.AT_COUNTERS])
    found: list[int] = book[first : first + count].tolist()
    return found


def tally_of(book: IntArray, species: int) -> IntArray:
    """[species, 2] NaN and infinities of the first step of the last sweep; at `FAILED_STEP` where that is set."""
    first = int(book[at.AT_TALLY])
    return book[first : first + 2 * species].reshape(-1, 2)
