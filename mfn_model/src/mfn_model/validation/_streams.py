"""Random numbers of the Mersenne twister in the forms in which earlier results drew them.

M. Matsumoto, T. Nishimura, ACM Trans. Model. Comput. Simul. 8 (1998) 3–30, with the generator's original seeding by
one 32-bit number. Every stream is its own: nothing global is seeded or read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TwisterStream", "permutation"]

_WORD = 0xFFFFFFFF
_MANTISSA = 0xFFFFFF


class TwisterStream:
    """One stream of 32-bit words."""

    def __init__(self, seed: int) -> None:
        """Seeds the stream with the lower 32 bits of `seed`, which is at least 0."""
        self._words = np.random.MT19937(0)
        # NumPy's legacy generator offers the original seeding; its state is taken over.
        state: Any = np.random.RandomState(seed & _WORD).get_state(legacy=False)
        self._words.state = state

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """The next `count` words, each below 2³²."""
        return np.asarray(self._words.random_raw(count), dtype=np.uint64)

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Float32 numbers in [low, high), in row-major order, each from the lower 24 bits of a word."""
        unit = (self.words(math.prod(shape)) & np.uint64(_MANTISSA)).astype(np.float32) * np.float32(2.0**-24)
        return np.asarray(unit * np.float32(high - low) + np.float32(low)).reshape(shape)

    def integer(self) -> int:
        """The next integer below 2⁶³: two words, the higher one first."""
        high, low = (int(word) for word in self.words(2))
        return (high << 32 | low) % 2**63


def permutation(seed: int, length: int) -> npt.NDArray[np.intp]:
    """A permutation of 0 … length − 1 by forward swaps, from a stream of its own.

    The i-th of the first length − 1 places is swapped with the one `word mod (length − i)` places on.
    """
    order = list(range(length))
    for place, word in enumerate(TwisterStream(seed).words(max(0, length - 1)).tolist()):
        other = place + word % (length - place)
        order[place], order[other] = order[other], order[place]
    return np.array(order, dtype=np.intp)
