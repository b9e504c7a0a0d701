"""What the engine can be told: `[engines.numba]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from mfn_core import setting
from mfn_core.config import at_least

__all__ = ["NumbaSettings"]


@frozen(kw_only=True)
class NumbaSettings:
    """Settings of the backend `numba`."""

    precision: Literal["double", "single"] = setting(
        default="double",
        help="numbers to compute with; single is faster, and its states are only near those of the other engines",
    )
    threads: int = setting(
        default=1,
        validator=at_least(1),
        help="threads for one large field; sessions run beside each other anyway, so 1 suits a server of many calls",
    )
    precompile: tuple[str, ...] = setting(
        default=("mycelium", "mycelium_rd"),
        help="models whose kernels are compiled, or loaded, before the server is ready; the others at their first call",
    )
    cache_dir: Path | None = setting(
        default=None,
        help="directory of this user alone that compiled kernels are kept in; by default mfn/numba in the cache",
    )
