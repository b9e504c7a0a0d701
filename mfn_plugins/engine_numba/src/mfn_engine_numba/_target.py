"""What kernels are generated for: numbers of a precision, and a processor."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mfn_engine_numba._memory import CACHE_LINE

__all__ = ["DOUBLE", "SINGLE", "Precision", "Target"]


@frozen(kw_only=True)
class Precision:
    """The numbers that a kernel computes with."""

    name: str
    """Numba's and NumPy's name of the type."""
    bytes: int
    slack: str
    """The name of its slack in `mfn_engine_numba._intervals`."""
    largest: float
    """The largest finite number."""

    @property
    def lanes(self) -> int:
        """Numbers in a cache line."""
        return CACHE_LINE // self.bytes

    def literal(self, value: float) -> str:
        """A constant in this precision."""
        return f"{self.name}({value!r})"


DOUBLE: Final = Precision(name="float64", bytes=8, slack="DOUBLE", largest=1.7976931348623157e308)
SINGLE: Final = Precision(name="float32", bytes=4, slack="SINGLE", largest=3.4028234663852886e38)


@frozen(kw_only=True)
class Target:
    """What a module is generated for."""

    precision: Precision
    fused: bool
    """Whether the processor has a fused multiply-add."""
    lines: bool
    """Whether a register holds a cache line, so that folded rows are computed line by line; only with `fused`."""
    identity: str
    """Stands for everything else that compiled code depends on; one line, written into the module."""
    kept: bool
    """Whether compiled code is kept on disk."""
