"""Text that must not be shown."""

from __future__ import annotations

import hmac
from typing import ClassVar, NoReturn, SupportsIndex, final

__all__ = ["REDACTED", "Secret"]

REDACTED = "[REDACTED]"


@final
class Secret:
    """A password, a key or a token of the configuration.

    Every way of printing it gives `[REDACTED]`; comparison takes the same time wherever the first difference lies.
    It has no hash, which would tell equal secrets by their place in a set, and it cannot be pickled: what goes to
    another process is the configuration that names the secret.
    """

    __slots__ = ("_value",)
    __hash__: ClassVar[None]  # type: ignore[assignment] # unhashable on purpose, as the docstring says

    def __init__(self, value: str) -> None:
        """Keep `value`.

        Raises:
            TypeError: it is not text; the error does not show it.
        """
        if not isinstance(value, str):
            raise TypeError(f"a secret is made of text, not of {type(value).__name__}")
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    def __format__(self, specification: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret cannot be pickled; hand over the configuration that names it")
