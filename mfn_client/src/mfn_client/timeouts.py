"""How long a call may take."""

from __future__ import annotations

import enum
import math
from typing import Final

__all__ = ["CLIENT_TIMEOUT", "DEFAULT_TIMEOUT", "ClientTimeout", "Timeout", "checked_timeout"]

DEFAULT_TIMEOUT = 30.0
"""Seconds that a call with one reply may take unless the client or the call says otherwise."""

LONGEST_TIMEOUT = 1e8
"""Seconds, three years: what a deadline may be ahead. The wire has eight digits for it, and the library below takes a
much longer one for one that has passed."""


class ClientTimeout(enum.Enum):
    """The type of `CLIENT_TIMEOUT`."""

    CLIENT_TIMEOUT = "the client's timeout"

    def __repr__(self) -> str:
        return self.name


CLIENT_TIMEOUT: Final = ClientTimeout.CLIENT_TIMEOUT
"""Given as a `timeout`: the client's own."""

Timeout = float | None | ClientTimeout
"""Seconds until a call's deadline, of more than 1e8 that many; None: no deadline; `CLIENT_TIMEOUT`: the client's."""


def checked_timeout(timeout: float | None) -> float | None:
    """The timeout itself, or `LONGEST_TIMEOUT` where it is longer.

    Raises:
        ValueError: it is neither None nor a positive and finite number.
    """
    if timeout is not None and not (timeout > 0.0 and math.isfinite(timeout)):
        raise ValueError(f"timeout must be a positive number of seconds, or None for no deadline, got {timeout!r}")
    return None if timeout is None else min(timeout, LONGEST_TIMEOUT)
