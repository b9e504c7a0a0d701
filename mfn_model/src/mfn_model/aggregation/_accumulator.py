"""Gradients that arrive in pieces, kept within a number of bytes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, refuse
from mfn_model.aggregation._rows import LARGEST_VALUE, FloatArray

__all__ = ["GradientAccumulator", "GradientBudgetError"]

_CLIENT_BYTES: Final = 512
"""Charged for each client, whatever it sends: what Python keeps for one, so that many empty ones count too."""


class GradientBudgetError(ValueError):
    """Values that would take an accumulator over its bound; nothing of them was kept."""

    def __init__(self, *, client: Hashable, needed: int, max_bytes: int) -> None:
        self.client = client
        """Whose values they are."""
        self.needed = needed
        """Bytes that all gradients would take with them."""
        self.max_bytes = max_bytes
        """The bound."""
        super().__init__(
            f"the values of client {client!r} would bring the gradients to {needed} bytes; the bound is {max_bytes}: "
            "send fewer or shorter gradients"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _over_budget, (self.client, self.needed, self.max_bytes)


@dataclass(slots=True)
class _Gradient:
    values: bytearray = field(default_factory=bytearray)
    complete: bool = False


class GradientAccumulator:
    """Collects each client's gradient from pieces, in any interleaving of clients.

    A piece is checked when it arrives, and one that is refused leaves everything as it was. What is kept, `used_bytes`,
    never exceeds `max_bytes`: the values, and 512 bytes for each client; growing in pieces may allocate an eighth
    more. Not safe to use from several threads at once.

    >>> gradients = GradientAccumulator(max_bytes=1_000_000)
    >>> gradients.add("a", [1.0, 2.0])
    >>> gradients.add("b", [4.0, 5.0, 6.0], last=True)
    >>> gradients.add("a", [3.0], last=True)
    >>> gradients.clients, [vector.tolist() for vector in gradients.gradients()]
    (('a', 'b'), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    """

    def __init__(self, *, max_bytes: int, coordinates: int | None = None, dtype: npt.DTypeLike = np.float64) -> None:
        """Begins empty.

        Args:
            max_bytes: the bound, at least 1.
            coordinates: the length of every gradient, at least 1; by default that of the first complete one.
            dtype: float64, or float32 to keep half of the bytes.

        Raises `ValueError` for an argument out of range.
        """
        problems = integer_problems("max_bytes", max_bytes, 1)
        if coordinates is not None:
            problems += integer_problems("coordinates", coordinates, 1)
        refuse(problems)
        self._max_bytes = max_bytes
        self._asked = coordinates
        self._coordinates = coordinates
        self._dtype = np.dtype(dtype)
        if self._dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
            raise ValueError(f"dtype must be float64 or float32, got {self._dtype}")
        self._gradients: dict[Hashable, _Gradient] = {}
        self._used = 0

    @property
    def used_bytes(self) -> int:
        """Bytes charged so far."""
        return self._used

    @property
    def coordinates(self) -> int | None:
        """The length of every gradient, once it is known."""
        return self._coordinates

    @property
    def clients(self) -> tuple[Hashable, ...]:
        """Those with a complete gradient, in the order of their first piece."""
        return tuple(client for client, gradient in self._gradients.items() if gradient.complete)

    @property
    def incomplete(self) -> tuple[Hashable, ...]:
        """Those whose last piece is missing, in the order of their first."""
        return tuple(client for client, gradient in self._gradients.items() if not gradient.complete)

    def add(self, client: Hashable, values: npt.ArrayLike, *, last: bool = False) -> None:
        """Appends a vector of values, which may be empty, to this client's gradient; `last` completes it.

        Raises `ValueError` when the gradient is complete already, its length does not fit the others, or a value is
        not a finite real number within ± 1e140, and `GradientBudgetError`, which is one, beyond the bound.
        """
        gradient = self._gradients.get(client)
        if gradient is not None and gradient.complete:
            raise ValueError(f"the gradient of client {client!r} is complete already")
        held = len(gradient.values) // self._dtype.itemsize if gradient is not None else 0
        piece = self._checked(client, held, values)
        self._require_length(client, held + len(piece), last)
        needed = self._used + piece.nbytes + (_CLIENT_BYTES if gradient is None else 0)
        if needed > self._max_bytes:
            raise GradientBudgetError(client=client, needed=needed, max_bytes=self._max_bytes)
        if gradient is None:
            gradient = self._gradients[client] = _Gradient()
        gradient.values += piece.tobytes()
        self._used = needed
        if last:
            gradient.complete = True
            self._coordinates = held + len(piece)

    def discard(self, client: Hashable) -> bool:
        """Forgets what this client sent, complete or not, and says whether there was anything.

        With the last complete gradient goes the length that all were to have, unless one was asked for.
        """
        gradient = self._gradients.pop(client, None)
        if gradient is None:
            return False
        self._used -= len(gradient.values) + _CLIENT_BYTES
        if gradient.complete and not any(each.complete for each in self._gradients.values()):
            self._coordinates = self._asked
        return True

    def gradients(self) -> tuple[FloatArray, ...]:
        """The complete gradients in the order of `clients`, for any function of `mfn_model.aggregation`.

        They are read-only views, not copies. Raises `ValueError`, with the clients, while a gradient is incomplete:
        `discard` those that will not come.
        """
        missing = self.incomplete
        if missing:
            named = ", ".join(repr(client) for client in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise ValueError(f"the gradients of clients {named}{more} are incomplete; complete or discard them")
        return tuple(
            np.frombuffer(memoryview(gradient.values).toreadonly(), dtype=self._dtype)
            for gradient in self._gradients.values()
        )

    def _checked(self, client: Hashable, held: int, values: npt.ArrayLike) -> FloatArray:
        piece = np.asarray(values)
        if piece.ndim != 1:
            raise ValueError(f"values of client {client!r} must have one dimension, got {piece.ndim}")
        if len(piece) and piece.dtype.kind not in "fiu":
            raise ValueError(f"values of client {client!r} must be real numbers, got dtype {piece.dtype}")
        with np.errstate(over="ignore"):  # what overflows float32 is refused as infinite
            piece = np.ascontiguousarray(piece, dtype=self._dtype)
        bounded = np.abs(piece.astype(np.float64, copy=False)) <= LARGEST_VALUE
        if not bounded.all():
            place = int(np.argmin(bounded))
            raise ValueError(
                f"the gradient of client {client!r} holds {piece[place]} at position {held + place}; values must be "
                f"finite and within ±{LARGEST_VALUE:g}"
            )
        return piece

    def _require_length(self, client: Hashable, length: int, last: bool) -> None:
        if last and length == 0:
            raise ValueError(f"the gradient of client {client!r} has no values; at least one is needed")
        if self._coordinates is None:
            return
        if length > self._coordinates or (last and length != self._coordinates):
            raise ValueError(
                f"the gradient of client {client!r} has {length} values{'' if last else ' or more'} where "
                f"{self._coordinates} are expected"
            )


def _over_budget(client: Hashable, needed: int, max_bytes: int) -> GradientBudgetError:
    return GradientBudgetError(client=client, needed=needed, max_bytes=max_bytes)
